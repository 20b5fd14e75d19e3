#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an incremental backup of a large sparse disk costs: 1 % of it has changed, and the source
knows where. Beside it: backing up just those bytes, as a disk of their own, into a repository of
their own. Prints CPU seconds, wall seconds, peak memory and ratios of medians. Not a test: nothing
fails on a number.

    VMB_BUILD=build tests/bench/disk_increment.py [--size-gib 64] [--runs 3] [--folder /tmp]
"""
import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time

PROBE = os.environ.get("VMB_DISK_PROBE") or os.path.join(
    os.environ.get("VMB_BUILD", "build"), "tests", "interop", "restic", "disk_probe")
ENV = dict(os.environ, RESTIC_PASSWORD="geheim")
MIB = 1024 * 1024


def probe(*args):
    start = time.monotonic()
    done = subprocess.run([PROBE, *map(str, args)], capture_output=True, text=True, env=ENV)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    result = json.loads(done.stdout) if done.stdout else {}
    result["wall"] = time.monotonic() - start
    return result


class Bench:
    def __init__(self, folder, size, chunk, piece):
        self.folder, self.size, self.chunk, self.piece = folder, size, chunk, piece
        self.rng = random.Random(1)
        self.disk, self.log = os.path.join(folder, "disk"), os.path.join(folder, "log")
        self.repo = self.new_repo("repo")
        with open(self.disk, "wb") as f:
            for _ in range(64):  # some data all over it, before the first backup
                f.seek(self.rng.randrange(size // MIB) * MIB)
                f.write(self.rng.randbytes(4 * MIB))
            f.truncate(size)
        open(self.log, "w").close()
        self.parent = "-"

    def new_repo(self, name):
        at = os.path.join(self.folder, name)
        shutil.rmtree(at, ignore_errors=True)
        os.makedirs(at)
        probe("init", at)
        return at

    def change(self):
        """Writes 1 % of the disk in pieces at aligned places, into a second file as well."""
        count = self.size // 100 // self.piece
        places = self.rng.sample(range(self.size // self.piece - 1), count)
        alone = os.path.join(self.folder, "alone")
        with open(self.disk, "r+b") as f, open(alone, "wb") as g, open(self.log, "a") as log:
            for place in places:
                data = self.rng.randbytes(self.piece)
                f.seek(place * self.piece)
                f.write(data)
                g.write(data)
                log.write("%d %d\n" % (place * self.piece, self.piece))
        return alone

    def backup(self):
        result = probe("backup", self.repo, self.disk, self.parent, self.chunk, self.log)
        self.parent = result["snapshot"]
        return result

    def run(self, runs):
        first = self.backup()
        show("first backup", [first])
        increments, references = [], []
        for _ in range(runs):
            alone = self.change()
            subprocess.run(["sync"], check=False)
            increments.append(self.backup())
            references.append(probe("backup", self.new_repo("alone-repo"), alone, "-", self.chunk))
        show("increment, extents known", increments)
        show("just those bytes", references)
        idle = [self.backup() for _ in range(runs)]
        show("increment, nothing changed", idle)
        for what in ("cpu", "user", "wall", "read", "stored"):
            a, b = (statistics.median(r[what] for r in v) for v in (increments, references))
            print("  %-6s increment / those bytes: %.2f" % (what, a / b))


def show(name, results):
    def median(key):
        return statistics.median(r[key] for r in results)
    print("  %-28s cpu %6.2f s (user %5.2f)  wall %6.2f s  peak %5.1f MiB  read %8.1f MiB  stored %8.1f MiB" % (
        name, median("cpu"), median("user"), median("wall"), max(r["rss"] for r in results) / MIB,
        median("read") / MIB, median("stored") / MIB), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size-gib", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where the disk and repositories are made")
    args = parser.parse_args()
    for chunk, piece in ((4 * MIB, 4 * MIB), (1 * MIB, 1 * MIB), (4 * MIB, 1 * MIB)):
        print("%d GiB, chunks of %d MiB, changes in pieces of %d MiB" % (
            args.size_gib, chunk // MIB, piece // MIB), flush=True)
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            Bench(folder, args.size_gib * 1024 * MIB, chunk, piece).run(args.runs)


if __name__ == "__main__":
    main()
