#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the built library with the ABI baseline abi/vmbackup.abi.xml.

usage: abidiff.py BUILD [--update]     (--update writes the baseline)

Any difference is a failure: abidiff's exit codes call several real breaks only "changes". Added
members at the end of a vtable are suppressed by abi/vmbackup.abignore. abidiff finds nothing in a
stripped library, so the presence of debug information and a baseline that is not empty are tests of
their own; and a copy of the headers with a changed vtable must be noticed.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADERS = os.path.join(ROOT, "include")
BASELINE = os.path.join(ROOT, "abi", "vmbackup.abi.xml")
IGNORE = os.path.join(ROOT, "abi", "vmbackup.abignore")
counts = {"passed": 0, "failed": 0, "skipped": 0}


def result(name, fine, text=""):
    counts["passed" if fine else "failed"] += 1
    print(f"{'ok' if fine else 'FAILED'}: {name}{': ' + text if text else ''}")


def finish():
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    sys.exit(1 if counts["failed"] else 0)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def write_baseline(library, path):
    done = run("abidw", "--headers-dir", HEADERS, "--no-show-locs", "--no-comp-dir-path",
               "--no-corpus-path", "--drop-private-types", "--exported-interfaces-only",
               "--out-file", path, library)
    if done.returncode != 0:
        print(done.stdout + done.stderr)
    return done.returncode == 0


def header_functions():
    sys.path.insert(0, os.path.join(ROOT, "tools"))
    spec = __import__("importlib.util").util.spec_from_file_location(
        "check_map", os.path.join(ROOT, "tools", "check-map.py"))
    module = __import__("importlib.util").util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.header_names()


def check_debug_info(library):
    sections = run("readelf", "-S", "--wide", library).stdout
    result("the library has debug information", ".debug_info" in sections)


def check_baseline():
    with open(BASELINE, encoding="utf-8") as f:
        text = f.read()
    names = set(re.findall(r"<elf-symbol name='(vmb_\w+)'", text))
    missing = names - header_functions()
    result("the baseline's functions are still in the headers", not missing,
           ", ".join(sorted(missing)))
    declared = set(re.findall(r"<function-decl name='(vmb_\w+)'", text))
    result("the baseline knows the types of its functions",
           len(declared) >= 60 and declared == names, f"{len(declared)} of {len(names)}")


def check_difference(library):
    done = run("abidiff", "--no-added-syms", "--headers-dir2", HEADERS, "--suppressions", IGNORE,
               BASELINE, library)
    result("nothing differs from the baseline", done.returncode == 0,
           f"abidiff ended with {done.returncode}\n{done.stdout}{done.stderr}"
           if done.returncode else "")


def breaks(library_sources, change, name):
    """Builds a tiny library twice, with the headers as they are and changed; abidiff must see it."""
    with tempfile.TemporaryDirectory() as folder:
        libraries = []
        for version in ("1", "2"):
            headers = os.path.join(folder, version, "include")
            shutil.copytree(HEADERS, headers)
            if version == "2":
                path = os.path.join(headers, "vmbackup", "provider.h")
                with open(path, encoding="utf-8") as f:
                    text = f.read()
                assert change[0] in text, change
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text.replace(change[0], change[1], 1))
            source = os.path.join(folder, version, "tiny.c")
            with open(source, "w", encoding="utf-8") as f:
                f.write(library_sources)
            library = os.path.join(folder, version, "libtiny.so")
            subprocess.run(["gcc", "-g", "-shared", "-fPIC", "-I", headers, source, "-o", library],
                           check=True)
            libraries.append((library, headers))
        done = run("abidiff", "--headers-dir1", libraries[0][1], "--headers-dir2", libraries[1][1],
                   "--suppressions", IGNORE, libraries[0][0], libraries[1][0])
        return done.returncode


TINY = """#include <vmbackup/vmbackup.h>
vmb_code vmb_ctx_add_exec_provider(vmb_ctx *ctx, const vmb_exec_provider *p, vmb_error **err)
{
    (void)ctx; (void)err;
    return p->exec ? VMB_OK : VMB_E_ARG;
}
"""


def check_sensitivity():
    """The tool as it is called here notices a break and lets an appended member pass."""
    middle = ("    /**\n     * Runs a command", "    int32_t inserted;\n    /**\n     * Runs a command")
    result("a member in the middle of a vtable is noticed", breaks(TINY, middle, "middle") != 0)
    end = ("} vmb_exec_provider;", "    vmb_code (*later)(void *user);\n} vmb_exec_provider;")
    code = breaks(TINY, end, "end")
    result("a member at the end of a vtable passes", code == 0, str(code) if code else "")


def main():
    build = sys.argv[1]
    library = os.path.realpath(os.path.join(build, "src", "libvmbackup.so"))
    if not shutil.which("abidiff"):
        print("skipped: needs abidiff")
        counts["skipped"] += 1
        finish()
    if sys.argv[2:] == ["--update"]:
        os.makedirs(os.path.dirname(BASELINE), exist_ok=True)
        sys.exit(0 if write_baseline(library, BASELINE) else 1)
    check_debug_info(library)
    check_sensitivity()
    if os.path.exists(BASELINE):
        check_baseline()
        check_difference(library)
    else:
        result("abi/vmbackup.abi.xml exists", False)
    finish()


if __name__ == "__main__":
    main()
