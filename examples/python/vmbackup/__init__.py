# SPDX-License-Identifier: Apache-2.0
"""Backup of virtual machines on Kubernetes: libvmbackup for Python.

    import vmbackup
    context = vmbackup.Context()
    context.use("cluster.kube")
    context.load_locations()
    run = vmbackup.Run(context, vmbackup.Spec.parse(open("backup.yaml").read()))
    run.execute()
"""
import json
from ctypes import byref, c_char_p, c_int32, c_int64, c_size_t, c_void_p, string_at
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from . import _abi, constants
from ._abi import lib
from .errors import Error, call, make, take_json, take_text
from .handle import Handle as _Handle
from .providers import (Action, ActionResult, Cluster, Exec, Job, Store, action_vtable,
                        exec_vtable, live_count, store_vtable)
from . import schedule
from .control import Control
from .repo import Blocks, Disk, Repo


def version() -> str:
    """Version of the loaded library."""
    return lib.vmb_version_string().decode()


def has_feature(name: str) -> bool:
    """Whether the library was built with a feature such as "store.s3"."""
    return lib.vmb_has_feature(name.encode()) == 1


def _optional(text: Optional[str]) -> Optional[bytes]:
    return None if text is None else text.encode()


class Selector(_Handle):
    """A compiled label selector; any number of threads may match with it."""

    _release = staticmethod(lib.vmb_selector_free)

    def __init__(self, text: Optional[str] = None, *, document: Any = None) -> None:
        if document is None:
            self._pointer = make(lib.vmb_selector_parse, (text or "").encode())
        else:
            data = json.dumps(document).encode()
            self._pointer = make(lib.vmb_selector_from_json, data, len(data))

    def matches(self, labels: Mapping[str, str]) -> bool:
        pairs: List[bytes] = []
        for key, value in labels.items():
            pairs += [key.encode(), value.encode()]
        array = (c_char_p * len(pairs))(*pairs) if pairs else None
        yes = c_int32()
        call(lib.vmb_selector_matches, self._pointer, array, len(pairs) // 2, byref(yes))
        return bool(yes.value)

    def __str__(self) -> str:
        out = c_void_p()
        call(lib.vmb_selector_to_string, self._pointer, byref(out))
        return take_text(out)


class Spec(_Handle):
    """A Backup or Restore. Fields are addressed by their path ("spec.includedNamespaces")."""

    _release = staticmethod(lib.vmb_spec_free)

    def __init__(self, name: Optional[str] = None) -> None:
        self._pointer = make(lib.vmb_spec_new, _optional(name))

    @classmethod
    def parse(cls, text: str, source: Optional[str] = None) -> "Spec":
        """From YAML or JSON."""
        spec = cls.__new__(cls)
        data = text.encode()
        spec._pointer = make(lib.vmb_spec_parse, data, len(data), _optional(source))
        return spec

    @classmethod
    def restore(cls, name: str, backup: Optional[str] = None) -> "Spec":
        """A new Restore, of a backup."""
        spec = cls.__new__(cls)
        spec._pointer = make(lib.vmb_spec_new_restore, name.encode(), _optional(backup))
        return spec

    def clone(self) -> "Spec":
        spec = type(self).__new__(type(self))
        spec._pointer = make(lib.vmb_spec_clone, self._pointer)
        return spec

    @property
    def kind(self) -> str:
        """"Backup" or "Restore"."""
        return lib.vmb_spec_kind(self._pointer).decode()

    def duration_ns(self, path: str) -> int:
        """A duration ("spec.ttl") in nanoseconds."""
        out = c_int64()
        call(lib.vmb_spec_get_duration_ns, self._pointer, path.encode(), byref(out))
        return out.value

    def count(self, path: str) -> int:
        """Elements of a list or map; 0 when it is unset."""
        out = c_size_t()
        call(lib.vmb_spec_get_count, self._pointer, path.encode(), byref(out))
        return out.value

    def __getitem__(self, path: str) -> Any:
        """The value at a path; KeyError when it is unset."""
        try:
            return take_json(lib.vmb_spec_get_json, self._pointer, path.encode())
        except Error as e:
            if e.code == constants.E_NOT_FOUND:
                raise KeyError(path) from None
            raise

    def __setitem__(self, path: str, value: Any) -> None:
        data = json.dumps(value).encode()
        call(lib.vmb_spec_set_json, self._pointer, path.encode(), data, len(data))

    def __delitem__(self, path: str) -> None:
        call(lib.vmb_spec_unset, self._pointer, path.encode())

    def problems(self) -> List[Dict[str, Any]]:
        """Everything that is wrong, errors and warnings, each with place and remedy."""
        report, length, slot = c_void_p(), c_size_t(), c_void_p()
        code = lib.vmb_spec_validate(self._pointer, byref(report), byref(length), byref(slot))
        lib.vmb_error_free(slot)
        if code not in (constants.OK, constants.E_INVALID):
            raise Error(code, "the check failed")
        return json.loads(take_text(report, length.value))["problems"]

    def to_dict(self) -> Dict[str, Any]:
        return take_json(lib.vmb_spec_to_json, self._pointer)


class Context(_Handle):
    """Settings, providers and locations. The first run freezes it."""

    _release = staticmethod(lib.vmb_ctx_unref)

    def __init__(self) -> None:
        self._pointer = make(lib.vmb_ctx_new)

    def set(self, key: str, value: str) -> None:
        call(lib.vmb_ctx_set, self._pointer, key.encode(), value.encode())

    def use(self, name: str, settings: Optional[Mapping[str, Any]] = None) -> None:
        """A built-in provider."""
        data = None if settings is None else json.dumps(settings).encode()
        call(lib.vmb_ctx_use, self._pointer, name.encode(), data, len(data) if data else 0)

    def add_exec(self, provider: Exec) -> None:
        call(lib.vmb_ctx_add_exec_provider, self._pointer, byref(exec_vtable(provider)))

    def add_action(self, action: Action) -> None:
        call(lib.vmb_ctx_add_action_provider, self._pointer, byref(action_vtable(action)))

    def add_store(self, location: str, store: Store, *, prefix: str = "",
                  default: bool = False) -> None:
        """A location whose store is written in Python."""
        call(lib.vmb_ctx_add_store_provider, self._pointer, location.encode(), prefix.encode(),
             int(default), byref(store_vtable(store)))

    def add_location(self, location: Mapping[str, Any]) -> None:
        """A BackupStorageLocation."""
        data = json.dumps(location).encode()
        call(lib.vmb_ctx_add_location, self._pointer, data, len(data))

    def load_locations(self) -> int:
        """The BackupStorageLocations of the cluster; how many there were."""
        count = c_size_t()
        call(lib.vmb_ctx_load_locations, self._pointer, byref(count))
        return count.value

    def locations(self, validate: bool = False) -> List[Dict[str, Any]]:
        return take_json(lib.vmb_ctx_locations_json, self._pointer, int(validate))

    def resources(self, resource: str) -> List[Dict[str, Any]]:
        """Velero's resources in the cluster, by their plural name: "restores", "schedules" …"""
        return take_json(lib.vmb_ctx_resources_json, self._pointer, resource.encode(), None)

    def resource(self, resource: str, name: str) -> Dict[str, Any]:
        """One of them; Error with E_NOT_FOUND when there is none."""
        return take_json(lib.vmb_ctx_resources_json, self._pointer, resource.encode(),
                         name.encode())


class Event:
    """Progress of a run, copied."""

    def __init__(self, pointer: int) -> None:
        self.kind: int = lib.vmb_event_kind(pointer)
        self.level: int = lib.vmb_event_level(pointer)
        self.subject: str = lib.vmb_event_subject(pointer).decode("utf-8", "replace")
        self.text: str = lib.vmb_event_text(pointer).decode("utf-8", "replace")
        self.done: int = lib.vmb_event_done(pointer)
        self.total: int = lib.vmb_event_total(pointer)


def plan(context: Context, spec: Spec) -> Dict[str, Any]:
    """What a backup would do: nothing is stored, no hook runs, no snapshot is cut."""
    return take_json(lib.vmb_run_plan_json, context._pointer, spec._pointer)


class Run(_Handle):
    """One execution of a backup or restore."""

    _release = staticmethod(lib.vmb_run_free)

    def __init__(self, context: Context, spec: Spec,
                 on_event: Optional[Callable[[Event], None]] = None) -> None:
        self._pointer = make(lib.vmb_run_new, context._pointer, spec._pointer)
        self._failure: Optional[BaseException] = None
        if on_event:
            def deliver(_user: Any, event: int) -> None:
                try:
                    on_event(Event(event))
                except BaseException as e:  # pylint: disable=broad-except
                    self._failure = self._failure or e
            self._callback = _abi.EVENT_FN(deliver)
            call(lib.vmb_run_set_event_fn, self._pointer, self._callback, None)

    def execute(self) -> str:
        """Runs to the end and returns the phase; raises Error when the backup failed."""
        call(lib.vmb_run_execute, self._pointer)
        if self._failure:
            raise self._failure
        return self.phase

    def cancel(self) -> None:
        """May be called from any thread."""
        lib.vmb_run_cancel(self._pointer)

    @property
    def phase(self) -> str:
        return lib.vmb_run_phase(self._pointer).decode()

    def report(self) -> Dict[str, Any]:
        return take_json(lib.vmb_run_report_json, self._pointer)


def _document(options: Mapping[str, Any]) -> Tuple[Optional[bytes], int]:
    """Options as the library takes them: a document and its length."""
    data = json.dumps(options).encode() if options else None
    return data, len(data or b"")


def _collect(function: Callable[..., int], *arguments: Any) -> bytes:
    """Everything that a function hands to its write callback."""
    parts: List[bytes] = []

    def write(_user: Any, data: int, length: int) -> int:
        try:
            parts.append(string_at(data, length))
            return constants.OK
        except MemoryError:
            return constants.E_NOMEM
    call(function, *arguments, _abi.WRITE_FN(write), None)
    return b"".join(parts)


class Catalog(_Handle):
    """What a storage location holds."""

    _release = staticmethod(lib.vmb_catalog_free)

    def __init__(self, context: Context, location: Optional[str] = None) -> None:
        self._pointer = make(lib.vmb_catalog_open, context._pointer, _optional(location))

    def list(self) -> List[Dict[str, Any]]:
        return take_json(lib.vmb_catalog_list_json, self._pointer)

    def describe(self, backup: str) -> Dict[str, Any]:
        return take_json(lib.vmb_catalog_describe_json, self._pointer, backup.encode())

    def restores(self) -> List[Dict[str, Any]]:
        """The restores that left files in the location."""
        return take_json(lib.vmb_catalog_restores_json, self._pointer)

    def read(self, backup: str, file: int) -> bytes:
        """One of the FILE_ constants, whole; of a restore, by its name, for FILE_RESTORE ones."""
        return _collect(lib.vmb_catalog_read, self._pointer, backup.encode(), file)

    def presign(self, backup: str, file: int, ttl_ns: int) -> str:
        """A link to a file, as it lies in the store."""
        out, length = c_void_p(), c_size_t()
        call(lib.vmb_catalog_presign, self._pointer, backup.encode(), file, ttl_ns, byref(out),
             byref(length))
        return take_text(out, length.value)

    def verify(self, backup: str, **options: Any) -> Dict[str, Any]:
        """Whether a backup is whole; deep=True reads the volumes, too."""
        return take_json(lib.vmb_catalog_verify_json, self._pointer, backup.encode(),
                         *_document(options))

    def copy_to(self, target: "Catalog", backup: str, **options: Any) -> Dict[str, Any]:
        """Copies a backup into another location; archiveOnly=True without its volumes."""
        return take_json(lib.vmb_catalog_copy, self._pointer, backup.encode(), target._pointer,
                         *_document(options))

    def diff(self, first: str, second: str, other: Optional["Catalog"] = None,
             **options: Any) -> List[Dict[str, Any]]:
        """What differs; the last element counts. ignore=["/metadata/labels"] leaves parts out."""
        lines = _collect(lib.vmb_catalog_diff, self._pointer, first.encode(),
                         (other or self)._pointer, second.encode(), *_document(options))
        return [json.loads(line) for line in lines.splitlines()]

    def delete(self, backup: str, **options: Any) -> Dict[str, Any]:
        """Deletes a backup with what it has elsewhere; "deleted" tells the outcome."""
        return take_json(lib.vmb_catalog_delete, self._pointer, backup.encode(),
                         *_document(options))

    def expired(self, now_unix_ns: int) -> List[Dict[str, Any]]:
        return take_json(lib.vmb_catalog_expired_json, self._pointer, now_unix_ns)

    def orphans(self) -> List[Dict[str, Any]]:
        """Folders without velero-backup.json."""
        return take_json(lib.vmb_catalog_orphans_json, self._pointer)

    def read_item(self, backup: str, resource: str, namespace: Optional[str], name: str
                  ) -> Dict[str, Any]:
        """One object out of a backup's archive."""
        return take_json(lib.vmb_catalog_read_item, self._pointer, backup.encode(),
                         resource.encode(), _optional(namespace), name.encode())


__all__ = ["Action", "ActionResult", "Blocks", "Catalog", "Cluster", "Context", "Control", "Disk",
           "Error", "Event", "Exec", "Job", "Repo", "Run", "Selector", "Spec", "Store",
           "constants", "has_feature", "live_count", "plan", "schedule", "version"]
