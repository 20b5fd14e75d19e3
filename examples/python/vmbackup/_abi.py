# SPDX-License-Identifier: Apache-2.0
"""The C interface as ctypes sees it: vtables, and one line for each function that is used.

Every function gets its types: without them ctypes takes results for `int` and cuts pointers.
Owned strings come as c_void_p, because c_char_p would lose the pointer that vmb_free() needs.
"""
import ctypes
import os
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char_p, c_int32, c_int64, c_size_t, c_uint32,
                    c_void_p)

code = c_int32
handle = c_void_p
err_p = POINTER(c_void_p)
text_out = POINTER(c_void_p)
size_out = POINTER(c_size_t)

DESTROY = CFUNCTYPE(None, c_void_p)

_HEAD = [
    ("struct_size", c_size_t),
    ("api_version", c_uint32),
    ("flags", c_uint32),
    ("name", c_char_p),
    ("user", c_void_p),
    ("destroy", DESTROY),
]


class ClusterProvider(Structure):
    """struct vmb_cluster_provider"""
    DISCOVER = CFUNCTYPE(code, c_void_p, handle, handle, err_p)
    LIST = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_char_p, c_char_p, c_char_p, c_char_p,
                     c_int64, handle, err_p)
    GET = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_char_p, c_char_p, c_char_p, c_char_p,
                    handle, err_p)
    CREATE = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_char_p, c_char_p, c_char_p, c_void_p,
                       c_size_t, handle, err_p)
    PATCH = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_char_p, c_char_p, c_char_p, c_char_p,
                      c_char_p, c_int32, c_void_p, c_size_t, handle, err_p)
    REMOVE = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_char_p, c_char_p, c_char_p, c_char_p,
                       err_p)
    WATCH = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_char_p, c_char_p, c_char_p, c_char_p,
                      handle, err_p)
    _fields_ = _HEAD + [("discover", DISCOVER), ("list", LIST), ("get", GET), ("create", CREATE),
                        ("patch", PATCH), ("remove", REMOVE), ("watch", WATCH)]


class ExecProvider(Structure):
    """struct vmb_exec_provider"""
    EXEC = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_char_p, c_char_p, POINTER(c_char_p),
                     c_size_t, handle, handle, POINTER(c_int32), err_p)
    _fields_ = _HEAD + [("exec", EXEC)]


class StoreProvider(Structure):
    """struct vmb_store_provider"""
    PUT_BEGIN = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_int64, c_uint32, POINTER(c_void_p),
                          err_p)
    PUT_WRITE = CFUNCTYPE(code, c_void_p, handle, c_void_p, c_void_p, c_size_t, err_p)
    PUT_COMMIT = CFUNCTYPE(code, c_void_p, handle, c_void_p, err_p)
    PUT_ABORT = CFUNCTYPE(None, c_void_p, c_void_p)
    GET = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_int64, c_int64, handle, err_p)
    STAT = CFUNCTYPE(code, c_void_p, handle, c_char_p, POINTER(c_int64), POINTER(c_int64), err_p)
    LIST = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_char_p, handle, err_p)
    REMOVE = CFUNCTYPE(code, c_void_p, handle, c_char_p, err_p)
    PRESIGN = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_int64, handle, err_p)
    SWEEP = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_int64, POINTER(c_int64), err_p)
    _fields_ = _HEAD + [("put_begin", PUT_BEGIN), ("put_write", PUT_WRITE),
                        ("put_commit", PUT_COMMIT), ("put_abort", PUT_ABORT), ("get", GET),
                        ("stat", STAT), ("list", LIST), ("remove", REMOVE), ("presign", PRESIGN),
                        ("sweep", SWEEP)]


class SnapshotProvider(Structure):
    """struct vmb_snapshot_provider"""
    BID = CFUNCTYPE(code, c_void_p, handle, c_void_p, c_size_t, POINTER(c_int32), err_p)
    BEGIN = CFUNCTYPE(code, c_void_p, handle, c_void_p, c_size_t, POINTER(c_void_p), err_p)
    POLL = CFUNCTYPE(code, c_void_p, handle, c_void_p, c_int64, POINTER(c_int32), err_p)
    DESCRIBE = CFUNCTYPE(code, c_void_p, handle, c_void_p, handle, err_p)
    FINISH = CFUNCTYPE(code, c_void_p, handle, c_void_p, err_p)
    OP_FREE = CFUNCTYPE(None, c_void_p, c_void_p)
    _fields_ = _HEAD + [("bid", BID), ("begin", BEGIN), ("poll", POLL), ("describe", DESCRIBE),
                        ("finish", FINISH), ("cancel", FINISH), ("op_free", OP_FREE)]


class ActionProvider(Structure):
    """struct vmb_action_provider"""
    BACKUP = CFUNCTYPE(code, c_void_p, handle, c_char_p, c_char_p, c_void_p, c_size_t, handle,
                       err_p)
    _fields_ = _HEAD + [("applies_to", c_char_p), ("backup", BACKUP)]


class BlocksProvider(Structure):
    """struct vmb_blocks_provider, as vmb_blocks_open_file() fills it; only handed on."""
    _fields_ = _HEAD + [(name, c_void_p) for name in ("size", "pread", "extents", "state", "resize",
                                                      "pwrite", "zero", "flush")]


class VolumeProvider(Structure):
    """struct vmb_volume_provider"""
    BID = CFUNCTYPE(code, c_void_p, handle, c_void_p, c_size_t, POINTER(c_int32), err_p)
    BACKUP = CFUNCTYPE(code, c_void_p, handle, c_void_p, c_size_t, handle, handle, err_p)
    RESTORE = CFUNCTYPE(code, c_void_p, handle, c_void_p, c_size_t, c_void_p, c_size_t, handle,
                        err_p)
    REMOVE = CFUNCTYPE(code, c_void_p, handle, c_void_p, c_size_t, err_p)
    VERIFY = CFUNCTYPE(code, c_void_p, handle, c_void_p, c_size_t, handle, err_p)
    _fields_ = _HEAD + [("bid", BID), ("backup", BACKUP), ("restore", RESTORE), ("remove", REMOVE),
                        ("verify", VERIFY)]


VTABLES = {
    "vmb_cluster_provider": ClusterProvider,
    "vmb_exec_provider": ExecProvider,
    "vmb_store_provider": StoreProvider,
    "vmb_snapshot_provider": SnapshotProvider,
    "vmb_action_provider": ActionProvider,
    "vmb_blocks_provider": BlocksProvider,
    "vmb_volume_provider": VolumeProvider,
}

LOG_FN = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
EVENT_FN = CFUNCTYPE(None, c_void_p, handle)
WRITE_FN = CFUNCTYPE(code, c_void_p, c_void_p, c_size_t)
JSON_FN = CFUNCTYPE(code, c_void_p, c_void_p, c_size_t)
EXTENT_FN = CFUNCTYPE(code, c_void_p, c_int64, c_int64, c_int32)
_OPTIONS = (c_char_p, c_size_t)  # a document and its length

# name: (result, arguments…)
SIGNATURES = {
    "vmb_error_code": (code, handle),
    "vmb_error_message": (c_char_p, handle),
    "vmb_error_flags": (c_uint32, handle),
    "vmb_error_free": (None, handle),
    "vmb_error_set": (None, err_p, code, c_uint32, c_char_p),
    "vmb_code_name": (c_char_p, code),
    "vmb_free": (None, c_void_p),
    "vmb_version_number": (c_uint32,),
    "vmb_version_string": (c_char_p,),
    "vmb_has_feature": (c_int32, c_char_p),
    "vmb_selector_parse": (code, c_char_p, POINTER(handle), err_p),
    "vmb_selector_from_json": (code, c_char_p, c_size_t, POINTER(handle), err_p),
    "vmb_selector_matches": (code, handle, POINTER(c_char_p), c_size_t, POINTER(c_int32), err_p),
    "vmb_selector_to_string": (code, handle, text_out, err_p),
    "vmb_selector_free": (None, handle),
    "vmb_spec_new": (code, c_char_p, POINTER(handle), err_p),
    "vmb_spec_parse": (code, c_char_p, c_size_t, c_char_p, POINTER(handle), err_p),
    "vmb_spec_clone": (code, handle, POINTER(handle), err_p),
    "vmb_spec_new_restore": (code, c_char_p, c_char_p, POINTER(handle), err_p),
    "vmb_spec_kind": (c_char_p, handle),
    "vmb_spec_free": (None, handle),
    "vmb_spec_validate": (code, handle, text_out, size_out, err_p),
    "vmb_spec_to_json": (code, handle, text_out, size_out, err_p),
    "vmb_spec_get_json": (code, handle, c_char_p, text_out, size_out, err_p),
    "vmb_spec_get_string": (code, handle, c_char_p, POINTER(c_char_p), err_p),
    "vmb_spec_get_bool": (code, handle, c_char_p, POINTER(c_int32), err_p),
    "vmb_spec_get_int": (code, handle, c_char_p, POINTER(c_int64), err_p),
    "vmb_spec_get_duration_ns": (code, handle, c_char_p, POINTER(c_int64), err_p),
    "vmb_spec_get_count": (code, handle, c_char_p, size_out, err_p),
    "vmb_spec_set_json": (code, handle, c_char_p, c_char_p, c_size_t, err_p),
    "vmb_spec_set_string": (code, handle, c_char_p, c_char_p, err_p),
    "vmb_spec_set_bool": (code, handle, c_char_p, c_int32, err_p),
    "vmb_spec_set_int": (code, handle, c_char_p, c_int64, err_p),
    "vmb_spec_set_duration_ns": (code, handle, c_char_p, c_int64, err_p),
    "vmb_spec_add_string": (code, handle, c_char_p, c_char_p, err_p),
    "vmb_spec_set_entry": (code, handle, c_char_p, c_char_p, c_char_p, err_p),
    "vmb_spec_unset": (code, handle, c_char_p, err_p),
    "vmb_ctx_new": (code, POINTER(handle), err_p),
    "vmb_ctx_ref": (handle, handle),
    "vmb_ctx_unref": (None, handle),
    "vmb_ctx_set": (code, handle, c_char_p, c_char_p, err_p),
    "vmb_ctx_set_log": (code, handle, LOG_FN, c_void_p, DESTROY, err_p),
    "vmb_ctx_use": (code, handle, c_char_p, c_char_p, c_size_t, err_p),
    "vmb_ctx_add_cluster_provider": (code, handle, POINTER(ClusterProvider), err_p),
    "vmb_ctx_add_exec_provider": (code, handle, POINTER(ExecProvider), err_p),
    "vmb_ctx_add_snapshot_provider": (code, handle, POINTER(SnapshotProvider), err_p),
    "vmb_ctx_add_volume_provider": (code, handle, POINTER(VolumeProvider), err_p),
    "vmb_job_store": (POINTER(StoreProvider), handle, POINTER(c_char_p)),
    "vmb_progress_update": (None, handle, c_int64, c_int64),
    "vmb_ctx_add_action_provider": (code, handle, POINTER(ActionProvider), err_p),
    "vmb_ctx_add_location": (code, handle, c_char_p, c_size_t, err_p),
    "vmb_ctx_add_store_provider": (code, handle, c_char_p, c_char_p, c_int32,
                                   POINTER(StoreProvider), err_p),
    "vmb_ctx_load_locations": (code, handle, size_out, err_p),
    "vmb_ctx_locations_json": (code, handle, c_int32, text_out, size_out, err_p),
    "vmb_ctx_resources_json": (code, handle, c_char_p, c_char_p, text_out, size_out, err_p),
    "vmb_run_new": (code, handle, handle, POINTER(handle), err_p),
    "vmb_run_execute": (code, handle, err_p),
    "vmb_run_cancel": (None, handle),
    "vmb_run_phase": (c_char_p, handle),
    "vmb_run_report_json": (code, handle, text_out, size_out, err_p),
    "vmb_run_plan_json": (code, handle, handle, text_out, size_out, err_p),
    "vmb_run_free": (None, handle),
    "vmb_run_fd": (c_int32, handle),
    "vmb_run_next_event": (code, handle, POINTER(handle), err_p),
    "vmb_run_set_event_fn": (code, handle, EVENT_FN, c_void_p, err_p),
    "vmb_event_kind": (c_int32, handle),
    "vmb_event_level": (c_int32, handle),
    "vmb_event_subject": (c_char_p, handle),
    "vmb_event_text": (c_char_p, handle),
    "vmb_event_done": (c_int64, handle),
    "vmb_event_total": (c_int64, handle),
    "vmb_event_free": (None, handle),
    "vmb_catalog_open": (code, handle, c_char_p, POINTER(handle), err_p),
    "vmb_catalog_free": (None, handle),
    "vmb_catalog_list_json": (code, handle, text_out, size_out, err_p),
    "vmb_catalog_describe_json": (code, handle, c_char_p, text_out, size_out, err_p),
    "vmb_catalog_read": (code, handle, c_char_p, c_int32, WRITE_FN, c_void_p, err_p),
    "vmb_catalog_read_item": (code, handle, c_char_p, c_char_p, c_char_p, c_char_p, text_out,
                              size_out, err_p),
    "vmb_catalog_restores_json": (code, handle, text_out, size_out, err_p),
    "vmb_catalog_presign": (code, handle, c_char_p, c_int32, c_int64, text_out, size_out, err_p),
    "vmb_catalog_verify_json": (code, handle, c_char_p, *_OPTIONS, text_out, size_out, err_p),
    "vmb_catalog_copy": (code, handle, c_char_p, handle, *_OPTIONS, text_out, size_out, err_p),
    "vmb_catalog_diff": (code, handle, c_char_p, handle, c_char_p, *_OPTIONS, WRITE_FN, c_void_p,
                         err_p),
    "vmb_catalog_delete": (code, handle, c_char_p, *_OPTIONS, text_out, size_out, err_p),
    "vmb_catalog_expired_json": (code, handle, c_int64, text_out, size_out, err_p),
    "vmb_catalog_orphans_json": (code, handle, text_out, size_out, err_p),
    "vmb_catalog_sweep": (code, handle, c_int64, POINTER(c_int64), err_p),
    "vmb_schedule_next": (code, c_char_p, c_char_p, c_int64, POINTER(c_int64), err_p),
    "vmb_schedule_prev": (code, c_char_p, c_char_p, c_int64, POINTER(c_int64), err_p),
    "vmb_schedule_due": (code, c_char_p, c_char_p, c_int64, c_int64, POINTER(c_int32),
                         POINTER(c_int64), err_p),
    "vmb_schedule_backup_json": (code, c_char_p, c_size_t, c_char_p, c_int64, text_out, size_out,
                                 err_p),
    "vmb_control_new": (code, handle, *_OPTIONS, POINTER(handle), err_p),
    "vmb_control_run": (code, handle, err_p),
    "vmb_control_stop": (None, handle),
    "vmb_control_ready": (c_int32, handle),
    "vmb_control_metrics": (code, handle, text_out, size_out, err_p),
    "vmb_control_free": (None, handle),
    "vmb_repo_init": (code, handle, c_char_p, *_OPTIONS, POINTER(handle), err_p),
    "vmb_repo_open": (code, handle, c_char_p, *_OPTIONS, POINTER(handle), err_p),
    "vmb_repo_free": (None, handle),
    "vmb_repo_cancel": (None, handle),
    "vmb_repo_info_json": (code, handle, text_out, size_out, err_p),
    "vmb_repo_set_event_fn": (code, handle, EVENT_FN, c_void_p, err_p),
    "vmb_repo_backup": (code, handle, *_OPTIONS, text_out, size_out, err_p),
    "vmb_repo_backup_disk": (code, handle, POINTER(BlocksProvider), *_OPTIONS, text_out, size_out,
                             err_p),
    "vmb_repo_restore": (code, handle, c_char_p, *_OPTIONS, text_out, size_out, err_p),
    "vmb_repo_restore_disk": (code, handle, c_char_p, POINTER(BlocksProvider), *_OPTIONS, text_out,
                              size_out, err_p),
    "vmb_repo_snapshots_json": (code, handle, *_OPTIONS, text_out, size_out, err_p),
    "vmb_repo_ls": (code, handle, c_char_p, *_OPTIONS, JSON_FN, c_void_p, err_p),
    "vmb_repo_find": (code, handle, *_OPTIONS, JSON_FN, c_void_p, err_p),
    "vmb_repo_dump": (code, handle, c_char_p, c_char_p, WRITE_FN, c_void_p, err_p),
    "vmb_repo_stats_json": (code, handle, *_OPTIONS, text_out, size_out, err_p),
    "vmb_repo_check": (code, handle, *_OPTIONS, text_out, size_out, err_p),
    "vmb_repo_forget": (code, handle, *_OPTIONS, text_out, size_out, err_p),
    "vmb_repo_prune": (code, handle, *_OPTIONS, text_out, size_out, err_p),
    "vmb_repo_copy": (code, handle, handle, *_OPTIONS, text_out, size_out, err_p),
    "vmb_repo_unlock": (code, handle, c_int32, size_out, err_p),
    "vmb_repo_keys_json": (code, handle, text_out, size_out, err_p),
    "vmb_repo_key_add": (code, handle, c_char_p, c_size_t, text_out, err_p),
    "vmb_repo_key_remove": (code, handle, c_char_p, err_p),
    "vmb_repo_key_passwd": (code, handle, c_char_p, c_size_t, text_out, err_p),
    "vmb_blocks_open_file": (code, c_char_p, c_int32, POINTER(BlocksProvider), err_p),
    "vmb_disk_open": (code, handle, c_char_p, c_char_p, c_int64, POINTER(handle), err_p),
    "vmb_disk_free": (None, handle),
    "vmb_disk_size": (c_int64, handle),
    "vmb_disk_extents": (code, handle, c_int64, c_int64, EXTENT_FN, c_void_p, err_p),
    "vmb_disk_pread": (code, handle, c_void_p, c_size_t, c_int64, err_p),
    "vmb_job_cancelled": (c_int32, handle),
    "vmb_job_remaining_ns": (c_int64, handle),
    "vmb_job_log": (None, handle, c_int32, c_char_p),
    "vmb_job_backup_name": (c_char_p, handle),
    "vmb_job_backup_json": (c_char_p, handle),
    "vmb_job_cancel_fd": (c_int32, handle),
    "vmb_job_sleep": (code, handle, c_int64, err_p),
    "vmb_job_cluster": (handle, handle),
    "vmb_cluster_get": (code, handle, handle, c_char_p, c_char_p, c_char_p, c_char_p, c_char_p,
                        text_out, size_out, err_p),
    "vmb_cluster_list": (code, handle, handle, c_char_p, c_char_p, c_char_p, c_char_p, c_char_p,
                         text_out, size_out, err_p),
    "vmb_cluster_create": (code, handle, handle, c_char_p, c_char_p, c_char_p, c_char_p, c_char_p,
                           c_size_t, text_out, size_out, err_p),
    "vmb_cluster_patch": (code, handle, handle, c_char_p, c_char_p, c_char_p, c_char_p, c_char_p,
                          c_char_p, c_int32, c_char_p, c_size_t, text_out, size_out, err_p),
    "vmb_cluster_remove": (code, handle, handle, c_char_p, c_char_p, c_char_p, c_char_p, c_char_p,
                           err_p),
    "vmb_cluster_serves": (c_int32, handle, c_char_p, c_char_p),
    "vmb_watch_sink_push": (code, handle, c_char_p, c_char_p, c_size_t, err_p),
    "vmb_extent_sink_push": (code, handle, c_int64, c_int64, c_int32, err_p),
    "vmb_sink_write": (code, handle, c_char_p, c_size_t, err_p),
    "vmb_item_sink_push": (code, handle, c_char_p, c_size_t, err_p),
    "vmb_key_sink_push": (code, handle, c_char_p, c_int64, c_int64, c_int32, err_p),
    "vmb_action_result_set_item": (code, handle, c_char_p, c_size_t, err_p),
    "vmb_action_result_add_related": (code, handle, c_char_p, c_char_p, c_char_p, c_char_p,
                                      c_uint32, err_p),
    "vmb_action_result_skip": (None, handle),
}


def load() -> ctypes.CDLL:
    """The library: $LIBVMBACKUP (a path), or what the loader finds."""
    lib = ctypes.CDLL(os.environ.get("LIBVMBACKUP") or "libvmbackup.so.0")
    for name, (result, *arguments) in SIGNATURES.items():
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments
    return lib


lib = load()
