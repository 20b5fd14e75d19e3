#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Finds calls that the style forbids: unbounded string functions, locale-dependent parsing, what a
library must not do to its process."""
import re

import srctext

# everywhere in C
BANNED = {
    "strcpy": "unbounded; use vmbi_buf or snprintf",
    "stpcpy": "unbounded; use vmbi_buf or snprintf",
    "strcat": "unbounded; use vmbi_buf or snprintf",
    "sprintf": "unbounded; use snprintf",
    "vsprintf": "unbounded; use vsnprintf",
    "gets": "unbounded",
    "strtok": "keeps state in the process",
    "strncpy": "may leave the result without an end",
    "atoi": "hides errors",
    "atol": "hides errors",
    "atoll": "hides errors",
    "atof": "hides errors, depends on the locale",
    "rand": "not random",
    "srand": "state of the process",
    "localtime": "not thread-safe",
    "gmtime": "not thread-safe",
    "ctime": "not thread-safe",
    "asctime": "not thread-safe",
    "setenv": "not thread-safe",
    "putenv": "not thread-safe",
    "system": "runs a shell",
    "popen": "runs a shell",
    "alloca": "unbounded stack",
    "tmpnam": "a race",
    "mktemp": "a race",
}
# in the library (src/) also
LIBRARY = {
    "exit": "a library does not end its process",
    "_exit": "a library does not end its process",
    "abort": "a library does not end its process",
    "printf": "a library does not write to standard output",
    "puts": "a library does not write to standard output",
    "putchar": "a library does not write to standard output",
    "perror": "a library does not write to standard error",
    "setlocale": "state of the process",
    "signal": "state of the process",
    "sigaction": "state of the process",
    "chdir": "state of the process",
    "umask": "state of the process",
    "atexit": "state of the process",
    "strerror": "not thread-safe; use strerror_r",
}
LIBRARY_PATTERNS = [
    (re.compile(r"\bstrto(l|ul|ll|ull|imax|umax|d|f|ld)\s*\("),
     "depends on the locale or accepts what it should not; use base/strs.h"),
    (re.compile(r"\b(stdout|stderr)\b"), "a library does not write to the standard streams"),
    (re.compile(r"#\s*include\s*<(ctype|locale)\.h>"), "depends on the locale"),
    (re.compile(r"\bis(alpha|digit|alnum|space|upper|lower|xdigit|print|punct)\s*\("),
     "depends on the locale"),
]
# (file, word): reason; every entry is a decision
ALLOWED = {}


def pattern(words):
    return re.compile(r"(?<![\w.>])(" + "|".join(map(re.escape, words)) + r")\s*\(")


def scan(path, regex, reasons, problems):
    text = srctext.blank(srctext.read(path))
    for match in regex.finditer(text):
        word = match.group(1)
        if (path, word) in ALLOWED:
            continue
        line = text.count("\n", 0, match.start()) + 1
        problems.append(f"{path}:{line}: {word}: {reasons[word]}")


def scan_library(path, problems):
    text = srctext.blank(srctext.read(path))
    for regex, reason in LIBRARY_PATTERNS:
        for match in regex.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            problems.append(f"{path}:{line}: {match.group(0).strip(' (')}: {reason}")


def main():
    problems = []
    count = 0
    banned = pattern(BANNED)
    library = pattern(LIBRARY)
    for folder in ("src", "include", "examples", "tests"):
        for path in srctext.files(folder, ".c", ".h"):
            count += 1
            scan(path, banned, BANNED, problems)
            if folder == "src":
                scan(path, library, LIBRARY, problems)
                scan_library(path, problems)
    srctext.finish("check-banned", problems, f"{count} files")


if __name__ == "__main__":
    main()
