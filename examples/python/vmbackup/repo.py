# SPDX-License-Identifier: Apache-2.0
"""Repositories in restic's format, and disks inside of them.

    repo = vmbackup.Repo(context, password="secret", prefix="restic/shop")
    summary = repo.backup(["/etc"], tags=["nightly"])
    repo.restore(summary["snapshot_id"], "/tmp/back")

Options are keyword arguments with the names that docs/repositories.md lists.
"""
import json
from ctypes import byref, c_size_t, c_void_p, cast, create_string_buffer, string_at
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from . import _abi, constants
from ._abi import lib
from .errors import call, make, take_json, take_text
from .handle import Handle


class Repo(Handle):
    """An opened repository; used by one thread at a time."""

    _release = staticmethod(lib.vmb_repo_free)

    def __init__(self, context: Any, location: Optional[str] = None, *, init: bool = False,
                 **settings: Any) -> None:
        document = json.dumps(settings).encode()
        name = None if location is None else location.encode()
        function = lib.vmb_repo_init if init else lib.vmb_repo_open
        self._pointer = make(function, context._pointer, name, document, len(document))
        self._callback: Any = None
        self._failure: Optional[BaseException] = None

    def cancel(self) -> None:
        """May be called from any thread; every call ends then."""
        lib.vmb_repo_cancel(self._pointer)

    def on_event(self, function: Callable[[int, str, str, int, int], None]) -> None:
        """function(kind, subject, text, done, total) is called during calls. What it raises is
        raised at the end of the call."""
        def deliver(_user: Any, event: int) -> None:
            try:
                function(lib.vmb_event_kind(event),
                         lib.vmb_event_subject(event).decode("utf-8", "replace"),
                         lib.vmb_event_text(event).decode("utf-8", "replace"),
                         lib.vmb_event_done(event), lib.vmb_event_total(event))
            except BaseException as e:  # pylint: disable=broad-except
                self._failure = self._failure or e
        callback = _abi.EVENT_FN(deliver)
        call(lib.vmb_repo_set_event_fn, self._pointer, callback, None)
        self._callback = callback  # the library keeps it

    def _json(self, function: Callable[..., int], *arguments: Any, **options: Any) -> Any:
        document = json.dumps(options).encode()
        result = take_json(function, self._pointer, *arguments, document, len(document))
        self._raise()
        return result

    def _raise(self) -> None:
        failure, self._failure = self._failure, None
        if failure:
            raise failure

    def info(self) -> Dict[str, Any]:
        return take_json(lib.vmb_repo_info_json, self._pointer)

    def backup(self, paths: Iterable[str], **options: Any) -> Dict[str, Any]:
        """Saves files and folders; the summary."""
        return self._json(lib.vmb_repo_backup, paths=list(paths), **options)

    def backup_disk(self, path: str, **options: Any) -> Dict[str, Any]:
        """Saves a block device or disk image; the summary."""
        with Blocks(path) as blocks:
            return self._json(lib.vmb_repo_backup_disk, byref(blocks.table), **options)

    def restore(self, snapshot: str, target: str, **options: Any) -> Dict[str, Any]:
        return self._json(lib.vmb_repo_restore, snapshot.encode(), target=target, **options)

    def restore_disk(self, snapshot: str, path: str, **options: Any) -> Dict[str, Any]:
        """Writes the disk of a snapshot to a file or device. `file` is its path in the snapshot."""
        if "file" in options:
            options["path"] = options.pop("file")
        with Blocks(path, write=True) as blocks:
            return self._json(lib.vmb_repo_restore_disk, snapshot.encode(), byref(blocks.table),
                              **options)

    def snapshots(self, **options: Any) -> List[Dict[str, Any]]:
        return self._json(lib.vmb_repo_snapshots_json, **options)

    def _listing(self, function: Callable[..., int], *arguments: Any, **options: Any
                 ) -> List[Dict[str, Any]]:
        found: List[Dict[str, Any]] = []
        document = json.dumps(options).encode()

        def receive(_user: Any, text: int, length: int) -> int:
            try:
                found.append(json.loads(string_at(text, length)))
                return constants.OK
            except (MemoryError, ValueError):
                return constants.E_NOMEM
        callback = _abi.JSON_FN(receive)
        call(function, self._pointer, *arguments, document, len(document), callback, None)
        return found

    def ls(self, snapshot: str, **options: Any) -> List[Dict[str, Any]]:
        return self._listing(lib.vmb_repo_ls, snapshot.encode(), **options)

    def find(self, patterns: Iterable[str], **options: Any) -> List[Dict[str, Any]]:
        return self._listing(lib.vmb_repo_find, patterns=list(patterns), **options)

    def dump(self, snapshot: str, path: str) -> bytes:
        """The content of one file."""
        parts: List[bytes] = []

        def write(_user: Any, data: int, length: int) -> int:
            try:
                parts.append(string_at(data, length))
                return constants.OK
            except MemoryError:
                return constants.E_NOMEM
        callback = _abi.WRITE_FN(write)
        call(lib.vmb_repo_dump, self._pointer, snapshot.encode(), path.encode(), callback, None)
        return b"".join(parts)

    def stats(self, **options: Any) -> Dict[str, Any]:
        return self._json(lib.vmb_repo_stats_json, **options)

    def check(self, **options: Any) -> Dict[str, Any]:
        return self._json(lib.vmb_repo_check, **options)

    def forget(self, **options: Any) -> List[Dict[str, Any]]:
        return self._json(lib.vmb_repo_forget, **options)

    def prune(self, **options: Any) -> Dict[str, Any]:
        return self._json(lib.vmb_repo_prune, **options)

    def copy_to(self, target: "Repo", **options: Any) -> Dict[str, Any]:
        return self._json(lib.vmb_repo_copy, target._pointer, **options)

    def unlock(self, remove_all: bool = False) -> int:
        """Removes stale locks, or all; how many."""
        removed = c_size_t()
        call(lib.vmb_repo_unlock, self._pointer, int(remove_all), byref(removed))
        return removed.value

    def keys(self) -> List[Dict[str, Any]]:
        return take_json(lib.vmb_repo_keys_json, self._pointer)

    def add_key(self, password: bytes) -> str:
        return take_text(make(lib.vmb_repo_key_add, self._pointer, password, len(password)))

    def change_password(self, password: bytes) -> str:
        return take_text(make(lib.vmb_repo_key_passwd, self._pointer, password, len(password)))

    def remove_key(self, key: str) -> None:
        call(lib.vmb_repo_key_remove, self._pointer, key.encode())


class Blocks:
    """A file or device as a disk."""

    def __init__(self, path: str, write: bool = False) -> None:
        self.table = _abi.BlocksProvider()
        call(lib.vmb_blocks_open_file, path.encode(), int(write), byref(self.table))

    def __enter__(self) -> "Blocks":
        return self

    def __exit__(self, *_: Any) -> None:
        self.table.destroy(self.table.user)


class Disk(Handle):
    """A file of a snapshot, for random reads; any number of threads may read."""

    _release = staticmethod(lib.vmb_disk_free)

    def __init__(self, repo: Repo, snapshot: str = "latest", path: Optional[str] = None,
                 cache_bytes: int = 0) -> None:
        out = c_void_p()
        call(lib.vmb_disk_open, repo._pointer, snapshot.encode(),
             None if path is None else path.encode(), cache_bytes, byref(out))
        self._pointer = out

    @property
    def size(self) -> int:
        return lib.vmb_disk_size(self._pointer)

    def read(self, offset: int, length: int) -> bytes:
        buffer = create_string_buffer(length)
        call(lib.vmb_disk_pread, self._pointer, cast(buffer, c_void_p), length, offset)
        return buffer.raw

    def extents(self) -> List[Tuple[int, int, int]]:
        """(offset, length, one of the EXTENT_ constants) of the whole disk."""
        found: List[Tuple[int, int, int]] = []

        def receive(_user: Any, offset: int, length: int, kind: int) -> int:
            found.append((offset, length, kind))
            return constants.OK
        callback = _abi.EXTENT_FN(receive)
        call(lib.vmb_disk_extents, self._pointer, 0, self.size, callback, None)
        return found
