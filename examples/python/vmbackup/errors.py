# SPDX-License-Identifier: Apache-2.0
"""Failures of the library as exceptions, and results as Python values."""
import json
from ctypes import byref, c_size_t, c_void_p, string_at
from typing import Any, Callable

from . import constants
from ._abi import lib


class Error(Exception):
    """A call failed; `code` is one of the E_ constants."""

    def __init__(self, code: int, message: str, flags: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.flags = flags

    @property
    def retryable(self) -> bool:
        """The same call may succeed later without any change."""
        return bool(self.flags & constants.ERROR_RETRYABLE)

    def __str__(self) -> str:
        return f"{lib.vmb_code_name(self.code).decode()}: {self.args[0]}"


def call(function: Callable[..., int], *arguments: Any) -> None:
    """Calls a fallible function, which takes the error slot last; raises Error."""
    slot = c_void_p()
    code = function(*arguments, byref(slot))
    if code == constants.OK:
        return
    message = lib.vmb_error_message(slot).decode("utf-8", "replace")
    flags = lib.vmb_error_flags(slot)
    lib.vmb_error_free(slot)
    raise Error(code, message, flags)


def make(function: Callable[..., int], *arguments: Any) -> c_void_p:
    """Calls a constructor, whose last output is a handle."""
    out = c_void_p()
    call(function, *arguments, byref(out))
    return out


def take_text(pointer: c_void_p, length: int = -1) -> str:
    """Copies an owned string and releases it."""
    try:
        return string_at(pointer, length).decode("utf-8") if length >= 0 else \
            string_at(pointer).decode("utf-8")
    finally:
        lib.vmb_free(pointer)


def take_json(function: Callable[..., int], *arguments: Any) -> Any:
    """Calls a function whose outputs are an owned JSON document and its length."""
    out = c_void_p()
    length = c_size_t()
    call(function, *arguments, byref(out), byref(length))
    return json.loads(take_text(out, length.value))
