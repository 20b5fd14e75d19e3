#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the table of code points that Go's strconv.Quote leaves as they are: the Unicode categories
L, M, N, P and S, and the ASCII space. Usage: gen-printable.py OUTPUT"""
import sys
import unicodedata


def printable(c):
    return c == 0x20 or unicodedata.category(chr(c))[0] in "LMNPS"


def ranges():
    start = None
    for c in range(0x110001):
        yes = c < 0x110000 and printable(c)
        if yes and start is None:
            start = c
        elif not yes and start is not None:
            yield start, c - 1
            start = None


with open(sys.argv[1], "w", encoding="utf-8") as f:
    f.write("/* made by gen-printable.py from Unicode %s */\n" % unicodedata.unidata_version)
    for first, last in ranges():
        f.write("{0x%x, 0x%x},\n" % (first, last))
