#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the generated tables of docs/interop.md.

    interop-table.py FOLDER PAGE

The suites note their results as lines {"table","row","column","result"} in FOLDER/<suite>.jsonl
when VMB_INTEROP_TABLE names that folder. A table NAME stands in the page between the markers
`<!-- table:NAME -->` and `<!-- end -->`; what is there before is replaced. A result that was noted
as failed anywhere is printed as failed. Ends with 1 when a table has no place in the page, or a
place has no table.
"""
import glob
import json
import os
import re
import sys

MARK = re.compile(r"(<!-- table:([\w-]+) -->\n).*?(<!-- end -->)", re.S)


def read(folder):
    """{table: {row: {column: result}}}, in the order of the suites' names and of their lines."""
    tables = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.jsonl"))):
        with open(path, encoding="utf-8") as f:
            for line in f:
                r = json.loads(line)
                row = tables.setdefault(r["table"], {}).setdefault(r["row"], {})
                if row.get(r["column"]) != "fail":
                    row[r["column"]] = r["result"]
    return tables


def markdown(rows):
    columns = []
    for row in rows.values():
        columns += [c for c in row if c not in columns]
    out = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        out.append("| " + " | ".join([name] + [row.get(c, "") for c in columns]) + " |")
    return "\n".join(out) + "\n"


def main():
    folder, page = sys.argv[1:]
    tables = read(folder)
    with open(page, encoding="utf-8") as f:
        text = f.read()
    places = {m.group(2) for m in MARK.finditer(text)}
    for name in sorted(places - set(tables)):
        print("interop-table: no suite has noted a result for the table %s" % name)
    for name in sorted(set(tables) - places):
        print("interop-table: the table %s has no place in %s" % (name, page))
    text = MARK.sub(lambda m: m.group(1) + markdown(tables[m.group(2)]) + m.group(3)
                    if m.group(2) in tables else m.group(0), text)
    with open(page, "w", encoding="utf-8") as f:
        f.write(text)
    return 1 if places != set(tables) else 0


if __name__ == "__main__":
    sys.exit(main())
