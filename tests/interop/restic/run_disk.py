#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Disks between us and the real restic: it checks, dumps and restores what we saved, and we read at
random what it saved; increments by a log of writes; loop devices where the machine has them.

Ends with `N passed, N failed, N skipped`.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

import steps  # noqa: E402
from steps import Skip  # noqa: E402

PROBE = os.environ.get("VMB_DISK_PROBE") or os.path.join(
    os.environ.get("VMB_BUILD", "build"), "tests", "interop", "restic", "disk_probe")
ENV = dict(os.environ, RESTIC_PASSWORD="geheim", TZ="UTC", RESTIC_CACHE_DIR="")
MIB = 1024 * 1024


def run(argv, code=0, data=None, text=True):
    done = subprocess.run(argv, capture_output=True, env=ENV, timeout=300, input=data)
    assert done.returncode == code, "%s ended with %d\n%s" % (
        " ".join(argv), done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout.decode() if text else done.stdout


def ours(*args):
    out = run([PROBE, *map(str, args)])
    return json.loads(out) if out else None


def restic(repo, *args, text=True):
    return run(["restic", "-r", repo, "--no-cache", "-q", *args], text=text)


def same(a, b):
    return subprocess.run(["cmp", "-s", a, b]).returncode == 0


def read_all(path):
    with open(path, "rb") as f:
        return f.read()


class Suite:
    def __init__(self, folder):
        self.folder = folder
        self.rng = random.Random(11)
        self.disk = self.make("disk", 64 * MIB + 12345)
        self.log = os.path.join(folder, "log")
        open(self.log, "w").close()
        self.mine = self.repo("mine")
        self.first = None

    def make(self, name, size):
        """A disk with data, text, zeros that are written, and holes."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(self.rng.randbytes(9 * MIB))
            f.write(b"the same line again\n" * 200_000)
            f.write(bytes(6 * MIB))
            f.seek(40 * MIB + 4096)
            f.write(self.rng.randbytes(70_000))
            f.seek(size - 3 * MIB - 5)
            f.write(self.rng.randbytes(2 * MIB))
            f.truncate(size)
        return path

    def repo(self, name, by="ours", version="2"):
        at = os.path.join(self.folder, name)
        if by == "ours":
            os.makedirs(at)
            ours("init", at)
        else:
            restic(at, "init", "--repository-version", version)
        return at

    def write(self, offset, data):
        with open(self.disk, "r+b") as f:
            f.seek(offset)
            f.write(data)
        with open(self.log, "a") as f:
            f.write("%d %d\n" % (offset, len(data)))

    def restored_by_restic(self, repo, snapshot, want):
        at = tempfile.mkdtemp(dir=self.folder)
        restic(repo, "restore", snapshot, "--target", at, "--verify")
        assert same(os.path.join(at, "disk.img"), want)
        shutil.rmtree(at)

    def read_at_random(self, repo, snapshot, path, want, times=150):
        data = read_all(want)
        places = [(0, 1), (len(data) - 1, 1), (0, 5 * MIB), (len(data), 0)]
        for _ in range(times):
            at = self.rng.randrange(len(data))
            places.append((at, min(self.rng.choice((1, 512, 4096, 100_000, 3 * MIB)),
                                   len(data) - at)))
        got = run([PROBE, "pread", repo, snapshot, path], text=False,
                  data="".join("%d %d\n" % p for p in places).encode())
        at = 0
        for offset, length in places:
            assert got[at:at + length] == data[offset:offset + length], (offset, length)
            at += length
        assert at == len(got)

    # ---- tests

    def restic_accepts_ours(self):
        result = ours("backup", self.mine, self.disk, "-", 0, self.log)
        self.first = result["snapshot"]
        restic(self.mine, "check", "--read-data")
        assert restic(self.mine, "ls", self.first).split() == ["/disk.img"]
        assert restic(self.mine, "dump", self.first, "/disk.img", text=False) == \
            read_all(self.disk)
        self.restored_by_restic(self.mine, self.first, self.disk)
        snap = json.loads(restic(self.mine, "snapshots", "--json"))[0]
        assert snap["paths"] == ["/disk.img"] and snap["hostname"] == "probe", snap
        assert snap["tags"] == ["probe"], snap

    def holes_are_not_read(self):
        st = os.stat(self.disk)
        result = ours("backup", self.repo("holes"), self.disk, "-", 0)
        assert result["read"] <= st.st_blocks * 512 + MIB < st.st_size, (result, st)

    def chunks_of_all_sizes_are_accepted(self):
        for size in (64 * 1024, 1 * MIB, 8 * MIB):
            repo = self.repo("size%d" % size)
            snap = ours("backup", repo, self.disk, "-", size)["snapshot"]
            restic(repo, "check", "--read-data")
            self.restored_by_restic(repo, snap, self.disk)
            self.read_at_random(repo, snap, "/disk.img", self.disk, 40)

    def old_repositories_are_written(self):
        repo = self.repo("v1", "restic", "1")
        snap = ours("backup", repo, self.disk, "-", 0)["snapshot"]
        restic(repo, "check", "--read-data")
        self.restored_by_restic(repo, snap, self.disk)
        extents = ours("extents", repo, snap, "-")
        assert any(e[2] == 1 for e in extents), extents

    def odd_sizes_are_accepted(self):
        repo = self.repo("odd")
        for size in (0, 1, 4 * MIB, 4 * MIB + 1):
            path = os.path.join(self.folder, "odd.img")
            with open(path, "wb") as f:
                f.write(self.rng.randbytes(size))
            snap = ours("backup", repo, path, "-", 0)["snapshot"]
            self.restored_by_restic(repo, snap, path)
            target = os.path.join(self.folder, "odd.out")
            ours("restore", repo, snap, "-", target)
            assert same(path, target)
        restic(repo, "check", "--read-data")

    def only_changes_are_read(self):
        parent = self.first
        for turn in range(5):
            changed = set()
            for _ in range(4):
                at = self.rng.randrange(64 * MIB - 300_000)
                data = self.rng.randbytes(self.rng.choice((1, 512, 70_000, 200_000)))
                self.write(at, data)
                changed.update(range(at // (4 * MIB), (at + len(data) - 1) // (4 * MIB) + 1))
            result = ours("backup", self.mine, self.disk, parent, 0, self.log)
            assert result["read"] <= len(changed) * 4 * MIB, (result, changed)
            assert result["unchanged"] >= result["bytes"] - (len(changed) + 1) * 4 * MIB, result
            parent = result["snapshot"]
            assert restic(self.mine, "dump", parent, "/disk.img", text=False) == \
                read_all(self.disk), turn
        restic(self.mine, "check", "--read-data")

    def disk_may_grow_and_shrink(self):
        for size in (70 * MIB + 3, 61 * MIB):
            with open(self.disk, "r+b") as f:
                f.truncate(size)
            parent = json.loads(restic(self.mine, "snapshots", "--json"))[-1]["id"]
            result = ours("backup", self.mine, self.disk, parent, 0, self.log)
            assert result["unchanged"] > 50 * MIB, result
            assert restic(self.mine, "dump", result["snapshot"], "/disk.img", text=False) == \
                read_all(self.disk)
        restic(self.mine, "check", "--read-data")

    def state_outlives_restics_own_work(self):
        """restic drops what it does not know when it writes a snapshot anew: all is read then."""
        restic(self.mine, "tag", "--add", "seen", "latest")
        snaps = json.loads(restic(self.mine, "snapshots", "--json"))
        parent = next(s["id"] for s in snaps if "seen" in (s.get("tags") or []))
        result = ours("backup", self.mine, self.disk, parent, 0, self.log)
        assert result["unchanged"] == 0 and result["new"] < 100_000, result
        self.first = result["snapshot"]
        result = ours("backup", self.mine, self.disk, self.first, 0, self.log)
        assert result["read"] == 0, result

    def forget_and_prune_keep_what_is_shared(self):
        keep = ours("backup", self.mine, self.disk, self.first, 0, self.log)["snapshot"]
        restic(self.mine, "forget", "--keep-last", "1", "--group-by", "", "--prune")
        restic(self.mine, "check", "--read-data")
        self.restored_by_restic(self.mine, keep, self.disk)

    def we_restore_ours(self):
        target = os.path.join(self.folder, "restored")
        with open(target, "wb") as f:  # an old disk, larger and full of something else
            f.write(b"old!" * (20 * MIB))
        result = ours("restore", self.mine, "latest", "/disk.img", target)
        assert same(self.disk, target)
        assert result["verified"] == result["bytes"], result
        st = os.stat(target)
        assert st.st_blocks * 512 < 30 * MIB, st

    def we_read_ours(self):
        self.read_at_random(self.mine, "latest", "-", self.disk)

    def we_read_restics(self):
        for version in ("1", "2"):
            repo = self.repo("theirs" + version, "restic", version)
            restic(repo, "backup", self.disk)
            self.read_at_random(repo, "latest", self.disk, self.disk)
            target = os.path.join(self.folder, "theirs.out")
            ours("restore", repo, "latest", self.disk, target)
            assert same(self.disk, target)
            zeros = sum(e[1] for e in ours("extents", repo, "latest", "-") if e[2] == 1)
            assert zeros > 25 * MIB, zeros

    def block_devices_are_saved_and_restored(self):
        size = 24 * MIB
        images = [os.path.join(self.folder, n) for n in ("loop-a", "loop-b")]
        with open(images[0], "wb") as f:
            f.write(self.rng.randbytes(5 * MIB))
            f.truncate(size)
        with open(images[1], "wb") as f:
            f.write(b"x" * size)
        devices = []
        try:
            for image in images:
                done = subprocess.run(["losetup", "-f", "--show", image], capture_output=True,
                                      text=True)
                if done.returncode != 0:
                    raise Skip("no loop devices: " + done.stderr.strip())
                devices.append(done.stdout.strip())
            repo = self.repo("loop")
            result = ours("backup", repo, devices[0], "-", 0)
            assert result["bytes"] == size, result
            restic(repo, "check", "--read-data")
            ours("restore", repo, "latest", "-", devices[1])
            assert same(devices[0], devices[1])
            # a disk that does not fit
            small = ours("backup", repo, self.disk, "-", 0)["snapshot"]
            err = subprocess.run([PROBE, "restore", repo, small, "-", devices[1]],
                                 capture_output=True, text=True, env=ENV)
            assert err.returncode == 1 and "are needed" in err.stderr, err
        finally:
            for device in devices:
                subprocess.run(["losetup", "-d", device], check=False)
        assert same(images[0], images[1])

    TESTS = [restic_accepts_ours, holes_are_not_read, chunks_of_all_sizes_are_accepted,
             old_repositories_are_written, odd_sizes_are_accepted, only_changes_are_read,
             disk_may_grow_and_shrink, state_outlives_restics_own_work,
             forget_and_prune_keep_what_is_shared, we_restore_ours, we_read_ours, we_read_restics,
             block_devices_are_saved_and_restored]


def main():
    if not shutil.which("restic"):
        return steps.skip_all("needs restic")
    return steps.in_one_folder(Suite, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
