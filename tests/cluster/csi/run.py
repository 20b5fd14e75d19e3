#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The CSI snapshot provider against the real snapshot controllers and a driver with faults."""

import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path[:0] = [os.path.join(ROOT, "tests", "rig"), os.path.join(ROOT, "tests", "cluster", "kube")]

from kubelib import Suite  # noqa: E402
from rig import Rig, Skip  # noqa: E402

test = Suite()
NS = "shop"
SNAP = "/apis/snapshot.storage.k8s.io/v1"
CUT, READY = 1, 2
MIB = 1 << 20


def find_probe():
    build = os.environ.get("VMB_BUILD") or (sys.argv[1] if len(sys.argv) > 1 else
                                            os.path.join(ROOT, "build"))
    path = os.environ.get("VMB_CSI_PROBE") or os.path.join(build, "tests", "unit", "providers",
                                                           "csi_probe")
    if not os.access(path, os.X_OK):
        print("skipped: no %s; build the tree and set VMB_BUILD" % path)
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(77)
    return path


class Probe:
    """One operation of the provider in a process of its own."""

    def __init__(self, w, backup="b1", **settings):
        argv = [find_probe(), w.rig.kubeconfig, backup]
        if settings:
            argv.append(json.dumps(settings))
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        self.p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  env=env)
        self.ok(self.read())

    def read(self):
        line = self.p.stdout.readline()
        assert line, "the probe ended: %s" % self.p.wait()
        return json.loads(line)

    def __call__(self, *words):
        self.p.stdin.write(" ".join(str(x) for x in words) + "\n")
        self.p.stdin.flush()
        return self.read()

    @staticmethod
    def ok(a):
        assert a["code"] == "VMB_OK", "%s: %s" % (a["code"], a["message"])
        return a

    def must(self, *words):
        return self.ok(self(*words))

    def to(self, state, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            a = self.must("poll", 1000)
            if a["state"] >= state:
                return a
        raise AssertionError("state %d was not reached" % state)

    def fails(self, code, *words):
        a = self(*words)
        assert a["code"] == code, "%s instead of %s: %s" % (a["code"], code, a["message"])
        return a["message"]

    def poll_until_error(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            a = self("poll", 1000)
            if a["code"] != "VMB_OK":
                return a
        raise AssertionError("no error came")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.p.stdin.write("quit\n")
            self.p.stdin.close()
        except OSError:
            pass  # it has ended already
        try:
            code = self.p.wait(20)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
            raise
        if _[0] is None:
            assert code == 0, "the probe ended with %d" % code


class World:
    def __init__(self, rig):
        self.rig, self.csi = rig, rig.csi
        self.n = 0

    def volume(self, mode="Block", data=None, size="8Mi", annotations=None):
        self.n += 1
        name = "disk-%02d" % self.n
        vol = self.csi.make_volume(NS, name, size, mode, data)
        if annotations:
            self.rig.api("PATCH", "/api/v1/namespaces/%s/persistentvolumeclaims/%s" % (NS, name),
                         {"metadata": {"annotations": annotations}})
        return vol

    def objects(self):
        """Names of all snapshots and contents."""
        vs = self.rig.api("GET", "%s/namespaces/%s/volumesnapshots" % (SNAP, NS))["items"]
        vsc = self.rig.api("GET", SNAP + "/volumesnapshotcontents")["items"]
        return [o["metadata"]["name"] for o in vs + vsc]

    def clean(self):
        """Nothing is left in the API and in the storage."""
        left = self.objects()
        assert not left, "left in the cluster: %s" % left
        stored = self.csi.snapshots()
        assert not stored, "left in the storage: %s" % stored

    def forget(self, handle):
        """Removes a snapshot that a backup would keep, as deleting the backup does."""
        self.rig.api("POST", SNAP + "/volumesnapshotcontents", {
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
            "metadata": {"name": "forget-" + hashlib.sha1(handle.encode()).hexdigest()[:8],
                         "finalizers": ["snapshot.storage.kubernetes.io/"
                                        "volumesnapshotcontent-bound-protection"]},
            "spec": {"deletionPolicy": "Delete", "driver": "csi.rig.vmbackup.io",
                     "source": {"snapshotHandle": handle},
                     "volumeSnapshotRef": {"namespace": "none", "name": "none"}}})
        return self.delete_content("forget-" + hashlib.sha1(handle.encode()).hexdigest()[:8],
                                   handle)

    def delete_content(self, name, handle):
        path = "%s/volumesnapshotcontents/%s" % (SNAP, name)
        self.rig.wait(lambda: self.rig.api("GET", path).get("status", {}).get("snapshotHandle"),
                      20, "handle of " + name)
        self.rig.api("DELETE", path)
        self.csi.gone(handle)
        self.rig.wait(lambda: name not in self.objects(), 20, "end of " + name)


def blob(seed, size=MIB):
    return hashlib.shake_128(seed.encode()).digest(size)


def head(path, size=MIB):
    with open(path, "rb") as f:
        return f.read(size)


def items(doc):
    return {e["resource"]: e["object"] for e in doc["items"]}


# ---- cut and ready


@test
def snapshot_holds_the_bytes_of_the_cut(w):
    before, after = blob("before"), blob("after")
    vol = w.volume(data=before)
    with Probe(w) as p:
        start = p.must("begin", NS, vol.pvc)
        assert start["score"] == 100
        cut = p.to(CUT)
        w.csi.write(vol, after)  # the guest is thawed and writes
        p.to(READY)
        doc = p.must("describe")["doc"]
        handle = doc["volumeInfo"]["csiSnapshotInfo"]["snapshotHandle"]
        assert head(w.csi.snapshot_path(handle)) == before, "not the bytes of the cut"
        assert head(vol.path) == after, "the volume changed"
        _, cut_end = w.csi.cut(handle)
        assert cut["unixNs"] >= cut_end, "cut was told too early"
        p.must("finish")
        w.rig.wait(lambda: not w.objects(), 10, "end of the objects")
        assert head(w.csi.snapshot_path(handle)) == before, "the data went with the objects"
        p.must("finish")
        w.forget(handle)
    w.clean()
    return "cut after %d ms, seen %d ms after the storage's cut" % (
        (cut["unixNs"] - start["unixNs"]) / 1e6, (cut["unixNs"] - cut_end) / 1e6)


@test
def snapshot_of_a_filesystem_volume(w):
    vol = w.volume("Filesystem", blob("file"))
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        p.to(CUT)
        w.csi.write(vol, blob("other"))
        p.to(READY)
        handle = p.must("describe")["doc"]["volumeInfo"]["csiSnapshotInfo"]["snapshotHandle"]
        assert head(os.path.join(w.csi.snapshot_path(handle), "disk.img")) == blob("file")
        p.must("cancel")
    w.clean()


@test
def records_are_those_of_velero(w):
    vol = w.volume(data=b"x")
    with Probe(w, backup="nightly-" + "n" * 70) as p:
        p.must("begin", NS, vol.pvc)
        p.to(READY)
        doc = p.must("describe")["doc"]
        obj = items(doc)
        label = "nightly-" + "n" * 49 + hashlib.sha256(
            ("nightly-" + "n" * 70).encode()).hexdigest()[:6]
        assert [e["resource"] for e in doc["items"]] == [
            "volumesnapshotclasses", "volumesnapshotcontents", "volumesnapshots"]
        vs, vsc = obj["volumesnapshots"], obj["volumesnapshotcontents"]
        for o in (vs, vsc):
            assert o["metadata"]["labels"]["velero.io/backup-name"] == label
            assert o["status"]["readyToUse"] is True
        assert vsc["metadata"]["finalizers"] == [
            "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"]
        assert not [a for a in vsc["metadata"].get("annotations", {}) if "being-" in a]
        handle = vsc["status"]["snapshotHandle"]
        notes = vs["metadata"]["annotations"]
        assert notes["velero.io/csi-volumesnapshot-handle"] == handle
        assert notes["velero.io/csi-driver-name"] == "csi.rig.vmbackup.io"
        assert notes["velero.io/csi-vsc-deletion-policy"] == "Retain"
        assert notes["velero.io/csi-volumesnapshot-restore-size"] == "8Mi"
        info = doc["volumeInfo"]
        assert info["csiSnapshotInfo"] == {
            "snapshotHandle": handle, "size": 8 * MIB, "driver": "csi.rig.vmbackup.io",
            "vscName": vsc["metadata"]["name"], "operationID": doc["operationID"],
            "ReadyToUse": True}
        assert info["startTimestamp"] == vs["metadata"]["creationTimestamp"]
        assert (info["pvcName"], info["pvName"], info["result"]) == (vol.pvc, vol.pv, "succeeded")
        assert info["pvInfo"] == {"reclaimPolicy": "Delete", "labels": None}
        assert doc["operation"]["status"]["phase"] == "Completed"
        assert "spec" not in doc["claimPatch"]  # 8Mi were asked for
        p.must("cancel")
    w.clean()


@test
def saved_objects_restore_the_bytes(w):
    """The archive's objects in static form, as a restore makes them."""
    data = blob("restore me")
    vol = w.volume(data=data)
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        p.to(READY)
        obj = items(p.must("describe")["doc"])
        p.must("finish")
    handle = obj["volumesnapshotcontents"]["status"]["snapshotHandle"]
    w.csi.write(vol, blob("later"))
    w.csi.content("back", handle, NS, "back", mode="Block")
    w.csi.snapshot(NS, "back", content="back")
    w.csi.ready(NS, "back")
    restored = w.csi.make_volume(NS, "restored", "8Mi", "Block", source="back")
    assert head(restored.path) == data
    w.rig.api("DELETE", "%s/namespaces/%s/volumesnapshots/back" % (SNAP, NS))
    w.rig.api("DELETE", SNAP + "/volumesnapshotcontents/back")
    w.rig.wait(lambda: not w.objects(), 20, "end of the static pair")
    w.forget(handle)
    w.clean()


@test
def saved_content_deletes_the_data(w):
    """The archive's content, unbound and with policy Delete, as deleting a backup makes it."""
    vol = w.volume(data=b"x")
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        p.to(READY)
        saved = items(p.must("describe")["doc"])["volumesnapshotcontents"]
        p.must("finish")
    handle = saved["status"]["snapshotHandle"]
    saved["metadata"] = {"name": "vsc-temp", "finalizers": saved["metadata"]["finalizers"],
                         "labels": saved["metadata"]["labels"]}
    saved["spec"].update(deletionPolicy="Delete", source={"snapshotHandle": handle},
                         volumeSnapshotRef={"namespace": "ns-x", "name": "name-x"})
    saved["spec"].pop("volumeSnapshotClassName", None)
    saved.pop("status")
    w.rig.api("POST", SNAP + "/volumesnapshotcontents", saved)
    w.delete_content("vsc-temp", handle)
    w.clean()


@test
def late_handle_delays_the_cut(w):
    vol = w.volume(data=blob("one"))
    w.csi.fault("handle-after", seconds=6, volume=vol, count=1)
    with Probe(w) as p:
        start = p.must("begin", NS, vol.pvc)
        time.sleep(1)
        w.csi.write(vol, blob("two"))  # before the cut: the guest is not frozen here
        cut = p.to(CUT)
        waited = (cut["unixNs"] - start["unixNs"]) / 1e9
        assert waited >= 5.9, waited
        p.to(READY)
        handle = p.must("describe")["doc"]["volumeInfo"]["csiSnapshotInfo"]["snapshotHandle"]
        assert head(w.csi.snapshot_path(handle)) == blob("two")
        late = (cut["unixNs"] - w.csi.cut(handle)[1]) / 1e9
        assert late < 1.5, late
        p.must("cancel")
    w.csi.clear()
    w.clean()
    return "seen %.2f s after the cut" % late


@test
def late_ready_does_not_delay_the_cut(w):
    vol = w.volume(data=b"x")
    w.csi.fault("ready-after", seconds=4, volume=vol)
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        cut = p.to(CUT)
        assert cut["state"] == CUT
        early = p.must("describe")["doc"]
        assert early["volumeInfo"]["csiSnapshotInfo"]["ReadyToUse"] is False
        assert "result" not in early["volumeInfo"]
        ready = p.to(READY)
        gap = (ready["unixNs"] - cut["unixNs"]) / 1e9
        assert gap > 3, gap
        p.must("cancel")
    w.csi.clear()
    w.clean()


@test
def larger_restore_size_raises_the_request(w):
    vol = w.volume(data=b"x")
    w.csi.fault("size", bytes=12 * MIB, volume=vol)
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        p.to(READY)
        doc = p.must("describe")["doc"]
        assert doc["claimPatch"]["spec"]["resources"]["requests"]["storage"] == "12Mi"
        p.must("cancel")
    w.csi.clear()
    w.csi.fault("size", bytes=0, volume=vol)
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        p.to(READY)
        doc = p.must("describe")["doc"]
        assert "spec" not in doc["claimPatch"]
        assert doc["volumeInfo"]["csiSnapshotInfo"]["size"] == 0
        p.must("cancel")
    w.csi.clear()
    w.clean()


@test
def many_at_once(w):
    volumes = [w.volume(data=blob("v%d" % i)) for i in range(10)]

    def one(vol):
        with Probe(w) as p:
            start = p.must("begin", NS, vol.pvc)
            cut = p.to(CUT)
            p.to(READY)
            doc = p.must("describe")["doc"]
            handle = doc["volumeInfo"]["csiSnapshotInfo"]["snapshotHandle"]
            same = head(w.csi.snapshot_path(handle)) == head(vol.path)
            p.must("cancel")
            return same, (cut["unixNs"] - start["unixNs"]) / 1e9
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        results = list(pool.map(one, volumes))
    assert all(same for same, _ in results)
    w.clean()
    return "slowest cut %.2f s" % max(s for _, s in results)


# ---- failures


@test
def failing_storage_that_recovers(w):
    vol = w.volume(data=b"x")
    w.csi.fault("fail", code="INTERNAL", message="storage is busy", volume=vol, count=3)
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        p.to(READY, 60)
        p.must("cancel")
    w.csi.clear()
    w.clean()


@test
def failing_storage_times_out_with_its_words(w):
    vol = w.volume(data=b"x")
    w.csi.fault("fail", code="INTERNAL", message="pool is on fire", volume=vol)
    with Probe(w) as p:
        p.must("deadline", 4000)
        p.must("begin", NS, vol.pvc)
        a = p.poll_until_error()
        assert a["code"] == "VMB_E_TIMEOUT", a
        assert "pool is on fire" in a["message"], a["message"]
        assert "csi.rig.vmbackup.io" in a["message"], a["message"]
        p.must("deadline", -1)
        p.must("cancel")
    w.csi.clear()
    w.clean()
    return a["message"][:100]


@test
def answer_lost_by_the_driver_leaves_nothing(w):
    """The storage cuts, the call fails: cancelling must still remove the storage's snapshot."""
    vol = w.volume(data=b"x")
    w.csi.fault("fail", code="UNAVAILABLE", late=True, volume=vol)
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        w.rig.wait(w.csi.snapshots, 20, "snapshot in the storage")
        w.csi.clear()
        p.must("cancel")
    w.clean()


@test
def cancel_while_the_storage_works(w):
    vol = w.volume(data=b"x")
    w.csi.fault("handle-after", seconds=4, volume=vol, count=1)
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        p.must("poll", 1000)
        p.must("cancel")
    w.csi.clear()
    w.clean()


@test
def cancel_at_once(w):
    vol = w.volume(data=b"x")
    for _ in range(10):
        with Probe(w) as p:
            p.must("begin", NS, vol.pvc)
            p.must("cancel")
    w.rig.wait(lambda: not w.objects() and not w.csi.snapshots(), 10, "clean cluster")
    time.sleep(1)
    w.clean()


@test
def cancel_at_any_moment(w):
    """From before the binding to after the cut, under both policies."""
    volumes = [w.volume(data=b"x", annotations={"velero.io/csi-volumesnapshot-class": c})
               for c in ("rig-snap", "rig-snap-delete") for _ in range(2)]

    def many(vol):
        for n in range(8):
            with Probe(w) as p:
                p.must("begin", NS, vol.pvc)
                time.sleep(n * 0.06)
                p.must("cancel")
    with concurrent.futures.ThreadPoolExecutor(len(volumes)) as pool:
        list(pool.map(many, volumes))
    time.sleep(1)
    w.clean()


@test
def cancel_when_ready_both_policies(w):
    for name in ("rig-snap", "rig-snap-delete"):
        vol = w.volume(data=b"x", annotations={"velero.io/csi-volumesnapshot-class": name})
        with Probe(w) as p:
            p.must("begin", NS, vol.pvc)
            p.to(READY)
            obj = items(p.must("describe")["doc"])
            assert obj["volumesnapshotclasses"]["metadata"]["name"] == name
            p.must("cancel")
        w.clean()


@test
def finish_keeps_data_under_policy_delete(w):
    vol = w.volume(data=blob("keep"),
                   annotations={"velero.io/csi-volumesnapshot-class": "rig-snap-delete"})
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        p.to(READY)
        obj = items(p.must("describe")["doc"])
        assert obj["volumesnapshotcontents"]["spec"]["deletionPolicy"] == "Delete"
        p.must("finish")
    handle = obj["volumesnapshotcontents"]["status"]["snapshotHandle"]
    w.rig.wait(lambda: not w.objects(), 10, "end of the objects")
    time.sleep(2)
    assert head(w.csi.snapshot_path(handle)) == blob("keep")
    w.forget(handle)
    w.clean()


@test
def wrong_class_in_annotation_warns(w):
    vol = w.volume(data=b"x", annotations={"velero.io/csi-volumesnapshot-class": "none-such"})
    with Probe(w) as p:
        a = p.must("begin", NS, vol.pvc)
        assert any("none-such" in line and line.startswith("W:") for line in a["log"]), a["log"]
        p.to(READY)
        assert items(p.must("describe")["doc"])["volumesnapshotclasses"]["metadata"]["name"] == \
            "rig-snap"
        p.must("cancel")
    w.clean()


@test
def lost_snapshotter_times_out_and_is_cleaned_later(w):
    vol = w.volume(data=b"x")
    w.csi.stop_one("csi-snapshotter")
    try:
        with Probe(w, cleanupTimeout="2s") as p:
            p.must("begin", NS, vol.pvc)
            p.must("deadline", 3000)
            a = p.poll_until_error()
            assert a["code"] == "VMB_E_TIMEOUT", a
            assert "no snapshotter has answered" in a["message"], a["message"]
            p.must("deadline", -1)
            left = p.fails("VMB_E_TIMEOUT", "cancel")
            assert "left behind" in left, left
            w.csi.start_one("csi-snapshotter")
            end = time.monotonic() + 30
            while p("cancel")["code"] != "VMB_OK":
                assert time.monotonic() < end, "still left behind"
    finally:
        if "csi-snapshotter" not in w.csi.part.running:
            w.csi.start_one("csi-snapshotter")
    w.clean()
    return left[-60:]


@test
def lost_controller_times_out_cleanly(w):
    vol = w.volume(data=b"x")
    w.csi.stop_one("snapshot-controller")
    try:
        with Probe(w) as p:
            p.must("begin", NS, vol.pvc)
            p.must("deadline", 2000)
            a = p.poll_until_error()
            assert "snapshot controller has not answered" in a["message"], a["message"]
            p.must("deadline", -1)
            p.must("cancel")
    finally:
        w.csi.start_one("snapshot-controller")
    w.clean()


@test
def snapshot_deleted_by_somebody_fails(w):
    vol = w.volume(data=b"x")
    w.csi.fault("ready-after", seconds=60, volume=vol)
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        p.to(CUT)
        name = p.must("describe")["doc"]["operationID"].split("/")[1]
        w.rig.api("DELETE", "%s/namespaces/%s/volumesnapshots/%s" % (SNAP, NS, name))
        a = p.poll_until_error()
        assert a["code"] in ("VMB_E_NOT_FOUND", "VMB_E_CONFLICT", "VMB_E_INVALID"), a
        w.csi.clear()
        p.must("cancel")
    w.clean()
    return a["message"][:100]


@test
def api_server_crash_is_survived(w):
    vol = w.volume(data=blob("crash"))
    w.csi.fault("handle-after", seconds=6, volume=vol, count=1)
    with Probe(w) as p:
        p.must("begin", NS, vol.pvc)
        p.must("poll", 500)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            crash = pool.submit(w.rig.restart, "apiserver", kill=True)
            p.to(READY, 90)
            crash.result()
        handle = p.must("describe")["doc"]["volumeInfo"]["csiSnapshotInfo"]["snapshotHandle"]
        assert head(w.csi.snapshot_path(handle)) == blob("crash")
        w.csi.clear()
        p.must("cancel")
    w.rig.wait(lambda: not w.objects() and not w.csi.snapshots(), 30, "clean cluster")


def main():
    find_probe()
    try:
        with Rig(parts=["apiserver", "csi"]) as rig:
            rig.need("apiserver", "csi")
            return test.run(World(rig), only=os.environ.get("VMB_ONLY"))
    except Skip as e:
        print(str(e))
        print("0 passed, 0 failed, 1 skipped")
        return 77


if __name__ == "__main__":
    sys.exit(main())
