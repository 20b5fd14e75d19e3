#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The OpenShift manual's procedure with `vmbackup`: Backup resources with namespaces, selectors,
hooks, ttl and a named location, against a real API server, CSI snapshots cut by a real driver
under the real sidecars, into MinIO and into Ceph's RADOS gateway.

Ends with `N passed, N failed, N skipped`.
"""
import gzip
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "interop")]

import archive  # noqa: E402
import steps  # noqa: E402
from steps import Skip, VMBACKUP  # noqa: E402

LOCATION = """
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: %(name)s, namespace: velero}
spec:
  provider: aws
  default: %(default)s
  objectStorage: {bucket: %(bucket)s, prefix: velero}
  config:
    region: %(region)s
    s3ForcePathStyle: "true"
    s3Url: %(endpoint)s
"""

BACKUP = """
apiVersion: velero.io/v1
kind: Backup
metadata:
  name: %(name)s
  labels: {velero.io/storage-location: default}
  namespace: velero
spec:
  hooks:
    resources:
      - name: uname
        includedNamespaces: [shop]
        includedResources: [pods]
        labelSelector: {matchLabels: {app: front}}
        pre:
          - exec:
              container: %(container)s
              command: [/bin/uname, -a]
              onError: Fail
              timeout: 30s
        post:
          - exec:
              container: %(container)s
              command: [/bin/uname, -a]
  includedNamespaces: [shop]
  includedResources: []
  excludedResources: []
  storageLocation: %(location)s
  ttl: 720h0m0s
%(selector)s
"""

LABEL = """  labelSelector:
    matchLabels:
      app: front
"""
OR_LABELS = """  orLabelSelectors:
    - matchLabels:
        app: web
    - matchLabels:
        app: front
"""


class Procedure(steps.Steps):
    PARTS = ("apiserver", "minio", "kubelet", "csi")

    def __init__(self, rig):
        super().__init__(rig)
        try:
            rig.add("rgw")
        except Skip as why:
            print("without rgw: %s" % why)
        self.files = {}
        for name, default in (("minio", "true"), ("rgw", "false")):
            if rig.has(name):
                self.files[name] = os.path.join(rig.dir, "location-%s.yaml" % name)
                with open(self.files[name], "w") as f:
                    f.write(LOCATION % dict(rig.s3[name], name=name, default=default))

    def vmbackup(self, *args, code=0, store="minio"):
        at = self.rig.s3[store]
        return super().vmbackup(*args, code=code, env={
            "AWS_ACCESS_KEY_ID": at["access_key"], "AWS_SECRET_ACCESS_KEY": at["secret_key"]})

    def location_args(self, store):
        # one location per run: each store has credentials of its own in the environment
        return ["--location-file", self.files[store]]

    def backup(self, name, selector="", store="minio", code=0):
        path = os.path.join(self.rig.dir, name + ".yaml")
        with open(path, "w") as f:
            f.write(BACKUP % {"name": name, "selector": selector, "location": store,
                              "container": self.container})
        self.vmbackup("backup", "-f", path, *self.location_args(store), code=code, store=store)
        return self.meta(name, store)

    def meta(self, name, store="minio"):
        return json.loads(self.file(name, "velero-backup.json", store))

    def file(self, name, suffix, store="minio"):
        return self.rig.s3client(store).get("velero/backups/%s/%s" % (name, suffix))

    def members(self, name, store="minio"):
        return archive.objects(self.file(name, name + ".tar.gz", store))

    def hooks(self, since, what):
        return [e for e in self.rig.exec_journal()[since:] if e["argv"][:1] == [what]]

    def prepare(self):
        self.rig.load_shop(storage_class="rig")
        for claim in ("web-root", "web-data"):
            self.rig.csi.write(self.rig.csi.bound("shop", claim), os.urandom(1 << 20))
        pods = self.rig.api("GET", "/api/v1/namespaces/shop/pods?labelSelector=app%3Dfront")
        self.front = pods["items"][0]["metadata"]["name"]
        self.container = pods["items"][0]["spec"]["containers"][0]["name"]

    def locations_are_available(self):
        text = self.vmbackup("location", "get", "--validate", *self.location_args("minio"))
        assert text.split("\n")[0].split() == ["NAME", "PHASE", "LAST", "VALIDATED", "AGE",
                                               "DEFAULT"], text
        row = text.split("\n")[1].split()
        assert row[0] == "minio" and row[1] == "Available" and row[-1] == "true", text

    def label_selector_completes(self):
        since = len(self.rig.exec_journal())
        meta = self.backup("by-label", LABEL)
        assert meta["status"]["phase"] == "Completed", meta["status"]
        ran = self.hooks(since, "/bin/uname")
        assert len(ran) == 2 and all(e["exit"] == 0 for e in ran), ran
        assert ran[0]["pod"] == self.front
        assert meta["status"]["hookStatus"] == {"hooksAttempted": 2}, meta["status"]
        names = [p for p in self.members("by-label") if "/pods/" in p]
        assert names == ["resources/pods/namespaces/shop/%s.json" % self.front], names
        log = gzip.decompress(self.file("by-label", "by-label-logs.gz")).decode()
        assert "Linux" in log, log  # what uname printed

    def ttl_sets_the_expiration(self):
        s = self.meta("by-label")["status"]
        def at(key):
            return time.mktime(time.strptime(s[key], "%Y-%m-%dT%H:%M:%SZ"))
        assert at("expiration") - at("startTimestamp") == 720 * 3600, s

    def or_label_selectors_bring_the_whole_vm(self):
        since = len(self.rig.exec_journal())
        meta = self.backup("by-or", OR_LABELS)
        assert meta["status"]["phase"] == "Completed", meta["status"]
        members = self.members("by-or")
        for path in ("virtualmachines.kubevirt.io/namespaces/shop/web.json",
                     "virtualmachineinstances.kubevirt.io/namespaces/shop/web.json",
                     "persistentvolumeclaims/namespaces/shop/web-root.json",
                     "persistentvolumeclaims/namespaces/shop/web-data.json",
                     "datavolumes.cdi.kubevirt.io/namespaces/shop/web-root.json",
                     "secrets/namespaces/shop/web-cloudinit.json",
                     "secrets/namespaces/shop/web-ssh.json",
                     "serviceaccounts/namespaces/shop/web-sa.json"):
            assert "resources/" + path in members, path
        assert any("/controllerrevisions.apps/" in p for p in members)
        frozen = [e["event"] for e in self.rig.exec_journal()[since:] if "event" in e]
        assert frozen == ["freeze", "thaw"], frozen

    def both_selectors_are_refused(self):
        path = os.path.join(self.rig.dir, "both.yaml")
        with open(path, "w") as f:
            f.write(BACKUP % {"name": "both", "selector": LABEL + OR_LABELS, "location": "minio",
                              "container": self.container})
        done = subprocess.run([VMBACKUP, "backup", "-f", path, *self.location_args("minio")],
                              capture_output=True, text=True, timeout=60,
                              env={**os.environ, **self.rig.environment()})
        assert done.returncode == 1 and "orLabelSelectors" in done.stderr, done

    def snapshots_are_cut_by_the_driver_while_frozen(self):
        csi = self.rig.csi
        since = len(self.rig.exec_journal())
        meta = self.backup("whole")
        status = meta["status"]
        assert status["phase"] == "Completed", status
        assert status["csiVolumeSnapshotsAttempted"] == 2, status
        assert status["csiVolumeSnapshotsCompleted"] == 2, status
        volumes = json.loads(gzip.decompress(self.file("whole", "whole-volumeinfo.json.gz")))
        handles = {v["pvcName"]: v["csiSnapshotInfo"]["snapshotHandle"] for v in volumes
                   if v.get("backupMethod") == "CSISnapshot"}
        assert sorted(handles) == ["web-data", "web-root"], volumes
        events = {e["event"]: e for e in self.rig.exec_journal()[since:] if "event" in e}
        for claim, handle in handles.items():
            begin, end = csi.cut(handle)
            assert seconds(events["freeze"]["end"]) <= begin / 1e9, (claim, events, begin)
            assert end / 1e9 <= seconds(events["thaw"]["time"]), (claim, events, end)
            assert os.path.exists(csi.snapshot_path(handle)), handle
        self.handles = handles

    def archive_records_the_snapshots(self):
        members = self.members("whole")
        contents = [o for p, o in members.items()
                    if "/volumesnapshotcontents.snapshot.storage.k8s.io/" in p]
        assert sorted(c["status"]["snapshotHandle"] for c in contents) == \
            sorted(self.handles.values()), contents
        snapshots = [o for p, o in members.items()
                     if "/volumesnapshots.snapshot.storage.k8s.io/" in p]
        assert len(snapshots) == 2 and all(s["status"]["readyToUse"] for s in snapshots)
        assert any("/volumesnapshotclasses." in p for p in members)
        for claim in self.handles:
            pvc = members["resources/persistentvolumeclaims/namespaces/shop/%s.json" % claim]
            assert pvc["metadata"]["annotations"]["velero.io/volume-snapshot-name"]

    def snapshot_bytes_are_the_volumes(self):
        """The data of the snapshot is what the volume held."""
        for claim, handle in self.handles.items():
            pvc = self.rig.api("GET", "/api/v1/namespaces/shop/persistentvolumeclaims/" + claim)
            live = self.rig.csi.path(pvc["spec"]["volumeName"])
            diff = subprocess.run(["diff", "-r", str(live), self.rig.csi.snapshot_path(handle)],
                                  capture_output=True, text=True)
            assert diff.returncode == 0, diff.stdout

    def cluster_keeps_no_snapshot_objects(self):
        """As Velero finalizes: the objects go, the snapshot's data stays."""
        base = "/apis/snapshot.storage.k8s.io/v1/"
        left = self.rig.api("GET", base + "volumesnapshots")["items"]
        assert left == [], [o["metadata"]["name"] for o in left]
        left = self.rig.api("GET", base + "volumesnapshotcontents")["items"]
        assert left == [], [o["metadata"]["name"] for o in left]
        for handle in self.handles.values():
            assert os.path.exists(self.rig.csi.snapshot_path(handle)), handle

    def rgw_holds_the_same_backup(self):
        if not self.rig.has("rgw"):
            raise Skip("no RADOS gateway here")
        meta = self.backup("in-rgw", store="rgw")
        assert meta["status"]["phase"] == "Completed", meta["status"]
        a, b = self.members("whole"), self.members("in-rgw", "rgw")
        def plain(names):
            return {n for n in names if "snapshot.storage" not in n and "/events/" not in n}
        assert plain(a) == plain(b), plain(a) ^ plain(b)

    def failing_snapshot_still_thaws(self):
        since = len(self.rig.exec_journal())
        self.rig.csi.fault("fail", code="INTERNAL", message="no room for a snapshot")
        try:
            path = os.path.join(self.rig.dir, "late.yaml")
            text = BACKUP % {"name": "late", "selector": "  csiSnapshotTimeout: 8s",
                             "location": "minio", "container": self.container}
            with open(path, "w") as f:
                f.write(text)
            self.vmbackup("backup", "-f", path, *self.location_args("minio"), code=3)
        finally:
            self.rig.csi.clear()
        assert self.meta("late")["status"]["phase"] == "PartiallyFailed"
        frozen = [e["event"] for e in self.rig.exec_journal()[since:] if "event" in e]
        assert frozen == ["freeze", "thaw"], frozen
        results = gzip.decompress(self.file("late", "late-results.gz")).decode()
        assert "no room for a snapshot" in results or "timed out" in results, results

    STEPS = [prepare, locations_are_available, label_selector_completes, ttl_sets_the_expiration,
             or_label_selectors_bring_the_whole_vm, both_selectors_are_refused,
             snapshots_are_cut_by_the_driver_while_frozen, archive_records_the_snapshots,
             snapshot_bytes_are_the_volumes, cluster_keeps_no_snapshot_objects,
             rgw_holds_the_same_backup, failing_snapshot_still_thaws]


def seconds(value):
    """A journal's time as seconds since 1970."""
    if isinstance(value, (int, float)):
        return value / 1e9 if value > 1e12 else value
    import datetime
    return datetime.datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()


if __name__ == "__main__":
    sys.exit(steps.main(Procedure))
