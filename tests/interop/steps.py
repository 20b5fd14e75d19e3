# SPDX-License-Identifier: Apache-2.0
"""A suite of steps on one rig, in order; each builds on the former."""
import gzip
import json
import os
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "rig"))

from rig import Rig, Skip  # noqa: E402

VMBACKUP = os.environ.get("VMBACKUP", "vmbackup")
VELERO = "/apis/velero.io/v1/namespaces/velero/"


class Steps:
    """Subclasses set PARTS and STEPS."""

    def __init__(self, rig):
        self.rig = rig
        self.s3 = rig.s3client("minio")

    def vmbackup(self, *args, code=0, env=None):
        done = subprocess.run([VMBACKUP, *args], capture_output=True, text=True, timeout=240,
                              env={**os.environ, **self.rig.environment(), **(env or {})})
        assert done.returncode == code, "vmbackup %s ended with %d\n%s%s" % (
            " ".join(args), done.returncode, done.stdout, done.stderr)
        return done.stdout

    def object(self, kind, name):
        return self.rig.api("GET", VELERO + kind + "/" + name)

    def file(self, backup, suffix):
        return self.s3.get("velero/backups/%s/%s" % (backup, suffix))

    def document(self, backup, suffix):
        return json.loads(gzip.decompress(self.file(backup, backup + "-" + suffix)))


def main(suite_class, **rig_options):
    """Runs the steps; returns the exit code."""
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    try:
        with Rig(parts=list(suite_class.PARTS), **rig_options) as rig:
            suite = suite_class(rig)
            for step in suite_class.STEPS:
                start = time.monotonic()
                word, text = "ok", ""
                try:
                    step(suite)
                except Skip as why:
                    word, text = "skip", str(why)
                except Exception:
                    word, text = "FAIL", traceback.format_exc(limit=-2)
                counts[word] += 1
                print("%-4s %-50s %5.1f s %s" % (word, step.__name__, time.monotonic() - start,
                                                 "\n" + text if text else ""), flush=True)
    except Skip as why:
        print("skipped: %s\n0 passed, 0 failed, 1 skipped" % why)
        return 77
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["FAIL"], counts["skip"]))
    return 1 if counts["FAIL"] else 0
