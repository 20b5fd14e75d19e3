#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Restores that are disturbed: the API server is killed under one, the program under another, and a
third is interrupted. What is there afterwards is whole, and a second restore completes it.

Ends with `N passed, N failed, N skipped`.
"""
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "rig"), os.path.join(HERE, "..", "interop"),
                os.path.join(HERE, "..", "bench")]

import steps  # noqa: E402
from backup import fill  # noqa: E402

SIZE = 3000


class Faults(steps.Steps):
    PARTS = ("apiserver", "minio")

    def backup(self):
        fill(self.rig, "many", SIZE)
        folder = os.path.join(self.rig.dir, "store")
        os.makedirs(folder)
        self.where = ["--store-dir", folder]
        self.vmbackup("backup", "create", "b", "--include-namespaces", "many", "--quiet",
                      *self.where)

    def count(self, namespace):
        try:
            items = self.rig.api("GET", "/api/v1/namespaces/%s/configmaps" % namespace)["items"]
        except Exception:  # it is not there yet, or the server is away
            return 0
        return sum(i["metadata"]["name"].startswith("cm-") for i in items)

    def start(self, name, namespace):
        return subprocess.Popen(
            [steps.VMBACKUP, "restore", "create", name, "--from-backup", "b",
             "--namespace-mappings", "many:" + namespace, "--quiet", *self.where],
            env={**os.environ, **self.rig.environment()}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)

    def wait_middle(self, process, namespace):
        while process.poll() is None and not 0 < self.count(namespace):
            time.sleep(0.05)
        assert process.poll() is None, process.stdout.read()

    def again(self, name, namespace):
        """A second restore completes the first one, without a warning about equal objects."""
        process = self.start(name, namespace)
        text, _ = process.communicate(timeout=240)
        assert process.returncode == 0 and " 0 errors" in text, text
        assert "cm-" not in text, text  # no warning about one of them
        assert self.count(namespace) == SIZE

    def server_is_killed(self):
        process = self.start("r1", "killed-server")
        self.wait_middle(process, "killed-server")
        self.rig.restart("apiserver", kill=True)
        text, _ = process.communicate(timeout=240)
        assert process.returncode == 0, text
        assert self.count("killed-server") == SIZE

    def program_is_killed(self):
        process = self.start("r2", "killed-program")
        self.wait_middle(process, "killed-program")
        process.kill()
        process.wait()
        assert 0 < self.count("killed-program") < SIZE
        self.again("r2-again", "killed-program")

    def program_is_interrupted(self):
        process = self.start("r3", "interrupted")
        self.wait_middle(process, "interrupted")
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 1 and "Failed" in text, text
        assert time.monotonic() - start < 45, text
        assert os.path.exists(os.path.join(self.where[1], "restores", "r3",
                                           "restore-r3-results.gz"))
        self.again("r3-again", "interrupted")

    STEPS = [backup, server_is_killed, program_is_killed, program_is_interrupted]


if __name__ == "__main__":
    sys.exit(steps.main(Faults))
