#!/usr/bin/env python3
"""Tests the rig's CSI driver: csi-sanity, then the real controllers on an API server.

    selftest.py [--build] [name...]

Without --build, whatever is not built yet is skipped. Exit code: 0, or 1 with a failure,
or 77 when everything was skipped.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import buildlib  # noqa: E402
from parts import csi as part  # noqa: E402

MIB = 1 << 20
NS = "csi-selftest"
SANITY, CLUSTER = [], []


def sanity(fn):
    SANITY.append(fn)
    return fn


def cluster(fn):
    CLUSTER.append(fn)
    return fn


def check(value, text):
    if not value:
        raise AssertionError(text)


def same(got, want, text):
    if got != want:
        raise AssertionError("%s: %r, expected %r" % (text, got, want))


def read(path):
    with open(path, "rb") as f:
        return f.read()


def pattern(seed, size):
    """Bytes that differ at each place and for each seed."""
    return hashlib.shake_256(seed.encode()).digest(size)


# csi-sanity


def run_sanity(access):
    driver, tool = buildlib.binary("rig-csi-driver"), buildlib.binary("csi-sanity")
    top = tempfile.mkdtemp(prefix="csi-")
    sock = os.path.join(top, "csi.sock")
    proc = subprocess.Popen([driver, "--endpoint", "unix://" + sock, "--state-dir",
                             os.path.join(top, "state")], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not os.path.exists(sock) and time.monotonic() < deadline:
            time.sleep(0.02)
        run = subprocess.run(
            [tool, "--csi.endpoint", "unix://" + sock, "--csi.mountdir", os.path.join(top, "mount"),
             "--csi.stagingdir", os.path.join(top, "stage"), "--csi.testvolumeaccesstype", access,
             "--ginkgo.no-color"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=300)
        found = re.search(r"(\d+) Passed \| (\d+) Failed", run.stdout)
        check(run.returncode == 0 and found and int(found[1]) >= 60 and found[2] == "0",
              "csi-sanity: exit %d\n%s" % (run.returncode, run.stdout[-4000:]))
        print("     csi-sanity: %s passed, %s failed" % (found[1], found[2]))
    finally:
        proc.terminate()
        proc.wait(10)
        shutil.rmtree(top, ignore_errors=True)


@sanity
def sanity_filesystem():
    run_sanity("mount")


@sanity
def sanity_block():
    run_sanity("block")


# with the real controllers; each test has names of its own


@cluster
def volume_block(rig):
    data = pattern("block", MIB)
    v = rig.csi.make_volume(NS, "vb", "16Mi", "Block", data)
    same(os.stat(v.path).st_size, 16 * MIB, "size")
    check(os.stat(v.path).st_blocks * 512 < 4 * MIB, "the file is not sparse")
    same(read(v.path)[:MIB], data, "content")
    same(rig.csi.path(v.pv), v.path, "path()")


@cluster
def volume_filesystem(rig):
    v = rig.csi.make_volume(NS, "vf", "16Mi", data=b"guest")
    same(read(os.path.join(v.path, "disk.img")), b"guest", "content")
    w = rig.csi.make_volume(
        NS, "vf2", "16Mi", data=lambda path: os.symlink("there", os.path.join(path, "link")))
    same(os.readlink(os.path.join(w.path, "link")), "there", "callable")


@cluster
def volume_deleted_with_claim(rig):
    v = rig.csi.make_volume(NS, "vgone", "1Mi", "Block")
    rig.api("DELETE", "/api/v1/namespaces/%s/persistentvolumeclaims/vgone" % NS)
    rig.csi.gone(v.handle)


@cluster
def snapshot_is_the_volume_at_the_cut(rig):
    first, then = pattern("a", 3 * MIB), pattern("b", 3 * MIB)
    v = rig.csi.make_volume(NS, "cut", "8Mi", "Block", first)
    before = time.time_ns()
    rig.csi.snapshot(NS, "cut", pvc="cut")
    handle = rig.csi.ready(NS, "cut")
    after = time.time_ns()
    rig.csi.write(v, then)
    snap = read(rig.csi.snapshot_path(handle))
    same(len(snap), 8 * MIB, "length")
    check(snap[:3 * MIB] == first and not any(snap[3 * MIB:]), "content is not that of the cut")
    begin, end = rig.csi.cut(handle)
    check(before < begin < end < after, "the times of the cut are wrong")
    calls = rig.csi.journal("CreateSnapshot", volume=v)
    same([c["phase"] for c in calls[:4]], ["begin", "cut-begin", "cut-end", "end"], "journal")
    vs, vsc = rig.csi.get_snapshot(NS, "cut")
    same(calls[0]["name"], "snapshot-" + vs["metadata"]["uid"], "name")
    same(vs["status"]["restoreSize"], "8Mi", "restoreSize of the snapshot")
    same(vsc["status"]["restoreSize"], 8 * MIB, "restoreSize of the content")
    same(vsc["spec"]["deletionPolicy"], "Retain", "policy")
    same(vsc["spec"]["sourceVolumeMode"], "Block", "mode")


@cluster
def snapshot_filesystem(rig):
    v = rig.csi.make_volume(NS, "fs", "8Mi", data=pattern("fs", MIB))
    os.mkdir(os.path.join(v.path, "sub"))
    rig.csi.write(v, b"x", file="sub/x")
    rig.csi.snapshot(NS, "fs", pvc="fs")
    handle = rig.csi.ready(NS, "fs")
    rig.csi.write(v, b"y", file="sub/x")
    same(read(os.path.join(rig.csi.snapshot_path(handle), "sub", "x")), b"x", "content")
    same(read(os.path.join(rig.csi.snapshot_path(handle), "disk.img")), pattern("fs", MIB), "disk")


@cluster
def handle_after(rig):
    v = rig.csi.make_volume(NS, "ha", "4Mi", "Block", b"old")
    rig.csi.fault("handle-after", seconds=2, volume=v, count=1)
    rig.csi.snapshot(NS, "ha", pvc="ha")
    start = rig.csi.wait_for(lambda: rig.csi.journal("CreateSnapshot", v, phase="begin"), 20, "call")
    rig.csi.write(v, b"new")
    handle = rig.csi.ready(NS, "ha")
    check(rig.csi.cut(handle)[0] - start[0]["ns"] >= 1.9e9, "the cut came too early")
    same(read(rig.csi.snapshot_path(handle))[:3], b"new", "content")
    same(rig.csi.faults(), [], "armed faults")


@cluster
def handle_after_late(rig):
    v = rig.csi.make_volume(NS, "hl", "4Mi", "Block", b"old")
    rig.csi.fault("handle-after", seconds=2, late=True, volume=v, count=1)
    rig.csi.snapshot(NS, "hl", pvc="hl")
    rig.csi.wait_for(lambda: rig.csi.journal("CreateSnapshot", v, phase="cut-end"), 20, "cut")
    _, vsc = rig.csi.get_snapshot(NS, "hl")
    check(not (vsc or {}).get("status"), "there is a handle already")
    rig.csi.write(v, b"new")
    handle = rig.csi.ready(NS, "hl")
    same(read(rig.csi.snapshot_path(handle))[:3], b"old", "content")


@cluster
def handle_after_the_callers_timeout(rig):
    """The sidecar's calls end after 4 s here; the wait counts from the first of them."""
    v = rig.csi.make_volume(NS, "ht", "4Mi", "Block", b"x")
    rig.csi.fault("handle-after", seconds=6, volume=v, count=1)
    rig.csi.snapshot(NS, "ht", pvc="ht")
    handle = rig.csi.ready(NS, "ht")
    calls = rig.csi.journal("CreateSnapshot", v)
    check(any(c.get("code") in ("DeadlineExceeded", "Canceled") for c in calls),
          "no call ran into its deadline")
    same(len([c for c in calls if c["phase"] == "cut-begin"]), 1, "cuts")
    waited = rig.csi.cut(handle)[0] - calls[0]["ns"]
    check(5.9e9 <= waited < 12e9, "cut after %.1f s" % (waited / 1e9))


@cluster
def ready_after(rig):
    v = rig.csi.make_volume(NS, "ra", "4Mi", "Block", b"x")
    rig.csi.fault("ready-after", seconds=3, volume=v, count=1)
    rig.csi.snapshot(NS, "ra", pvc="ra")
    handle = rig.csi.handle(NS, "ra")
    vs, vsc = rig.csi.get_snapshot(NS, "ra")
    same(vsc["status"]["readyToUse"], False, "content ready")
    check(not vs.get("status", {}).get("readyToUse"), "snapshot ready too early")
    same(rig.csi.ready(NS, "ra"), handle, "handle")
    done = time.time_ns() - rig.csi.cut(handle)[1]
    check(done >= 2.9e9, "ready after %.1f s" % (done / 1e9))


@cluster
def fail_then_recover(rig):
    v = rig.csi.make_volume(NS, "fa", "4Mi", "Block", b"x")
    rig.csi.fault("fail", code="RESOURCE_EXHAUSTED", message="pool is full", volume=v)
    rig.csi.snapshot(NS, "fa", pvc="fa")

    def error():
        vs, vsc = rig.csi.get_snapshot(NS, "fa")
        return vs.get("status", {}).get("error", {}).get("message") and vsc["status"]["error"]

    check("pool is full" in rig.csi.wait_for(error, 20, "error")["message"], "message")
    check(rig.csi.faults()[0]["hits"] >= 1, "hits")
    rig.csi.clear()
    rig.csi.ready(NS, "fa")
    rig.csi.wait_for(lambda: "error" not in rig.csi.get_snapshot(NS, "fa")[0]["status"], 20,
                     "end of the error")


@cluster
def fail_count(rig):
    v = rig.csi.make_volume(NS, "fc", "4Mi", "Block", b"x")
    rig.csi.fault("fail", code="INTERNAL", volume=v, count=2)
    rig.csi.snapshot(NS, "fc", pvc="fc")
    rig.csi.ready(NS, "fc")
    ends = [c.get("code", "OK") for c in rig.csi.journal("CreateSnapshot", v, phase="end")]
    same(ends[:3], ["Internal", "Internal", "OK"], "codes")


@cluster
def fail_late_keeps_the_snapshot(rig):
    v = rig.csi.make_volume(NS, "fl", "4Mi", "Block", b"x")
    rig.csi.fault("fail", code="UNAVAILABLE", late=True, volume=v, count=1)
    rig.csi.snapshot(NS, "fl", pvc="fl")
    handle = rig.csi.ready(NS, "fl")
    cuts = rig.csi.journal("CreateSnapshot", v, phase="cut-end")
    same([c["snapshot"] for c in cuts], [handle], "cuts")


@cluster
def lose(rig):
    rig.csi.make_volume(NS, "lo", "4Mi", "Block", b"x")
    rig.csi.snapshot(NS, "lo", pvc="lo")
    handle = rig.csi.ready(NS, "lo")
    rig.csi.lose(handle)
    check(not os.path.exists(rig.csi.snapshot_path(handle)), "the data is still there")
    rig.csi.claim(NS, "lo-restored", "4Mi", "Block", source="lo")
    rig.csi.wait_for(lambda: any(c.get("code") == "NotFound" for c in rig.csi.journal("CreateVolume")),
                     20, "failed restore")
    rig.csi.content("lo-static", handle, NS, "lo-static", mode="Block")
    rig.csi.snapshot(NS, "lo-static", content="lo-static")

    def error():
        vsc = rig.api("GET", part.SNAP + "/volumesnapshotcontents/lo-static")
        return vsc.get("status", {}).get("error", {}).get("message")

    check("can not find snapshot" in rig.csi.wait_for(error, 20, "error"), "message")


@cluster
def lose_by_itself(rig):
    v = rig.csi.make_volume(NS, "li", "4Mi", "Block", b"x")
    rig.csi.fault("lose", seconds=0.5, volume=v, count=1)
    rig.csi.snapshot(NS, "li", pvc="li")
    rig.csi.gone(rig.csi.handle(NS, "li"))


@cluster
def size_reported(rig):
    v = rig.csi.make_volume(NS, "sz", "4Mi", "Block", b"x")
    rig.csi.fault("size", bytes=6 * MIB, volume=v, count=1)
    rig.csi.snapshot(NS, "sz", pvc="sz")
    rig.csi.ready(NS, "sz")
    same(rig.csi.get_snapshot(NS, "sz")[0]["status"]["restoreSize"], "6Mi", "restoreSize")
    rig.csi.fault("size", bytes=0, volume=v, count=1)
    rig.csi.snapshot(NS, "sz0", pvc="sz")
    rig.csi.ready(NS, "sz0")
    print("     size 0: status %s" % rig.csi.get_snapshot(NS, "sz0")[1]["status"])


@cluster
def policy_retain(rig):
    rig.csi.make_volume(NS, "re", "4Mi", "Block", b"x")
    rig.csi.snapshot(NS, "re", pvc="re")
    handle = rig.csi.ready(NS, "re")
    _, vsc = rig.csi.get_snapshot(NS, "re")
    content = part.SNAP + "/volumesnapshotcontents/" + vsc["metadata"]["name"]
    rig.api("DELETE", "%s/namespaces/%s/volumesnapshots/re" % (part.SNAP, NS))
    rig.csi.wait_for(lambda: not found(rig, "%s/namespaces/%s/volumesnapshots/re" % (part.SNAP, NS)),
                     20, "end of the snapshot")
    check(found(rig, content), "the content is gone")
    rig.api("DELETE", content)
    rig.csi.wait_for(lambda: not found(rig, content), 20, "end of the content")
    check(os.path.exists(rig.csi.snapshot_path(handle)), "the data is gone")
    same(rig.csi.journal("DeleteSnapshot", snapshot=handle), [], "DeleteSnapshot calls")


@cluster
def policy_delete(rig):
    rig.csi.make_volume(NS, "de", "4Mi", "Block", b"x")
    rig.csi.snapshot(NS, "de", pvc="de", snapshot_class="rig-snap-delete")
    handle = rig.csi.ready(NS, "de")
    rig.api("DELETE", "%s/namespaces/%s/volumesnapshots/de" % (part.SNAP, NS))
    rig.csi.gone(handle)
    rig.csi.wait_for(lambda: not found(rig, "%s/namespaces/%s/volumesnapshots/de" % (part.SNAP, NS)),
                     20, "end of the snapshot")


@cluster
def delete_fail(rig):
    v = rig.csi.make_volume(NS, "df", "4Mi", "Block", b"x")
    rig.csi.snapshot(NS, "df", pvc="df", snapshot_class="rig-snap-delete")
    handle = rig.csi.ready(NS, "df")
    _, vsc = rig.csi.get_snapshot(NS, "df")
    content = part.SNAP + "/volumesnapshotcontents/" + vsc["metadata"]["name"]
    rig.csi.fault("delete-fail", code="FAILED_PRECONDITION", message="has clones", volume=v)
    rig.api("DELETE", "%s/namespaces/%s/volumesnapshots/df" % (part.SNAP, NS))
    rig.csi.wait_for(lambda: len(rig.csi.journal("DeleteSnapshot", snapshot=handle, phase="end")) > 1,
                     20, "repeated DeleteSnapshot")
    check(found(rig, content)["metadata"]["deletionTimestamp"], "not in deletion")
    check(os.path.exists(rig.csi.snapshot_path(handle)), "the data is gone")
    rig.csi.clear("delete-fail")
    rig.csi.gone(handle)
    rig.csi.wait_for(lambda: not found(rig, content), 20, "end of the content")


@cluster
def static_content_and_restore(rig):
    for mode in ("Block", "Filesystem"):
        name = "st-" + mode.lower()
        data = pattern(name, 2 * MIB)
        v = rig.csi.make_volume(NS, name, "4Mi", mode, data)
        rig.csi.snapshot(NS, name, pvc=name)
        handle = rig.csi.ready(NS, name)
        rig.csi.write(v, pattern("other", 2 * MIB))
        rig.csi.content(name + "-content", handle, NS + "-2", name, mode=mode)
        rig.csi.namespace(NS + "-2")
        rig.csi.snapshot(NS + "-2", name, content=name + "-content")
        same(rig.csi.ready(NS + "-2", name), handle, "handle")
        rig.csi.claim(NS + "-2", name, "4Mi", mode, source=name)
        r = rig.csi.bound(NS + "-2", name)
        check(r.handle != v.handle and r.mode == mode, "not a new volume")
        got = read(r.path if mode == "Block" else os.path.join(r.path, "disk.img"))
        check(got[:2 * MIB] == data, "%s: the restored bytes differ" % mode)
        check(mode == "Filesystem" or len(got) == 4 * MIB, "length")


@cluster
def restore_grows(rig):
    rig.csi.make_volume(NS, "gr", "4Mi", "Block", b"head")
    rig.csi.snapshot(NS, "gr", pvc="gr")
    rig.csi.ready(NS, "gr")
    rig.csi.claim(NS, "gr-big", "6Mi", "Block", source="gr")
    r = rig.csi.bound(NS, "gr-big")
    same(os.stat(r.path).st_size, 6 * MIB, "size")
    same(read(r.path)[:4], b"head", "content")


@cluster
def clone(rig):
    v = rig.csi.make_volume(NS, "cl", "4Mi", "Block", b"head")
    rig.csi.claim(NS, "cl-2", "4Mi", "Block",
                  source={"kind": "PersistentVolumeClaim", "name": "cl"})
    r = rig.csi.bound(NS, "cl-2")
    check(r.handle != v.handle and read(r.path)[:4] == b"head", "content")


@cluster
def no_sidecar(rig):
    rig.csi.make_volume(NS, "ns", "4Mi", "Block", b"x")
    rig.csi.stop_one("csi-snapshotter")
    rig.csi.snapshot(NS, "ns", pvc="ns")
    rig.csi.wait_for(lambda: rig.csi.get_snapshot(NS, "ns")[1], 20, "bound content")
    time.sleep(1)
    check("status" not in rig.csi.get_snapshot(NS, "ns")[1], "the content has a status")
    rig.csi.start_one("csi-snapshotter")
    rig.csi.ready(NS, "ns")


@cluster
def driver_killed(rig):
    v = rig.csi.make_volume(NS, "ki", "4Mi", "Block", b"x")
    rig.csi.snapshot(NS, "ki-1", pvc="ki")
    one = rig.csi.ready(NS, "ki-1")
    seen = rig.csi.journal()[-1]["seq"]
    rig.csi.restart_driver(kill=True)
    check(rig.csi.journal()[-1]["seq"] >= seen, "the journal is not whole")
    check(one in [s["id"] for s in rig.csi.snapshots()], "the snapshot is gone")
    rig.csi.snapshot(NS, "ki-2", pvc="ki")
    check(rig.csi.ready(NS, "ki-2") != one, "the same handle")
    check(v.handle in [x["id"] for x in rig.csi.volumes()], "the volume is gone")


@cluster
def part_restart(rig):
    rig.restart("csi", kill=True)
    rig.csi.make_volume(NS, "pr", "4Mi", "Block", b"x")
    rig.csi.snapshot(NS, "pr", pvc="pr")
    rig.csi.ready(NS, "pr")


def found(rig, path):
    try:
        return rig.api("GET", path)
    except Exception as e:
        if getattr(e, "status", 0) == 404:
            return None
        raise


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--build", action="store_true")
    args.add_argument("names", nargs="*")
    args = args.parse_args()
    passed = failed = skipped = 0

    def run(fn, *more):
        nonlocal passed, failed
        start = time.monotonic()
        try:
            fn(*more)
        except Exception:
            failed += 1
            print("FAIL %s" % fn.__name__)
            traceback.print_exc(file=sys.stdout)
        else:
            passed += 1
            print("ok   %-36s %6.2f s" % (fn.__name__, time.monotonic() - start))
        sys.stdout.flush()

    def skip(tests, why):
        nonlocal skipped
        for fn in tests:
            skipped += 1
            print("skip %s: %s" % (fn.__name__, why), flush=True)

    def select(tests):
        return [fn for fn in tests if not args.names or fn.__name__ in args.names]

    def missing(*names):
        return [] if args.build else [n for n in names if not buildlib.is_built(n)]

    tests = select(SANITY)
    gone = missing("csi-driver", "csi-sanity")
    if gone:
        skip(tests, "not built: " + " ".join(gone))
    else:
        for fn in tests:
            try:
                buildlib.binary("csi-sanity")
            except buildlib.Skip as e:
                skip([fn], str(e))
                continue
            run(fn)

    tests = select(CLUSTER)
    gone = missing("etcd", "kubernetes", *part.Csi.builds)
    if gone:
        skip(tests, "not built: " + " ".join(gone))
    elif tests:
        from rig import Rig
        start = time.monotonic()
        with Rig(parts=["csi"], options={"csi": {"timeout": "4s"}}) as rig:
            if not rig.has("csi"):
                skip(tests, rig.skipped["csi"])
            else:
                print("rig up in %.1f s" % (time.monotonic() - start), flush=True)
                rig.csi.namespace(NS)
                for fn in tests:
                    before = failed
                    run(fn, rig)
                    rig.csi.clear()
                    if failed > before:
                        for proc in rig.parts["csi"].procs:
                            print(proc.tail(12))
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed else 0 if passed else 77


if __name__ == "__main__":
    sys.exit(main())
