# SPDX-License-Identifier: Apache-2.0
"""Providers written in Python. Derive from Store, Exec or Action and give it to a Context.

The library keeps a small number as its `user` pointer; the object and the C functions of its vtable
stay referenced in a table until the library calls `destroy`. A Python exception in a callback
becomes a failure of the call: nothing is ever thrown into C.
"""
import itertools
import json
import threading
from ctypes import Structure, sizeof, string_at
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Type

from . import _abi, constants
from ._abi import lib
from .errors import Error, call, take_json

_lock = threading.Lock()
_next = itertools.count(1)
_live: Dict[int, Tuple[Any, Structure]] = {}
_operations: Dict[int, Any] = {}


def live_count() -> int:
    """How many providers the library still holds."""
    with _lock:
        return len(_live)


class Job:
    """What a call is done for; valid during the call."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    @property
    def cancelled(self) -> bool:
        return lib.vmb_job_cancelled(self._pointer) != 0

    @property
    def remaining_ns(self) -> int:
        return lib.vmb_job_remaining_ns(self._pointer)

    @property
    def backup_name(self) -> str:
        return lib.vmb_job_backup_name(self._pointer).decode()

    @property
    def backup(self) -> Dict[str, Any]:
        """The Backup resource with defaults; {} outside of backups."""
        return json.loads(lib.vmb_job_backup_json(self._pointer) or b"{}")

    @property
    def cancel_fd(self) -> int:
        """Readable once the job is cancelled; -1 when there is none."""
        return lib.vmb_job_cancel_fd(self._pointer)

    def sleep(self, ns: int) -> None:
        """Raises Error when the job is cancelled, or its time is up, before."""
        call(lib.vmb_job_sleep, self._pointer, ns)

    @property
    def cluster(self) -> Optional["Cluster"]:
        """The cluster of the run; None when it has none."""
        pointer = lib.vmb_job_cluster(self._pointer)
        return Cluster(pointer, self._pointer) if pointer else None

    def log(self, level: int, message: str) -> None:
        lib.vmb_job_log(self._pointer, level, message.encode())


def _text(value: Optional[str]) -> Optional[bytes]:
    return None if value is None else value.encode()


class Cluster:
    """The run's cluster, for other providers; valid as long as its job. The group is "" for the
    core group, the resource a plural name, the namespace None for cluster-scoped objects."""

    def __init__(self, pointer: int, job: int) -> None:
        self._pointer = pointer
        self._job = job

    def get(self, group: str, resource: str, namespace: Optional[str], name: str,
            version: Optional[str] = None) -> Dict[str, Any]:
        return take_json(lib.vmb_cluster_get, self._pointer, self._job, group.encode(),
                         _text(version), resource.encode(), _text(namespace), name.encode())

    def list(self, group: str, resource: str, namespace: Optional[str] = None,
             selector: Optional[str] = None, version: Optional[str] = None) -> List[Dict[str, Any]]:
        return take_json(lib.vmb_cluster_list, self._pointer, self._job, group.encode(),
                         _text(version), resource.encode(), _text(namespace), _text(selector))

    def create(self, group: str, resource: str, namespace: Optional[str], item: Dict[str, Any],
               version: Optional[str] = None) -> Dict[str, Any]:
        data = json.dumps(item).encode()
        return take_json(lib.vmb_cluster_create, self._pointer, self._job, group.encode(),
                         _text(version), resource.encode(), _text(namespace), data, len(data))

    def patch(self, group: str, resource: str, namespace: Optional[str], name: str, change: Any,
              *, kind: int = constants.PATCH_MERGE, subresource: Optional[str] = None,
              version: Optional[str] = None) -> Dict[str, Any]:
        data = json.dumps(change).encode()
        return take_json(lib.vmb_cluster_patch, self._pointer, self._job, group.encode(),
                         _text(version), resource.encode(), _text(namespace), name.encode(),
                         _text(subresource), kind, data, len(data))

    def remove(self, group: str, resource: str, namespace: Optional[str], name: str,
               version: Optional[str] = None) -> None:
        call(lib.vmb_cluster_remove, self._pointer, self._job, group.encode(), _text(version),
             resource.encode(), _text(namespace), name.encode())

    def serves(self, group: str, resource: str) -> bool:
        return lib.vmb_cluster_serves(self._pointer, group.encode(), resource.encode()) == 1


class Store:
    """An object store: keys are text, objects are bytes."""

    def put(self, job: Job, key: str, data: bytes, if_absent: bool) -> None:
        raise NotImplementedError

    def get(self, job: Job, key: str) -> bytes:
        """Raises KeyError when there is no such key."""
        raise NotImplementedError

    def keys(self, job: Job, prefix: str) -> Iterable[Tuple[str, int]]:
        """(key, size) of all keys that start with prefix, in any order."""
        raise NotImplementedError

    def remove(self, job: Job, key: str) -> None:
        """An absent key is fine."""
        raise NotImplementedError


class Exec:
    """Runs commands in containers."""

    def run(self, job: Job, namespace: str, pod: str, container: str,
            command: List[str]) -> Tuple[int, bytes, bytes]:
        """(exit code, standard output, standard error)"""
        raise NotImplementedError


class Action:
    """Looks at objects on their way into the archive."""

    applies_to = "*"

    def backup(self, job: Job, group: str, resource: str, item: Dict[str, Any],
               result: "ActionResult") -> None:
        raise NotImplementedError


class ActionResult:
    """What an action decides."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def set_item(self, item: Dict[str, Any]) -> None:
        text = json.dumps(item).encode()
        call(lib.vmb_action_result_set_item, self._pointer, text, len(text))

    def add_related(self, group: str, resource: str, namespace: Optional[str], name: str,
                    flags: int = 0) -> None:
        call(lib.vmb_action_result_add_related, self._pointer, group.encode(), resource.encode(),
             None if namespace is None else namespace.encode(), name.encode(), flags)

    def skip(self) -> None:
        lib.vmb_action_result_skip(self._pointer)


def _guard(function: Callable[..., None]) -> Callable[..., int]:
    """Turns exceptions into codes; the error slot is the callback's last argument."""

    def guarded(user: int, *arguments: Any) -> int:
        try:
            function(_live[user][0], *arguments)
            return constants.OK
        except Error as e:
            code, message = e.code, str(e.args[0])
        except KeyError as e:
            code, message = constants.E_NOT_FOUND, f"there is no {e.args[0]}"
        except BaseException as e:  # pylint: disable=broad-except
            code, message = constants.E_PROVIDER, f"{type(e).__name__}: {e}"
        lib.vmb_error_set(arguments[-1], code, 0, message.encode())
        return code

    return guarded


def _destroy(user: int) -> None:
    with _lock:
        _live.pop(user, None)


# One for all: a function object must not be released while it runs.
_DESTROY = _abi.DESTROY(_destroy)


def _register(provider: Any, vtable: Type[Structure], name: str,
              functions: Dict[str, Callable[..., Any]]) -> Structure:
    """Fills a vtable and keeps it alive until destroy."""
    types = dict(vtable._fields_)
    table = vtable()
    table.struct_size = sizeof(table)
    table.api_version = constants.PROVIDER_API
    table.name = name.encode()
    table.destroy = _DESTROY
    for field, function in functions.items():
        setattr(table, field, types[field](function))
    with _lock:
        table.user = next(_next)
        _live[table.user] = (provider, table)
    return table


# ---- store --------------------------------------------------------------------------------------

class _Put:
    def __init__(self, key: str, if_absent: bool) -> None:
        self.key = key
        self.if_absent = if_absent
        self.parts: List[bytes] = []


def _put_begin(store: Store, job: int, key: bytes, _size: int, flags: int, op: Any, _err: Any
               ) -> None:
    with _lock:
        number = next(_next)
        _operations[number] = _Put(key.decode(), bool(flags & constants.PUT_IF_ABSENT))
    op[0] = number


def _put_write(store: Store, job: int, op: int, data: int, length: int, _err: Any) -> None:
    _operations[op].parts.append(string_at(data, length))


def _put_commit(store: Store, job: int, op: int, _err: Any) -> None:
    with _lock:
        put = _operations.pop(op)
    store.put(Job(job), put.key, b"".join(put.parts), put.if_absent)


def _put_abort(_user: int, op: int) -> None:
    with _lock:
        _operations.pop(op, None)


def _get(store: Store, job: int, key: bytes, offset: int, length: int, sink: int, _err: Any
         ) -> None:
    data = store.get(Job(job), key.decode())
    if offset > len(data):
        raise Error(constants.E_ARG, "the range starts past the end")
    part = data[offset:] if length < 0 else data[offset:offset + length]
    if part:
        call(lib.vmb_sink_write, sink, part, len(part))


def _stat(store: Store, job: int, key: bytes, size: Any, mtime: Any, _err: Any) -> None:
    size[0] = len(store.get(Job(job), key.decode()))
    mtime[0] = -1


def _list(store: Store, job: int, prefix: bytes, delimiter: Optional[bytes], sink: int, _err: Any
          ) -> None:
    start = prefix.decode()
    entries: Dict[str, Tuple[int, bool]] = {}
    for key, size in store.keys(Job(job), start):
        cut = key.find(delimiter.decode(), len(start)) if delimiter else -1
        if cut >= 0:
            entries[key[:cut + 1]] = (-1, True)
        else:
            entries[key] = (size, False)
    for key in sorted(entries, key=str.encode):
        size, is_prefix = entries[key]
        call(lib.vmb_key_sink_push, sink, key.encode(), size, -1, int(is_prefix))


def _remove(store: Store, job: int, key: bytes, _err: Any) -> None:
    store.remove(Job(job), key.decode())


def store_vtable(store: Store) -> Structure:
    return _register(store, _abi.StoreProvider, "python store", {
        "put_begin": _guard(_put_begin), "put_write": _guard(_put_write),
        "put_commit": _guard(_put_commit), "put_abort": _put_abort, "get": _guard(_get),
        "stat": _guard(_stat), "list": _guard(_list), "remove": _guard(_remove)})


# ---- exec ---------------------------------------------------------------------------------------

def _exec(provider: Exec, job: int, ns: bytes, pod: bytes, container: bytes, argv: Any, argc: int,
          out: int, errout: int, exit_code: Any, _err: Any) -> None:
    command = [argv[i].decode() for i in range(argc)]
    result, output, error_output = provider.run(Job(job), ns.decode(), pod.decode(),
                                                container.decode(), command)
    for sink, data in ((out, output), (errout, error_output)):
        if data:
            call(lib.vmb_sink_write, sink, data, len(data))
    exit_code[0] = result


def exec_vtable(provider: Exec) -> Structure:
    return _register(provider, _abi.ExecProvider, "python exec", {"exec": _guard(_exec)})


# ---- action -------------------------------------------------------------------------------------

def _backup(action: Action, job: int, group: bytes, resource: bytes, item: int, length: int,
            result: int, _err: Any) -> None:
    action.backup(Job(job), group.decode(), resource.decode(),
                  json.loads(string_at(item, length)), ActionResult(result))


def action_vtable(action: Action) -> Structure:
    table = _register(action, _abi.ActionProvider, "python action", {"backup": _guard(_backup)})
    table.applies_to = action.applies_to.encode()
    return table


__all__ = ["Action", "ActionResult", "Exec", "Job", "Store", "action_vtable", "exec_vtable",
           "live_count", "store_vtable"]
