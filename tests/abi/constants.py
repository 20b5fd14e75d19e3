#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pins the values of the public constants, which abidiff does not see (anonymous enums).

usage: constants.py CC...
Every enumerator of the headers stands in constants.txt with its value; a value never changes and
a line is never removed. The Python binding's constants are compared as well.
"""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tools"))
sys.path.insert(0, os.path.join(ROOT, "examples", "python"))
import srctext  # noqa: E402


def header_names():
    names = []
    for path in srctext.files("include", ".h"):
        text = srctext.blank(srctext.read(path))
        for body in re.findall(r"\benum\s*\{(.*?)\}", text, re.S):
            names += re.findall(r"\b(VMB_[A-Z0-9_]+)\b(?=\s*(?:=|,|$))", body)
    return names


def compiled_values(command, names):
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "values.c")
        with open(source, "w", encoding="utf-8") as f:
            f.write("#include <stdio.h>\n#include <vmbackup/vmbackup.h>\nint main(void)\n{\n")
            for name in names:
                f.write(f'    printf("{name} %d\\n", (int){name});\n')
            f.write("    return 0;\n}\n")
        program = os.path.join(folder, "values")
        subprocess.run(command + ["-I", os.path.join(ROOT, "include"), source, "-o", program],
                       check=True)
        out = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return dict((name, int(value)) for name, value in (line.split() for line in out.splitlines()))


def pinned_values():
    values = {}
    with open(os.path.join(HERE, "constants.txt"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                name, value = line.split()
                values[name] = int(value)
    return values


def binding_values():
    from vmbackup import constants
    return {"VMB_" + name: value for name, value in vars(constants).items()
            if name.isupper() and isinstance(value, int)}


def main():
    command = sys.argv[1:] or ["cc"]
    names = header_names()
    actual = compiled_values(command, names)
    pinned = pinned_values()
    problems = []
    for name in sorted(set(pinned) - set(actual)):
        problems.append(f"{name} is pinned and gone from the headers")
    for name in sorted(set(actual) - set(pinned)):
        problems.append(f"{name} = {actual[name]} is not pinned in tests/abi/constants.txt")
    for name in sorted(set(actual) & set(pinned)):
        if actual[name] != pinned[name]:
            problems.append(f"{name} is {actual[name]}, pinned is {pinned[name]}")
    for name, value in sorted(binding_values().items()):
        if actual.get(name) != value:
            problems.append(f"the Python binding has {name} = {value}, the headers {actual.get(name)}")
    for name in sorted(set(actual) - set(binding_values())):
        problems.append(f"the Python binding lacks {name}")
    print("\n".join(problems) or f"{len(actual)} constants")
    failed = 1 if problems or len(actual) < 40 else 0
    print(f"{1 - failed} passed, {failed} failed, 0 skipped")
    sys.exit(failed)


if __name__ == "__main__":
    main()
