#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the functions of the Python binding with the headers and the symbol map.

usage: binding.py

Every exported function is bound, with as many arguments as the header declares, each of its kind,
or stands below with the reason why Python does not need it.
"""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import srctext  # noqa: E402

NOT_BOUND = {}  # name: why

BINDING = os.path.join("examples", "python", "vmbackup", "_abi.py")
# the size of what is passed by value; all else is a pointer
VALUES = {"vmb_code": "c_int32", "int32_t": "c_int32", "uint32_t": "c_uint32",
          "int64_t": "c_int64", "size_t": "c_size_t", "void": "None"}
NAMES = {"code": "c_int32"}  # of _abi.py


def kind(c_type):
    c_type = re.sub(r"\b(?:const|struct)\b", "", c_type).strip()
    if "*" in c_type or "[" in c_type or c_type.endswith("_fn") or "(" in c_type:
        return "pointer"
    return VALUES.get(c_type.split()[0], c_type)


def declared():
    """{name: [kind of the result, kinds of the arguments…]}"""
    found = {}
    for path in srctext.files("include", ".h"):
        text = srctext.blank(srctext.read(path))
        for result, name, arguments in re.findall(
                r"VMB_API\s+([\w\s]+?[\s*]+)(vmb_\w+)\(((?:[^()]|\([^()]*\))*)\)\s*;", text):
            kinds = [kind(result)]
            for argument in re.split(r",(?![^(]*\))", arguments):
                argument = " ".join(argument.split())
                if argument == "void":
                    continue
                if "(" not in argument:  # without the argument's name
                    argument = re.sub(r"\w+(\[\w*\])?$", r"\1", argument)
                kinds.append(kind(argument))
            found[name] = kinds
    return found


def bound():
    """The same of the binding, from its text: its types need the library to be looked at."""
    text = srctext.read(BINDING)
    options = text.index("SIGNATURES = {")
    table = text[options:text.index("\n}", options)].replace("*_OPTIONS", "c_char_p, c_size_t")
    found = {}
    for name, types in re.findall(r'"(vmb_\w+)": \(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)', table):
        words = [w.strip() for w in re.split(r",(?![^(]*\))", types) if w.strip()]
        words = [NAMES.get(w, w) for w in words]
        found[name] = [w if w in VALUES.values() else "pointer" for w in words]
    return found


def main():
    functions, binding = declared(), bound()
    exported = set(re.findall(r"^\s*(vmb_\w+);", srctext.read("src/vmbackup.map"), re.M))
    problems = [f"{n}: is exported and in no header" for n in sorted(exported - set(functions))]
    for name in sorted(exported):
        if (name in binding) == (name in NOT_BOUND):
            problems.append(f"{name}: is " + ("bound and listed as not bound" if name in binding
                                              else f"not in {BINDING}"))
        elif name in binding and name in functions and binding[name] != functions[name]:
            problems.append(f"{name}: is bound as {binding[name]}, declared as {functions[name]}")
    problems += [f"{n}: is bound and not exported" for n in sorted(set(binding) - exported)]
    if len(exported) < 100 or len(binding) < 100:
        problems.append("too few functions were found: the check is broken")
    print("\n".join(problems) or f"{len(binding)} functions")
    failed = 1 if problems else 0
    print(f"{1 - failed} passed, {failed} failed, 0 skipped")
    sys.exit(failed)


if __name__ == "__main__":
    main()
