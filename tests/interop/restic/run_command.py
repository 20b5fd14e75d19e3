#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command `vmbackup repo` beside the real restic: each makes, writes, reads and tidies up what
the other has made, in a folder and on S3.

    run_command.py [--build BUILD_DIR] [--only text ...]

RESTIC names the program (default restic). Ends with 'N passed, N failed, N skipped'."""
import argparse
import filecmp
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

from steps import Rig, Skip, in_own_folders, skip_all, want  # noqa: E402
from table import row  # noqa: E402

RESTIC = os.environ.get("RESTIC", "restic")
PASSWORD = "correct horse"
HEX = re.compile(r"[0-9a-f]{64}")


class Repo:
    """A repository: what -r takes, and the environment that both programs need for it."""

    def __init__(self, name, **env):
        self.name = name
        self.env = env


def locks(repo):
    """Lock files of a repository in a folder; empty folders come and go."""
    folder = os.path.join(repo.name, "locks")
    return os.listdir(folder) if os.path.isdir(folder) else []


class Bench:
    def __init__(self, build, folder):
        self.program = os.path.join(build, "examples", "vmbackup", "vmbackup")
        self.folder = folder
        self.source = os.path.join(folder, "source")
        self.count = 0
        rng = random.Random(11)
        os.makedirs(os.path.join(self.source, "sub", "deep"))
        for name, data in {"random": rng.randbytes(3 << 20), "text": b"a line that repeats\n" * 90000,
                           "sub/small": b"hello\n", "sub/deep/empty": b"",
                           "sub/photo.tmp": b"to be left out\n"}.items():
            with open(os.path.join(self.source, name), "wb") as f:
                f.write(data)
        os.symlink("sub/small", os.path.join(self.source, "link"))

    def new(self):
        self.count += 1
        return Repo(os.path.join(self.folder, "repo%d" % self.count))

    def env(self, repo, password):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("RESTIC_", "VMBACKUP_"))}
        env.update(repo.env, TZ="UTC", LC_ALL="C.UTF-8", RESTIC_PROGRESS_FPS="0")
        if password is not None:
            env["RESTIC_PASSWORD"] = password
        return env

    def run(self, argv, repo, password, code, **more):
        done = subprocess.run(argv, env=self.env(repo, password), text=True, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        if code is not None:
            want(done.returncode == code, "%s ended with %d, not %d:\n%s%s"
                 % (" ".join(argv[-6:]), done.returncode, code, done.stdout[-800:],
                    done.stderr[-1200:]))
        return done

    def ours(self, repo, *args, password=PASSWORD, code=0, **more):
        return self.run([self.program, "repo", "-r", repo.name, *args], repo, password, code, **more)

    def restic(self, repo, *args, password=PASSWORD, code=0, **more):
        return self.run([RESTIC, "-r", repo.name, "--no-cache", *args], repo, password, code, **more)

    def json(self, repo, *args, **more):
        """The last line of the command's JSON."""
        return json.loads(self.ours(repo, *args, "--json", **more).stdout.splitlines()[-1])

    def same(self, at):
        """Is the restored folder the source?"""
        at += self.source
        for base, _, names in os.walk(self.source):
            there = at + base[len(self.source):]
            want(sorted(os.listdir(there)) == sorted(os.listdir(base)), "names in " + there)
            for name in names:
                a, b = os.path.join(base, name), os.path.join(there, name)
                if os.path.islink(a):
                    want(os.readlink(a) == os.readlink(b), b)
                else:
                    want(filecmp.cmp(a, b, shallow=False), b + " differs")
                    want(os.stat(a).st_mtime_ns == os.stat(b).st_mtime_ns, "time of " + b)

    def source_tree(self, repo, tree):
        """The tree of the source in the tree of a snapshot."""
        for name in self.source.strip("/").split("/"):
            nodes = json.loads(self.restic(repo, "cat", "blob", tree).stdout)["nodes"]
            tree = next(n for n in nodes if n["name"] == name)["subtree"]
        return tree

    def disk(self, name, size=24 << 20):
        path = os.path.join(self.folder, name)
        rng = random.Random(5)
        with open(path, "wb") as f:
            f.truncate(size)
            for at in (0, 5 << 20, 13 << 20):
                f.seek(at)
                f.write(rng.randbytes(1 << 20))
        return path


# ---- both ways ----

def both_ways(b, ours, theirs, store):
    """ours was to be made by us, theirs by restic."""
    def cell(writer, reader, subject):
        row("commands", "%s: %s" % (store, subject), "%s, read by %s" % (writer, reader))

    b.ours(ours, "init")
    b.restic(theirs, "init")
    for repo, maker in ((ours, "vmbackup"), (theirs, "restic")):
        mine = b.json(repo, "backup", b.source, "--tag", "mine,x")["snapshot_id"]
        want(HEX.fullmatch(mine), "ID of the backup")
        b.restic(repo, "backup", b.source, "--tag", "theirs")
        b.restic(repo, "check", "--read-data")
        want(b.json(repo, "check", "--read-data")["errors"] == 0, "our check found errors")
        cell(maker, "both", "init, backup, check --read-data")
        listed = b.json(repo, "snapshots")
        known = ("id", "short_id", "time", "tree", "paths", "hostname", "username", "tags")
        want([{k: s.get(k) for k in known} for s in listed] ==
             [{k: s.get(k) for k in known}
              for s in json.loads(b.restic(repo, "snapshots", "--json").stdout)], "snapshots differ")
        trees = {s["tree"] for s in listed}
        if len(trees) != 1:  # the trees above the source hold times of folders that others write to
            trees = {b.source_tree(repo, tree) for tree in trees}
        want(len(trees) == 1, "two trees of one source: %s" % trees)
        other = next(s["id"] for s in listed if s["tags"] == ["theirs"])
        for writer, snapshot in (("vmbackup", mine), ("restic", other)):
            at = os.path.join(b.folder, "restored-%s-%s" % (maker, writer))
            b.ours(repo, "restore", snapshot[:12], "--target", at + "-v", "--verify")
            b.same(at + "-v")
            cell(writer, "vmbackup", "restore")
            b.restic(repo, "restore", snapshot, "--target", at + "-r", "--verify")
            b.same(at + "-r")
            cell(writer, "restic", "restore")
            want(b.ours(repo, "dump", snapshot, b.source + "/sub/small").stdout == "hello\n", "dump")
            paths = {json.loads(line)["path"]
                     for line in b.ours(repo, "ls", snapshot, "--json").stdout.splitlines()[1:]}
            want(paths == {json.loads(line)["path"] for line in b.restic(
                repo, "ls", snapshot, "--json").stdout.splitlines()[1:]}, "ls differs")
            cell(writer, "vmbackup", "ls, dump")
        b.ours(repo, "forget", mine, "--prune", "--max-unused", "0")
        b.restic(repo, "check", "--read-data")
        b.restic(repo, "forget", "--keep-last", "1", "--prune")
        want(b.json(repo, "check", "--read-data")["errors"] == 0, "after restic's prune")
        want(len(b.json(repo, "snapshots")) == 1, "one snapshot is left")
        cell(maker, "both", "forget, prune")
        shutil.rmtree(os.path.join(b.folder, "restored-%s-restic-v" % maker))


def test_folder_both_ways(b):
    both_ways(b, b.new(), b.new(), "folder")


def s3(b, at, store):
    env = {"AWS_ACCESS_KEY_ID": at["access_key"], "AWS_SECRET_ACCESS_KEY": at["secret_key"],
           "AWS_DEFAULT_REGION": at["region"]}
    base = "s3:%s/%s/" % (at["endpoint"], at["bucket"])
    both_ways(b, Repo(base + "ours/%d" % os.getpid(), **env),
              Repo(base + "theirs/%d" % os.getpid(), **env), store)
    nothing = Repo(base + "nothing", **env)
    b.ours(nothing, "snapshots", code=10)
    denied = Repo(base + "ours/%d" % os.getpid(), **dict(env, AWS_SECRET_ACCESS_KEY="wrong"))
    want("credentials" in b.ours(denied, "snapshots", code=1).stderr, "remedy for credentials")


def test_s3_minio(b):
    with Rig(parts=["minio"]) as rig:
        s3(b, rig.s3["minio"], "MinIO")


def test_s3_rgw(b):
    with Rig(parts=["rgw"]) as rig:
        s3(b, rig.s3["rgw"], "Ceph RGW")


def test_version_1(b):
    repo = b.new()
    b.ours(repo, "init", "--repository-version", "1")
    want('"version": 1' in b.restic(repo, "cat", "config").stdout, "version")
    b.ours(repo, "backup", b.source)
    b.restic(repo, "check", "--read-data")
    row("commands", "folder: version 1", "vmbackup, read by restic")


def test_compression_and_packs(b):
    for mode in ("off", "auto", "max"):
        repo = b.new()
        b.ours(repo, "init")
        v = b.json(repo, "backup", b.source, "--compression", mode, "--pack-size", "4")
        small = v["data_added_packed"] < v["data_added"] - 500000
        want(small == (mode != "off"), "compression %s: %s" % (mode, v))
        b.restic(repo, "check", "--read-data")
        row("commands", "folder: compression " + mode, "vmbackup, read by restic")


# ---- disks ----

def test_disk_file(b):
    repo, disk = b.new(), b.disk("vm.img")
    b.ours(repo, "init")
    v = b.json(repo, "backup", "--disk", disk)
    want(v["total_bytes_processed"] == 24 << 20 and v["bytesRead"] <= 12 << 20, str(v))
    again = b.json(repo, "backup", "--disk", disk)
    want(again["data_added_packed"] < 10000 and again["parent"] in ("", v["snapshot_id"]), str(again))
    out = os.path.join(b.folder, "out.img")
    done = b.json(repo, "restore", "latest", "--disk", out, "--verify")
    want(filecmp.cmp(disk, out, shallow=False), "the restored disk differs")
    want(os.stat(out).st_blocks * 512 <= 16 << 20, "holes were written")
    want(done["bytesVerified"] > 0, str(done))
    at = os.path.join(b.folder, "by-restic")
    b.restic(repo, "restore", "latest", "--target", at)
    want(filecmp.cmp(disk, at + disk, shallow=False), "restic's restore differs")
    b.restic(repo, "check", "--read-data")
    row("commands", "folder: disk", "vmbackup, read by restic")
    # and what restic has cut in its own way
    b.restic(repo, "backup", disk)
    b.ours(repo, "restore", "latest:" + disk, "--disk", out + "2")
    want(filecmp.cmp(disk, out + "2", shallow=False), "restic's disk, restored by us, differs")
    row("commands", "folder: disk", "restic, read by vmbackup")


def test_disk_device(b):
    disk = b.disk("loop.img")
    made = subprocess.run(["losetup", "--find", "--show", disk], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if made.returncode != 0:
        raise Skip("no loop device: " + made.stderr.strip())
    device = made.stdout.strip()
    try:
        repo = b.new()
        b.ours(repo, "init")
        v = b.json(repo, "backup", device)  # a device is a disk, without being told
        want(v["total_bytes_processed"] == 24 << 20, str(v))
        want(b.json(repo, "snapshots")[0]["paths"] == [device], "path of the snapshot")
        want("files or a disk" in b.ours(repo, "backup", device, b.source, code=2).stderr, "mixed")
        with open(device, "r+b") as f:
            f.write(bytes(1 << 20))
        b.ours(repo, "restore", "latest", "--disk", device, "--verify")
        want(filecmp.cmp(disk, b.disk("loop-again.img"), shallow=False), "the device differs")
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def test_disk_mount(b):
    plugin = os.path.join(os.path.dirname(b.program), "..", "nbdkit", "nbdkit-vmbackup-plugin.so")
    repo, disk = b.new(), b.disk("vm.img")
    b.ours(repo, "init")
    b.ours(repo, "backup", "--disk", disk)
    missing = b.ours(repo, "mount", "latest", "--plugin", "/nowhere.so", code=1)
    want("--plugin" in missing.stderr or "package nbdkit" in missing.stderr, missing.stderr)
    if not shutil.which("nbdkit") or not shutil.which("nbdcopy") or not os.path.exists(plugin):
        raise Skip("needs nbdkit, nbdcopy and the plugin")
    out = os.path.join(b.folder, "out.img")
    b.ours(repo, "mount", "latest", "--run", "nbdcopy \"$uri\" " + out)
    want(filecmp.cmp(disk, out, shallow=False), "the disk read over NBD differs")
    server = subprocess.Popen([b.program, "repo", "-r", repo.name, "mount", "latest"], text=True,
                              stdout=subprocess.PIPE, env=b.env(repo, PASSWORD))
    uri = server.stdout.readline().split(" at ")[1].strip()
    subprocess.run(["nbdcopy", uri, out], check=True, timeout=60)
    server.send_signal(signal.SIGINT)
    want(server.wait(60) is not None, "it did not end")
    want(not os.path.exists(uri.split("socket=")[1]), "the socket is still there")
    b.ours(repo, "prune")  # no lock is left


# ---- the commands ----

def test_forget_policy(b):
    repo = b.new()
    b.ours(repo, "init")
    for day in range(1, 15):
        b.ours(repo, "backup", b.source + "/sub", "--time", "2026-03-%02d 10:00:00" % day, "--host",
               "h%d" % (day % 2), "-q")
    args = ["forget", "--keep-daily", "3", "--keep-weekly", "2", "--group-by", "host", "--dry-run"]

    def short(groups):  # restic gives its groups in no order
        return sorted((g["host"], [s["id"] for s in g["keep"] or []],
                       [s["id"] for s in g["remove"] or []]) for g in groups)
    want(short(b.json(repo, *args)) == short(json.loads(b.restic(repo, *args, "--json").stdout)),
         "the two would not remove the same")
    text = b.ours(repo, *args).stdout
    want("would remove" in text and "daily snapshot" in text, text)
    want(len(b.json(repo, "snapshots")) == 14, "a dry run removed something")
    b.ours(repo, "forget", "--keep-last", "2", "--group-by", "none")
    want(len(b.json(repo, "snapshots")) == 2, "two are left")
    b.ours(repo, "prune", "--max-unused", "0")
    b.restic(repo, "check", "--read-data")
    want(len(b.json(repo, "snapshots", "--host", "h0")) == 1, "by host")
    row("commands", "folder: policy of forget", "both agree")


def test_find_and_stats(b):
    repo = b.new()
    b.ours(repo, "init")
    b.ours(repo, "backup", b.source, "-e", "*.tmp")
    hits = b.json(repo, "find", "SMALL", "-i")
    want([m["path"] for m in hits[0]["matches"]] == [b.source + "/sub/small"], str(hits))
    want(b.json(repo, "find", "*.tmp") == [], "an excluded file was saved")
    mine, theirs = b.json(repo, "stats"), json.loads(b.restic(repo, "stats", "--json").stdout)
    want(mine["total_size"] == theirs["total_size"] and
         mine["total_file_count"] == theirs["total_file_count"], "%s %s" % (mine, theirs))
    raw = json.loads(b.restic(repo, "stats", "--mode", "raw-data", "--json").stdout)
    want(b.json(repo, "stats", "--mode", "raw-data")["total_blob_count"] == raw["total_blob_count"],
         str(raw))
    row("commands", "folder: find, stats", "both agree")


def test_copy_between(b):
    source, target = b.new(), b.new()
    b.restic(source, "init")
    b.restic(source, "backup", b.source)
    more = dict(RESTIC_FROM_REPOSITORY=source.name, RESTIC_FROM_PASSWORD=PASSWORD)
    target.env.update(more)
    b.ours(target, "init", "--copy-chunker-params", password="other")
    v = b.json(target, "copy", password="other")
    want(v["copied"] == 1 and v["known"] == 0, str(v))
    want(b.json(target, "copy", password="other")["known"] == 1, "it was copied twice")
    added = b.json(target, "backup", b.source, "--force", password="other")
    want(added["data_blobs"] == 0, "the chunker is another one: %s" % added)
    b.restic(target, "check", "--read-data", password="other")
    row("commands", "folder: copy", "both agree")


def test_keys(b):
    repo = b.new()
    b.ours(repo, "init")
    new = os.path.join(b.folder, "new")
    with open(new, "w", encoding="utf-8") as f:
        f.write("second\n")
    b.ours(repo, "key", "add", "--new-password-file", new)
    b.restic(repo, "snapshots", password="second")
    b.restic(repo, "key", "list", password="second")
    keys = b.json(repo, "key", "list")
    want(len(keys) == 2 and sum(k["current"] for k in keys) == 1, str(keys))
    own = next(k["id"] for k in keys if k["current"])
    b.ours(repo, "key", "remove", own, code=1)
    b.ours(repo, "key", "remove", own[:10], password="second")
    b.ours(repo, "snapshots", code=12)
    b.ours(repo, "snapshots", "-p", new, password=None)
    with open(new + "3", "wb") as f:
        f.write(b"latin \xe9\n")  # no UTF-8: from a file it is a password all the same
    b.ours(repo, "key", "passwd", "--new-password-file", new + "3", password="second")
    b.ours(repo, "snapshots", "-p", new + "3", password=None)
    b.restic(repo, "-p", new + "3", "snapshots", password=None)
    row("commands", "folder: keys", "vmbackup, read by restic")


def test_locks(b):
    repo = b.new()
    b.ours(repo, "init")
    b.ours(repo, "backup", b.source)
    # a lock of a process that is alive, as restic writes it
    holder = subprocess.Popen([RESTIC, "-r", repo.name, "--no-cache", "backup", "--stdin"],
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env=b.env(repo, PASSWORD))
    try:
        until = time.monotonic() + 60
        while not locks(repo) and time.monotonic() < until:
            time.sleep(0.05)
        b.ours(repo, "snapshots")  # shared beside shared
        done = b.ours(repo, "prune", code=11)
        want("unlock" in done.stderr and str(holder.pid) in done.stderr, done.stderr)
        start = time.monotonic()
        b.ours(repo, "prune", "--retry-lock", "2s", code=11)
        want(time.monotonic() - start >= 2, "it did not wait")
        want("removed 0" in b.ours(repo, "unlock").stdout, "a live lock was removed")
    finally:
        holder.kill()
        holder.wait(60)
    want("removed 1" in b.ours(repo, "unlock").stdout, "the dead one's lock")
    b.ours(repo, "prune")
    want(not locks(repo), "a lock is left")
    row("commands", "folder: locks", "both agree")


def test_no_lock_reads_only(b):
    repo = b.new()
    b.ours(repo, "init")
    b.ours(repo, "backup", b.source)
    subprocess.run(["chmod", "-R", "a-w", repo.name], check=True)
    b.ours(repo, "--no-lock", "snapshots")
    b.ours(repo, "--no-lock", "restore", "latest", "-t", os.path.join(b.folder, "r"))
    want("noLock" in b.ours(repo, "--no-lock", "backup", b.source, code=1).stderr, "a writer")
    want("noLock" in b.ours(repo, "--no-lock", "prune", code=1).stderr, "prune")
    b.ours(repo, "--no-lock", "check")


def test_interrupt(b):
    repo = b.new()
    b.ours(repo, "init")
    rng = random.Random(3)
    with open(os.path.join(b.source, "big"), "wb") as f:
        for _ in range(40):
            f.write(rng.randbytes(8 << 20))
    writer = subprocess.Popen([b.program, "repo", "-r", repo.name, "backup", b.source],
                              env=b.env(repo, PASSWORD), stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not locks(repo) and time.monotonic() < until:
        time.sleep(0.01)
    writer.send_signal(signal.SIGINT)
    text = writer.communicate(timeout=120)[1]
    os.remove(os.path.join(b.source, "big"))
    want(writer.returncode == 130, "exit %d: %s" % (writer.returncode, text))
    want(not locks(repo), "the lock is still there")
    b.restic(repo, "check")
    want(b.json(repo, "snapshots") == [], "a snapshot of half a backup")


def test_partial_source(b):
    if os.geteuid() == 0:  # root reads everything: a file that vanishes is told all the same
        repo = b.new()
        b.ours(repo, "init")
        done = b.ours(repo, "backup", b.source, "/nowhere-at-all", code=3)
        want("/nowhere-at-all" in done.stderr, done.stderr)
        b.ours(repo, "backup", "/nowhere-at-all", code=1)
        lines = b.ours(repo, "backup", b.source, "/nowhere-at-all", "--json", code=3).stderr
        want(json.loads(lines.splitlines()[0])["item"] == "/nowhere-at-all", lines)
    else:
        raise Skip("for root")


def test_restore_choices(b):
    repo = b.new()
    b.ours(repo, "init")
    b.ours(repo, "backup", b.source)
    at = os.path.join(b.folder, "r")
    b.ours(repo, "restore", "latest:" + b.source + "/sub", "-t", at + "1")
    want(os.path.exists(at + "1/small") or os.path.exists(at + "1/sub/small"), "path in a snapshot")
    b.ours(repo, "restore", "latest", "-t", at + "2", "-i", "small")
    found = [n for _, _, names in os.walk(at + "2") for n in names]
    want(found == ["small"], "include: %s" % found)
    b.ours(repo, "restore", "latest", "-t", at + "3", "--dry-run")
    want(not [n for _, _, names in os.walk(at + "3") for n in names], "a dry run wrote")
    b.ours(repo, "restore", "latest", "-t", at + "4")
    changed = at + "4" + b.source + "/sub/small"
    with open(changed, "w", encoding="utf-8") as f:
        f.write("changed")
    want("--overwrite" in b.ours(repo, "restore", "latest", "-t", at + "4").stdout, "skipped")
    with open(changed, encoding="utf-8") as f:
        want(f.read() == "changed", "a file was overwritten")
    b.ours(repo, "restore", "latest", "-t", at + "4", "--overwrite", "always")
    b.same(at + "4")


def test_location_of_velero(b):
    repo = b.new()
    os.makedirs(repo.name)
    file = os.path.join(b.folder, "bsl.yaml")
    with open(file, "w", encoding="utf-8") as f:
        f.write("apiVersion: velero.io/v1\nkind: BackupStorageLocation\nmetadata:\n  name: other\n"
                "spec:\n  provider: vmbackup.io/dir\n  config:\n    path: %s\n"
                "  objectStorage:\n    bucket: x\n    prefix: velero\n" % repo.name)
    where = ["--location", file, "--prefix", "restic/shop"]

    def run(*args, code=0):
        return b.run([b.program, "repo", *args, *where], repo, PASSWORD, code, cwd=b.folder)
    run("init")
    run("backup", b.source)
    want(os.path.exists(repo.name + "/x/velero/restic/shop/config"), "the prefix")
    b.restic(Repo(repo.name + "/x/velero/restic/shop"), "check", "--read-data")
    want("exclude each other" in run("snapshots", "-r", "x", code=2).stderr, "both places")
    named = b.run([b.program, "repo", "--location-file", file, "--location", "none", "snapshots"],
                  repo, PASSWORD, 1)
    want("known: other" in named.stderr, named.stderr)


def test_mistakes(b):
    repo = b.new()
    b.ours(repo, "snapshots", code=10)
    b.ours(repo, "init")
    want(b.json(repo, "snapshots") == [], "an empty repository")
    want("0 snapshots" in b.ours(repo, "snapshots").stdout, "empty table")
    want("there is one" in b.ours(repo, "init", code=1).stderr, "init twice")
    b.ours(repo, "restore", "latest", "-t", b.folder + "/x", code=1)
    b.ours(repo, "snapshots", password="wrong", code=12)
    error = json.loads(b.ours(repo, "snapshots", "--json", password="wrong", code=12).stderr)
    want(error["message_type"] == "exit_error" and error["code"] == 12, str(error))
    want(b.restic(repo, "snapshots", password="wrong", code=None).returncode != 0, "restic too")
    disk = b.disk("vm.img")
    for args, words in [
            (["snapshot"], 'did you mean "repo snapshots"'),
            (["backup"], "nothing to save"),
            (["backup", b.source, "--compression", "zip"], "auto, off, max"),
            (["backup", b.source, "--pack-size", "1000"], "4 to 128"),
            (["backup", b.source, "--pack-size", "x"], "whole number"),
            (["backup", b.source, "--exclude-larger-than", "10X"], "10M"),
            (["backup", b.source, "--time", "yesterday"], "2026-05-20"),
            (["backup", "--disk", disk, "--chunk-size", "3M"], "power of two"),
            (["backup", b.source, "--retry-lock", "soon"], "Go duration"),
            (["restore", "latest"], "--target"),
            (["restore", "latest", "-t", "x", "--disk", "y"], "either"),
            (["dump", "latest"], "PATH"),
            (["find"], "PATTERN"),
            (["ls"], "no snapshot is named"),
            (["key"], "key list"),
            (["key", "remove"], "key list"),
            (["copy"], "--from-repo"),
            (["stats", "--mode", "size"], "raw-data"),
            (["forget"], "policy"),
            (["forget", "--keep-within", "1x"], "1y5m7d2h"),
            (["prune", "--max-unused", "half"], "percentage"),
            (["check", "extra"], "unexpected argument")]:
        done = b.ours(repo, *args, code=2)
        want(words in done.stderr, "%s: %s" % (args, done.stderr))
    for name in ("sftp:host:/x", "rest:http://x/", "s3:http://host", "s3:http://host/"):
        b.ours(Repo(name), "snapshots", code=2)
    none = b.run([b.program, "repo", "snapshots"], repo, PASSWORD, 2)
    want("RESTIC_REPOSITORY" in none.stderr, none.stderr)
    done = b.run([b.program, "repo", "snapshots", "-r", repo.name], repo, None, 1,
                 stdin=subprocess.DEVNULL, start_new_session=True)
    want("--password-file" in done.stderr, done.stderr)
    want("No such file" in b.ours(repo, "snapshots", "-p", "/nowhere", code=1).stderr, "no file")


def test_environment(b):
    repo = b.new()
    file = os.path.join(b.folder, "pw")
    with open(file, "w", encoding="utf-8") as f:
        f.write("  %s \n" % PASSWORD)  # restic takes the white space off
    b.ours(repo, "init", "-p", file, password=None)
    b.restic(repo, "snapshots")
    for env in ({"VMBACKUP_PASSWORD": PASSWORD, "RESTIC_PASSWORD": "wrong"},
                {"RESTIC_PASSWORD_FILE": file}, {"VMBACKUP_PASSWORD_FILE": file}):
        for name in ("VMBACKUP_REPOSITORY", "RESTIC_REPOSITORY"):
            where = Repo(repo.name, **env, **{name: repo.name})
            b.run([b.program, "repo", "snapshots"], where, env.get("RESTIC_PASSWORD"), 0)


def test_help_of_all(b):
    repo = b.new()
    done = b.run([b.program, "repo", "--help"], repo, None, 0)
    names = re.findall(r"^  ([a-z]+) +[A-Z]", done.stdout, re.M)
    want(len(names) == 15, "commands: %s" % names)
    for name in names:
        text = b.run([b.program, "repo", name, "--help"], repo, None, 0).stdout
        want("Usage:" in text and "--password-file" in text, text)


def test_tour_of_the_docs(b):
    """The lines of docs/repositories.md run as they stand."""
    with open(os.path.join(HERE, "..", "..", "..", "docs", "repositories.md"),
              encoding="utf-8") as f:
        tour = re.search(r"```sh\n(.*?)```", f.read(), re.S).group(1)
    want(tour.count("vmbackup repo") > 10, "the tour is not found")
    tour = tour.replace("/tmp/tour", os.path.join(b.folder, "tour"))
    bin_folder = os.path.join(b.folder, "bin")
    os.mkdir(bin_folder)
    os.symlink(os.path.abspath(b.program), os.path.join(bin_folder, "vmbackup"))
    env = dict(b.env(Repo(""), None), PATH=bin_folder + ":" + os.environ["PATH"])
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", tour], env=env, text=True, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    want(done.returncode == 0 and "no errors were found" in done.stdout, done.stdout[-2000:])


def test_terminal_progress(b):
    """On a terminal one line is rewritten, with rate and percentage; names cannot obey."""
    repo = b.new()
    b.ours(repo, "init")
    main, other = os.openpty()
    try:
        done = subprocess.Popen([b.program, "repo", "-r", repo.name, "backup", "--disk",
                                 b.disk("big.img", 600 << 20)], env=b.env(repo, PASSWORD),
                                stdout=subprocess.DEVNULL, stderr=other)
        os.close(other)
        seen = b""
        while True:
            try:
                piece = os.read(main, 4096)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        want(done.wait(60) == 0, seen.decode())
        want(b"%" in seen and b"/s" in seen and b"\r" in seen, repr(seen))
    finally:
        os.close(main)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("VMB_BUILD", "build"))
    parser.add_argument("--only", nargs="*", default=())
    args = parser.parse_args()
    if shutil.which(RESTIC) is None:
        return skip_all("needs restic")
    print(subprocess.run([RESTIC, "version"], stdout=subprocess.PIPE, text=True).stdout.strip(),
          flush=True)
    return in_own_folders(globals(), lambda folder: Bench(args.build, folder), args.only)


if __name__ == "__main__":
    sys.exit(main())
