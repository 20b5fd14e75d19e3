#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at any instant of a backup: earlier backups stay readable, and the killed one is either
whole or not there.

Runs over a directory cluster of a few thousand objects and a directory store; 60 points, with
VMB_CHECK_LONG=1 1,000. Ends with `N passed, N failed, N skipped`.
"""
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

VMBACKUP = os.environ.get("VMBACKUP", "vmbackup")
POINTS = 1000 if os.environ.get("VMB_CHECK_LONG") else 60
OBJECTS = 3000


def make_cluster(folder):
    with open(os.path.join(folder, "objects.yaml"), "w") as f:
        f.write("apiVersion: v1\nkind: Namespace\nmetadata: {name: many}\n")
        for i in range(OBJECTS):
            f.write("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm-%d, namespace: many}\n"
                    "data: {v: %s}\n" % (i, "x" * random.randint(1, 400)))


def argv(name, cluster, store):
    return [VMBACKUP, "backup", "create", name, "--cluster-dir", cluster, "--store-dir", store,
            "--quiet"]


def check_whole(store, name):
    """Everything that velero-backup.json promises is there and readable."""
    at = os.path.join(store, "backups", name)
    with open(os.path.join(at, "velero-backup.json")) as f:
        status = json.load(f)["status"]
    assert status["phase"] == "Completed", status
    with open(os.path.join(at, name + ".tar.gz"), "rb") as f:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(f.read()))) as tar:
            names = tar.getnames()
    assert len(names) == 1 + 2 * status["progress"]["itemsBackedUp"], len(names)
    for suffix in ("logs.gz", "results.gz", "resource-list.json.gz", "volumeinfo.json.gz",
                   "itemoperations.json.gz", "podvolumebackups.json.gz",
                   "volumesnapshots.json.gz"):
        with gzip.open(os.path.join(at, name + "-" + suffix)) as f:
            f.read()


def listed(cluster, store):
    out = subprocess.run([VMBACKUP, "get", "--store-dir", store, "--cluster-dir", cluster, "-o",
                          "json"], capture_output=True, text=True, timeout=60)
    assert out.returncode == 0, out.stderr
    doc = json.loads(out.stdout)
    items = doc["items"] if isinstance(doc, dict) else doc
    return {b["metadata"]["name"]: b for b in items}


def main():
    seed = int(os.environ.get("VMB_SEED", "0")) or random.randrange(1 << 30)
    random.seed(seed)
    passed = failed = 0
    killed_early = whole = 0
    with tempfile.TemporaryDirectory() as folder:
        cluster, store = os.path.join(folder, "cluster"), os.path.join(folder, "store")
        os.makedirs(cluster)
        os.makedirs(store)
        make_cluster(cluster)
        start = time.monotonic()
        subprocess.run(argv("first", cluster, store), check=True, timeout=120)
        length = time.monotonic() - start
        for i in range(POINTS):
            name = "k%d" % i
            start = time.monotonic()
            process = subprocess.Popen(argv(name, cluster, store), stderr=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL)
            try:
                process.wait(random.random() * length * 1.1)
                length = time.monotonic() - start  # the machine is less busy than before
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            try:
                check_whole(store, "first")
                visible = os.path.exists(os.path.join(store, "backups", name,
                                                      "velero-backup.json"))
                assert visible == (name in listed(cluster, store))
                if visible:
                    check_whole(store, name)
                    whole += 1
                else:
                    killed_early += 1
                passed += 1
            except (AssertionError, OSError, ValueError, tarfile.TarError) as e:
                failed += 1
                print("FAIL at point %d (seed %d): %r" % (i, seed, e))
        # what a killed run left does not stand in the way of the next one
        left = [n for n in os.listdir(os.path.join(store, "backups"))
                if not os.path.exists(os.path.join(store, "backups", n, "velero-backup.json"))]
        for name in left[:3]:
            subprocess.run(argv(name, cluster, store), check=True, timeout=120)
            check_whole(store, name)
            passed += 1
    print("seed %d: %d killed before the end, %d whole; a backup takes %.2f s" %
          (seed, killed_early, whole, length))
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed or not killed_early else 0


if __name__ == "__main__":
    sys.exit(main())
