#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 around every file operation of a deletion and of a copy: a backup that is listed is whole,
and doing it again ends what was begun.

The kills are exact: a preloaded library counts the calls that change files. About 20 points of each,
with VMB_CHECK_LONG=1 all. Ends with `N passed, N failed, N skipped`.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
VMBACKUP = os.environ.get("VMBACKUP", "vmbackup")
MOST = 10000 if os.environ.get("VMB_CHECK_LONG") else 20
LOCATION = """apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: %s}
spec: {provider: vmbackup.io/dir, default: %s, config: {path: %s}}
"""


class Place:
    """Two locations in folders; each point starts from the same state."""

    def __init__(self, folder):
        self.folder = folder
        self.killer = os.path.join(folder, "killer.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", self.killer,
                        os.path.join(HERE, "catalog", "killer.c"), "-ldl"], check=True, timeout=60)
        self.where = []
        for name in ("one", "two"):
            os.makedirs(os.path.join(folder, name))
            path = os.path.join(folder, name + ".yaml")
            with open(path, "w", encoding="utf-8") as f:
                f.write(LOCATION % (name, "true" if name == "one" else "false",
                                    os.path.join(folder, name)))
            self.where += ["--location-file", path]
        cluster = os.path.join(folder, "cluster")
        os.makedirs(cluster)
        with open(os.path.join(cluster, "objects.yaml"), "w", encoding="utf-8") as f:
            f.write("apiVersion: v1\nkind: Namespace\nmetadata: {name: many}\n")
            for i in range(20):
                f.write("---\napiVersion: v1\nkind: ConfigMap\n"
                        "metadata: {name: cm-%d, namespace: many}\ndata: {v: x}\n" % i)
        for name in ("b1", "b2"):
            self.run("backup", "create", name, "--cluster-dir", cluster, "--quiet")
        self.keep = os.path.join(folder, "keep")
        shutil.copytree(os.path.join(folder, "one"), self.keep)

    def reset(self):
        for name in ("one", "two"):
            shutil.rmtree(os.path.join(self.folder, name))
        shutil.copytree(self.keep, os.path.join(self.folder, "one"))
        os.makedirs(os.path.join(self.folder, "two"))

    def run(self, *args, code=0, kill_at=None):
        env = dict(os.environ)
        if kill_at:
            env.update(LD_PRELOAD=self.killer, KILL_AT=str(kill_at))
        done = subprocess.run([VMBACKUP, *args, *self.where], capture_output=True, text=True,
                              timeout=60, env=env)
        if code is not None:
            assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
        return done

    def listed(self, location):
        out = self.run("get", "--storage-location", location, "-o", "json").stdout
        doc = json.loads(out)
        return [b["metadata"]["name"] for b in (doc["items"] if isinstance(doc, dict) else doc)]

    def files(self, location, backup):
        at = os.path.join(self.folder, location, "backups", backup)
        return sorted(os.listdir(at)) if os.path.isdir(at) else []


def check_deletion(place):
    listed = place.listed("one")
    assert "b2" in listed
    place.run("verify", "b2")
    if "b1" in listed:
        place.run("verify", "b1")
        place.run("delete", "backup", "b1", "--confirm")
    elif place.files("one", "b1"):
        assert "vmbackup-deleting.json" in place.files("one", "b1"), place.files("one", "b1")
        place.run("gc")
    assert place.listed("one") == ["b2"] and not place.files("one", "b1")
    return "b1" in listed


def check_copy(place):
    listed = place.listed("two")
    assert place.listed("one") == ["b1", "b2"]
    place.run("verify", "b1")
    if "b1" in listed:
        place.run("verify", "b1", "--storage-location", "two")
        place.run("copy", "b1", "--to", "two", code=1)
    else:
        place.run("copy", "b1", "--to", "two")
        place.run("verify", "b1", "--storage-location", "two")
    assert place.files("two", "b1") == place.files("one", "b1")
    return "b1" in listed


def sweep(place, command, check):
    """(points passed, failed, after which the backup was listed)."""
    place.reset()
    total = 1
    while place.run(*command, code=None, kill_at=total).returncode == -signal.SIGKILL:
        total += 16
        place.reset()
    step = max(1, total // MOST)
    passed = failed = listed = 0
    for at in range(1, total + step, step):
        place.reset()
        done = place.run(*command, code=None, kill_at=at)
        try:
            assert done.returncode in (0, -signal.SIGKILL), (done.returncode, done.stderr)
            listed += check(place)
            passed += 1
        except (AssertionError, OSError, ValueError) as why:
            failed += 1
            print("FAIL %s killed at call %d: %s" % (command[0], at, why))
    print("%s: %d points of about %d calls, backup listed after %d of them" %
          (command[0], passed + failed, total, listed))
    return passed, failed, listed


def main():
    with tempfile.TemporaryDirectory() as folder:
        place = Place(folder)
        deletion = sweep(place, ["delete", "backup", "b1", "--confirm"], check_deletion)
        copy = sweep(place, ["copy", "b1", "--to", "two"], check_copy)
    passed, failed = deletion[0] + copy[0], deletion[1] + copy[1]
    # a sweep that never met both outcomes would prove nothing
    good = 0 < deletion[2] < deletion[0] and 0 < copy[2] < copy[0]
    print("%d passed, %d failed, 0 skipped" % (passed, failed + (not good)))
    return 1 if failed or not good else 0


if __name__ == "__main__":
    sys.exit(main())
