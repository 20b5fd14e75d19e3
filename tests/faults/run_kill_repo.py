#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at any instant of what writes to a repository: a backup, a prune, a copy into it, a
forget. After each one `restic check` and our own accept the repository and the next backup works;
in the end every snapshot is restored and compared.

In a folder and, where the rig is built, on MinIO: 20 and 4 points, with VMB_CHECK_LONG=1 200 and
40. Ends with `N passed, N failed, N skipped`.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "rig"))
sys.path.insert(0, os.path.join(HERE, "..", "interop", "restic"))

import table  # noqa: E402
from rig import Rig, Skip  # noqa: E402
from run_format import S3Repo  # noqa: E402

PROBE = os.environ.get("VMB_OPS_PROBE") or os.path.join(
    os.environ.get("VMB_BUILD", "build"), "tests", "interop", "restic", "ops_probe")
PASSWORD = "geheim"
LONG = bool(os.environ.get("VMB_CHECK_LONG"))


class Folder:
    """A repository in a folder."""

    def __init__(self, at):
        self.settings, self.prefix, self.url, self.env = at, "", at, {}
        os.makedirs(at)


class OnS3(S3Repo):
    def __init__(self, at, prefix):
        super().__init__(at, prefix)
        self.env = {"AWS_ACCESS_KEY_ID": at["access_key"], "AWS_DEFAULT_REGION": at["region"],
                    "AWS_SECRET_ACCESS_KEY": at["secret_key"]}


class Sweep:
    def __init__(self, folder, seed, make_repo):
        self.folder = folder
        self.rng = random.Random(seed)
        self.repo = make_repo("repo")
        self.other = make_repo("other")
        self.source = os.path.join(folder, "source")
        self.saved = {}  # snapshot: {name: content}
        self.lengths = {}
        self.kills = {}
        os.makedirs(self.source)
        for repo in (self.repo, self.other):
            self.probe("init", repo)

    # ---- hands

    def argv(self, verb, repo, **options):
        return [PROBE, verb, repo.settings, repo.prefix,
                json.dumps({"compression": "off", "packSize": 4, "wait": 5, **options})]

    def probe(self, verb, repo, **options):
        done = subprocess.run(self.argv(verb, repo, **options), capture_output=True, text=True,
                              timeout=120, env=dict(os.environ, RESTIC_PASSWORD=PASSWORD))
        assert done.returncode == 0, (verb, options, done.stderr[-1500:])
        return json.loads(done.stdout) if done.stdout else None

    def restic(self, *args):
        done = subprocess.run(["restic", "-r", self.repo.url, "--no-cache", "-q", *args],
                              capture_output=True, text=True, timeout=240,
                              env=dict(os.environ, RESTIC_PASSWORD=PASSWORD, **self.repo.env))
        assert done.returncode == 0, (args, done.stdout[-1500:], done.stderr[-1500:])
        return done.stdout

    def change_source(self):
        """Some files are new, some are changed, some go."""
        for name in os.listdir(self.source):
            if self.rng.random() < 0.2:
                os.remove(os.path.join(self.source, name))
        for _ in range(12):
            name = "f%d" % self.rng.randrange(40)
            with open(os.path.join(self.source, name), "wb") as f:
                f.write(self.rng.randbytes(self.rng.choice([100, 30_000, 600_000, 3_000_000])))

    def contents(self):
        out = {}
        for name in os.listdir(self.source):
            with open(os.path.join(self.source, name), "rb") as f:
                out[name] = f.read()
        return out

    # ---- what is killed

    def command(self, verb):
        if verb == "backup":
            self.change_source()
            return self.argv("backup", self.repo, paths=[self.source])
        if verb == "copy":
            self.change_source()
            self.probe("backup", self.other, paths=[self.source])
            return self.argv("copy", self.other, to=self.repo.settings, toPrefix=self.repo.prefix,
                             snapshots=["latest"])
        if verb == "forget":
            return self.argv("forget", self.repo, keepLast=3)
        return self.argv("prune", self.repo, maxUnused=0)

    def kill(self, verb):
        """True when the kill came in time."""
        argv = self.command(verb)
        length = self.lengths.get(verb)
        started = time.monotonic()
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   env=dict(os.environ, RESTIC_PASSWORD=PASSWORD))
        if length is None:
            assert process.wait(120) == 0, process.stderr.read()[-1500:]
            self.lengths[verb] = time.monotonic() - started
            return False
        # the start of a program, with its key, is the same each time: most kills fall behind it
        try:
            status = process.wait(self.rng.uniform(0.2, 1.1) * length)
            self.lengths[verb] = time.monotonic() - started  # the machine is less busy than before
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait(60)
        process.stderr.close()
        return status != 0

    def accepted(self):
        self.probe("unlock", self.repo)  # of dead processes only
        self.probe("unlock", self.other)
        self.restic("check")
        assert self.probe("check", self.repo)["errors"] == 0

    def note(self):
        """A backup that is left alone, which also has to work."""
        self.change_source()
        parent = {"parent": "latest"} if self.saved else {}
        snapshot = self.probe("backup", self.repo, paths=[self.source], **parent)["snapshot"]
        self.saved[snapshot] = self.contents()

    def run(self, points):
        for _ in range(3):
            self.note()
        verbs = ["backup", "prune", "copy", "forget"]
        for verb in verbs:
            self.kill(verb)  # left alone: how long does it take here and now?
        done = 0
        while done < points:
            verb = verbs[done % len(verbs)]
            if self.kill(verb):
                self.kills[verb] = self.kills.get(verb, 0) + 1
            self.accepted()
            self.note()
            done += 1
        self.restic("check", "--read-data")
        self.restore_all()
        print("     %d points, killed in time: %s" % (points, json.dumps(self.kills)), flush=True)
        assert sum(self.kills.values()) >= points / 3, self.kills
        self.probe("forget", self.repo, keepLast=1)
        self.probe("prune", self.repo, maxUnused=0)
        self.restic("check", "--read-data")

    def restore_all(self):
        there = [s["id"] for s in json.loads(self.restic("snapshots", "--json"))]
        compared = 0
        for snapshot in there:
            if snapshot not in self.saved:
                continue
            target = os.path.join(self.folder, "target")
            os.makedirs(target)
            out = self.probe("restore", self.repo, snapshot=snapshot, target=target, verify=True)
            assert out["warnings"] == 0, out
            at = target + self.source
            want = self.saved[snapshot]
            assert sorted(os.listdir(at)) == sorted(want)
            for name, content in want.items():
                with open(os.path.join(at, name), "rb") as f:
                    assert f.read() == content, name
            shutil.rmtree(target)
            compared += 1
        assert compared >= 1


def in_a_folder(folder, seed):
    Sweep(folder, seed, lambda name: Folder(os.path.join(folder, name))).run(200 if LONG else 20)


def on_minio(folder, seed):
    with Rig(parts=["minio"]) as rig:
        at = rig.s3["minio"]
        Sweep(folder, seed, lambda name: OnS3(at, "kill/%d/%s" % (seed, name))).run(
            40 if LONG else 4)


def main():
    if shutil.which("restic") is None:
        print("skipped: needs restic\n0 passed, 0 failed, 1 skipped")
        return 77
    seed = int(os.environ.get("VMB_SEED", "0")) or random.randrange(1 << 30)
    only = sys.argv[1:]
    passed = failed = skipped = 0
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    for test in (in_a_folder, on_minio):
        if only and test.__name__ not in only:
            continue
        with tempfile.TemporaryDirectory(prefix="kill-repo-", dir=base) as folder:
            try:
                test(folder, seed)
                passed += 1
                print("ok   " + test.__name__, flush=True)
                table.row("repositories", "killed backups, prunes, copies and forgets, "
                          + test.__name__.replace("_", " "), "ours, restic reads")
            except Skip as e:
                skipped += 1
                print("skipped %s: %s" % (test.__name__, e), flush=True)
            except Exception:
                failed += 1
                print("FAIL %s (VMB_SEED=%d)\n%s" % (test.__name__, seed,
                                                     traceback.format_exc(limit=-4)[:3000]),
                      flush=True)
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
