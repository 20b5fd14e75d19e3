#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Faults of repositories that a flipped bit does not show: files that are whole and wrong, files
that are there twice, clocks that disagree, a store without room, two who prune at once. The real
restic judges what is left.

    run_format_faults.py [--build BUILD_DIR] [--only text ...]

Ends with 'N passed, N failed, N skipped'. Damage of single bytes, and killed writers, are in
tests/interop/restic/run_format.py."""

import base64
import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "interop", "restic"))

import run_format  # noqa: E402
from run_format import PASSWORD, RESTIC, Skip, files_of, hold, let_go, want  # noqa: E402


# ---- sealing, so that wrong files have right tags --------------------------------------------------

def aes(name, key, iv, data):
    iv = ["-iv", iv.hex()] if iv is not None else ["-nopad"]
    return subprocess.run(["openssl", "enc", "-" + name, "-K", key.hex(), *iv], input=data,
                          stdout=subprocess.PIPE, check=True).stdout


def poly1305_aes(k, r, nonce, data):
    r = int.from_bytes(r, "little") & 0x0ffffffc0ffffffc0ffffffc0fffffff
    tag = 0
    for i in range(0, len(data), 16):
        tag = (tag + int.from_bytes(data[i:i + 16] + b"\x01", "little")) * r % ((1 << 130) - 5)
    tag += int.from_bytes(aes("aes-128-ecb", k, None, nonce), "little")
    return (tag % (1 << 128)).to_bytes(16, "little")


class Sealer:
    """Writes files of a repository as its owner would."""

    def __init__(self, bench, repo):
        if shutil.which("openssl") is None:
            raise Skip("the openssl program is not installed")
        key = json.loads(bench.restic(repo, "cat", "masterkey").stdout)
        self.repo = repo
        self.encrypt = base64.b64decode(key["encrypt"])
        self.k, self.r = (base64.b64decode(key["mac"][x]) for x in "kr")

    def seal(self, text, nonce=None):
        nonce = nonce or os.urandom(16)
        data = aes("aes-256-ctr", self.encrypt, nonce, text)
        return nonce + data + poly1305_aes(self.k, self.r, nonce, data)

    def put(self, folder, text, nonce=None):
        data = self.seal(text, nonce)
        name = hashlib.sha256(data).hexdigest()
        path = os.path.join(self.repo, folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True) # a store drops empty folders
        with open(path, "wb") as f:
            f.write(data)
        return path

    def lock(self, hours, exclusive, host="elsewhere"):
        when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
        return self.put("locks", json.dumps({
            "time": when.isoformat().replace("+00:00", "Z"), "exclusive": exclusive,
            "hostname": host, "username": "u", "pid": 4}).encode())


def errors(bench, repo, *args):
    out = bench.probe(repo, "check", *args).stdout
    return [line for line in out.splitlines() if line.startswith("error ")]


# ---- files that are whole and wrong ----------------------------------------------------------------

def test_zero_nonce_is_refused(bench):
    repo = bench.our_repo()
    sealer = Sealer(bench, repo)
    index = files_of(repo, "index")[0]
    text = bench.restic(repo, "cat", "index", os.path.basename(index)).stdout.encode()
    sealer.put("index", text)
    want(errors(bench, repo) == [], "a second index of the same packs is no error")
    bad = sealer.put("index", text, nonce=bytes(16))
    found = errors(bench, repo)
    want(len(found) == 1 and os.path.basename(bad) in found[0] and "nonce" in found[0], str(found))
    run = bench.probe(repo, "loadall", ok=False)
    want(os.path.basename(bad) in run.stderr, run.stderr)
    os.unlink(bad)
    snapshot = sealer.put("snapshots", b'{"time":"2024-01-01T00:00:00Z","tree":"%s","paths":["/"]}'
                          % (b"ab" * 32), nonce=bytes(16))
    found = errors(bench, repo)
    want(len(found) == 1 and os.path.basename(snapshot) in found[0], str(found))


def test_lock_that_is_no_lock_is_found(bench):
    repo = bench.our_repo()
    sealer = Sealer(bench, repo)
    for text in (b"", b"[]", b'{"time":"yesterday"}', b"\x02not zstd"):
        path = sealer.put("locks", text)
        run = bench.probe(repo, "check", ok=None)
        want(os.path.basename(path)[:8] in run.all, "%r was passed over: %s" % (text, run.all))
        os.unlink(path)
    bench.clean(repo)


def test_snapshot_of_nothing_is_found(bench):
    repo = bench.our_repo()
    sealer = Sealer(bench, repo)
    for text, word in ((b'{"time":"2024-01-01T00:00:00Z","tree":"%s","paths":["/"]}' % (b"ab" * 32),
                        "ab" * 32),
                       (b'{"time":"2024-01-01T00:00:00Z"}', None),
                       (b"\x03what is this", None)):
        path = sealer.put("snapshots", text)
        found = errors(bench, repo)
        want(found and (word or os.path.basename(path)) in found[0], "%r: %s" % (text, found))
        os.unlink(path)
    bench.clean(repo)


# ---- files that are there twice --------------------------------------------------------------------

def twins(bench):
    """A repository in which every blob lies in two packs of two writers."""
    repo, other = bench.new(), bench.new()
    bench.probe(repo, "init")
    shutil.copytree(repo, other, dirs_exist_ok=True)
    for r in (repo, other):
        bench.probe(r, "backup", "1000000", *bench.paths())
    first = set(files_of(repo, "data"))
    for folder in ("data", "index", "snapshots"):
        shutil.copytree(os.path.join(other, folder), os.path.join(repo, folder), dirs_exist_ok=True)
    return repo, sorted(first), sorted(set(files_of(repo, "data")) - first)


def test_twin_packs_are_harmless(bench):
    repo, _first, second = twins(bench)
    want(len(second) >= 2, "no twins were made")
    bench.clean(repo)
    bench.restic(repo, "check", "--read-data")
    before = run_format.blob_count(bench, repo)
    want(len(before) == 2 * len(set(before)), "not every blob is there twice")
    bench.probe(repo, "prune", "0")
    after = run_format.blob_count(bench, repo)
    want(len(after) == len(set(after)) and set(after) == set(before), "prune left twins")
    bench.restic(repo, "check", "--read-data")
    bench.check_restored(repo)


def test_twin_stands_in_for_a_damaged_pack(bench):
    repo, first, second = twins(bench)
    for packs in (first, second):
        saved = {}
        for path in packs:
            with open(path, "rb") as f:
                saved[path] = f.read()
            os.chmod(path, 0o600)
            with open(path, "wb") as f:
                f.write(bytes(len(saved[path]) // 2) + saved[path][len(saved[path]) // 2:])
        want(errors(bench, repo, "data") != [], "damage was not found")
        bench.probe(repo, "loadall")
        for path, data in saved.items():
            with open(path, "wb") as f:
                f.write(data)
        for path in packs: # missing as a whole
            os.rename(path, path + ".away")
        bench.probe(repo, "loadall")
        for path in packs:
            os.rename(path + ".away", path)
    bench.clean(repo)


def test_two_indexes_that_disagree_are_found(bench):
    repo = bench.our_repo()
    sealer = Sealer(bench, repo)
    index = files_of(repo, "index")[0]
    text = bench.restic(repo, "cat", "index", os.path.basename(index)).stdout
    v = json.loads(text)
    v["packs"][0]["blobs"][0]["length"] += 1
    path = sealer.put("index", json.dumps(v).encode())
    found = errors(bench, repo)
    want(any(os.path.basename(path) in line or os.path.basename(index) in line for line in found),
         "not found: %s" % found)


# ---- clocks, locks, passwords ----------------------------------------------------------------------

def test_clocks_that_disagree(bench):
    repo = bench.our_repo()
    sealer = Sealer(bench, repo)
    future = sealer.lock(+5, exclusive=True) # of one whose clock is ahead: it may well be alive
    want("VMB_E_CONFLICT" in bench.probe(repo, "backup", "1000000", bench.paths()[0],
                                         ok=False).stderr, "a lock of the future was passed over")
    want("removed 0" in bench.probe(repo, "unlock", "stale").stdout, "a lock of the future is stale")
    want("removed 1" in bench.probe(repo, "unlock", "all").stdout, "unlock all")
    want(not os.path.exists(future), "the lock is still there")
    past = sealer.lock(-5, exclusive=True)
    run = bench.probe(repo, "check", ok=False)
    want("VMB_E_CONFLICT" in run.stderr and "stale" in run.stderr, run.stderr)
    want("removed 1" in bench.probe(repo, "unlock", "stale").stdout, "an old lock is not stale")
    want(not os.path.exists(past), "the lock is still there")
    shared = sealer.lock(+5, exclusive=False)
    bench.probe(repo, "backup", "1000000", bench.paths()[0])
    want("VMB_E_CONFLICT" in bench.probe(repo, "prune", "0", ok=False).stderr, "prune beside shared")
    os.unlink(shared)
    # A snapshot of the future is the latest one, and nothing else.
    tree = [json.loads(bench.restic(repo, "cat", "snapshot", os.path.basename(p)).stdout)["tree"]
            for p in files_of(repo, "snapshots")][0]
    sealer.put("snapshots", json.dumps({"time": "2099-01-01T00:00:00Z", "tree": tree,
                                        "paths": ["/probe"]}).encode())
    bench.clean(repo)
    bench.probe(repo, "prune", "0")
    bench.restic(repo, "check", "--read-data")


def test_wrong_passwords_are_told_apart_from_damage(bench):
    repo = bench.our_repo()
    times = []
    for password in ("x", PASSWORD[:-1], PASSWORD + "x", PASSWORD.upper(), "x" * 5000):
        start = time.process_time()
        run = bench.probe(repo, "check", password=password, ok=False)
        times.append(time.process_time() - start)
        want("VMB_E_DENIED" in run.stderr and "password" in run.stderr, run.stderr)
        want(password == "x" or password not in run.all, "the password is in the message")
    key = files_of(repo, "keys")[0]
    os.chmod(key, 0o600)
    with open(key, "r+b") as f:
        f.seek(10)
        f.write(b"\x00")
    run = bench.probe(repo, "check", ok=False)
    want("VMB_E_DENIED" not in run.stderr and os.path.basename(key)[:8] in run.stderr, run.stderr)


# ---- a store without room --------------------------------------------------------------------------

def test_full_store_leaves_a_good_repository(bench):
    repo = bench.new()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=7m", "none", repo], check=False,
                           stderr=subprocess.DEVNULL)
    if mount.returncode != 0:
        raise Skip("a file system of a few MiB cannot be mounted here")
    try:
        bench.probe(repo, "init")
        bench.probe(repo, "backup", "1000000", os.path.join(bench.source, "small"))
        run = bench.probe(repo, "backup", "1000000", *bench.paths(), ok=False)
        want("VMB_E_FULL" in run.stderr, run.stderr)
        want(files_of(repo, "locks") == [], "a lock was left")
        want(len(files_of(repo, "snapshots")) == 1, "a snapshot of half a backup")
        bench.restic(repo, "check", "--read-data")
        subprocess.run(["mount", "-o", "remount,size=64m", repo], check=True)
        bench.probe(repo, "backup", "1000000", *bench.paths())
        bench.probe(repo, "prune", "0")
        bench.restic(repo, "check", "--read-data")
        bench.check_restored(repo)
    finally:
        subprocess.run(["umount", repo], check=True)


# ---- two at once -----------------------------------------------------------------------------------

def test_two_prune_and_write_at_once(bench):
    repo = bench.our_repo()
    env = dict(os.environ, PROBE_PASSWORD=PASSWORD)
    for turn in range(4):
        if turn % 2 == 0: # something to prune
            for path in files_of(repo, "snapshots")[1:]:
                os.unlink(path)
        ours = [[bench.probe_path, repo, "", "prune", "0"] for _ in range(2)]
        ours.append([bench.probe_path, repo, "", "backup", "700000", *bench.paths()])
        running = [subprocess.Popen(c, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    text=True) for c in ours]
        theirs = subprocess.Popen([RESTIC, "-q", "-r", repo, "--no-cache", "prune"],
                                  env=dict(os.environ, RESTIC_PASSWORD=PASSWORD),
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for p in running + [theirs]:
            out, _ = p.communicate(timeout=120)
            want(p.returncode == 0 or "lock" in out, "it failed for another reason: " + out)
        want(files_of(repo, "locks") == [], "a lock was left")
        bench.restic(repo, "check", "--read-data")
    bench.clean(repo)


def test_holder_whose_lock_was_broken_stops(bench):
    repo = bench.our_repo()
    p = hold(bench, repo, "shared")
    want("removed 1" in bench.probe(repo, "unlock", "all").stdout, "unlock all")
    bench.probe(repo, "prune", "0")
    let_go(p)
    want(files_of(repo, "locks") == [], "a lock came back")


if __name__ == "__main__":
    sys.exit(run_format.main(globals()))
