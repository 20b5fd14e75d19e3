#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Peak memory of saving many small files and a large sparse disk into a repository.

usage: VMBACKUP=build/examples/vmbackup/vmbackup repo_memory.py [--files N] [--folder DIR]

Generates N files (a million) in folders of 1000 and a disk of 10 GiB with 200 MiB in it, saves them
twice, and ends with 1 when a peak is above the budget: 64 MiB, and 48 bytes for each blob of the
repository. Peaks are VmHWM: ru_maxrss of a child would also count this program.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
BUDGET = 64 * MIB
PER_BLOB = 48


def generate(root, files):
    for folder in range(files // 1000):
        path = os.path.join(root, "d%04d" % folder)
        os.makedirs(path)
        for i in range(1000):
            with open(os.path.join(path, "f%04d" % i), "w", encoding="ascii") as f:
                f.write(("file %d %d " % (folder, i)) * 12)
    with open(os.path.join(root, "disk.img"), "wb") as f:
        f.truncate(10 << 30)
        f.seek(3 << 30)
        for _ in range(200):
            f.write(os.urandom(MIB))


def run(*args):
    """(standard output, peak in bytes, seconds)"""
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([os.environ["VMBACKUP"], "repo", *args], stdout=out)
        peak = 0
        while process.poll() is None:
            try:
                with open("/proc/%d/status" % process.pid, encoding="ascii") as f:
                    peak = max([peak] + [int(line.split()[1]) * 1024
                                         for line in f if line.startswith("VmHWM")])
            except OSError:
                pass
            time.sleep(0.05)
        if process.returncode != 0:
            sys.exit("%s ended with %d" % (args, process.returncode))
        out.seek(0)
        return out.read().decode(), peak, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=1000000)
    parser.add_argument("--folder", default=None, help="where 2 GiB and the files find room")
    args = parser.parse_args()
    top = tempfile.mkdtemp(prefix="repo-memory-", dir=args.folder)
    failed = False
    os.environ["RESTIC_PASSWORD"] = "memory"
    try:
        source, repo = os.path.join(top, "source"), os.path.join(top, "repo")
        os.mkdir(source)
        generate(source, args.files)
        run("-r", repo, "init")
        for name in ("first", "unchanged"):
            _, peak, seconds = run("-r", repo, "backup", "-q", source)
            stats, _, _ = run("-r", repo, "stats", "--mode", "raw-data", "--json")
            blobs = json.loads(stats.splitlines()[-1])["total_blob_count"]
            budget = BUDGET + PER_BLOB * blobs
            print("%-10s %7.1f s, peak %6.1f MiB, budget %6.1f MiB (%d blobs)"
                  % (name, seconds, peak / MIB, budget / MIB, blobs), flush=True)
            failed = failed or peak > budget
    finally:
        shutil.rmtree(top)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
