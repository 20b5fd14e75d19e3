# SPDX-License-Identifier: Apache-2.0
"""The loops of a server: what Velero's controllers do, for the resources of one namespace."""
import json
from ctypes import byref, c_size_t, c_void_p
from typing import Any

from ._abi import lib
from .errors import call, make, take_text
from .handle import Handle


class Control(Handle):
    """Serves the namespace of a context; the keys of the settings stand in control.h."""

    _release = staticmethod(lib.vmb_control_free)

    def __init__(self, context: Any, **settings: Any) -> None:
        data = json.dumps(settings).encode() if settings else None
        self._pointer = make(lib.vmb_control_new, context._pointer, data, len(data or b""))

    def run(self) -> None:
        """Blocks until stop(), which another thread calls."""
        call(lib.vmb_control_run, self._pointer)

    def stop(self) -> None:
        """Any thread, any number of times."""
        lib.vmb_control_stop(self._pointer)

    @property
    def ready(self) -> bool:
        return lib.vmb_control_ready(self._pointer) == 1

    def metrics(self) -> str:
        """In Prometheus' text form."""
        out, length = c_void_p(), c_size_t()
        call(lib.vmb_control_metrics, self._pointer, byref(out), byref(length))
        return take_text(out, length.value)
