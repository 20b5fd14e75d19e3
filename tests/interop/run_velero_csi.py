#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CSI snapshots between us and the real Velero: our backup's snapshots, cut by a real driver, are
restored by Velero into volumes of the same bytes; and its own backup has records like ours.

Ends with `N passed, N failed, N skipped`.
"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "rig"), HERE]

import archive  # noqa: E402
import steps  # noqa: E402

CLAIMS = ("web-root", "web-data")


class Csi(steps.Steps):
    PARTS = ("apiserver", "minio", "kubelet", "csi", "velero")

    def fill(self):
        self.rig.load_shop(storage_class="rig")
        self.saved = {}
        for name in CLAIMS:
            volume = self.rig.csi.bound("shop", name)
            self.rig.csi.write(volume, os.urandom(1 << 20))
            self.saved[name] = content(volume)

    def ours_snapshots_both_disks(self):
        self.vmbackup("backup", "create", "ours", "--include-namespaces", "shop")
        status = json.loads(self.file("ours", "velero-backup.json"))["status"]
        assert status["phase"] == "Completed", status
        assert status["csiVolumeSnapshotsCompleted"] == 2, status

    def disks_change_afterwards(self):
        for name in CLAIMS:
            volume = self.rig.csi.bound("shop", name)
            self.rig.csi.write(volume, os.urandom(1 << 20))
            assert content(volume) != self.saved[name]

    def velero_backs_up_the_same(self):
        self.rig.velero("backup", "create", "theirs", "--include-namespaces", "shop", "--wait")
        status = self.object("backups", "theirs")["status"]
        assert status["phase"] == "Completed", status

    def status_counts_are_alike(self):
        ours = json.loads(self.file("ours", "velero-backup.json"))["status"]
        theirs = json.loads(self.file("theirs", "velero-backup.json"))["status"]
        for key in ("csiVolumeSnapshotsAttempted", "csiVolumeSnapshotsCompleted",
                    "backupItemOperationsAttempted", "backupItemOperationsCompleted"):
            assert ours.get(key) == theirs.get(key), (key, ours, theirs)

    def volume_records_have_the_same_fields(self):
        ours, theirs = (self.document(b, "volumeinfo.json.gz") for b in ("ours", "theirs"))
        assert sorted(v["pvcName"] for v in ours) == sorted(v["pvcName"] for v in theirs)
        his = {v["pvcName"]: v for v in theirs}
        for mine in ours:
            other = his[mine["pvcName"]]
            assert set(mine) == set(other), (mine, other)
            for key in ("csiSnapshotInfo", "pvInfo"):
                assert set(mine[key]) == set(other[key]), (mine[key], other[key])
            for key in ("backupMethod", "snapshotDataMoved", "preserveLocalSnapshot", "skipped",
                        "result", "pvInfo", "pvName", "pvcNamespace"):
                assert mine[key] == other[key], (key, mine, other)

    def operations_have_the_same_fields(self):
        ours, theirs = (self.document(b, "itemoperations.json.gz") for b in ("ours", "theirs"))
        assert len(ours) == len(theirs) == 2, (ours, theirs)
        for mine, other in zip(ours, theirs):
            assert set(mine["spec"]) == set(other["spec"]), (mine, other)
            assert mine["spec"]["backupItemAction"] == other["spec"]["backupItemAction"]
            assert mine["status"]["phase"] == other["status"]["phase"] == "Completed"

    def archives_hold_the_same_kinds(self):
        def kinds(name):
            found = archive.objects(self.file(name, name + ".tar.gz"))
            return {p.split("/")[1] for p in found} - {"events",
                                                       "virtualmachineclusterpreferences."
                                                       "instancetype.kubevirt.io"}
        assert kinds("ours") == kinds("theirs"), kinds("ours") ^ kinds("theirs")

    def claims_are_patched_alike(self):
        ours, theirs = (archive.objects(self.file(b, b + ".tar.gz")) for b in ("ours", "theirs"))
        for name in CLAIMS:
            path = "resources/persistentvolumeclaims/namespaces/shop/%s.json" % name
            mine, other = ours[path], theirs[path]
            keys = [{k for k in o["metadata"].get(part, {}) if k.startswith("velero.io/")}
                    for o in (mine, other) for part in ("labels", "annotations")]
            assert keys[0] == keys[2] and keys[1] == keys[3], keys
            assert mine["spec"].get("resources") == other["spec"].get("resources"), (mine, other)

    def velero_syncs_ours(self):
        self.rig.restart("velero")
        self.rig.wait(lambda: "ours" in [b["metadata"]["name"] for b in
                                         self.rig.api("GET", steps.VELERO + "backups")["items"]],
                      150, "sync of our backup")

    def velero_describes_the_snapshots(self):
        text = self.rig.velero("backup", "describe", "ours", "--details")
        for name in CLAIMS:
            assert "shop/%s:" % name in text, text
        assert "Snapshot Size (bytes):" in text and "<error" not in text, text

    def velero_restores_the_bytes(self):
        self.rig.velero("restore", "create", "r-ours", "--from-backup", "ours",
                        "--namespace-mappings", "shop:shop-ours", "--wait", timeout=280)
        status = self.object("restores", "r-ours")["status"]
        assert status["phase"] == "Completed", status
        for name in CLAIMS:
            volume = self.rig.csi.bound("shop-ours", name)
            assert content(volume) == self.saved[name], name

    STEPS = [fill, ours_snapshots_both_disks, disks_change_afterwards, velero_backs_up_the_same,
             status_counts_are_alike, volume_records_have_the_same_fields,
             operations_have_the_same_fields, archives_hold_the_same_kinds,
             claims_are_patched_alike, velero_syncs_ours, velero_describes_the_snapshots,
             velero_restores_the_bytes]


def content(volume):
    """The bytes of a volume: of its device, or of every file in it."""
    if volume.mode == "Block":
        with open(volume.path, "rb") as f:
            return f.read().rstrip(b"\0")
    out = {}
    for base, _, names in os.walk(volume.path):
        for name in names:
            with open(os.path.join(base, name), "rb") as f:
                out[os.path.relpath(os.path.join(base, name), volume.path)] = f.read()
    return out


if __name__ == "__main__":
    sys.exit(steps.main(Csi, velero_features="EnableCSI"))
