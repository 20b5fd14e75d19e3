#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Repositories between our code and the real restic, both directions, and damage of every kind.

    run_format.py [--build BUILD_DIR] [--only text ...]

RESTIC names the program (default restic). Ends with 'N passed, N failed, N skipped'."""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

import table  # noqa: E402
from steps import Rig, Skip, in_own_folders, skip_all, want  # noqa: E402,F401

RESTIC = os.environ.get("RESTIC", "restic")
PASSWORD = "correct horse"
LONG = bool(os.environ.get("VMB_CHECK_LONG"))


class S3Repo:
    """A repository in the bucket of a server of the rig."""

    def __init__(self, at, prefix):
        self.at, self.prefix = at, prefix
        self.url = "s3:%s/%s/%s" % (at["endpoint"], at["bucket"], prefix)
        self.settings = json.dumps({
            "bucket": at["bucket"],
            "config": {"region": at["region"], "s3Url": at["endpoint"], "s3ForcePathStyle": "true"},
            "credentials": "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n"
                           % (at["access_key"], at["secret_key"])})


class Bench:
    """A folder with source files, and the two programs."""

    def __init__(self, build, folder, templates):
        self.templates = templates
        self.probe_path = os.path.join(build, "tests/interop/restic/repo_probe")
        self.folder = folder
        self.source = os.path.join(folder, "source")
        self.count = 0
        os.mkdir(self.source)
        rng = random.Random(7)
        self.files = {
            "random": rng.randbytes(9 << 20),
            "text": b"".join(b"line %d of a text that shrinks\n" % (i * i) for i in range(150000)),
            "zeros": bytes(3 << 20),
            "small": b"hello restic\n",
            "empty": b"",
        }
        for name, data in self.files.items():
            with open(os.path.join(self.source, name), "wb") as f:
                f.write(data)

    def new(self):
        self.count += 1
        path = os.path.join(self.folder, "repo%d" % self.count)
        os.mkdir(path)
        return path

    def paths(self):
        return [os.path.join(self.source, name) for name in sorted(self.files)]

    def probe(self, repo, *args, password=PASSWORD, ok=True, **env):
        full = dict(os.environ, PROBE_PASSWORD=password, **env)
        prefix = ""
        if isinstance(repo, S3Repo):
            repo, prefix = repo.settings, repo.prefix
        run = subprocess.run([self.probe_path, repo, prefix, *args], env=full, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        if ok is not None:
            want((run.returncode == 0) == ok, "probe %s: exit %d: %s%s"
                 % (" ".join(args[:2]), run.returncode, run.stdout[-500:], run.stderr[-500:]))
        want(run.returncode in (0, 1), "probe %s died: %d" % (args[0], run.returncode))
        run.all = run.stdout + run.stderr
        return run

    def restic(self, repo, *args, password=PASSWORD, ok=True, cwd=None):
        env = dict(os.environ, RESTIC_PASSWORD=password, RESTIC_PROGRESS_FPS="0")
        if isinstance(repo, S3Repo):
            env.update(AWS_ACCESS_KEY_ID=repo.at["access_key"], AWS_DEFAULT_REGION=repo.at["region"],
                       AWS_SECRET_ACCESS_KEY=repo.at["secret_key"])
            repo = repo.url
        run = subprocess.run([RESTIC, "-r", repo, "--no-cache", *args], env=env, text=True, cwd=cwd,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        if ok is not None:
            want((run.returncode == 0) == ok, "restic %s: exit %d: %s%s"
                 % (args[0], run.returncode, run.stdout[-500:], run.stderr[-800:]))
        return run

    def restic_repo(self, version=2, *more):
        """A repository that restic made. Making one takes it seconds: an empty one is copied."""
        repo = self.new()
        template = os.path.join(self.templates, "v%d" % version)
        if not os.path.exists(template):
            self.restic(template, "init", "--repository-version", str(version))
        shutil.copytree(template, repo, dirs_exist_ok=True)
        self.restic(repo, "backup", ".", "--host", "h", *more, cwd=self.source)
        return repo

    def our_repo(self, **env):
        repo = self.new()
        self.probe(repo, "init", **env)
        self.probe(repo, "backup", "1000000", *self.paths(), **env)
        return repo

    def check_restored(self, repo):
        target = self.new()
        self.restic(repo, "restore", "latest", "--target", target, "--verify")
        for name, data in self.files.items():
            with open(os.path.join(target, name), "rb") as f:
                want(f.read() == data, "restored %s differs" % name)

    def clean(self, repo):
        run = self.probe(repo, "check", "data")
        want("error " not in run.stdout and "errors 0\n" in run.stdout,
             "our check of a good repository: " + run.stdout)
        return run.stdout


def files_of(repo, folder):
    found = []
    for base, _, names in os.walk(os.path.join(repo, folder)):
        found += [os.path.join(base, name) for name in names]
    return sorted(found)


def blob_count(bench, repo):
    """What restic says is in its indexes: blob IDs by pack."""
    ids = []
    for path in files_of(repo, "index"):
        if len(os.path.basename(path)) != 64:
            continue
        text = bench.restic(repo, "cat", "index", os.path.basename(path)).stdout
        for pack in json.loads(text)["packs"]:
            ids += [(b["type"], b["id"]) for b in pack["blobs"]]
    return ids


# ---- ours writes, restic reads ----

def ours_is_accepted(bench, **env):
    repo = bench.our_repo(**env)
    config = json.loads(bench.restic(repo, "cat", "config").stdout)
    ours = json.loads(bench.probe(repo, "info").stdout)
    want(config == ours, "config: restic reads %s, we %s" % (config, ours))
    bench.restic(repo, "check", "--read-data")
    bench.check_restored(repo)
    bench.clean(repo)
    snapshots = json.loads(bench.restic(repo, "snapshots", "--json").stdout)
    want(len(snapshots) == 1 and snapshots[0]["hostname"] == "probe", "snapshots: %s" % snapshots)
    return repo


def test_ours_version_2(bench):
    ours_is_accepted(bench)


def test_ours_version_1(bench):
    repo = ours_is_accepted(bench, PROBE_VERSION="1")
    want("compressed 0 " in bench.probe(repo, "loadall").stdout, "version 1 holds compressed blobs")


def test_ours_compression_off(bench):
    repo = ours_is_accepted(bench, PROBE_COMPRESSION="off")
    want("compressed 1 " in bench.probe(repo, "loadall").stdout, "only the tree is compressed")


def test_ours_compression_max(bench):
    ours_is_accepted(bench, PROBE_COMPRESSION="max")


def test_ours_small_packs(bench):
    repo = ours_is_accepted(bench, PROBE_PACK_MIB="4")
    sizes = [os.path.getsize(p) for p in files_of(repo, "data")]
    want(max(sizes) <= 4 << 20, "packs larger than asked for: %s" % sizes)
    want(len(sizes) >= 4, "too few packs: %s" % sizes)


def test_ours_second_backup_stores_nothing(bench):
    repo = bench.our_repo()
    before = len(files_of(repo, "data"))
    run = bench.probe(repo, "backup", "1000000", *bench.paths())
    want(" new 0 " in run.stdout, "a second backup stored blobs: " + run.stdout)
    want(len(files_of(repo, "data")) == before, "a second backup wrote packs")
    bench.restic(repo, "check", "--read-data")


def test_init_twice_is_refused(bench):
    repo = bench.our_repo()
    run = bench.probe(repo, "init", ok=False)
    want("VMB_E_EXISTS" in run.stderr, run.stderr)
    theirs = bench.restic_repo()
    want("VMB_E_EXISTS" in bench.probe(theirs, "init", ok=False).stderr, "theirs")


# ---- restic writes, ours reads ----

def theirs_is_read(bench, repo):
    want(bench.clean(repo).startswith("errors 0"), "findings in a good repository")
    ids = blob_count(bench, repo)
    run = bench.probe(repo, "loadall")
    want("blobs %d " % len(ids) in run.stdout, "%d blobs in restic's index, we: %s"
         % (len(ids), run.stdout))
    theirs = json.loads(bench.restic(repo, "snapshots", "--json").stdout)
    ours = dict(line.split(" ", 1) for line in bench.probe(repo, "snapshots").stdout.splitlines())
    want(sorted(ours) == sorted(s["id"] for s in theirs), "snapshots: %s" % ours)
    for s in theirs:
        want(json.loads(ours[s["id"]])["tree"] == s["tree"], "tree of %s" % s["id"])


def test_theirs_version_2(bench):
    theirs_is_read(bench, bench.restic_repo(2))


def test_theirs_version_1(bench):
    theirs_is_read(bench, bench.restic_repo(1))


def test_theirs_compression(bench):
    for mode in ("off", "max"):
        theirs_is_read(bench, bench.restic_repo(2, "--compression", mode))


def test_theirs_after_forget_and_prune(bench):
    repo = bench.restic_repo(2)
    bench.restic(repo, "backup", "random", cwd=bench.source)
    bench.restic(repo, "forget", "--keep-last", "1", "--group-by", "", "--prune", "--max-unused", "0")
    theirs_is_read(bench, repo)


def test_theirs_stray_files_are_passed_over(bench):
    repo = bench.restic_repo(2)
    for name in ("keys/README", "snapshots/foo-tmp-123", "data/README", "index/x", "locks/y"):
        with open(os.path.join(repo, name), "w") as f:
            f.write("stray")
    theirs_is_read(bench, repo)


def test_both_write_one_repository(bench):
    repo = bench.restic_repo(2)
    bench.probe(repo, "backup", "700000", *bench.paths())
    bench.restic(repo, "backup", "small", cwd=bench.source)
    bench.restic(repo, "check", "--read-data")
    theirs_is_read(bench, repo)


def test_both_write_at_the_same_time(bench):
    repo = bench.restic_repo(2)
    env = dict(os.environ, PROBE_PASSWORD=PASSWORD)
    ours = [subprocess.Popen([bench.probe_path, repo, "", "backup", str(size), *bench.paths()],
                             env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for size in (500000, 500001)]
    bench.restic(repo, "backup", ".", "--force", cwd=bench.source)
    for p in ours:
        _, err = p.communicate(timeout=120)
        want(p.returncode == 0, "a writer failed: " + err)
    bench.restic(repo, "check", "--read-data")
    theirs_is_read(bench, repo)


# ---- keys and locks ----

def test_keys_several(bench):
    repo = bench.restic_repo(2)
    bench.probe(repo, "keyadd", "ours-2")
    new = os.path.join(bench.folder, "pw")
    with open(new, "w") as f:
        f.write("theirs-3")
    bench.restic(repo, "key", "add", "--new-password-file", new)
    for password in (PASSWORD, "ours-2", "theirs-3"):
        bench.probe(repo, "info", password=password)
        bench.restic(repo, "cat", "config", password=password)
    run = bench.probe(repo, "info", password="wrong", ok=False)
    want("VMB_E_DENIED" in run.stderr, run.stderr)
    want("wrong" not in run.stderr, "the password is in the message")
    listed = bench.probe(repo, "keys").stdout.splitlines()
    want(len(listed) == 3 and sum(" current" in l for l in listed) == 1, "keys: %s" % listed)
    other = [l.split()[0] for l in bench.probe(repo, "keys", password="ours-2").stdout.splitlines()
             if l.endswith(" current")][0]
    bench.probe(repo, "keyremove", other)
    bench.restic(repo, "cat", "config", password="ours-2", ok=False)
    current = [l.split()[0] for l in listed if l.endswith(" current")][0]
    run = bench.probe(repo, "keyremove", current, ok=False)
    want("VMB_E_STATE" in run.stderr, run.stderr)
    bench.probe(repo, "passwd", "fresh")
    bench.restic(repo, "cat", "config", ok=False)
    bench.restic(repo, "check", password="fresh")


def hold(bench, repo, kind):
    p = subprocess.Popen([bench.probe_path, repo, "", "lock", kind], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True,
                         env=dict(os.environ, PROBE_PASSWORD=PASSWORD))
    want(p.stdout.readline() == "locked\n", "no lock")
    return p


def let_go(p):
    p.stdin.close()
    p.stdout.close()
    want(p.wait(60) == 0, "the holder of a lock failed")


def test_locks_hold_restic_off(bench):
    repo = bench.restic_repo(2)
    p = hold(bench, repo, "exclusive")
    run = bench.restic(repo, "backup", "small", cwd=bench.source, ok=False)
    want("locked exclusively" in run.stderr and "PID %d" % p.pid in run.stderr, run.stderr)
    want("VMB_E_CONFLICT" in bench.probe(repo, "check", ok=False).stderr, "ours beside exclusive")
    let_go(p)
    want(files_of(repo, "locks") == [], "a lock was left")
    p = hold(bench, repo, "shared")
    bench.restic(repo, "backup", "small", cwd=bench.source)
    bench.restic(repo, "prune", ok=False)
    bench.probe(repo, "check")
    want("VMB_E_CONFLICT" in bench.probe(repo, "prune", "0", ok=False).stderr, "prune beside shared")
    let_go(p)
    bench.restic(repo, "prune")


def test_locks_of_the_dead_are_broken(bench):
    repo = bench.restic_repo(2)
    p = hold(bench, repo, "exclusive")
    p.kill()
    p.wait(60)
    p.stdin.close()
    p.stdout.close()
    run = bench.probe(repo, "check", ok=False)
    want("stale" in run.stderr, run.stderr)
    want("removed 1" in bench.probe(repo, "unlock", "stale").stdout, "the stale lock")
    bench.probe(repo, "check")
    p = hold(bench, repo, "shared")
    want("removed 0" in bench.probe(repo, "unlock", "stale").stdout, "a living lock was removed")
    want("removed 1" in bench.probe(repo, "unlock", "all").stdout, "all")
    let_go(p)
    bench.restic(repo, "check")


def test_empty_lock_is_ignored(bench):
    repo = bench.restic_repo(2)
    open(os.path.join(repo, "locks", "ab" * 32), "w").close()
    bench.probe(repo, "prune", "0")


# ---- damage ----

def damage_is_found(bench, repo, path, kind, flip, read_data=True):
    """Changes one file, checks that our check names it, and puts it back."""
    with open(path, "rb") as f:
        good = f.read()
    os.chmod(path, 0o600)
    with open(path, "wb") as f:
        f.write(flip(good))
    run = bench.probe(repo, "check", *(["data"] if read_data else []), ok=None)
    with open(path, "wb") as f:
        f.write(good)
    name = os.path.relpath(path, repo)
    if run.returncode != 0:
        want(kind in ("config", "key", "lock"), "the check of a damaged %s failed: %s"
             % (kind, run.stderr))
        return
    lines = [l for l in run.stdout.splitlines() if l.startswith("error ")]
    want(any("file=%s " % name in l for l in lines), "damaged %s %s was not found:\n%s"
         % (kind, name, run.stdout))


def bit(rng):
    def flip(data):
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]
    return flip


def damaged_everywhere(bench, repo, seed):
    rng = random.Random(seed)
    for folder, kind in (("index", "index"), ("snapshots", "snapshot"), ("keys", "key"),
                         ("data", "pack")):
        for path in files_of(repo, folder):
            for _ in range(2):
                damage_is_found(bench, repo, path, kind, bit(rng))
    damage_is_found(bench, repo, os.path.join(repo, "config"), "config", bit(rng))
    pack = max(files_of(repo, "data"), key=os.path.getsize)
    for flip in (lambda d: d[:-1], lambda d: d[:40], lambda d: b"", lambda d: d + b"x",
                 lambda d: d[:-3] + b"\xff" + d[-2:]):
        damage_is_found(bench, repo, pack, "pack", flip)
        damage_is_found(bench, repo, pack, "pack", flip, read_data=False) if len(
            flip(b"x" * 1000)) != 1000 else None
    index = files_of(repo, "index")[0]
    for flip in (lambda d: b"", lambda d: d[:31], lambda d: d[:-1]):
        damage_is_found(bench, repo, index, "index", flip)
    bench.clean(repo)


def test_damage_in_theirs(bench):
    damaged_everywhere(bench, bench.restic_repo(2), 1)


def test_damage_in_ours(bench):
    damaged_everywhere(bench, bench.our_repo(), 2)


def test_damage_in_version_1(bench):
    damaged_everywhere(bench, bench.restic_repo(1), 3)


def test_damage_of_a_blob_is_located(bench):
    repo = bench.restic_repo(2)
    pack = max(files_of(repo, "data"), key=os.path.getsize)
    want_pack = os.path.basename(pack)
    for path in files_of(repo, "index"):
        for p in json.loads(bench.restic(repo, "cat", "index", os.path.basename(path)).stdout)["packs"]:
            if p["id"] == want_pack:
                blobs = sorted(p["blobs"], key=lambda b: b["offset"])
    victim = blobs[len(blobs) // 2]
    os.chmod(pack, 0o600)
    with open(pack, "r+b") as f:
        f.seek(victim["offset"] + victim["length"] // 2)
        c = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([c[0] ^ 0x10]))
    lines = [l for l in bench.probe(repo, "check", "data").stdout.splitlines()
             if l.startswith("error blob")]
    want(len(lines) == 1 and victim["id"] in lines[0] and want_pack in lines[0], str(lines))
    bench.restic(repo, "check", "--read-data", ok=False)
    run = bench.probe(repo, "loadall", ok=False)
    want(victim["id"] in run.stderr and want_pack in run.stderr, run.stderr)


def test_missing_files_are_found(bench):
    repo = bench.restic_repo(2)
    for folder in ("data", "index"):
        path = files_of(repo, folder)[0]
        aside = os.path.join(bench.folder, "aside")
        os.rename(path, aside)
        out = bench.probe(repo, "check").stdout
        want("errors 0\n" not in out, "a missing file of %s was not found: %s" % (folder, out))
        os.rename(aside, path)
    bench.clean(repo)


def test_index_that_is_no_json_is_an_error(bench):
    repo = bench.our_repo()
    path = files_of(repo, "index")[0]
    data = b"\x01" * 64
    name = hashlib.sha256(data).hexdigest()
    with open(os.path.join(repo, "index", name), "wb") as f:
        f.write(data)
    run = bench.probe(repo, "loadall", ok=False)
    want(name in run.stderr, run.stderr)
    out = bench.probe(repo, "check").stdout
    want("file=index/%s " % name in out, out)
    want(os.path.exists(path), "the good index is gone")


# ---- forget and prune ----

def prune_works(bench, repo):
    snapshots = json.loads(bench.restic(repo, "snapshots", "--json").stdout)
    bench.probe(repo, "forget", sorted(snapshots, key=lambda s: s["time"])[0]["id"])
    os.makedirs(os.path.join(repo, "data", "00"), exist_ok=True)
    with open(os.path.join(repo, "data", "00", "00" * 32), "wb") as f:
        f.write(b"an orphan")
    before = sum(os.path.getsize(p) for p in files_of(repo, "data"))
    run = bench.probe(repo, "prune", "0")
    after = sum(os.path.getsize(p) for p in files_of(repo, "data"))
    want(after < before, "prune freed nothing: %s" % run.stdout)
    bench.restic(repo, "check", "--read-data")
    out = bench.clean(repo)
    want("hint" not in out, "prune left something: " + out)
    again = bench.probe(repo, "prune", "0").stdout
    want(" repacked 0 deleted 0 " in again and " unused 0 " in again, "a second prune: " + again)
    return snapshots


def test_prune_of_theirs(bench):
    repo = bench.restic_repo(2)
    with open(os.path.join(bench.source, "random"), "r+b") as f:
        f.write(b"another beginning")
    try:
        bench.restic(repo, "backup", "random", "text", cwd=bench.source)
        prune_works(bench, repo)
    finally:
        with open(os.path.join(bench.source, "random"), "wb") as f:
            f.write(bench.files["random"])
    theirs_is_read(bench, repo)


def test_prune_of_ours(bench):
    repo = bench.our_repo()
    time.sleep(1.1)  # our snapshots carry whole seconds
    bench.probe(repo, "backup", "1000000", os.path.join(bench.source, "text"))
    prune_works(bench, repo)
    bench.restic(repo, "prune")


def test_prune_of_a_damaged_repository_is_refused(bench):
    repo = bench.restic_repo(2)
    bench.restic(repo, "backup", "small", cwd=bench.source)
    for path in files_of(repo, "index")[:1]:
        os.remove(path)
    before = files_of(repo, "data")
    run = bench.probe(repo, "prune", "0", ok=False)
    want("VMB_E_INVALID" in run.stderr, run.stderr)
    want(files_of(repo, "data") == before, "a refused prune removed packs")


def test_forget_needs_a_whole_id(bench):
    repo = bench.our_repo()
    want("VMB_E_ARG" in bench.probe(repo, "forget", "abcd", ok=False).stderr, "short")
    want("VMB_E_NOT_FOUND" in bench.probe(repo, "forget", "ab" * 32, ok=False).stderr, "unknown")


# ---- kills ----

def test_killed_writers_leave_a_good_repository(bench):
    repo = bench.our_repo(PROBE_PACK_MIB="4")
    rng = random.Random(11)
    kills = 0
    length = None  # of a whole backup here and now: kills fall into it on any machine
    rounds = 33 if LONG else 11
    for i in range(rounds):
        with open(os.path.join(bench.source, "random"), "wb") as f:
            f.write(rng.randbytes(20 << 20))
        start = time.monotonic()
        p = subprocess.Popen([bench.probe_path, repo, "", "backup", str(300000 + i), *bench.paths()],
                             env=dict(os.environ, PROBE_PASSWORD=PASSWORD, PROBE_PACK_MIB="4"),
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if length is None:
            want(p.wait(120) == 0, "the writer that is left alone failed")
            length = time.monotonic() - start
            continue
        try:
            p.wait(rng.uniform(0, length))
            length = time.monotonic() - start  # the machine is less busy than before
        except subprocess.TimeoutExpired:
            p.kill()
            kills += p.wait(60) != 0
        bench.probe(repo, "unlock", "stale")
        out = bench.probe(repo, "check").stdout
        want("errors 0\n" in out, "after kill %d: %s" % (i, out))
    want(kills >= rounds // 3, "only %d writers were killed in time" % kills)
    with open(os.path.join(bench.source, "random"), "wb") as f:
        f.write(bench.files["random"])
    bench.restic(repo, "check", "--read-data")
    bench.clean(repo)
    bench.probe(repo, "prune", "0")  # takes the packs that no index names
    bench.restic(repo, "check", "--read-data")
    want("hint" not in bench.clean(repo), "prune left something")


# ---- on S3 ----

def s3_both_ways(bench, at):
    ours = S3Repo(at, "velero/restic/ours-%d" % os.getpid())
    bench.probe(ours, "init")
    bench.probe(ours, "backup", "1000000", *bench.paths(), PROBE_PACK_MIB="4")
    bench.restic(ours, "check", "--read-data")
    bench.check_restored(ours)
    bench.clean(ours)
    snapshot = json.loads(bench.restic(ours, "snapshots", "--json").stdout)[0]["id"]
    bench.restic(ours, "backup", "small", cwd=bench.source)
    bench.probe(ours, "forget", snapshot)
    bench.probe(ours, "prune", "0")
    bench.restic(ours, "check", "--read-data")
    want("hint" not in bench.clean(ours), "prune left something")
    theirs = S3Repo(at, "theirs-%d" % os.getpid())
    bench.restic(theirs, "init")
    bench.restic(theirs, "backup", ".", cwd=bench.source)
    bench.clean(theirs)
    bench.probe(theirs, "backup", "1000000", *bench.paths())
    bench.restic(theirs, "check", "--read-data")
    want(bench.probe(theirs, "loadall").stdout.startswith("blobs "), "loadall")
    want("VMB_E_DENIED" in bench.probe(theirs, "info", password="x", ok=False).stderr, "password")


def test_s3_minio(bench):
    with Rig(parts=["minio"]) as rig:
        s3_both_ways(bench, rig.s3["minio"])


def test_s3_rgw(bench):
    with Rig(parts=["rgw"]) as rig:
        s3_both_ways(bench, rig.s3["rgw"])


OURS, THEIRS, BOTH = "ours, restic reads", "restic's, we read", "both write"
ROWS = {  # what a test that passes says in docs/interop.md
    "ours_version_2": [("format version 2", OURS), ("compression auto", OURS),
                       ("packs of 16 MiB", OURS), ("store: folder", OURS)],
    "ours_version_1": [("format version 1", OURS)],
    "ours_compression_off": [("compression off", OURS)],
    "ours_compression_max": [("compression max", OURS)],
    "ours_small_packs": [("packs of 4 MiB", OURS)],
    "theirs_version_2": [("format version 2", THEIRS), ("compression auto", THEIRS),
                         ("packs of 16 MiB", THEIRS), ("store: folder", THEIRS)],
    "theirs_version_1": [("format version 1", THEIRS)],
    "theirs_compression": [("compression off", THEIRS), ("compression max", THEIRS)],
    "both_write_one_repository": [("writers one after the other", BOTH), ("store: folder", BOTH)],
    "both_write_at_the_same_time": [("writers at the same time", BOTH)],
    "prune_of_theirs": [("prune", THEIRS)],
    "prune_of_ours": [("prune", OURS), ("prune", BOTH)],
    "keys_several": [("several keys", OURS), ("several keys", THEIRS)],
    "locks_hold_restic_off": [("locks", OURS)],
    "locks_of_the_dead_are_broken": [("locks", THEIRS)],
    "killed_writers_leave_a_good_repository": [("writers that are killed", OURS)],
    "s3_minio": [("store: S3 of MinIO", c) for c in (OURS, THEIRS, BOTH)],
    "s3_rgw": [("store: S3 of Ceph's RGW", c) for c in (OURS, THEIRS, BOTH)],
}


def main(functions, note=None):
    """Runs the functions named test_… of a module, each with a Bench of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("VMB_BUILD", "build"))
    parser.add_argument("--only", nargs="*", default=())
    args = parser.parse_args()
    if shutil.which(RESTIC) is None:
        return skip_all("needs restic")
    print(subprocess.run([RESTIC, "version"], stdout=subprocess.PIPE, text=True).stdout.strip(),
          flush=True)
    with tempfile.TemporaryDirectory(prefix="restic-templates-") as templates:
        return in_own_folders(functions, lambda folder: Bench(args.build, folder, templates),
                              args.only, note)


if __name__ == "__main__":
    sys.exit(main(globals(), table.noter(ROWS)))
