#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The catalogue's operations between us and the real Velero: each one's backups are verified,
compared, described, copied and deleted by the other, with the snapshots of a real driver.

Ends with `N passed, N failed, N skipped`.
"""
import ctypes
import json
import os
import re
import sys
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "rig"), HERE]

import archive  # noqa: E402
import steps  # noqa: E402

BUILD = os.environ.get("VMB_BUILD", "build")


class Catalog(steps.Steps):
    PARTS = ("apiserver", "minio", "kubelet", "csi", "velero")

    def names(self):
        return [b["metadata"]["name"] for b in self.rig.api("GET", steps.VELERO + "backups")["items"]]

    def handles(self):
        return sorted(s["id"] for s in self.rig.csi.snapshots())

    def fill(self):
        self.rig.load_shop(storage_class="rig")
        self.vmbackup("backup", "create", "plain", "--include-namespaces", "shop",
                      "--snapshot-volumes=false")
        self.vmbackup("backup", "create", "ours", "--include-namespaces", "shop")
        assert len(self.handles()) == 2, self.handles()

    def objects_change(self):
        maps = "/api/v1/namespaces/shop/configmaps"
        first = self.rig.api("GET", maps)["items"][0]
        self.rig.api("PATCH", maps + "/" + first["metadata"]["name"],
                     {"data": {"added": "1"}, "metadata": {"annotations": {"a.b/c": "~"}}},
                     "application/merge-patch+json")
        self.rig.api("POST", maps, {"metadata": {"name": "one-more"}, "data": {"a": "b"}})
        self.vmbackup("backup", "create", "later", "--include-namespaces", "shop")
        self.rig.velero("backup", "create", "theirs", "--include-namespaces", "shop", "--wait")
        assert self.object("backups", "theirs")["status"]["phase"] == "Completed"

    def whole_backups_verify(self):
        for name in ("plain", "ours", "later", "theirs"):
            report = json.loads(self.vmbackup("verify", name, "-o", "json"))
            assert report["ok"] and not report["problems"], report

    def differences_are_those_that_python_finds(self):
        a, b = (archive.objects(self.file(n, n + ".tar.gz")) for n in ("ours", "later"))
        lines = [json.loads(line) for line in
                 self.vmbackup("diff", "ours", "later", "--all", "-o", "json").splitlines()]
        found = {"added": set(), "removed": set(), "changed": set()}
        for line in lines[:-1]:
            ns = "namespaces/" + line["namespace"] if line["namespace"] else "cluster"
            path = "resources/%s/%s/%s.json" % (line["resource"], ns, line["name"])
            assert path not in found[line["change"]], path
            found[line["change"]].add(path)
            if line["change"] == "changed":
                assert patched(a[path], line["patch"]) == b[path], (path, line["patch"])
        assert found["added"] == set(b) - set(a), found
        assert found["removed"] == set(a) - set(b), found
        assert found["changed"] == {p for p in set(a) & set(b) if a[p] != b[p]}, found
        assert any("one-more" in p for p in found["added"]) and found["changed"]
        total = {k: len(v) for k, v in found.items()}
        total["same"] = len(set(a) & set(b)) - total["changed"]
        assert lines[-1] == total, (lines[-1], total)

    def description_has_what_velero_prints(self):
        """Every heading of Velero's description, of its own backup, stands in ours."""
        theirs = self.rig.velero("backup", "describe", "theirs", "--details")
        ours = self.vmbackup("describe", "theirs", "--details")
        mine = set(headings(ours))
        missing = [h for h in headings(theirs) if h not in mine]
        assert not missing, "not in ours: %s\n%s\n%s" % (missing, theirs, ours)

    def link_gives_the_archive(self):
        url = presign(self.rig.s3["minio"], "velero", "ours")
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.read() == self.file("ours", "ours.tar.gz")

    def velero_syncs_ours(self):
        self.rig.restart("velero")
        self.rig.wait(lambda: {"ours", "later", "plain"} <= set(self.names()), 150, "sync of ours")

    def our_deletion_takes_the_snapshots(self):
        before = self.handles()
        gone = [c["status"]["snapshotHandle"] for p, c in
                archive.objects(self.file("ours", "ours.tar.gz")).items()
                if "/volumesnapshotcontents." in p]
        assert len(gone) == 2 and set(gone) <= set(before), (gone, before)
        out = self.vmbackup("delete", "backup", "ours", "--confirm")
        assert "2 snapshots" in out, out
        assert self.handles() == sorted(set(before) - set(gone)), self.handles()
        assert not self.s3.list("velero/backups/ours/")
        left = self.rig.api("GET", "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents")
        assert not [c for c in left["items"] if c["metadata"]["name"].startswith("vsc-")], left

    def velero_drops_what_we_deleted(self):
        self.rig.wait(lambda: "ours" not in self.names(), 200, "Velero to drop our backup")

    def copy_is_synced_from_its_location(self):
        self.rig.velero_location("second", "minio", prefix="second")
        out = self.vmbackup("copy", "plain", "--to", "second")
        assert "copied from default to second" in out, out
        report = json.loads(self.vmbackup("verify", "plain", "--storage-location", "second", "-o",
                                          "json"))
        assert report["ok"], report
        self.vmbackup("delete", "backup", "plain", "--confirm")

        def synced():
            found = [b for b in self.rig.api("GET", steps.VELERO + "backups")["items"]
                     if b["metadata"]["name"] == "plain"]
            return found and found[0]["spec"]["storageLocation"] == "second"
        self.rig.wait(synced, 260, "sync of the copy")

    def velero_deletes_ours(self):
        self.rig.velero("backup", "delete", "later", "--confirm")
        self.rig.wait(lambda: not self.s3.list("velero/backups/later/"), 120,
                      "Velero to delete our backup")
        self.rig.wait(lambda: "later" not in self.names(), 60, "the Backup to go")

    def we_delete_veleros(self):
        out = self.vmbackup("delete", "backup", "theirs", "--confirm")
        assert "2 snapshots" in out, out
        assert not self.s3.list("velero/backups/theirs/")
        assert not self.handles(), self.handles()

    STEPS = [fill, objects_change, whole_backups_verify, differences_are_those_that_python_finds,
             description_has_what_velero_prints, link_gives_the_archive, velero_syncs_ours,
             our_deletion_takes_the_snapshots, velero_deletes_ours, we_delete_veleros,
             velero_drops_what_we_deleted, copy_is_synced_from_its_location]


def headings(text):
    """What stands before a colon at the start of lines, without the indentation."""
    text = re.sub("\x1b\\[[0-9]+m", "", text)
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*([A-Z][A-Za-z0-9/() _-]+?):(\s|$)", line)
        if match and match.group(1) not in found:
            found.append(match.group(1))
    return found


def patched(value, patch):
    """The value with a JSON patch of add, remove and replace applied."""
    doc = json.loads(json.dumps({"": value}))
    for op in patch:
        keys = [k.replace("~1", "/").replace("~0", "~") for k in op["path"].split("/")]
        at = doc
        for key in keys[:-1]:
            at = at[int(key)] if isinstance(at, list) else at[key]
        last = int(keys[-1]) if isinstance(at, list) else keys[-1]
        if op["op"] == "remove":
            del at[last]
        elif isinstance(at, list) and op["op"] == "add":
            at.insert(last, op["value"])
        else:
            assert op["op"] == "add" or last in at or isinstance(at, list), op
            at[last] = op["value"]
    return doc[""]


def presign(store, prefix, backup):
    """A link to a backup's archive, through the C API."""
    lib = ctypes.CDLL(os.path.join(BUILD, "src", "libvmbackup.so"))
    pointer = ctypes.POINTER(ctypes.c_char)
    keys = os.path.join(os.environ.get("TMPDIR", "/tmp"), "vmb-link-keys-%d" % os.getpid())
    with open(keys, "w", encoding="utf-8") as f:
        f.write("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n" %
                (store["access_key"], store["secret_key"]))
    doc = json.dumps({
        "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
        "metadata": {"name": "default"},
        "spec": {"provider": "aws", "objectStorage": {"bucket": store["bucket"], "prefix": prefix},
                 "config": {"region": store["region"], "s3Url": store["endpoint"],
                            "s3ForcePathStyle": "true", "credentialsFile": keys}}}).encode()
    ctx, cat, url = ctypes.c_void_p(), ctypes.c_void_p(), pointer()
    size = ctypes.c_size_t()
    try:
        assert lib.vmb_ctx_new(ctypes.byref(ctx), None) == 0
        assert lib.vmb_ctx_add_location(ctx, doc, ctypes.c_size_t(len(doc)), None) == 0
        assert lib.vmb_catalog_open(ctx, None, ctypes.byref(cat), None) == 0
        contents = 2
        assert lib.vmb_catalog_presign(cat, backup.encode(), contents,
                                       ctypes.c_int64(600 * 10**9), ctypes.byref(url),
                                       ctypes.byref(size), None) == 0
        text = ctypes.string_at(url, size.value).decode()
        lib.vmb_free(url)
        missing = lib.vmb_catalog_presign(cat, b"nothing", contents, ctypes.c_int64(10**9),
                                          ctypes.byref(url), ctypes.byref(size), None)
        assert missing == -6, missing  # VMB_E_NOT_FOUND
    finally:
        os.unlink(keys)
        lib.vmb_catalog_free(cat)
        lib.vmb_ctx_unref(ctx)
    return text


def emit(row, column):
    """A cell of docs/interop.md's tables."""
    folder = os.environ.get("VMB_INTEROP_TABLE")
    if folder:
        with open(os.path.join(folder, "catalog.jsonl"), "a", encoding="utf-8") as f:
            f.write(json.dumps({"table": "catalogue", "row": row, "column": column,
                                "result": "pass"}) + "\n")


if __name__ == "__main__":
    status = steps.main(Catalog, velero_features="EnableCSI")
    if status == 0:
        for who in ("ours", "Velero's"):
            for what in ("verified by us", "deleted by us"):
                emit(who, what)
        emit("ours", "deleted by Velero")
        emit("ours", "copied by us, synced by Velero")
    sys.exit(status)
