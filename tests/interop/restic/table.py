# SPDX-License-Identifier: Apache-2.0
"""Rows of the generated tables of docs/interop.md, see tools/interop-table.py."""
import json
import os
import sys


def row(table, name, column, result="pass"):
    """Notes one result; nothing happens unless $VMB_INTEROP_TABLE names a folder."""
    folder = os.environ.get("VMB_INTEROP_TABLE")
    if not folder:
        return
    suite = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    with open(os.path.join(folder, suite + ".jsonl"), "a", encoding="utf-8") as f:
        f.write(json.dumps({"table": table, "row": name, "column": column, "result": result}) + "\n")


def noter(rows):
    """For steps.run_tests(). rows: {test: [(row, column)]} of the table of repositories."""
    def note(name, result):
        for line, column in rows.get(name, []):
            row("repositories", line, column, result)
    return note
