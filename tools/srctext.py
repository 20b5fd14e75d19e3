# SPDX-License-Identifier: Apache-2.0
"""What the source checks share: finding files and blanking comments and strings."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def files(folder, *endings):
    """Paths relative to the root of all files below folder with one of the endings."""
    found = []
    for base, dirs, names in os.walk(os.path.join(ROOT, folder)):
        dirs[:] = sorted(d for d in dirs if not d.startswith((".", "build")))
        for name in sorted(names):
            if name.endswith(endings):
                found.append(os.path.relpath(os.path.join(base, name), ROOT))
    return found


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def blank(text, strings=True):
    """Text with comments (and the insides of strings) replaced by blanks; lines stay."""
    def one(match):
        token = match.group(0)
        if token[0] in "\"'" and not strings:
            return token
        return re.sub(r"[^\n]", " ", token)
    return _TOKEN.sub(one, text)


def finish(name, problems, checked):
    """Prints the problems and the suite's count line, and ends the program."""
    for problem in problems:
        print(problem)
    failed = 1 if problems else 0
    print(f"{name}: {checked}; {len(problems)} problems")
    print(f"{1 - failed} passed, {failed} failed, 0 skipped")
    sys.exit(failed)
