#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our backups under the real Velero: it syncs, describes, prints, downloads and restores them; and
its own backup of the same namespace holds the same members.

Ends with `N passed, N failed, N skipped`; docs/differences.md lists the differences allowed here.
"""
import gzip
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]

import archive  # noqa: E402
import steps  # noqa: E402
from steps import VELERO  # noqa: E402

# What Velero changes itself in an object that it restores.
RESET = ("uid", "resourceVersion", "creationTimestamp", "generation", "ownerReferences",
         "managedFields", "selfLink")


class Interop(steps.Steps):
    PARTS = ("apiserver", "minio", "kubelet", "velero")

    def phase(self, kind, name):
        return self.object(kind, name).get("status", {}).get("phase", "")

    def ours_completes(self):
        self.rig.load_shop()
        # the fixture's driver cannot snapshot; run_velero_csi.py has one that can
        self.vmbackup("backup", "create", "ours", "--include-namespaces", "shop",
                      "--snapshot-volumes=false")
        meta = json.loads(self.file("ours", "velero-backup.json"))
        assert meta["status"]["phase"] == "Completed", meta["status"]

    def velero_backs_up_the_same(self):
        self.rig.velero("backup", "create", "theirs", "--include-namespaces", "shop",
                        "--snapshot-volumes=false", "--wait")
        assert self.phase("backups", "theirs") == "Completed", self.object("backups", "theirs")

    def velero_syncs_ours(self):
        self.rig.restart("velero")  # it syncs when it starts, and then once a minute
        self.rig.wait(lambda: "ours" in [b["metadata"]["name"] for b in
                                         self.rig.api("GET", VELERO + "backups")["items"]],
                      150, "sync of our backup")
        backup = self.object("backups", "ours")
        assert backup["status"]["phase"] == "Completed"
        assert backup["spec"]["storageLocation"] == "default"

    def velero_describes_ours(self):
        text = self.rig.velero("backup", "describe", "ours", "--details")
        assert "<error" not in text, text
        text = re.sub("\x1b\\[[0-9]+m", "", text)
        for word in ("Phase:  Completed", "v1/Pod:", "kubevirt.io/v1/VirtualMachine:",
                     "- shop/web", "Items backed up:"):
            assert word in text, (word, text)
        counts = self.object("backups", "ours")["status"]["progress"]
        assert "Items backed up:              %d" % counts["itemsBackedUp"] in text, text

    def velero_prints_our_log(self):
        text = self.rig.velero("backup", "logs", "ours")
        assert "backup=velero/ours" in text and "level=info" in text, text

    def velero_downloads_ours(self):
        at = os.path.join(self.rig.dir, "ours.tar.gz")
        self.rig.velero("backup", "download", "ours", "-o", at)
        with open(at, "rb") as f:
            assert f.read() == self.file("ours", "ours.tar.gz")

    def archives_hold_the_same_members(self):
        ours = archive.members(self.file("ours", "ours.tar.gz"))
        theirs = archive.members(self.file("theirs", "theirs.tar.gz"))
        missing = sorted(set(theirs) - set(ours))
        extra = sorted(set(ours) - set(theirs))
        extra = [p for p in extra if not any(name in p for name in KUBEVIRT_EXTRAS)]
        assert not missing and not extra, "missing %s, extra %s" % (missing, extra)

    def archives_hold_equal_objects(self):
        ours = archive.objects(self.file("ours", "ours.tar.gz"))
        theirs = archive.objects(self.file("theirs", "theirs.tar.gz"))
        found = []
        for path in sorted(set(ours) & set(theirs)):
            for at, a, b in archive.differences(ours[path], theirs[path]):
                if not allowed(path, at):
                    found.append("%s %s: ours %r, theirs %r" % (path, at, a, b))
        assert not found, "\n".join(found)

    def both_paths_hold_the_same_bytes(self):
        ours = archive.members(self.file("ours", "ours.tar.gz"))
        pairs = 0
        for path, text in ours.items():
            parts = path.split("/")
            if path.startswith("resources/") and parts[2].endswith("-preferredversion"):
                assert ours["/".join(parts[:2] + parts[3:])] == text, path
                pairs += 1
        assert pairs * 2 + 1 == len(ours), (pairs, len(ours))

    def side_files_agree(self):
        """The same files with documents of the same shape."""
        names = [set(k.rsplit("/", 1)[1].replace(b, "B") for k in
                     self.s3.list("velero/backups/%s/" % b)) for b in ("ours", "theirs")]
        assert names[0] == names[1], names[0] ^ names[1]
        for suffix in ("resource-list.json.gz", "podvolumebackups.json.gz",
                       "volumesnapshots.json.gz", "itemoperations.json.gz"):
            mine, his = self.document("ours", suffix), self.document("theirs", suffix)
            if suffix.startswith("resource-list"):
                for kind, names in his.items():
                    found = [n for n in mine.get(kind, [])
                             if not any(extra in n for extra in KUBEVIRT_EXTRAS)]
                    assert found == names, (kind, found, names)
            else:
                assert mine == his, (suffix, mine, his)

    def velero_restores_ours_as_its_own(self):
        for name in ("ours", "theirs"):
            self.rig.velero("restore", "create", "r-" + name, "--from-backup", name,
                            "--namespace-mappings", "shop:shop-" + name, "--wait", timeout=400)
        status = {n: self.object("restores", "r-" + n)["status"] for n in ("ours", "theirs")}
        assert status["ours"]["phase"] == status["theirs"]["phase"] == "Completed", status
        found = [self.warnings("r-" + n, n) for n in ("ours", "theirs")]
        extra = [w for w in found[0] if w not in found[1]
                 and not any(name in w for name in KUBEVIRT_EXTRAS)]
        assert not extra, "\n".join(extra)

    def warnings(self, restore, name):
        """The restore's warnings, one a line, without the names of the two target namespaces."""
        text = gzip.decompress(self.s3.get("velero/restores/%s/restore-%s-results.gz" %
                                           (restore, restore)))
        found = json.loads(text)["warnings"]
        lines = found.get("velero", []) + found.get("cluster", [])
        for part in found.get("namespaces", {}).values():
            lines += part
        return [line.replace("shop-" + name, "NS") for line in lines]

    def restored_objects_are_equal(self):
        kinds = [r for r in archive.objects(self.file("ours", "ours.tar.gz"))]
        checked = 0
        for path in sorted(kinds):
            parts = path.split("/")
            if parts[2] != "namespaces":
                continue
            for base in self.collections(parts[1]):
                one = self.get(base, "shop-ours", parts[4][:-5])
                two = self.get(base, "shop-theirs", parts[4][:-5])
                assert (one is None) == (two is None), path
                if one:
                    diff = [d for d in archive.differences(normal(one), normal(two))
                            if "shop-ours" not in str(d[1]) and not allowed(path, d[0])]
                    assert not diff, (path, diff)
                    checked += 1
        assert checked > 15, checked

    def collections(self, group_resource):
        resource, _, group = group_resource.partition(".")
        if not group:
            return ["/api/v1/namespaces/%s/" + resource]
        version = self.rig.api("GET", "/apis/" + group)["preferredVersion"]["groupVersion"]
        return ["/apis/" + version + "/namespaces/%s/" + resource]

    def get(self, base, ns, name):
        try:
            return self.rig.api("GET", base % ns + "/" + name)
        except Exception as e:  # ApiError 404
            if getattr(e, "status", 0) == 404:
                return None
            raise

    STEPS = [ours_completes, velero_backs_up_the_same, archives_hold_the_same_members,
             archives_hold_equal_objects, both_paths_hold_the_same_bytes, side_files_agree,
             velero_syncs_ours, velero_describes_ours, velero_prints_our_log,
             velero_downloads_ours, velero_restores_ours_as_its_own, restored_objects_are_equal]


# docs/differences.md: what a VM names comes with it, as with Velero's KubeVirt plugin, which the
# rig's Velero does not have.
KUBEVIRT_EXTRAS = ("virtualmachineclusterpreferences", "virtualmachineclusterinstancetypes")


def allowed(path, at):
    """Differences of docs/differences.md."""
    if at.endswith("/resourceVersion") or "/managedFields" in at:
        return True  # the live object changed between the two backups
    # our KubeVirt actions annotate as the KubeVirt plugin does; the rig's Velero has no plugin
    kubevirt = ("cdi.kubevirt.io", "velero.kubevirt.io", "revisionName")
    return any(word in at for word in kubevirt)


def normal(obj):
    """Without what the API server and Velero set anew."""
    meta = {k: v for k, v in obj["metadata"].items() if k not in RESET and k != "namespace"}
    labels = {k: v for k, v in meta.get("labels", {}).items()
              if k not in ("velero.io/backup-name", "velero.io/restore-name")}
    meta["labels"] = labels
    spec = obj.get("spec")
    if isinstance(spec, dict):
        spec = {k: v for k, v in spec.items() if k not in ("clusterIP", "clusterIPs")}
    return {**{k: v for k, v in obj.items() if k != "status"}, "metadata": meta, "spec": spec}


if __name__ == "__main__":
    sys.exit(steps.main(Interop))
