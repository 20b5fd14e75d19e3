#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the table of code points whose simple lower case is another one, as Go's strings.ToLower
uses it: runs of equal distance, first, last and step. Usage: gen-lower.py OUTPUT"""
import sys
import unicodedata


def lower(c):
    if c == 0x130:  # the only one whose full mapping has two characters
        return 0x69
    text = chr(c).lower()
    return ord(text) if len(text) == 1 else c


def runs():
    run = None  # [first, last, step, distance]
    for c in range(0x110000):
        distance = lower(c) - c
        if distance == 0:
            continue
        if run and run[3] == distance and c - run[1] in (1, 2) and run[2] in (0, c - run[1]):
            run[1], run[2] = c, c - run[1]
            continue
        if run:
            yield run
        run = [c, c, 0, distance]
    yield run


with open(sys.argv[1], "w", encoding="utf-8") as f:
    f.write("/* made by gen-lower.py from Unicode %s */\n" % unicodedata.unidata_version)
    for first, last, step, distance in runs():
        f.write("{0x%x, 0x%x, %d, %d},\n" % (first, last, step or 1, distance))
