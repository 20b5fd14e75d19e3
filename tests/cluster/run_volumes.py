#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Filesystem backup from end to end: the disks of a VM (a filesystem claim with disk.img, a block
claim) and the files of a pod go into repositories on MinIO, with a folder in the place of the
kubelet's. The real restic and ours restore them; the real Velero lists them.

Ends with `N passed, N failed, N skipped`. Root with loop devices gets a block device for the block
claim; elsewhere a file stands for it.
"""
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "interop"), HERE]

import run_engine  # noqa: E402
import steps  # noqa: E402
from steps import VELERO, VMBACKUP, Skip  # noqa: E402

MIB = 1 << 20
LAUNCHER = "virt-launcher-web-q8z4n"

FILES = """
apiVersion: v1
kind: Namespace
metadata: {name: files}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-tree, labels: {tier: cold}}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  claimRef: {namespace: files, name: tree}
  persistentVolumeReclaimPolicy: Retain
  storageClassName: trees
  nfs: {server: 127.0.0.1, path: /tree}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: tree, namespace: files}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
  storageClassName: trees
  volumeName: pv-tree
---
apiVersion: v1
kind: Pod
metadata: {name: worker, namespace: files}
spec:
  nodeName: %(node)s
  automountServiceAccountToken: false
  containers:
  - name: main
    image: registry.example/worker:1
    volumeMounts:
    - {name: tree, mountPath: /tree}
    - {name: scratch, mountPath: /scratch}
    - {name: host, mountPath: /host}
  volumes:
  - {name: tree, persistentVolumeClaim: {claimName: tree}}
  - {name: scratch, emptyDir: {}}
  - {name: host, hostPath: {path: /etc}}
"""


def write_tree(folder):
    """Files of every kind that a volume may hold."""
    os.makedirs(os.path.join(folder, "deep", "er"))
    for i in range(40):
        with open(os.path.join(folder, "deep", "file-%02d" % i), "wb") as f:
            f.write(os.urandom(i * 997))
    with open(os.path.join(folder, "deep", "er", "large"), "wb") as f:
        f.write(os.urandom(6 * MIB))
    os.symlink("../file-01", os.path.join(folder, "deep", "er", "link"))
    os.link(os.path.join(folder, "deep", "file-02"), os.path.join(folder, "hard"))
    os.mkfifo(os.path.join(folder, "pipe"))
    with open(os.path.join(folder, "naïve \"name\""), "w") as f:
        f.write("text\n")
    os.chmod(os.path.join(folder, "deep", "file-03"), 0o640)


def describe(folder):
    """{path: what a restore must bring back}"""
    out = {}
    for at, dirs, files in os.walk(folder):
        for name in dirs + files:
            path = os.path.join(at, name)
            st = os.lstat(path)
            content = b""
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    content = f.read()
            out[os.path.relpath(path, folder)] = (st.st_mode, st.st_uid, st.st_gid,
                                                  st.st_mtime_ns, content)
    return out


class Volumes(run_engine.Backups):
    PARTS = ("apiserver", "minio", "kubelet", "velero")

    # ---- preparing -----------------------------------------------------------------------------

    def prepare(self):
        if not shutil.which("restic"):
            raise Skip("skipped: needs restic")
        rig = self.rig
        self.shop = rig.load_shop()
        rig.apply(FILES % {"node": rig.node or "rig-node"})
        claim = "/api/v1/namespaces/files/persistentvolumeclaims/tree"
        self.merge(claim + "/status", {"status": {"phase": "Bound"}})
        self.merge("/api/v1/namespaces/files/pods/worker/status", {"status": {"phase": "Running"}})
        self.worker = rig.api("GET", "/api/v1/namespaces/files/pods/worker")
        self.pods = os.path.join(rig.dir, "pods")
        self.lay_out_launcher()
        self.lay_out_worker()
        at = rig.s3["minio"]
        self.restic_env = {"AWS_ACCESS_KEY_ID": at["access_key"],
                           "AWS_SECRET_ACCESS_KEY": at["secret_key"]}
        self.base = "s3:%s/%s/velero/restic/" % (at["endpoint"], at["bucket"])
        self.more = ("--fs-backup", "--fs-host-pods", self.pods)

    def merge(self, path, body):
        return self.rig.api("PATCH", path, body, content_type="application/merge-patch+json")

    def place(self, pod, *path):
        path = os.path.join(self.pods, pod["metadata"]["uid"], *path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def volume_name(self, claim):
        return self.shop["PersistentVolumeClaim", "shop", claim]["spec"]["volumeName"]

    def lay_out_launcher(self):
        pod = self.shop["Pod", "shop", LAUNCHER]
        self.data = self.place(pod, "volumes", "kubernetes.io~csi", self.volume_name("web-data"),
                               "mount")
        os.makedirs(self.data)
        with open(os.path.join(self.data, "disk.img"), "wb") as f:
            f.write(os.urandom(9 * MIB))
            f.seek(20 * MIB)
            f.write(os.urandom(3 * MIB))
            f.truncate(32 * MIB)
        self.disk = os.path.join(self.rig.dir, "block.img")
        with open(self.disk, "wb") as f:
            f.write(os.urandom(16 * MIB))
            f.truncate(64 * MIB)
        self.loop = None
        at = self.place(pod, "volumeDevices", "kubernetes.io~csi", self.volume_name("web-root"))
        if os.geteuid() == 0 and shutil.which("losetup"):
            made = subprocess.run(["losetup", "-f", "--show", self.disk], capture_output=True,
                                  text=True)
            self.loop = made.stdout.strip() if made.returncode == 0 else None
        if self.loop:
            os.symlink(self.loop, at)  # as the kubelet does it
            self.held = open(self.loop, "rb")  # the device goes when this process does
            subprocess.run(["losetup", "-d", self.loop], check=True)
        else:
            os.link(self.disk, at)
        print("     the block claim is %s" % (self.loop or "a file"))
        private = self.place(pod, "volumes", "kubernetes.io~empty-dir", "private")
        os.makedirs(private)
        with open(os.path.join(private, "domain.xml"), "w") as f:
            f.write("<domain/>\n")

    def lay_out_worker(self):
        self.tree = self.place(self.worker, "volumes", "kubernetes.io~nfs", "pv-tree")
        os.makedirs(self.tree)
        write_tree(self.tree)
        os.makedirs(self.place(self.worker, "volumes", "kubernetes.io~empty-dir", "scratch"))

    def change_block(self, offset, data):
        with open(self.loop or self.disk, "r+b") as f:
            f.seek(offset)
            f.write(data)
            f.flush()
            os.fsync(f.fileno())

    # ---- asking --------------------------------------------------------------------------------

    def records(self, name):
        return {r["spec"]["volume"]: r for r in self.document(name, "podvolumebackups.json.gz")
                or []}

    def back_up(self, name, *args, code=0, more=None):
        self.vmbackup("backup", "create", name, *args, *(more or self.more), code=code)
        return self.meta(name)["status"]

    def log(self, name):
        import gzip
        return gzip.decompress(self.file(name, name + "-logs.gz")).decode()

    def results(self, name):
        return json.dumps(self.document(name, "results.gz"))

    def restic(self, ns, *args, password="static-passw0rd", code=0):
        done = subprocess.run(["restic", "-r", self.base + ns, *args], capture_output=True,
                              text=True, timeout=240,
                              env={**os.environ, **self.restic_env, "RESTIC_PASSWORD": password})
        assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def scratch(self, name):
        path = os.path.join(self.rig.dir, "out", name)
        os.makedirs(path)
        return path

    def same_disk(self, path):
        with open(self.loop or self.disk, "rb") as a, open(path, "rb") as b:
            assert a.read() == b.read(), path

    # ---- steps ---------------------------------------------------------------------------------

    def backup_saves_disks_and_files(self):
        status = self.back_up("vol-1", "--include-namespaces", "shop,files",
                              "--default-volumes-to-fs-backup")
        assert status["phase"] == "Completed", (status, self.results("vol-1"))
        got = self.records("vol-1")
        assert {"root", "data", "private", "tree", "scratch"} <= set(got), sorted(got)
        for name, size in (("root", 64 * MIB), ("data", 32 * MIB)):
            r = got[name]
            assert r["status"]["phase"] == "Completed", r
            assert r["status"]["progress"] == {"totalBytes": size, "bytesDone": size}, r
            assert r["spec"]["repoIdentifier"] == self.base + "shop", r
            assert r["spec"]["tags"]["pvc-uid"], r
        assert got["tree"]["spec"]["repoIdentifier"] == self.base + "files"
        assert "snapshotID" not in got["scratch"]["status"], got["scratch"]  # it is empty
        assert "host" not in got and "cloudinit-udata" not in got and "config" not in got
        assert "hostPath volumes are not saved" in self.results("vol-1")
        assert "csiVolumeSnapshotsAttempted" not in status, status
        info = {i["pvbInfo"]["volumeName"]: i for i in self.document("vol-1", "volumeinfo.json.gz")}
        assert info["root"]["backupMethod"] == "PodVolumeBackup"
        assert info["root"]["pvcName"] == "web-root" and info["root"]["result"] == "succeeded"

    def guest_is_frozen_meanwhile(self):
        journal = [e for e in self.rig.exec_journal() if e["pod"] == LAUNCHER]
        names = [e.get("event") for e in journal if e.get("event")]
        assert names == ["freeze", "thaw"], journal
        assert not self.rig.parts["kubelet"].frozen()
        lines = [n for n in self.log("vol-1").splitlines() if "saved" in n or "hook" in n]
        assert lines, self.log("vol-1")

    def velero_takes_the_records_in(self):
        self.rig.restart("velero")
        self.rig.wait(lambda: "vol-1" in [b["metadata"]["name"] for b in
                                          self.rig.api("GET", VELERO + "backups")["items"]],
                      150, "sync of our backup")
        want = {v: r for v, r in self.records("vol-1").items()}

        def synced():
            items = self.rig.api("GET", VELERO + "podvolumebackups")["items"]
            return {i["spec"]["volume"]: i for i in items
                    if i["metadata"]["labels"].get("velero.io/backup-name") == "vol-1"}

        self.rig.wait(lambda: set(synced()) == set(want), 60, "sync of PodVolumeBackups")
        for volume, item in synced().items():
            assert item["spec"] == want[volume]["spec"], (item, want[volume])
            assert item["status"] == want[volume]["status"], (item, want[volume])

    def velero_describes_them(self):
        text = re.sub("\x1b\\[[0-9]+m", "",
                      self.rig.velero("backup", "describe", "vol-1", "--details"))
        assert "<error" not in text, text
        assert "Pod Volume Backups - restic" in text, text
        for word in ("shop/%s: " % LAUNCHER, "files/worker: "):
            assert word in text, (word, text)
        part = text[text.index("Pod Volume Backups"):]
        for volume in ("root", "data", "private", "tree"):
            assert volume in part, (volume, part)
        assert "Failed:\n" not in part, part
        assert "data (size: 33554432, incremental size: " in part, part

    def restic_restores_equal(self):
        got = self.records("vol-1")
        for ns in ("shop", "files"):
            self.restic(ns, "check", "--read-data")
        for volume in ("root", "data", "tree"):
            out = self.scratch("restic-" + volume)
            self.restic("files" if volume == "tree" else "shop", "restore",
                        got[volume]["status"]["snapshotID"][:8], "--target", out)
            self.compare(volume, out)

    def compare(self, volume, out):
        if volume == "root":
            assert os.listdir(out) == ["disk.img"], os.listdir(out)
            self.same_disk(os.path.join(out, "disk.img"))
        elif volume == "data":
            assert os.listdir(out) == ["disk.img"], os.listdir(out)
            assert filecmp.cmp(os.path.join(self.data, "disk.img"),
                               os.path.join(out, "disk.img"), shallow=False)
        else:
            want, have = describe(self.tree), describe(out)
            assert set(want) == set(have), set(want) ^ set(have)
            for path, one in want.items():
                assert have[path] == one, (path, have[path][:4], one[:4])

    def ours_restores_equal(self):
        got = self.records("vol-1")
        password = os.path.join(self.rig.dir, "password")
        with open(password, "w") as f:
            f.write("static-passw0rd\n")
        for volume in ("root", "data", "tree"):
            out = self.scratch("ours-" + volume)
            ns = "files" if volume == "tree" else "shop"
            to = ["--disk", os.path.join(out, "disk.img")] if volume == "root" else ["--target", out]
            self.vmbackup("repo", "restore", got[volume]["status"]["snapshotID"], *to, "-q",
                          "-r", self.base + ns, "-p", password, env=self.restic_env)
            self.compare(volume, out)

    def second_backup_takes_little(self):
        self.change_block(5 * MIB, os.urandom(MIB))
        with open(os.path.join(self.data, "disk.img"), "r+b") as f:
            f.seek(21 * MIB)
            f.write(os.urandom(1000))
        status = self.back_up("vol-2", "--include-namespaces", "shop,files",
                              "--default-volumes-to-fs-backup")
        assert status["phase"] == "Completed", status
        first, got = self.records("vol-1"), self.records("vol-2")
        for volume in ("root", "data"):
            more = got[volume]["status"]["incrementalBytes"]
            assert 0 < more <= 5 * MIB, (volume, more)
        assert got["tree"]["status"].get("incrementalBytes", 0) == 0, got["tree"]
        snapshots = json.loads(self.restic("shop", "snapshots", "--json"))
        by_id = {s["id"]: s for s in snapshots}
        for volume in ("root", "data"):
            mine = by_id[got[volume]["status"]["snapshotID"]]
            assert mine["parent"] == first[volume]["status"]["snapshotID"], mine
            assert mine["hostname"] == "velero", mine
            assert "volume=" + volume in mine["tags"], mine
        assert re.search(r"volume tree: snapshot [0-9a-f]{8} in \S+, [0-9]+ bytes, 0 read",
                         self.log("vol-2")), self.log("vol-2")
        for volume in ("root", "data"):
            out = self.scratch("again-" + volume)
            self.restic("shop", "restore", got[volume]["status"]["snapshotID"][:8],
                        "--target", out)
            self.compare(volume, out)
        self.restic("shop", "check", "--read-data")

    def annotate(self, **notes):
        self.merge("/api/v1/namespaces/files/pods/worker",
                   {"metadata": {"annotations": {
                       "backup.velero.io/" + k.replace("_", "-"): v for k, v in notes.items()}}})

    def annotations_opt_in_and_out(self):
        self.annotate(backup_volumes="scratch, tree")
        self.back_up("opt-in", "--include-namespaces", "files")
        assert set(self.records("opt-in")) == {"scratch"}, self.records("opt-in")
        self.annotate(backup_volumes=None, backup_volumes_excludes="tree")
        self.back_up("opt-out", "--include-namespaces", "files", "--default-volumes-to-fs-backup")
        assert set(self.records("opt-out")) == {"scratch"}, self.records("opt-out")
        info = [i for i in self.document("opt-out", "volumeinfo.json.gz") if i.get("skipped")]
        assert "podvolume: pod worker: opted out by annotation;" in info[0]["skippedReason"], info
        self.annotate(backup_volumes_excludes=None)

    def with_policy(self, name, rules):
        self.rig.apply(json.dumps({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "velero"},
            "data": {"policy.yaml": json.dumps({"version": "v1", "volumePolicies": rules})}}))
        return ["--resource-policies-configmap", name]

    def policies_decide(self):
        nfs = {"nfs": {}}
        skip = self.with_policy("skip-nfs", [{"conditions": nfs, "action": {"type": "skip"}}])
        self.back_up("pol-skip", "--include-namespaces", "files", *skip,
                     "--default-volumes-to-fs-backup")
        assert set(self.records("pol-skip")) == {"scratch"}, self.records("pol-skip")
        save = self.with_policy("save-cold", [
            {"conditions": {"storageClass": ["trees"], "capacity": "512Mi,2Gi"},
             "action": {"type": "fs-backup"}},
            {"conditions": {"volumeTypes": ["emptyDir"]}, "action": {"type": "skip"}}])
        self.back_up("pol-save", "--include-namespaces", "files", *save)
        assert set(self.records("pol-save")) == {"tree"}, self.records("pol-save")
        snap = self.with_policy("snapshot", [{"conditions": nfs, "action": {"type": "snapshot"}}])
        self.back_up("pol-snap", "--include-namespaces", "files", *snap,
                     "--default-volumes-to-fs-backup", "--snapshot-volumes=false")
        assert set(self.records("pol-snap")) == {"scratch"}, self.records("pol-snap")
        info = [i for i in self.document("pol-snap", "volumeinfo.json.gz") if i.get("skipped")]
        assert "no snapshot provider takes" in info[0]["skippedReason"], info  # it was asked
        done = subprocess.run([VMBACKUP, "backup", "create", "pol-none", "--include-namespaces",
                               "files", "--resource-policies-configmap", "nowhere", *self.more],
                              capture_output=True, text=True, timeout=240,
                              env={**os.environ, **self.rig.environment()})
        assert done.returncode == 1 and "velero/nowhere does not exist" in done.stderr, done

    def missing_volume_is_an_item_error(self):
        away = self.tree + ".away"
        os.rename(self.tree, away)
        try:
            status = self.back_up("gone", "--include-namespaces", "files",
                                  "--default-volumes-to-fs-backup", code=3)
        finally:
            os.rename(away, self.tree)
        assert status["phase"] == "PartiallyFailed" and status["errors"] == 1, status
        got = self.records("gone")
        assert got["tree"]["status"]["phase"] == "Failed", got["tree"]
        assert "pv-tree on this node" in got["tree"]["status"]["message"], got["tree"]
        assert got["scratch"]["status"]["phase"] == "Completed"
        paths = self.paths("gone")
        assert any("/pods/" in p for p in paths) and not any("claims" in p for p in paths), paths

    def links_out_of_the_volume_are_not_followed(self):
        away = self.tree + ".away"
        os.rename(self.tree, away)
        os.symlink("/etc", self.tree)
        try:
            self.back_up("link", "--include-namespaces", "files",
                         "--default-volumes-to-fs-backup", code=3)
        finally:
            os.unlink(self.tree)
            os.rename(away, self.tree)
        assert self.records("link")["tree"]["status"]["phase"] == "Failed"

    def wrong_password_is_told(self):
        path = os.path.join(self.rig.dir, "wrong")
        with open(path, "w") as f:
            f.write("another")
        status = self.back_up("wrong", "--include-namespaces", "files",
                              "--default-volumes-to-fs-backup", code=3,
                              more=(*self.more, "--fs-password-file", path))
        assert status["phase"] == "PartiallyFailed", status
        message = self.records("wrong")["tree"]["status"]["message"]
        assert "password" in message and "restic/files" in message, message
        assert "another" not in message, message

    def secret_gives_the_password(self):
        import base64
        path = "/api/v1/namespaces/velero/secrets/velero-repo-credentials"
        secret = self.rig.api("GET", path)  # Velero has made it
        was = secret["data"]["repository-password"]
        assert base64.b64decode(was) == b"static-passw0rd", "Velero's constant has changed"
        self.merge(path, {"data": {"repository-password":
                                   base64.b64encode(b" other words\n").decode()}})
        self.rig.apply((FILES % {"node": self.rig.node or "rig-node"})
                       .replace("namespace: files", "namespace: secret")
                       .replace("name: files", "name: secret").replace("pv-tree", "pv-secret"))
        self.merge("/api/v1/namespaces/secret/pods/worker/status", {"status": {"phase": "Running"}})
        pod = self.rig.api("GET", "/api/v1/namespaces/secret/pods/worker")
        scratch = self.place(pod, "volumes", "kubernetes.io~empty-dir", "scratch")
        os.makedirs(scratch)
        with open(os.path.join(scratch, "a"), "w") as f:
            f.write("a")
        try:
            self.rig.kubectl("annotate", "pod", "-n", "secret", "worker",
                             "backup.velero.io/backup-volumes=scratch")
            status = self.back_up("secret", "--include-namespaces", "secret")
        finally:
            self.merge(path, {"data": {"repository-password": was}})
        assert status["phase"] == "Completed", self.results("secret")
        assert json.loads(self.restic("secret", "snapshots", "--json", password="other words"))

    def interrupt_ends_within_seconds_and_forgets(self):
        self.change_block(0, os.urandom(16 * MIB))
        before = len(json.loads(self.restic("shop", "snapshots", "--json")))
        run = subprocess.Popen([VMBACKUP, "backup", "create", "stopped", "--include-namespaces",
                                "shop", "--default-volumes-to-fs-backup", *self.more],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, **self.rig.environment()})
        for line in run.stdout:
            if ": saved" in line:
                break
        start = time.monotonic()
        run.terminate()
        run.stdout.read()
        code = run.wait(60)
        took = time.monotonic() - start
        print("     ended with %d in %.1f s" % (code, took))
        if code == 0:
            return  # it was faster than the signal
        assert took < 45, took
        assert not self.keys("stopped"), self.keys("stopped")
        after = len(json.loads(self.restic("shop", "snapshots", "--json")))
        assert after == before, (before, after)
        assert not self.rig.parts["kubelet"].frozen()
        self.restic("shop", "check")

    STEPS = [prepare, backup_saves_disks_and_files, guest_is_frozen_meanwhile,
             velero_takes_the_records_in, velero_describes_them, restic_restores_equal,
             ours_restores_equal, second_backup_takes_little, annotations_opt_in_and_out,
             policies_decide, missing_volume_is_an_item_error,
             links_out_of_the_volume_are_not_followed, wrong_password_is_told,
             secret_gives_the_password, interrupt_ends_within_seconds_and_forgets]


if __name__ == "__main__":
    sys.exit(steps.main(Volumes))
