#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What hooks do to a backup, and what is left when the world falls over in the middle of one, on a
real API server, CSI driver and MinIO.

Ends with `N passed, N failed, N skipped`.
"""
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "interop")]

import steps  # noqa: E402
from steps import VMBACKUP  # noqa: E402

MANY = 600
HOOK = {"exec": {"command": ["rig-exit", "3"], "timeout": "10s"}}
UNAME = {"exec": {"command": ["/bin/uname", "-a"]}}


LOCATION = """
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: default, namespace: velero}
spec:
  provider: aws
  default: true
  objectStorage: {bucket: %(bucket)s, prefix: velero}
  config: {region: %(region)s, s3ForcePathStyle: "true", s3Url: %(endpoint)s}
"""


class Backups(steps.Steps):
    more = ()  # arguments of every vmbackup
    env = {}

    def make_many(self, n):
        """n ConfigMaps that do not compress well in a namespace of their own."""
        self.rig.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: many}\n")
        blob = os.urandom(3000).hex()
        for start in range(0, n, 200):
            self.rig.apply("\n---\n".join(json.dumps({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "cm-%04d" % i, "namespace": "many"},
                "data": {"blob": blob[i:] + blob[:i]}}) for i in range(start, min(n, start + 200))))

    def spec_file(self, name, spec):
        path = os.path.join(self.rig.dir, name + ".json")
        with open(path, "w") as f:
            json.dump({"apiVersion": "velero.io/v1", "kind": "Backup",
                       "metadata": {"name": name, "namespace": "velero"}, "spec": spec}, f)
        return path

    def ours(self, name, spec, *args, code=0):
        self.vmbackup("backup", "-f", self.spec_file(name, spec), *args, *self.more, code=code,
                      env=self.env)
        return self.meta(name)["status"]

    def meta(self, name):
        return json.loads(self.file(name, "velero-backup.json"))

    def paths(self, name):
        """Classic paths of the archive, in its order."""
        data = gzip.decompress(self.file(name, name + ".tar.gz"))
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return [n for n in tar.getnames()
                    if n.startswith("resources/") and "-preferredversion/" not in n]

    def keys(self, name):
        return list(self.s3.list("velero/backups/%s/" % name))

    def hook_spec(self, on_error, hooks=None):
        pre = json.loads(json.dumps([HOOK, UNAME]))
        if on_error:
            pre[0]["exec"]["onError"] = on_error
        return {"includedNamespaces": ["shop"], "snapshotVolumes": False, "hooks": {"resources": [
            {"name": "h", "labelSelector": {"matchLabels": {"app": "front"}}, "pre": hooks or pre,
             "post": [UNAME]}]}}

    def pod_stored(self, name):
        return any("/pods/" in p and "front" in p for p in self.paths(name))


class Engine(Backups):
    PARTS = ("apiserver", "minio", "kubelet", "csi")

    def prepare(self):
        self.rig.load_shop(storage_class="rig")
        for claim in ("web-root", "web-data"):
            self.rig.csi.write(self.rig.csi.bound("shop", claim), os.urandom(1 << 16))
        self.make_many(MANY)
        at = self.rig.s3["minio"]
        path = os.path.join(self.rig.dir, "location.yaml")
        with open(path, "w") as f:
            f.write(LOCATION % at)
        self.more = ("--location-file", path)
        self.env = {"AWS_ACCESS_KEY_ID": at["access_key"],
                    "AWS_SECRET_ACCESS_KEY": at["secret_key"]}

    def start(self, *args):
        return subprocess.Popen([VMBACKUP, *args, *self.more], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True,
                                env={**os.environ, **self.rig.environment(), **self.env})

    def whole_or_absent(self, name, done, out):
        """What is listed is whole; what failed left no backup and said why."""
        if done in (0, 3):
            status = self.meta(name)["status"]
            assert status["phase"] == ("Completed" if done == 0 else "PartiallyFailed"), status
            assert len(self.paths(name)) == status["progress"]["itemsBackedUp"], status
            for suffix in ("results.gz", "resource-list.json.gz", "volumeinfo.json.gz"):
                self.document(name, suffix)
            if done == 0:
                members = [p for p in self.paths(name) if "/configmaps/" in p]
                assert len(members) >= MANY, len(members)
        else:
            assert done == 1 and "error" in out, (done, out)
            assert not any(k.endswith("velero-backup.json") for k in self.keys(name)), \
                self.keys(name)

    # ---- hooks -------------------------------------------------------------------------------

    def hook_without_on_error_fails_unless_strict_hooks_is_off(self):
        self.ours("h-unset", self.hook_spec(None), code=3)
        assert not self.pod_stored("h-unset")
        self.ours("h-lax", self.hook_spec(None), "--set", "strict-hooks=false", code=3)
        assert self.pod_stored("h-lax")

    def hook_that_never_ends_meets_its_timeout(self):
        start = time.monotonic()
        spec = self.hook_spec(None, [{"exec": {"command": ["rig-never"], "timeout": "2s",
                                               "onError": "Continue"}}])
        self.ours("h-never", spec, code=3)
        assert time.monotonic() - start < 30
        text = json.dumps(self.document("h-never", "results.gz"))
        assert "timed out" in text, text

    def hook_that_floods_is_cut_in_the_log(self):
        spec = self.hook_spec(None, [{"exec": {"command": ["rig-flood", "100000000"],
                                               "timeout": "100s"}}])
        self.ours("h-flood", spec)
        assert len(self.file("h-flood", "h-flood-logs.gz")) < 1 << 20

    # ---- faults ------------------------------------------------------------------------------

    def interrupt_in_a_freeze_thaws_and_leaves_nothing(self):
        before = len(self.rig.csi.snapshots())
        since = len(self.rig.exec_journal())
        self.rig.csi.fault("handle-after", seconds=20)
        try:
            run = self.start("backup", "create", "stopped", "--include-namespaces", "shop")
            self.rig.wait(lambda: self.rig.parts["kubelet"].frozen(), 60, "a frozen guest")
            time.sleep(1)
            start = time.monotonic()
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=60)
        finally:
            self.rig.csi.clear()
        assert run.returncode == 1 and "cancelled" in out + err, (run.returncode, out, err)
        assert time.monotonic() - start < 30, time.monotonic() - start
        assert not self.rig.parts["kubelet"].frozen()
        frozen = [e["event"] for e in self.rig.exec_journal()[since:] if "event" in e]
        assert frozen == ["freeze", "thaw"], frozen
        assert self.keys("stopped") == [], self.keys("stopped")
        base = "/apis/snapshot.storage.k8s.io/v1/volumesnapshots"
        self.rig.wait(lambda: not self.rig.api("GET", base)["items"], 60, "removal of snapshots")
        self.rig.wait(lambda: len(self.rig.csi.snapshots()) == before, 60, "removal of data")

    def two_runs_of_one_name_leave_one_whole_backup(self):
        runs = [self.start("backup", "create", "twice", "--include-namespaces", "many",
                           "--set", "page-size=100") for _ in range(2)]
        outs = [r.communicate(timeout=200) for r in runs]
        codes = sorted(r.returncode for r in runs)
        assert codes in ([0, 1], [1, 1]), (codes, outs)
        if 0 in codes:
            self.whole_or_absent("twice", 0, "")

    def interrupted(self, name, part):
        """A backup during which a server is killed and comes back."""
        run = self.start("backup", "create", name, "--include-namespaces", "many",
                         "--set", "page-size=20")
        out = []
        reader = threading.Thread(target=lambda: out.extend(run.communicate()))
        reader.start()
        time.sleep(0.4)
        self.rig.restart(part, kill=True)
        reader.join(200)
        assert not reader.is_alive(), "the run hangs"
        self.whole_or_absent(name, run.returncode, "".join(out))
        return run.returncode, out

    def api_server_that_restarts_leaves_whole_backups_only(self):
        codes = [self.interrupted("api-%d" % i, "apiserver") for i in range(2)]
        print("     %s" % [c for c, _ in codes])

    def store_that_restarts_leaves_whole_backups_only(self):
        codes = [self.interrupted("store-%d" % i, "minio") for i in range(3)]
        print("     %s" % [c for c, _ in codes])

    STEPS = [prepare, hook_without_on_error_fails_unless_strict_hooks_is_off,
             hook_that_never_ends_meets_its_timeout, hook_that_floods_is_cut_in_the_log,
             interrupt_in_a_freeze_thaws_and_leaves_nothing,
             two_runs_of_one_name_leave_one_whole_backup,
             api_server_that_restarts_leaves_whole_backups_only,
             store_that_restarts_leaves_whole_backups_only]


def volatile(path):
    """Objects that come and go by themselves between two backups."""
    return any(word in path for word in ("/events", "/leases.", "/backups.velero.io/",
                                         "/endpointslices.", "/csinodes.", "volumeattachments"))


if __name__ == "__main__":
    sys.exit(steps.main(Engine))
