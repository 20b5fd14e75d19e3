#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files and folders between us and the real restic: equal trees of equal files, restores both ways.

Ends with `N passed, N failed, N skipped`.
"""
import json
import os
import random
import shutil
import socket
import stat
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

import steps  # noqa: E402
import table  # noqa: E402

PROBE = os.environ.get("VMB_TREE_PROBE") or os.path.join(
    os.environ.get("VMB_BUILD", "build"), "tests", "interop", "restic", "tree_probe")
ENV = dict(os.environ, RESTIC_PASSWORD="geheim", TZ="UTC", RESTIC_CACHE_DIR="")


def run(argv, code=0):
    done = subprocess.run(argv, capture_output=True, text=True, env=ENV, timeout=300)
    assert done.returncode == code, "%s ended with %d\n%s%s" % (
        " ".join(argv), done.returncode, done.stdout, done.stderr)
    return done.stdout


def ours(*args):
    out = run([PROBE, *args])
    return json.loads(out) if out else None


def restic(repo, *args):
    return run(["restic", "-r", repo, "--no-cache", "-q", *args])


def make_source(at):
    """A folder with every kind of entry that can be made here."""
    rng = random.Random(7)
    os.makedirs(os.path.join(at, "sub", "empty"))
    os.makedirs(os.path.join(at, "sub", "deep", "er"))

    def write(name, data):
        with open(os.path.join(os.fsencode(at), os.fsencode(name)), "wb") as f:
            f.write(data)

    write("empty-file", b"")
    write("small", b"hello\n")
    write("exactly-min", rng.randbytes(512 * 1024))
    write("above-min", rng.randbytes(512 * 1024 + 1))
    write("random", rng.randbytes(9_000_000))
    write("text", b"the same line again\n" * 300_000)
    write("repeat", b"U" * 20_000_000)
    write("sub/a<b>&c", b"1")
    write('sub/q"uote\\back', b"2")
    write(b"sub/bad\xff\xfeutf8", b"3")
    write("sub/tab\tline\n", b"4")
    write("sub/\u2028\U0001f600", b"5")
    write("sub/deep/er/last", rng.randbytes(70_000))
    with open(os.path.join(at, "sparse"), "wb") as f:
        f.write(rng.randbytes(1_000_000))
        f.seek(40_000_000)
        f.write(rng.randbytes(1_000_000))
        f.truncate(64_000_000)
    with open(os.path.join(at, "all-hole"), "wb") as f:
        f.truncate(10_000_001)
    os.symlink("small", os.path.join(at, "link"))
    os.symlink("/nowhere/../x", os.path.join(at, "dangling"))
    os.link(os.path.join(at, "small"), os.path.join(at, "sub", "hard"))
    os.mkfifo(os.path.join(at, "fifo"), 0o640)
    if os.geteuid() == 0:
        os.mknod(os.path.join(at, "null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(os.path.join(at, "disk"), 0o660 | stat.S_IFBLK, os.makedev(8, 17))
        os.chown(os.path.join(at, "text"), 12345, 54321)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.join(at, "socket"))
    os.chmod(os.path.join(at, "text"), 0o4755)
    os.chmod(os.path.join(at, "sub", "deep"), 0o3775)
    try:
        os.setxattr(os.path.join(at, "small"), "user.color", b"blue\0green")
        os.setxattr(os.path.join(at, "sub"), "user.b", b"")
    except OSError:
        pass
    os.utime(os.path.join(at, "small"), ns=(10**18, 10**18 + 120_000_000))
    os.utime(os.path.join(at, "empty-file"), ns=(0, 0))


def listing(at):
    """{path: (type, mode, owner, mtime, size, target, xattrs, content)} of all but sockets."""
    out = {}
    root = os.fsencode(at)
    for base, dirs, names in os.walk(root):
        for name in dirs + names:
            path = os.path.join(base, name)
            st = os.lstat(path)
            if stat.S_ISSOCK(st.st_mode):
                continue
            content = target = None
            xattrs = {}
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as f:
                    content = f.read()
            if stat.S_ISLNK(st.st_mode):
                target = os.readlink(path)
            try:
                xattrs = {n: os.getxattr(path, n, follow_symlinks=False)
                          for n in os.listxattr(path, follow_symlinks=False)}
            except OSError:
                pass
            out[os.path.relpath(path, root)] = (
                st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, st.st_nlink
                if stat.S_ISREG(st.st_mode) else 0, st.st_rdev, target, xattrs, content)
    return out


class Suite:
    def __init__(self, folder):
        self.folder = folder
        self.source = os.path.join(folder, "source")
        os.makedirs(self.source)
        make_source(self.source)
        self.repos = []

    def repo(self, name, by, version="2"):
        at = os.path.join(self.folder, name)
        if by == "ours":
            os.makedirs(at)
            ours("init", at)
        else:
            restic(at, "init", "--repository-version", version)
        return at

    def target(self, name):
        at = os.path.join(self.folder, name)
        os.makedirs(at)
        return at

    def snapshots(self, repo):
        return json.loads(restic(repo, "snapshots", "--json"))

    def source_trees(self, repo):
        """The trees of the source folder in all snapshots: those above it hold times of folders
        that others write to."""
        out = {}
        for snap in self.snapshots(repo):
            tree = snap["tree"]
            for name in self.source.strip("/").split("/"):
                nodes = json.loads(restic(repo, "cat", "blob", tree))["nodes"]
                tree = next(n for n in nodes if n["name"] == name)["subtree"]
            out[snap["id"]] = tree
        return out

    # ---- tests

    def trees_are_equal_to_restics(self):
        for version in ("1", "2"):
            repo = self.repo("equal" + version, "restic", version)
            restic(repo, "backup", "--host", "probe", self.source)
            ours("backup", repo, "-", self.source)
            trees = self.source_trees(repo)
            assert len(trees) == 2 and len(set(trees.values())) == 1, self.difference(repo, trees)
            restic(repo, "check", "--read-data")

    def difference(self, repo, trees):
        nodes = [{n["name"]: n for n in json.loads(restic(repo, "cat", "blob", t))["nodes"]}
                 for t in trees.values()]
        return "\n".join("%s\n%s" % (nodes[0].get(n), nodes[1].get(n)) for n in
                         sorted(set(nodes[0]) | set(nodes[1])) if nodes[0].get(n) != nodes[1].get(n))

    def restic_restores_ours(self):
        repo = self.repo("mine", "ours")
        snap = ours("backup", repo, "-", self.source)["snapshot"]
        restic(repo, "check", "--read-data")
        at = self.target("by-restic")
        restic(repo, "restore", snap, "--target", at, "--verify")
        self.compare(at + self.source)

    def compare(self, at):
        want, got = listing(self.source), listing(at)
        assert set(want) == set(got), set(want) ^ set(got)
        for path in want:
            # a socket is in no backup, so its directory's time is of another moment
            if path == b".":
                continue
            assert want[path] == got[path], (path, want[path][:8], got[path][:8])

    def we_restore_restics(self):
        repo = self.repo("theirs", "restic")
        restic(repo, "backup", self.source)
        at = self.target("by-us")
        result = ours("restore", repo, "latest", at)
        assert result["warnings"] == 0, result
        self.compare(at + self.source)
        st = os.stat(at + self.source + "/sparse")
        assert st.st_blocks * 512 < st.st_size / 4, st

    def one_path_is_restored_alone(self):
        at = self.target("one")
        ours("restore", os.path.join(self.folder, "theirs"), "latest", at,
             self.source + "/sub/deep/er/last")
        assert os.listdir(at) == ["last"]

    def holes_are_not_read(self):
        repo = self.repo("holes", "ours")
        result = ours("backup", repo, "-", self.source + "/all-hole")
        assert result["zero"] >= 9_900_000 and result["read"] < 600_000, result

    def unchanged_files_are_not_read_again(self):
        repo = os.path.join(self.folder, "mine")
        result = ours("backup", repo, "latest", self.source)
        assert result["read"] == 0 and result["unchanged"] == result["files"], result
        assert len(set(self.source_trees(repo).values())) == 1

    def restic_continues_from_our_snapshot(self):
        repo = os.path.join(self.folder, "mine")
        out = run(["restic", "-r", repo, "--no-cache", "--json", "backup", "--host", "probe",
                   self.source])
        summary = json.loads(out.strip().split("\n")[-1])
        assert summary["files_new"] == 0 and summary["files_changed"] == 0, summary
        assert summary["data_added"] < 10_000, summary

    def changes_are_found(self):
        repo = os.path.join(self.folder, "mine")
        with open(os.path.join(self.source, "random"), "r+b") as f:
            f.seek(5_000_000)
            f.write(b"changed")
        shutil.rmtree(os.path.join(self.source, "sub", "empty"))
        ours("backup", repo, "latest", self.source)
        at = self.target("changed")
        restic(repo, "restore", "latest", "--target", at)
        self.compare(at + self.source)
        restic(repo, "check", "--read-data")

    def our_check_agrees(self):
        for name in ("mine", "theirs", "equal1", "equal2"):
            assert ours("check", os.path.join(self.folder, name))["errors"] == 0

    TESTS = [trees_are_equal_to_restics, restic_restores_ours, we_restore_restics,
             one_path_is_restored_alone, holes_are_not_read, unchanged_files_are_not_read_again,
             restic_continues_from_our_snapshot, changes_are_found, our_check_agrees]


OURS, THEIRS, BOTH = "ours, restic reads", "restic's, we read", "both write"
ROWS = {  # what a test that passes says in docs/interop.md
    "trees_are_equal_to_restics": [("equal trees of equal files", BOTH)],
    "restic_restores_ours": [("restore of files and folders", OURS)],
    "we_restore_restics": [("restore of files and folders", THEIRS)],
    "restic_continues_from_our_snapshot": [("parent snapshots", OURS)],
    }


def main():
    if not shutil.which("restic"):
        return steps.skip_all("needs restic")
    return steps.in_one_folder(Suite, sys.argv[1:], table.noter(ROWS))


if __name__ == "__main__":
    sys.exit(main())
