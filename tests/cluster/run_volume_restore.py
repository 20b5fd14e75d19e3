#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Filesystem backups come back: disks of a VM (a filesystem claim with disk.img, a block claim) and
the files of a pod, saved into repositories on MinIO, are restored into other namespaces by the
command and by the operator; a backup as Velero makes it with restic is restored, too. Nobody runs
pods here: placer.py does what the scheduler and the kubelet would do.

Ends with `N passed, N failed, N skipped`. With VMB_INTEROP_TABLE the outcome also goes into that
folder, as rows of the table in docs/interop.md.
"""
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "operator")]

import operatorlib  # noqa: E402
import run_volumes  # noqa: E402
from operatorlib import OPERATOR, VELERO, main  # noqa: E402
from placer import Placer  # noqa: E402
from run_volumes import LAUNCHER, MIB, describe  # noqa: E402
from steps import VMBACKUP, Skip  # noqa: E402

COLUMN = "pods' volumes in restic repositories"
NOTE = "vmbackup.io/content"


class VolumeRestore(operatorlib.Operator, run_volumes.Volumes):
    PARTS = ("apiserver", "minio", "kubelet")

    def prepare(self):
        if os.geteuid() != 0:
            raise Skip("skipped: needs loop devices")
        self.rows = []
        self.install()
        self.location()
        run_volumes.Volumes.prepare(self)
        self.sizes = {"web-root": 64 * MIB}

    def back_up_all(self):
        status = self.back_up("b", "--include-namespaces", "shop,files",
                              "--default-volumes-to-fs-backup")
        assert status["phase"] == "Completed", (status, self.results("b"))

    # ---- asking ------------------------------------------------------------------------------

    def placer(self, *namespaces, **sizes):
        return Placer(self.rig, self.pods, namespaces, {**self.sizes, **sizes})

    def mapping(self, end):
        return ["--namespace-mappings", "shop:shop%s,files:files%s" % (end, end)]

    def restore(self, name, backup, *args, code=0):
        self.vmbackup("restore", "create", name, "--from-backup", backup, *args, *self.more,
                      "--set", "resource-timeout=60s", code=code)
        return self.outcome(name)

    def outcome(self, name):
        text = self.s3.get("velero/restores/%s/restore-%s-results.gz" % (name, name))
        return json.loads(gzip.decompress(text))

    def claim(self, ns, name):
        return self.rig.api("GET", "/api/v1/namespaces/%s/persistentvolumeclaims/%s" % (ns, name))

    def is_pending(self, ns, name):
        return NOTE in self.claim(ns, name)["metadata"].get("annotations", {})

    def machine(self, ns):
        return self.rig.api("GET", "/apis/kubevirt.io/v1/namespaces/%s/virtualmachines/web" % ns)

    def names(self, ns):
        return {p["metadata"]["name"]
                for p in self.rig.api("GET", "/api/v1/namespaces/%s/pods" % ns)["items"]}

    def check_disk(self, places, ns):
        with open(places[ns, "web-root"], "rb") as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            got = f.read()
        with open(self.loop or self.disk, "rb") as f:
            assert got == f.read(), "the block claim differs"

    def check_files(self, places, ns, uid):
        have = describe(places[ns, "tree"])
        assert have.pop(".velero/" + uid, None) is not None, sorted(have)[:5]
        have.pop(".velero")
        want = describe(self.tree)
        assert set(want) == set(have), set(want) ^ set(have)
        for path, one in want.items():
            assert have[path] == one, (path, have[path][:4], one[:4])

    def check_image(self, places, ns):
        at = places[ns, "web-data"]
        assert os.listdir(at) == ["disk.img"], os.listdir(at)
        with open(os.path.join(self.data, "disk.img"), "rb") as a, \
                open(os.path.join(at, "disk.img"), "rb") as b:
            assert a.read() == b.read(), "disk.img differs"

    def waiter(self, ns):
        """The container that waits in the pod."""
        pod = self.rig.api("GET", "/api/v1/namespaces/%s/pods/worker" % ns)
        first = pod["spec"]["initContainers"][0]
        assert first["name"] == "restore-wait", first
        return first

    def check_all(self, places, end):
        shop, files = "shop" + end, "files" + end
        self.check_disk(places, shop)
        self.check_image(places, shop)
        self.check_files(places, files, self.waiter(files)["args"][0])
        for ns, name in ((shop, "web-root"), (shop, "web-data"), (files, "tree")):
            assert not self.is_pending(ns, name), (ns, name)
        assert self.machine(shop)["spec"]["runStrategy"] == "Always", self.machine(shop)["spec"]
        assert not [n for n in self.names(shop) if n.startswith("vmbackup-restore")]

    # ---- steps -------------------------------------------------------------------------------

    def command_restores_all(self):
        with self.placer("shop2", "files2") as p:
            found = self.restore("r2", "b", *self.mapping("2"))
        assert not found["errors"], found
        self.check_all(p.places, "2")
        assert LAUNCHER not in p.placed, p.placed
        text = self.s3.get("velero/restores/r2/r2-volumeinfo.json.gz")
        info = {i["pvcName"]: i for i in json.loads(gzip.decompress(text)) if "pvcName" in i}
        assert set(info) == {"web-root", "web-data", "tree"}, info
        assert all(i["restoreMethod"] == "PodVolumeRestore" for i in info.values()), info
        self.note("libvmbackup", "libvmbackup")

    def waiting_container_is_veleros(self):
        c = self.waiter("files2")
        assert c["image"] == "velero/velero:v1.18.1" and c["command"] == ["/velero-restore-helper"]
        assert c["volumeMounts"] == [{"name": "tree", "mountPath": "/restores/tree"}], c
        assert c["securityContext"]["runAsNonRoot"] and c["securityContext"]["runAsUser"] == 1000
        assert [e["name"] for e in c["env"]] == ["POD_NAMESPACE", "POD_NAME"], c
        assert c["resources"]["limits"] == {"cpu": "100m", "memory": "128Mi"}, c

    def restic_restores_equal(self):
        got = self.records("b")
        for volume in ("root", "data", "tree"):
            out = self.scratch("restic-" + volume)
            self.restic("files" if volume == "tree" else "shop", "restore",
                        got[volume]["status"]["snapshotID"][:8], "--target", out)
            self.compare(volume, out)
        self.note("libvmbackup", "restic")

    def configmap_changes_the_container(self):
        self.rig.apply(json.dumps({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "fs-restore-action-config", "namespace": "velero", "labels": {
                "velero.io/plugin-config": "", "velero.io/pod-volume-restore":
                "RestoreItemAction"}},
            "data": {"image": "registry.example/helper", "cpuRequest": "50m", "memLimit": "64Mi",
                     "memRequest": "64Mi", "command": "/wait", "secCtxRunAsUser": "2000",
                     "secCtx": "runAsNonRoot: true\nreadOnlyRootFilesystem: true\n"}}))
        with self.placer("files3"):
            found = self.restore("r3", "b", "--include-namespaces", "files", *self.mapping("3"))
        self.rig.kubectl("delete", "configmap", "-n", "velero", "fs-restore-action-config")
        assert not found["errors"], found
        c = self.waiter("files3")
        assert c["image"] == "registry.example/helper:v1.18.1" and c["command"] == ["/wait"], c
        assert c["resources"] == {"requests": {"cpu": "50m", "memory": "64Mi"},
                                  "limits": {"cpu": "100m", "memory": "64Mi"}}, c
        assert c["securityContext"] == {"runAsUser": 2000, "runAsNonRoot": True,
                                        "readOnlyRootFilesystem": True}, c

    def volume_that_fails_leaves_the_others(self):
        with self.placer("shop4", "files4", **{"web-root": 32 * MIB}) as p:
            found = self.restore("r4", "b", *self.mapping("4"), code=3)
        lines = found["errors"]["namespaces"]["shop4"]
        assert len(lines) == 1 and "pod volume restore failed: volume disk-" in lines[0], found
        assert self.machine("shop4")["spec"]["runStrategy"] == "Halted"
        assert any("stays halted" in w for w in found["warnings"]["namespaces"]["shop4"]), found
        self.check_image(p.places, "shop4")
        self.check_files(p.places, "files4", self.waiter("files4")["args"][0])
        assert self.is_pending("shop4", "web-root") and not self.is_pending("shop4", "web-data")

    def second_run_does_the_rest(self):
        with self.placer("shop4", "files4") as p:
            found = self.restore("r4b", "b", *self.mapping("4"), "--existing-resource-policy",
                                 "update")
        assert not found["errors"], found
        self.check_disk(p.places, "shop4")
        assert not self.is_pending("shop4", "web-root")
        assert p.placed and all(n.startswith("vmbackup-restore") for n in p.placed), p.placed

    def timeout_is_told_and_the_pod_waits(self):
        path = os.path.join(self.rig.dir, "r5.json")
        spec = {"apiVersion": "velero.io/v1", "kind": "Restore", "metadata": {
            "name": "r5", "annotations": {"velero.io/pod-volume-timeout": "2s"}},
            "spec": {"backupName": "b", "includedNamespaces": ["files"],
                     "namespaceMapping": {"files": "files5"}}}
        with open(path, "w", encoding="utf-8") as f:
            json.dump(spec, f)
        self.vmbackup("restore", "-f", path, *self.more, "--set", "resource-timeout=4s", code=3)
        lines = self.outcome("r5")["errors"]["namespaces"]["files5"]
        assert len(lines) == 1 and "volume tree of pod files5/worker" in lines[0] and \
            "the pod is on no node" in lines[0], lines
        first = self.waiter("files5")["args"][0]
        with self.placer("files5") as p:  # the pod that waits is filled by another run
            found = self.restore("r5b", "b", "--include-namespaces", "files", *self.mapping("5"))
        assert not found["errors"], found
        assert self.waiter("files5")["args"][0] == first
        self.check_files(p.places, "files5", first)

    def interrupt_ends_soon_and_removes_the_pod(self):
        run = subprocess.Popen([VMBACKUP, "restore", "create", "r6", "--from-backup", "b",
                                *self.mapping("6"), *self.more], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, **self.rig.environment()})
        try:
            self.rig.wait(lambda: any(n.startswith("vmbackup-restore")
                                      for n in self.names("shop6")), 60, "the pod with the disks")
            start = time.monotonic()
            run.terminate()
            out = run.communicate(timeout=120)[0]
        finally:
            run.kill()
        assert run.returncode == 1, (run.returncode, out)
        print("     ended in %.1f s" % (time.monotonic() - start))
        assert not [n for n in self.names("shop6") if n.startswith("vmbackup")], "the pod stays"
        with self.placer("shop6", "files6") as p:
            found = self.restore("r6", "b", *self.mapping("6"))
        assert not found["errors"], found
        self.check_all(p.places, "6")

    def operator_restores_all(self):
        self.start("--fs-host-pods", self.pods)
        self.ready()
        try:
            self.wait_location("default", "Available")
            self.rig.wait(lambda: "b" in [b["metadata"]["name"] for b in self.rig.api(
                "GET", VELERO + "backups")["items"]], 60, "sync of the backup")
            with self.placer("shop7", "files7") as p:
                self.rig.apply(json.dumps({
                    "apiVersion": "velero.io/v1", "kind": "Restore",
                    "metadata": {"name": "r7", "namespace": "velero"},
                    "spec": {"backupName": "b", "namespaceMapping": {
                        "shop": "shop7", "files": "files7"}}}))
                self.rig.wait(lambda: self.object("restores", "r7").get("status", {}).get("phase")
                              in operatorlib.END, 200, "end of the restore")
        finally:
            self.stop()
        done = self.object("restores", "r7")
        assert done["status"]["phase"] == "Completed", (done["status"], self.outcome("r7"))
        self.check_disk(p.places, "shop7")
        self.check_image(p.places, "shop7")
        self.check_files(p.places, "files7", done["metadata"]["uid"])
        items = self.rig.api("GET", VELERO + "podvolumerestores?labelSelector="
                             "velero.io/restore-name%3Dr7")["items"]
        assert len(items) == 3, items
        for one in items:
            assert one["status"]["phase"] == "Completed", one
            assert one["status"]["progress"]["bytesDone"] == one["status"]["progress"][
                "totalBytes"], one
            assert one["metadata"]["ownerReferences"][0]["uid"] == done["metadata"]["uid"], one
            assert one["spec"]["sourceNamespace"] in ("shop", "files"), one
            assert one["spec"]["backupStorageLocation"] == "default", one
        pods = {one["spec"]["pod"]["name"] for one in items}
        assert "worker" in pods, pods

    def wait_location(self, name, phase):
        def get():
            found = self.object("backupstoragelocations", name)
            return found if found.get("status", {}).get("phase") == phase else None
        return self.rig.wait(get, 60, "location %s to be %s" % (name, phase))

    # ---- as Velero makes it with restic -------------------------------------------------------

    def as_velero(self, name, snapshot, fields):
        """A backup of the pod `worker`, as if it were in the namespace `theirs`, in the files and
        fields that Velero writes."""
        objects = {"namespaces/cluster/theirs": self.rig.api("GET", "/api/v1/namespaces/files"),
                   "pods/namespaces/theirs/worker": self.worker,
                   "persistentvolumeclaims/namespaces/theirs/tree": self.claim("files", "tree"),
                   "persistentvolumes/cluster/pv-tree":
                       self.rig.api("GET", "/api/v1/persistentvolumes/pv-tree")}
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as tar:
            for path, text in [("metadata/version", b"1.1.0\n")] + [
                    ("resources/%s.json" % p, json.dumps(o).replace('"files"', '"theirs"').encode())
                    for p, o in objects.items()]:
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(text), 0o755
                tar.addfile(member, io.BytesIO(text))
        meta = {"kind": "Backup", "apiVersion": "velero.io/v1",
                "metadata": {"name": name, "namespace": "velero", "uid": "u-" + name},
                "spec": {"storageLocation": "default", "includedNamespaces": ["theirs"],
                         "ttl": "720h0m0s", **fields["backup"]},
                "status": {"version": 1, "formatVersion": "1.1.0", "phase": "Completed",
                           "startTimestamp": "2026-05-20T08:00:22Z",
                           "completionTimestamp": "2026-05-20T08:02:00Z"}}
        record = {"metadata": {
            "name": name + "-x7k2p", "namespace": "velero",
            "labels": {"velero.io/backup-name": name, "velero.io/backup-uid": "u-" + name},
            "annotations": {"velero.io/pvc-name": "tree"}},
            "spec": {"node": "n1", "pod": {"kind": "Pod", "namespace": "theirs", "name": "worker",
                                           "uid": self.worker["metadata"]["uid"]},
                     "volume": "tree", "backupStorageLocation": "default",
                     "repoIdentifier": self.base + "theirs", "tags": {
                         "backup": name, "backup-uid": "u-" + name, "ns": "theirs", "pod": "worker",
                         "volume": "tree"}, **fields["record"]},
            "status": {"phase": "Completed", "path": "/host_pods/u/volumes/kubernetes.io~nfs/pv-tree",
                       "snapshotID": snapshot, "startTimestamp": "2026-05-20T08:00:30Z",
                       "progress": {"totalBytes": 7, "bytesDone": 7}}}
        base = "velero/backups/%s/" % name
        if fields["info"]:
            self.s3.put(base + name + "-volumeinfo.json.gz", gzip.compress(json.dumps([{
                "pvcName": "tree", "pvcNamespace": "theirs", "pvName": "pv-tree",
                "backupMethod": "PodVolumeBackup", "snapshotDataMoved": False, "skipped": False,
                "preserveLocalSnapshot": False, "pvbInfo": {
                    "snapshotHandle": snapshot, "size": 7, "uploaderType": "restic",
                    "volumeName": "tree", "podName": "worker", "podNamespace": "theirs"}}]).encode()))
        self.s3.put(base + name + "-podvolumebackups.json.gz",
                    gzip.compress(json.dumps([record]).encode()))
        self.s3.put(base + name + ".tar.gz", data.getvalue())
        self.s3.put(base + "velero-backup.json", json.dumps(meta, indent=2).encode())

    def backups_of_velero_with_restic_are_restored(self):
        """1.9 says restic in other words than 1.10 to 1.18, and writes no volumeinfo."""
        versions = {
            "1-9": {"backup": {"defaultVolumesToRestic": True}, "record": {}, "info": False},
            "1-12": {"backup": {"defaultVolumesToFsBackup": True},
                     "record": {"uploaderType": "restic"}, "info": False},
            "1-18": {"backup": {"defaultVolumesToFsBackup": True},
                     "record": {"uploaderType": "restic"}, "info": True}}
        self.restic("theirs", "init")
        for version, fields in versions.items():
            name, target = "theirs-" + version, "target-" + version
            out = subprocess.run(
                ["restic", "-r", self.base + "theirs", "backup", ".", "--json", "--host=velero",
                 "--tag=backup=" + name, "--tag=backup-uid=u-" + name, "--tag=ns=theirs",
                 "--tag=pod=worker", "--tag=volume=tree"],
                cwd=self.tree, capture_output=True, text=True, timeout=120, check=True,
                env={**os.environ, **self.restic_env, "RESTIC_PASSWORD": "static-passw0rd"}).stdout
            snapshot = json.loads(out.splitlines()[-1])["snapshot_id"]
            self.as_velero(name, snapshot, fields)
            with self.placer(target) as p:
                found = self.restore("r-" + name, name, "--namespace-mappings", "theirs:" + target)
            assert not found["errors"], (version, found)
            self.check_files(p.places, target, self.waiter(target)["args"][0])
        self.rows.append({"table": "backups", "column": COLUMN, "result": "pass",
                          "row": "backup as Velero 1.9 to 1.18 with restic, restore by libvmbackup"})

    # ---- the table ---------------------------------------------------------------------------

    def note(self, maker, by):
        self.rows.append({"table": "backups", "column": COLUMN, "result": "pass",
                          "row": "backup by %s, restore by %s" % (maker, by)})

    def rows_are_kept(self):
        folder = os.environ.get("VMB_INTEROP_TABLE")
        if folder:
            with open(os.path.join(folder, "volume-restore.jsonl"), "w", encoding="utf-8") as f:
                f.writelines(json.dumps(row) + "\n" for row in self.rows)
        assert len(self.rows) == 3, self.rows

    STEPS = [prepare, back_up_all, command_restores_all, waiting_container_is_veleros,
             restic_restores_equal, configmap_changes_the_container,
             volume_that_fails_leaves_the_others, second_run_does_the_rest,
             timeout_is_told_and_the_pod_waits, interrupt_ends_soon_and_removes_the_pod,
             backups_of_velero_with_restic_are_restored, operator_restores_all, rows_are_kept]


if __name__ == "__main__":
    sys.exit(main(VolumeRestore))
