#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls every public function with arguments that are missing or senseless: none may crash, and a
missing argument that the header does not allow is VMB_E_ARG with a message.

usage: nulls.py LIBRARY

The prototypes are read from the headers, so that a new function cannot be forgotten: all its
arguments are zero first; then each argument in turn is NULL, or a number that nobody expects,
while the others are as they should be. Each function is tried in a process of its own.
"""
import ctypes
import os
import re
import signal
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import srctext  # noqa: E402

E_ARG = -1
INTEGERS = {"int32_t": ctypes.c_int32, "uint32_t": ctypes.c_uint32, "int64_t": ctypes.c_int64,
            "size_t": ctypes.c_size_t, "vmb_code": ctypes.c_int32}
GARBAGE = {"int32_t": (-0x80000000, -1, 0x7fffffff), "uint32_t": (0xffffffff,),
           "int64_t": (-1 << 63, -2, (1 << 63) - 1), "vmb_code": (-0x80000000, 1, 99)}
# Arguments that may be NULL, as the headers say: of every function, or of the named one.
OPTIONAL = {"err", "out_len", "user", "destroy", "settings", "options", "summary", "summary_len",
            "ns", "source", "version", "label_selector", "subresource", "location", "zone"}
OPTIONAL_OF = {
    "vmb_ctx_load_locations": {"count"}, "vmb_ctx_set_log": {"fn"},
    "vmb_run_set_event_fn": {"fn"}, "vmb_repo_set_event_fn": {"fn"},
    "vmb_spec_new": {"name"}, "vmb_spec_new_restore": {"name", "backup"},
    "vmb_spec_validate": {"report", "report_len"},
    "vmb_catalog_copy": {"out"}, "vmb_catalog_delete": {"out"}, "vmb_repo_forget": {"out"},
    "vmb_repo_prune": {"out"}, "vmb_repo_copy": {"out"}, "vmb_repo_unlock": {"removed"},
    "vmb_repo_key_add": {"id"}, "vmb_repo_key_passwd": {"id"}, "vmb_disk_open": {"path"},
    "vmb_schedule_due": {"next_unix_ns"},
    "vmb_error_set": {"slot", "msg"}, "vmb_selector_matches": {"kv"}, "vmb_job_sleep": {"job"},
    "vmb_repo_check": {"out"},
}
# What would block, or is told by another test.
NOT_CALLED = {"vmb_control_run"}


def prototypes():
    found = {}
    folder = os.path.join(ROOT, "include", "vmbackup")
    for header in sorted(os.listdir(folder)):
        if header.endswith(".h"):
            text = srctext.blank(srctext.read("include/vmbackup/" + header))
            text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
            for m in re.finditer(r"VMB_API\s+([\w\s]+?[\s*]+)(vmb_\w+)\s*\((.*?)\)\s*;", text, re.S):
                found[m.group(2)] = (m.group(1).strip(), arguments(m.group(3)))
    return found


def arguments(text):
    """(type, name) of each argument; a function pointer's type is "callback"."""
    out, depth, start = [], 0, 0
    for i, c in enumerate(text + ","):
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            part = " ".join(text[start:i].split())
            start = i + 1
            pointer = re.search(r"\(\*(\w+)\)", part)
            if pointer:
                out.append(("callback", pointer.group(1)))
            elif part not in ("void", ""):
                kind, name = re.match(r"(.*?[\s*])(\w+)$", part).groups()
                kind = re.sub(r"\bconst\b", "", kind).replace(" ", "")
                out.append(("callback" if kind.endswith("_fn") else kind, name))
    return out


class Samples:
    """Arguments as they should be."""

    def __init__(self, lib):
        self.lib, self.keep = lib, []
        self.folder = tempfile.mkdtemp(prefix="x-", dir=os.getcwd())
        self.handles = {}
        self.any_callback = ctypes.CFUNCTYPE(ctypes.c_int32)(lambda: 0)

    def location(self):
        return (b'{"apiVersion":"velero.io/v1","kind":"BackupStorageLocation","metadata":{"name":'
                b'"default"},"spec":{"provider":"vmbackup.io/dir","config":{"path":"%s"}}}'
                % self.folder.encode())

    def make(self, function, *args):
        out = ctypes.c_void_p()
        f = getattr(self.lib, function)
        f.restype = ctypes.c_int32
        f.argtypes = None
        rc = f(*[ctypes.c_size_t(a) if isinstance(a, int) else a for a in args],
               ctypes.byref(out), None)
        assert rc == 0, f"{function}: {rc}"
        return out.value

    def handle(self, kind):
        """A handle of a kind; None for what only exists inside of a callback."""
        if kind in self.handles:
            return self.handles[kind]
        value = None
        if kind == "vmb_ctx*":
            value = self.make("vmb_ctx_new")
            doc = self.location()
            rc = self.lib.vmb_ctx_add_location(ctypes.c_void_p(value), doc,
                                               ctypes.c_size_t(len(doc)), None)
            assert rc == 0
            doc = b'{"path":"%s/examples/demo-cluster"}' % ROOT.encode()
            rc = self.lib.vmb_ctx_use(ctypes.c_void_p(value), b"cluster.dir", doc,
                                      ctypes.c_size_t(len(doc)), None)
            assert rc == 0
        elif kind == "vmb_spec*":
            value = self.make("vmb_spec_new", b"x")
        elif kind == "vmb_selector*":
            value = self.make("vmb_selector_parse", b"a=b")
        elif kind == "vmb_run*":
            value = self.make("vmb_run_new", ctypes.c_void_p(self.handle("vmb_ctx*")),
                              ctypes.c_void_p(self.handle("vmb_spec*")))
        elif kind == "vmb_catalog*":
            value = self.make("vmb_catalog_open", ctypes.c_void_p(self.handle("vmb_ctx*")), None)
        elif kind == "vmb_repo*":
            value = self.make("vmb_repo_init", ctypes.c_void_p(self.handle("vmb_ctx*")), None,
                              b'{"password":"x"}', 16)
        elif kind == "vmb_error*":
            slot = ctypes.c_void_p()
            self.lib.vmb_error_set(ctypes.byref(slot), -11, 0, b"x")
            value = slot.value
        self.handles[kind] = value
        return value

    def __call__(self, function, kind, name):
        if kind in INTEGERS:
            known = {"file": 1, "level": 1, "kind": 1, "patch_kind": 1, "code": -11, "len": 2,
                     "write": 0, "ttl_ns": 1, "n_pairs": 0}
            return INTEGERS[kind](known.get(name, 0))
        if kind == "callback":
            return ctypes.cast(self.any_callback, ctypes.c_void_p)
        if kind in ("char*", "void*"):
            texts = {"backup": b"b", "doc": b"{}", "key": b"namespace", "value": b"v",
                     "path": b"spec.ttl", "expr": b"@daily", "type": b"ADDED", "json": b"{}",
                     "text": b"a=b", "zone": b"UTC", "location": b"default"}
            buffer = ctypes.create_string_buffer(texts.get(name, b"{}"), 64)
            self.keep.append(buffer)
            return ctypes.cast(buffer, ctypes.c_void_p)
        if kind.endswith("**") or kind in (k + "*" for k in INTEGERS) or kind.endswith("provider*"):
            buffer = ctypes.create_string_buffer(512)
            self.keep.append(buffer)
            return ctypes.cast(buffer, ctypes.c_void_p)
        return ctypes.c_void_p(self.handle(kind))


def call(lib, name, result, values):
    f = getattr(lib, name)
    f.argtypes = None
    f.restype = {"vmb_code": ctypes.c_int32, "int32_t": ctypes.c_int32,
                 "uint32_t": ctypes.c_uint32, "int64_t": ctypes.c_int64,
                 "void": None}.get(result, ctypes.c_void_p)
    return f(*values)


def zero(kind):
    return INTEGERS[kind](0) if kind in INTEGERS else ctypes.c_void_p(None)


def refused(lib, name, args, values, what):
    """Calls, and expects VMB_E_ARG with a message that says which function it was, or more."""
    slot = ctypes.c_void_p()
    values = [ctypes.byref(slot) if a == ("vmb_error**", "err") else v
              for a, v in zip(args, values)]
    rc = call(lib, name, "vmb_code", values)
    if rc != E_ARG:
        return [f"{name}: {what}: {rc} instead of VMB_E_ARG"]
    lib.vmb_error_message.restype = ctypes.c_char_p
    if ("vmb_error**", "err") in args and not lib.vmb_error_message(slot):
        return [f"{name}: {what}: VMB_E_ARG without a message"]
    return []


def try_function(lib, name, result, args):
    problems = []
    zeros = [zero(kind) for kind, _ in args]
    if result == "vmb_code" and name != "vmb_error_code" and \
            any(kind not in INTEGERS and not may_be_null(name, arg) for kind, arg in args):
        problems += refused(lib, name, args, zeros, "all arguments NULL")
    else:
        call(lib, name, result, zeros)
    if name.endswith(("_free", "_unref")) or name == "vmb_error_code":
        return problems
    samples = Samples(lib)
    lacking = [kind for kind, arg in args if kind.startswith("vmb_") and kind.endswith("*") and
               not kind.endswith("**") and "provider" not in kind and kind not in INTEGERS and
               samples.handle(kind) is None]
    if lacking:
        return problems  # a thing that lives in callbacks only: core's tests have it
    for i, (kind, arg) in enumerate(args):
        if kind not in INTEGERS:
            values = [samples(name, k, a) for k, a in args]
            values[i] = ctypes.c_void_p(None)
            if arg in ("doc", "settings", "options", "data", "json", "password"):
                values[i + 1] = ctypes.c_size_t(5)  # a length without a text
            if result != "vmb_code" or (may_be_null(name, arg) and arg != "settings"):
                call(lib, name, result, values)
            else:
                problems += refused(lib, name, args, values, f"{arg} NULL")
            continue
        for number in GARBAGE.get(kind, ()):
            values = [samples(name, k, a) for k, a in args]
            values[i] = INTEGERS[kind](number)
            call(lib, name, result, values)
    return problems


def may_be_null(name, arg):
    return arg in OPTIONAL or arg in OPTIONAL_OF.get(name, ())


def in_a_process(lib, name, result, args):
    """What try_function() found, or how its process ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reading)
            signal.alarm(60)
            text = "\n".join(try_function(lib, name, result, args))
            os.write(writing, text.encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        problems = pipe.read().splitlines()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        problems.append(f"{name}: ended by signal {os.WTERMSIG(status)}")
    elif status != 0:
        problems.append(f"{name}: the test failed")
    return problems


def main():
    lib = ctypes.CDLL(os.path.abspath(sys.argv[1]))
    functions = prototypes()
    mapped = set(re.findall(r"^\s+(vmb_\w+);", srctext.read("src/vmbackup.map"), re.M))
    problems = [f"{n}: exported, but no prototype was found" for n in mapped - functions.keys()]
    with tempfile.TemporaryDirectory(prefix="vmb-nulls-") as folder:
        os.chdir(folder)
        for name, (result, args) in sorted(functions.items()):
            if name not in NOT_CALLED:
                problems += in_a_process(lib, name, result, args)
        os.chdir(ROOT)
    for line in problems:
        print(line)
    print(f"{len(functions)} functions, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
