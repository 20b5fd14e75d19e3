#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares three lists: the VMB_API functions of the headers, the names in src/vmbackup.map, and
what the built library exports (its path is the argument)."""
import re
import subprocess
import sys

import srctext

API = re.compile(r"\bVMB_API\b[^;{]*?\b(vmb_[a-z0-9_]+)\s*\(", re.S)


def header_names():
    names = set()
    for path in srctext.files("include", ".h"):
        names.update(API.findall(srctext.blank(srctext.read(path))))
    return names


def map_names():
    text = srctext.read("src/vmbackup.map")
    return set(re.findall(r"^\s*(vmb_[a-z0-9_]+);", text, re.M))


def exported_names(library):
    out = subprocess.run(["nm", "-D", "--defined-only", library], check=True,
                         capture_output=True, text=True).stdout
    names = set()
    for line in out.splitlines():
        name = line.split()[-1].split("@")[0]
        if not name.startswith("VMB_"):  # the version nodes
            names.add(name)
    return names


def compare(problems, left, left_name, right, right_name):
    for name in sorted(left - right):
        problems.append(f"{name}: in {left_name}, not in {right_name}")
    for name in sorted(right - left):
        problems.append(f"{name}: in {right_name}, not in {left_name}")


def main():
    headers = header_names()
    problems = []
    compare(problems, headers, "the headers", map_names(), "src/vmbackup.map")
    for library in sys.argv[1:]:
        compare(problems, headers, "the headers", exported_names(library), "the library")
    if len(headers) < 20:
        problems.append("fewer than 20 functions were found in the headers: the check is broken")
    srctext.finish("check-map", problems, f"{len(headers)} functions")


if __name__ == "__main__":
    main()
