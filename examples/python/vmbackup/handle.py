# SPDX-License-Identifier: Apache-2.0
"""An owned handle of the library."""
from ctypes import c_void_p
from typing import Any, Callable, Optional


class Handle:
    """Released by close(), by `with`, or with the object."""

    _release: Callable[[Any], None]
    _pointer: Optional[c_void_p] = None

    def close(self) -> None:
        if self._pointer is not None:
            pointer, self._pointer = self._pointer, None
            self._release(pointer)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
