#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the layout of the vtables with the pinned one and with the Python binding's.

usage: layout.py LAYOUT-PROGRAM LIBRARY
"""
import ctypes
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "examples", "python"))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import srctext  # noqa: E402


def compiled(program):
    out = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return out.splitlines()


def binding():
    from vmbackup import _abi
    lines = []
    for name, table in _abi.VTABLES.items():
        lines.append(f"{name} sizeof {ctypes.sizeof(table)}")
        for field in table._fields_:
            lines.append(f"{name} {field[0]} {getattr(table, field[0]).offset}")
    return lines


def header_fields():
    """Every member of every vtable in the headers, so that none is forgotten here."""
    found = set()
    text = "".join(srctext.blank(srctext.read("include/vmbackup/" + header))
                   for header in ("provider.h", "volume.h"))
    for name, body in re.findall(r"typedef struct (vmb_\w+_provider) \{(.*?)\n\} ", text, re.S):
        for member in body.split(";"):
            match = re.search(r"\(\*(\w+)\)\s*\(", member) or re.search(r"(\w+)\s*$", member)
            if match:
                found.add(f"{name} {match.group(1)}")
    return found


def main():
    program, library = sys.argv[1:]
    os.environ["LIBVMBACKUP"] = os.path.abspath(library)
    actual = compiled(program)
    problems = []
    if ctypes.sizeof(ctypes.c_void_p) == 8:
        with open(os.path.join(HERE, "layout.txt"), encoding="utf-8") as f:
            pinned = [line.strip() for line in f if line.strip() and not line.startswith("#")]
        problems += [f"pinned, but not so any more: {l}" for l in pinned if l not in actual]
        problems += [f"not pinned in tests/abi/layout.txt: {l}" for l in actual if l not in pinned]
    known = {" ".join(line.split()[:2]) for line in actual}
    problems += [f"tests/abi/layout.c lacks {f}" for f in sorted(header_fields() - known)]
    other = binding()
    problems += [f"the Python binding differs: {l}" for l in actual if l not in other]
    problems += [f"only in the Python binding: {l}" for l in other if l not in actual]
    if len(actual) < 50 or len(header_fields()) < 45:
        problems.append("too few members were found: the check is broken")
    print("\n".join(problems) or f"{len(actual)} sizes and offsets")
    failed = 1 if problems else 0
    print(f"{1 - failed} passed, {failed} failed, 0 skipped")
    sys.exit(failed)


if __name__ == "__main__":
    main()
