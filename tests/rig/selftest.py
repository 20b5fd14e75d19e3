#!/usr/bin/env python3
"""Starts each part of the rig and checks it.

    selftest.py [--build] [--times] [part...]

Without --build, a part that is not built yet is skipped. Exit code: 0, 1 with a failure,
77 when everything was skipped. The part csi has its own: csi-driver/selftest.py.
"""

import argparse
import os
import signal
import ssl
import subprocess
import sys
import time
import traceback
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import buildlib  # noqa: E402
import keeper  # noqa: E402
import rig as rigs  # noqa: E402
import s3  # noqa: E402

TESTS = []  # (parts, function), in order


def test(*parts):
    def add(fn):
        TESTS.append((parts, fn))
        return fn
    return add


def check(value, text):
    if not value:
        raise AssertionError(text)


def same(got, want, text):
    if got != want:
        raise AssertionError("%s: %r, expected %r" % (text, got, want))


def kexec(rig, *argv, pod="front-7d9c5b6f48-x2x7l", container="nginx", input=None, stdin=False,
          timeout=120):
    return rig.kubectl("exec", *(["-i"] if stdin else []), "-n", "shop", pod, "-c", container,
                       "--", *argv, check=False, input=input, timeout=timeout)


# Kubernetes

@test("apiserver")
def serves_the_custom_resources(rig):
    for name in ("vm", "vmi", "dv", "vmf", "vmcf", "vmp", "vmcp", "net-attach-def", "vs", "vsc",
                 "vsclass"):
        rig.kubectl("get", name, "-A")
    same(rig.api("GET", "/version")["gitVersion"], "v1.36.3", "version")


@test("apiserver")
def users_are_real(rig):
    def can(*what, user):
        return rig.kubectl("auth", "can-i", *what, check=False, user=user).stdout.strip()

    same(can("delete", "pods", user="admin"), "yes", "admin")
    same(can("list", "pods", user="viewer"), "yes", "viewer lists")
    same(can("delete", "pods", user="viewer"), "no", "viewer deletes")
    same(can("list", "pods", user="nobody"), "no", "nobody lists")
    same(can("delete", "nodes", user="cert-admin"), "yes", "client certificate")
    try:
        rig.api("GET", "/api/v1/pods", token="wrong")
        check(False, "a wrong token was taken")
    except rigs.ApiError as e:
        same(e.status, 401, "status for a wrong token")


@test("apiserver")
def client_certificate_works_bare(rig):
    context = ssl.create_default_context(cafile=rig.ca_file)
    context.load_cert_chain(rig.client_cert, rig.client_key)
    with urllib.request.urlopen(rig.api_url + "/api/v1/nodes", context=context, timeout=20) as a:
        same(a.status, 200, "status")


@test("kubelet")
def loads_the_shop(rig):
    made = rig.load_shop()
    vm = made["VirtualMachine", "shop", "web"]
    same(vm["status"]["printableStatus"], "Running", "VM status")
    ref = vm["status"]["instancetypeRef"]["controllerRevisionRef"]["name"]
    check(("ControllerRevision", "shop", ref) in made, "no revision " + ref)
    pod = made["Pod", "shop", "virt-launcher-web-q8z4n"]
    same(pod["status"]["phase"], "Running", "launcher")
    same(pod["metadata"]["ownerReferences"][0]["uid"],
         made["VirtualMachineInstance", "shop", "web"]["metadata"]["uid"], "owner of the launcher")
    same(made["VirtualMachineInstance", "shop", "web"]["status"]["activePods"],
         {pod["metadata"]["uid"]: rig.node}, "active pods")
    for name in ("web-root", "web-data"):
        claim = made["PersistentVolumeClaim", "shop", name]
        same(claim["status"]["phase"], "Bound", name)
        volume = made["PersistentVolume", "", claim["spec"]["volumeName"]]
        same(volume["status"]["phase"], "Bound", "volume of " + name)
        same(volume["spec"]["claimRef"]["uid"], claim["metadata"]["uid"], "claim of the volume")
    check("web" in rig.kubectl("get", "vm,vmi,dv,pvc,pod", "-n", "shop"), "kubectl get")


# exec; these need the shop of the test before

@test("kubelet")
def exec_gives_output_and_codes(rig):
    done = kexec(rig, "/bin/uname", "-s")
    same((done.returncode, done.stdout), (0, "Linux\n"), "uname")
    done = kexec(rig, "/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    same((done.returncode, done.stdout), (3, "out\n"), "exit 3")
    check("err" in done.stderr, "standard error")
    same(kexec(rig, "rig-exit", "137").returncode, 137, "rig-exit")
    done = kexec(rig, "rig-stderr", "some", "words")
    check("some words" in done.stderr and done.returncode == 0, "rig-stderr")
    same(kexec(rig, "rig-argv", "a b", "", "ü'\"").stdout, '["a b","","ü\'\\""]\n', "rig-argv")
    done = kexec(rig, "/bin/ls")
    check(done.returncode == 1 and "not found" in done.stderr, "a program not on the list")
    same(kexec(rig, "/bin/sh", "-c", "cat", input="typed\n", stdin=True).stdout, "typed\n",
         "standard input")


@test("kubelet")
def exec_leaves_a_journal(rig):
    before = len(rig.exec_journal())
    kexec(rig, "/bin/echo", "one")
    kexec(rig, "rig-exit", "4", container="log")
    one, two = rig.exec_journal()[before:]
    same((one["namespace"], one["pod"], one["container"], one["argv"], one["exit"]),
         ("shop", "front-7d9c5b6f48-x2x7l", "nginx", ["/bin/echo", "one"], 0), "first")
    same((two["container"], two["exit"]), ("log", 4), "second")
    check(one["time"] <= one["end"] <= two["time"], "times")


@test("kubelet")
def exec_flood_and_sleep(rig):
    start = time.monotonic()
    done = kexec(rig, "rig-flood", str(100 << 20))
    same((done.returncode, len(done.stdout)), (0, 100 << 20), "100 MiB")
    same(done.stdout[-64:], "%063d\n" % ((100 << 20) // 64 - 1), "last line")
    rig.say("flood of 100 MiB: %.1f s" % (time.monotonic() - start))
    start = time.monotonic()
    same(kexec(rig, "rig-sleep", "1.5").returncode, 0, "sleep")
    check(time.monotonic() - start >= 1.5, "slept too short")


@test("kubelet")
def exec_faults(rig):
    done = kexec(rig, "rig-drop")
    # kubectl ends with 0: see "A lost connection" in README.md.
    same(done.stdout, "partial\n", "output before the drop")
    check(rig.exec_journal()[-1]["exit"] is None, "exit of a dropped one")
    try:
        kexec(rig, "rig-never", timeout=3)
        check(False, "it ended")
    except subprocess.TimeoutExpired:
        pass
    same(rig.exec_journal()[-1]["argv"], ["rig-never"], "journal of never")
    rig.exec_fault(match="echo", times=1, exit=7, stderr="as told")
    same([kexec(rig, "/bin/echo", "x").returncode for _ in range(2)], [7, 0], "exit fault once")
    rig.exec_fault()
    rig.restart("kubelet", kill=True)
    same(kexec(rig, "/bin/echo", "x").returncode, 0, "after a crash of the endpoint")


@test("kubelet")
def exec_emulates_virt_freezer(rig):
    pod = rig.api("GET", "/api/v1/namespaces/shop/pods/virt-launcher-web-q8z4n")
    notes = pod["metadata"]["annotations"]

    def hook(which):
        import json
        return kexec(rig, *json.loads(notes[which + ".hook.backup.velero.io/command"]),
                     pod="virt-launcher-web-q8z4n", container="compute").returncode

    same(hook("pre"), 0, "freeze")
    same(rig.parts["kubelet"].frozen(), ["shop.web"], "frozen")
    same(hook("post"), 0, "thaw")
    same(rig.parts["kubelet"].frozen(), [], "thawed")
    same([e.get("event") for e in rig.exec_journal()[-2:]], ["freeze", "thaw"], "events")
    rig.exec_fault(match="virt-freezer", agent=False)
    same((hook("pre"), rig.parts["kubelet"].frozen()), (0, []), "without a guest agent")
    rig.exec_fault()


@test("apiserver")
def survives_a_crash(rig):
    rig.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    rig.restart("apiserver", kill=True)
    same(rig.api("GET", "/api/v1/namespaces/default/configmaps/kept")["data"], {"a": "b"}, "data")


@test("controller-manager")
def deletes_namespaces(rig):
    rig.kubectl("create", "namespace", "brief")
    rig.kubectl("create", "configmap", "-n", "brief", "x")
    rig.kubectl("delete", "namespace", "brief", "--timeout=60s", "--wait=true")


# stores

def store(rig, name):
    client = rig.s3client(name)
    body = os.urandom(1 << 20)
    client.put("check/a b+c/ü.bin", body)
    check(client.get("check/a b+c/ü.bin") == body, "the object differs")
    same(client.list("check/"), {"check/a b+c/ü.bin": 1 << 20}, "list")
    same(client.exists("check/none"), False, "exists")
    rig.restart(name, kill=True)
    check(client.get("check/a b+c/ü.bin") == body, "after a crash")
    client.delete("check/a b+c/ü.bin")
    same(client.list("check/"), {}, "list after delete")
    wrong = s3.S3(client.endpoint, client.access_key, "wrong", client.region, client.bucket)
    try:
        wrong.list()
        check(False, "a wrong key was taken")
    except s3.S3Error as e:
        same(e.status, 403, "status for a wrong key")


@test("minio")
def minio_stores(rig):
    store(rig, "minio")
    rig.s3client("minio").put("once", b"1", headers={"If-None-Match": "*"})
    try:
        rig.s3client("minio").put("once", b"2", headers={"If-None-Match": "*"})
        check(False, "overwritten")
    except s3.S3Error as e:
        same(e.status, 412, "status of the second put")


@test("rgw")
def rgw_stores(rig):
    store(rig, "rgw")
    at = rig.s3["rgw"]
    s3.S3(at["tls_endpoint"], at["access_key"], at["secret_key"], at["region"], at["bucket"],
          at["ca_file"]).list()


# Velero

@test("velero")
def velero_backs_up(rig):
    rig.kubectl("create", "namespace", "plain")
    rig.kubectl("create", "configmap", "-n", "plain", "one", "--from-literal=a=b")
    rig.velero("backup", "create", "first", "--include-namespaces", "plain", "--wait")
    phase = rig.api("GET", "/apis/velero.io/v1/namespaces/velero/backups/first")["status"]["phase"]
    same(phase, "Completed", "phase")
    check(rig.s3client("minio").exists("velero/backups/first/first.tar.gz"), "no tarball")


@test("velero")
def velero_restores(rig):
    rig.velero("restore", "create", "back", "--from-backup", "first", "--namespace-mappings",
               "plain:copy", "--wait")
    phase = rig.api("GET", "/apis/velero.io/v1/namespaces/velero/restores/back")["status"]["phase"]
    same(phase, "Completed", "phase")
    same(rig.api("GET", "/api/v1/namespaces/copy/configmaps/one")["data"], {"a": "b"}, "data")


@test("velero", "kubelet")
def velero_runs_the_hooks(rig):
    before = len(rig.exec_journal())
    rig.velero("backup", "create", "shop", "--include-namespaces", "shop",
               "--snapshot-volumes=false", "--wait")
    status = rig.api("GET", "/apis/velero.io/v1/namespaces/velero/backups/shop")["status"]
    same((status["phase"], status.get("hookStatus")), ("Completed", {"hooksAttempted": 2}), "end")
    same([e.get("event") for e in rig.exec_journal()[before:]], ["freeze", "thaw"], "hooks")


@test("velero", "rgw")
def velero_writes_to_rgw(rig):
    rig.velero_location("ceph", "rgw", "elsewhere")
    rig.velero("backup", "create", "second", "--include-namespaces", "plain",
               "--storage-location", "ceph", "--wait")
    phase = rig.api("GET", "/apis/velero.io/v1/namespaces/velero/backups/second")["status"]["phase"]
    same(phase, "Completed", "phase")
    check(rig.s3client("rgw").exists("elsewhere/backups/second/second.tar.gz"), "no tarball")


@test("kubelet")
def wipes_the_shop(rig):
    rig.wipe("shop")
    same(rig.api("GET", "/api/v1/persistentvolumes")["items"], [], "volumes left")


# the rig itself

@test()
def leaves_nothing_behind(rig):
    """A process that holds a rig is killed, and its servers have to go."""
    if not buildlib.is_built("etcd"):
        raise rigs.Skip("not built: etcd")
    code = ("import sys, time; sys.path.insert(0, %r); from rig import Rig\n"
            "rig = Rig(parts=['etcd']); rig.up()\n"
            "print(rig.dir, *[p.pid for x in rig.parts.values() for p in x.procs], flush=True)\n"
            "time.sleep(60)\n" % HERE)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    folder, *pids = child.stdout.readline().split()
    try:
        check(pids and all(keeper.stat_of(int(p)) for p in pids), "nothing was started")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    rigs.Rig.wait(None, lambda: not any(keeper.stat_of(int(p)) for p in pids)
                  and not os.path.exists(folder), 20, "end of the servers")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", action="store_true", help="build what is missing")
    parser.add_argument("--times", action="store_true", help="print what takes how long")
    parser.add_argument("parts", nargs="*", help="only tests that need no other parts than these")
    args = parser.parse_args()
    registry = rigs.registry.load()

    def builds(part):
        out = list(registry[part].builds)
        for other in registry[part].needs:
            out += builds(other)
        return out

    wanted = sorted({p for parts, _ in TESTS for p in parts})
    unknown = [p for p in args.parts if p not in wanted]
    if unknown:
        parser.error("no tests for %s; there are: %s" % (" ".join(unknown), " ".join(wanted)))
    chosen = [p for p in wanted if not args.parts or p in args.parts]
    why = {}
    for part in list(chosen):
        gone = [b for b in builds(part) if not buildlib.is_built(b)]
        if gone and not args.build:
            why[part] = "not built: " + " ".join(gone)
            chosen.remove(part)
    counts = {"passed": 0, "failed": 0, "skipped": 0}

    def run(fn, rig):
        start = time.monotonic()
        try:
            fn(rig)
            counts["passed"] += 1
            print("ok      %s (%.1f s)" % (fn.__name__, time.monotonic() - start), flush=True)
        except rigs.Skip as e:
            counts["skipped"] += 1
            print("skipped %s: %s" % (fn.__name__, e), flush=True)
        except Exception:
            counts["failed"] += 1
            print("FAILED  %s\n%s" % (fn.__name__, traceback.format_exc()), flush=True)

    start = time.monotonic()
    rig = rigs.Rig(parts=chosen, verbose=args.times)
    try:
        with rig:
            for part, text in rig.skipped.items():
                why[part] = text
            if args.times:
                print("rig up in %.1f s" % (time.monotonic() - start), flush=True)
            for parts, fn in TESTS:
                left = [p for p in parts if not rig.has(p)]
                if not left:
                    run(fn, rig)
                elif not args.parts or any(p in why for p in left):
                    counts["skipped"] += 1
                    print("skipped %s: %s" % (fn.__name__, why.get(left[0], "no " + left[0])))
            if rig.has("apiserver") and counts["failed"]:
                for part in rig._order:
                    for proc in rig.parts[part].procs:
                        print(proc.tail(8))
    except rigs.RigError as e:
        counts["failed"] += 1
        print("FAILED  start: %s" % e)
    print("%d passed, %d failed, %d skipped" % (
        counts["passed"], counts["failed"], counts["skipped"]))
    return 1 if counts["failed"] else 0 if counts["passed"] else 77


if __name__ == "__main__":
    sys.exit(main())
