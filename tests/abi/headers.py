#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every public header alone, as C99 and C++11, pedantically.

usage: headers.py CC...   (the C compiler's command; C++ by the compilers that are installed)
"""
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wundef", "-Wconversion", "-Werror"]


def compiles(command, language, standard, header, folder):
    source = os.path.join(folder, "alone." + ("c" if language == "c" else "cc"))
    with open(source, "w", encoding="utf-8") as f:
        f.write(f"#include <vmbackup/{header}>\n#include <vmbackup/{header}>\n"
                "int vmb_header_test(void);\nint vmb_header_test(void)\n{\n    return VMB_OK;\n}\n")
    result = subprocess.run(
        command + ["-x", language, "-std=" + standard, "-fsyntax-only",
                   "-I", os.path.join(ROOT, "include")] + STRICT + [source],
        capture_output=True, text=True)
    if result.returncode != 0:
        print(f"{header} as {standard} by {command[0]}:\n{result.stderr}")
    return result.returncode == 0


def main():
    headers = sorted(os.listdir(os.path.join(ROOT, "include", "vmbackup")))
    headers = [h for h in headers if h.endswith(".h")]
    runs = [(sys.argv[1:] or ["cc"], "c", "c99")]
    skipped = 0
    for compiler in ("g++", "clang++"):
        if shutil.which(compiler):
            runs.append(([compiler], "c++", "c++11"))
        else:
            print(f"skipped: needs {compiler}")
            skipped += 1
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for command, language, standard in runs:
            for header in headers:
                if compiles(command, language, standard, header, folder):
                    passed += 1
                else:
                    failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
