#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the example programs of every language against examples/demo-cluster.

usage: bindings.py BUILD
"""
import json
import os
import re
import shutil
import sys
import tempfile

from support import CLUSTER, EXAMPLES, Suite, install, run, seen

suite = Suite()


def c_programs(build, folder):
    programs = os.path.join(build, "examples")

    def example(name, *args, **kwargs):
        return run([os.path.join(programs, name), *args], **kwargs)

    done = example("01_match_labels", "app=db,tier in (fe,be)", "app", "db", "tier", "be")
    suite.check("01: labels match", done.returncode == 0 and done.stdout == "match\n", seen(done))
    done = example("01_match_labels", "app=db,tier in (fe,be)", "app", "db")
    suite.check("01: labels do not match", done.stdout == "no match\n", seen(done))
    done = example("01_match_labels", "app in db")
    suite.check("01: a bad selector is explained", done.returncode == 1 and "app" in done.stderr,
                seen(done))

    done = example("02_validate_spec", os.path.join(EXAMPLES, "demo-backup.yaml"))
    suite.check("02: a good spec", done.returncode == 0 and "ttl: 720h0m0s" in done.stdout,
                seen(done))
    bad = os.path.join(folder, "bad.yaml")
    with open(bad, "w", encoding="utf-8") as f:
        f.write("metadata: {name: x}\nspec:\n  ttl: soon\n  includedNamespaces: ['<ns>']\n")
    done = example("02_validate_spec", bad)
    report = json.loads(done.stdout.splitlines()[0]) if done.stdout else {"problems": []}
    suite.check("02: both problems of a bad spec come at once", done.returncode == 1 and
                {"spec.ttl"} <= {p["field"] for p in report["problems"]} and
                len(report["problems"]) >= 2, seen(done))

    for name in ("three", "four", "six", "seven", "cxx"):
        os.makedirs(os.path.join(folder, name))
    done = example("03_backup", CLUSTER, os.path.join(folder, "three"))
    suite.check("03: ten lines back up", done.stdout == "Completed\n", seen(done))

    done = example("04_event_loop", CLUSTER, os.path.join(folder, "four"))
    suite.check("04: events reach the loop", done.returncode == 0 and
                "ended as Completed" in done.stdout and "phase InProgress" in done.stdout and
                "stored " in done.stdout, seen(done))

    done = example("05_custom_store", CLUSTER)
    suite.check("05: a store in memory", done.returncode == 0 and
                done.stdout.startswith("Completed\n") and
                json.loads(done.stdout.splitlines()[1])[0]["metadata"]["name"] == "in-memory",
                seen(done))
    snapshots(example, folder)
    volumes(example, folder)
    actions(example, build, folder)


def snapshots(example, folder):
    volumes = os.path.join(folder, "volumes")
    os.makedirs(volumes)
    content = os.urandom(300000)
    with open(os.path.join(volumes, "other.cache.img"), "wb") as f:
        f.write(content)
    done = example("06_custom_snapshot", CLUSTER, os.path.join(folder, "six"), volumes)
    copy = os.path.join(volumes, "other.cache.snapshots.snap")
    suite.check("06: the snapshot provider's volume is cut", done.returncode == 0 and
                "Completed" in done.stdout and os.path.exists(copy), seen(done))
    if os.path.exists(copy):
        with open(copy, "rb") as f:
            suite.check("06: the snapshot holds the volume's bytes", f.read() == content)


def volumes(example, folder):
    at, store = os.path.join(folder, "files"), os.path.join(folder, "eight")
    os.makedirs(at)
    os.makedirs(store)
    name, content = "other.reports-6d4f9c7b5-qv8wz.cache", os.urandom(200000)
    done = example("08_custom_volume", CLUSTER, store, at)
    suite.check("08: a volume that nobody takes is an error", done.returncode == 0 and
                "PartiallyFailed" in done.stdout, seen(done))
    shutil.rmtree(os.path.join(store, "backups"))
    with open(os.path.join(at, name), "wb") as f:
        f.write(content)
    done = example("08_custom_volume", CLUSTER, store, at)
    copy = os.path.join(store, "plugins", "example", "volumes", name)
    suite.check("08: the volume provider saves the pod's volume", done.returncode == 0 and
                "other/cache saved, 200000 bytes\nCompleted" in done.stdout and
                os.path.exists(copy), seen(done))
    if os.path.exists(copy):
        with open(copy, "rb") as f:
            suite.check("08: the store holds the volume's bytes", f.read() == content)


def actions(example, build, folder):
    store = os.path.join(folder, "seven")
    done = example("07_custom_action", CLUSTER, store)
    suite.check("07: the action runs", done.returncode == 0 and done.stdout == "Completed\n",
                seen(done))
    vmbackup = os.path.join(build, "examples", "vmbackup", "vmbackup")
    archive = run([vmbackup, "download", "action", "--store-dir", store, "-o",
                   os.path.join(folder, "seven.tar.gz")])
    text = run(["tar", "-xzOf", os.path.join(folder, "seven.tar.gz")]).stdout
    suite.check("07: objects are stamped", '"example.org/backup":"action"' in text, seen(archive))


def cxx(build, folder):
    program = os.path.join(build, "examples", "cxx_backup")
    if not os.path.exists(program):
        suite.skip("needs a C++ compiler")
        return
    done = run([program, CLUSTER, os.path.join(folder, "cxx")])
    suite.check("C++: backs up with its own exec provider", done.returncode == 0 and
                "virt-freezer --freeze" in done.stdout and "Completed, 2 hooks" in done.stdout,
                seen(done))


def leaks_of(text):
    """Records of definite leaks in which the library takes part."""
    found = []
    for record in re.split(r"==\d+== \n", text):
        if "definitely lost in loss record" in record and "libvmbackup" in record:
            found.append(record)
    return found


def python(env):
    folder = os.path.join(EXAMPLES, "python")
    demo = [os.path.join(folder, "demo.py"), CLUSTER]
    env = dict(env, PYTHONPATH=folder, PYTHONDONTWRITEBYTECODE="1")
    done = run([sys.executable, *demo], env=env)
    suite.check("Python: store, exec and action in Python", done.returncode == 0 and
                "hook: /usr/bin/virt-freezer --freeze" in done.stdout and
                "providers left: 0" in done.stdout, seen(done))
    done = run([sys.executable, "-c", FAULTS], env=env)
    suite.check("Python: exceptions in providers become errors", done.returncode == 0, seen(done))
    done = run([sys.executable, "-c", REPOSITORY], env=env)
    suite.check("Python: repositories and disks", done.returncode == 0, seen(done))
    done = run([sys.executable, "-c", CATALOGUE], env=env)
    suite.check("Python: catalogue, plans, schedules, the cluster of a job, control",
                done.returncode == 0, seen(done))
    interpreter = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    if not shutil.which("valgrind"):
        suite.skip("needs valgrind")
        return
    done = run(["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full",
                "--errors-for-leak-kinds=none", "--num-callers=30", interpreter, *demo],
               timeout=280, env=dict(env, PYTHONMALLOC="malloc"))
    suite.check("Python under valgrind: no bad access", done.returncode == 0, seen(done)[-6000:])
    leaks = leaks_of(done.stderr)
    suite.check("Python under valgrind: the library leaks nothing", not leaks, "\n".join(leaks))


FAULTS = """
import sys
import vmbackup
from vmbackup import constants

class Broken(vmbackup.Store):
    def put(self, job, key, data, if_absent): raise RuntimeError("no more room on tape")
    def get(self, job, key): raise KeyError(key)
    def keys(self, job, prefix): return []
    def remove(self, job, key): pass

context = vmbackup.Context()
context.use("cluster.dir", {"path": "%s"})
context.add_store("broken", Broken(), default=True)
spec = vmbackup.Spec("faulty")
spec["spec.includedNamespaces"] = ["other"]
run = vmbackup.Run(context, spec)
try:
    run.execute()
    sys.exit("the run did not fail")
except vmbackup.Error as e:
    assert "no more room on tape" in str(e), e
assert run.phase == "Failed", run.phase
try:
    vmbackup.Selector("app in db")
    sys.exit("the selector was accepted")
except vmbackup.Error as e:
    assert e.code == constants.E_PARSE, e
try:
    spec["spec.noSuchField"] = 1
    sys.exit("the field was accepted")
except vmbackup.Error as e:
    assert e.code == constants.E_ARG, e
run.close()
context.close()
assert vmbackup.live_count() == 0
""" % CLUSTER


CATALOGUE = """
import os, sys, tempfile
import vmbackup
from vmbackup import constants, schedule

HOUR = 3600 * 10**9
looked = []

class Look(vmbackup.Action):
    applies_to = "configmaps"
    def backup(self, job, group, resource, item, result):
        cluster = job.cluster
        meta = item["metadata"]
        again = cluster.get("", "configmaps", meta["namespace"], meta["name"])
        assert again["metadata"]["uid"] == meta["uid"]
        assert cluster.serves("", "pods") and not cluster.serves("example.org", "pods")
        assert meta["name"] in [c["metadata"]["name"]
                                for c in cluster.list("", "configmaps", meta["namespace"])]
        try:
            cluster.create("", "configmaps", meta["namespace"], {"metadata": {"name": "x"}})
            raise SystemExit("the folder was written")
        except vmbackup.Error as e:
            assert e.code == constants.E_UNSUPPORTED, e
        assert job.backup["metadata"]["name"] == job.backup_name and not job.cancelled
        job.sleep(1000)
        looked.append(meta["name"])

with tempfile.TemporaryDirectory() as folder:
    context = vmbackup.Context()
    context.use("cluster.dir", {"path": "%s"})
    context.add_action(Look())
    for name in ("near", "far"):
        os.mkdir(os.path.join(folder, name))
        context.add_location({"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
                              "metadata": {"name": name}, "spec": {
                                  "provider": "vmbackup.io/dir", "default": name == "near",
                                  "config": {"path": os.path.join(folder, name)}}})
    spec = vmbackup.Spec("one")
    spec["spec.includedNamespaces"] = ["other"]
    spec["spec.snapshotVolumes"] = False
    spec["spec.ttl"] = "1h"
    assert spec.kind == "Backup" and spec.count("spec.includedNamespaces") == 1
    assert spec.duration_ns("spec.ttl") == HOUR
    assert vmbackup.Spec.restore("r", "one").kind == "Restore"
    assert vmbackup.plan(context, spec)["kind"], "no plan"
    looked.clear()  # plans ask actions for related objects, too
    two = spec.clone()
    two["metadata.name"] = "two"
    two["spec.excludedResources"] = ["pods"]
    for s in (spec, two):
        run = vmbackup.Run(context, s)
        assert run.execute() == "Completed", run.report()
        run.close()
    assert looked, "the action saw no ConfigMap"
    near, far = vmbackup.Catalog(context), vmbackup.Catalog(context, "far")
    assert near.verify("one")["ok"] and near.restores() == []
    assert near.copy_to(far, "one", archiveOnly=True)["to"] == "far"
    changes = near.diff("one", "one", far)
    assert changes[-1]["changed"] == 0 and changes[-1]["same"] > 1, changes
    assert near.diff("one", "two")[-1]["removed"] > 0
    assert near.expired(2**62)[0]["name"] == "one" and near.orphans() == []
    try:
        near.presign("one", constants.FILE_CONTENTS, HOUR)
        raise SystemExit("folders have no links")
    except vmbackup.Error as e:
        assert e.code == constants.E_UNSUPPORTED, e
    assert near.delete("one")["deleted"] and len(near.list()) == 1
    for ask in (lambda: context.resources("schedules"),
                lambda: context.resource("restores", "none")):
        try:
            ask()
            raise SystemExit("the folder has no such kind")
        except vmbackup.Error as e:
            assert e.code == constants.E_NOT_FOUND, e
    try:
        vmbackup.Control(context)
        raise SystemExit("a folder cannot be watched")
    except vmbackup.Error as e:
        assert e.code == constants.E_UNSUPPORTED, e
    for handle in (near, far, spec, two, context):
        handle.close()
day = 24 * HOUR
assert schedule.next_after("@daily", 5) == day and schedule.last_before("@daily", day + 1) == day
assert schedule.due("@hourly", 0, HOUR + 1) == (True, HOUR)
made = schedule.backup_of({"apiVersion": "velero.io/v1", "kind": "Schedule",
                           "metadata": {"name": "s"}, "spec": {
                               "schedule": "@daily", "template": {"ttl": "1h"}}}, day)
assert made["metadata"]["name"] == "s-19700102000000", made
assert vmbackup.live_count() == 0
""" % CLUSTER


REPOSITORY = """
import ctypes, os, tempfile
import vmbackup
from vmbackup import _abi, constants

with tempfile.TemporaryDirectory() as folder:
    source, store = os.path.join(folder, "source"), os.path.join(folder, "store")
    disk, back = os.path.join(folder, "disk.img"), os.path.join(folder, "back.img")
    os.mkdir(source)
    os.mkdir(store)
    with open(os.path.join(source, "a"), "wb") as f:
        f.write(b"hello" * 1000)
    with open(disk, "wb") as f:
        f.write(os.urandom(1 << 20))
        f.truncate(9 << 20)
    context = vmbackup.Context()
    context.add_location({"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
                          "metadata": {"name": "here"}, "spec": {
                              "provider": "vmbackup.io/dir", "config": {"path": store}}})
    try:
        vmbackup.Repo(context, password="x")
        raise SystemExit("there is none")
    except vmbackup.Error as e:
        assert e.code == constants.E_NOT_FOUND, e
    repo = vmbackup.Repo(context, init=True, password="x", prefix="restic/p")
    events = []
    repo.on_event(lambda *event: events.append(event))
    saved = repo.backup([source], tags=["t"])
    assert saved["files_new"] == 1, saved
    assert repo.dump("latest", source + "/a") == b"hello" * 1000
    assert any(e["path"] == source + "/a" for e in repo.ls("latest", recursive=True))
    assert repo.find(["a*"])[0]["snapshot"] == saved["snapshot_id"]
    summary = repo.backup_disk(disk, name="d")
    with vmbackup.Blocks(disk) as blocks:
        assert blocks.table.struct_size == ctypes.sizeof(_abi.BlocksProvider)
    with vmbackup.Disk(repo, summary["snapshot_id"]) as open_disk, open(disk, "rb") as f:
        assert open_disk.size == 9 << 20
        f.seek(1000)
        assert open_disk.read(1000, 5 << 20) == f.read(5 << 20)
        assert sum(length for _, length, _ in open_disk.extents()) == 9 << 20
        try:
            repo.prune()
            raise SystemExit("pruned under an open disk")
        except vmbackup.Error as e:
            assert e.code == constants.E_STATE, e
    repo.restore_disk(summary["snapshot_id"], back, verify=True)
    with open(disk, "rb") as a, open(back, "rb") as b:
        assert a.read() == b.read()
    other = vmbackup.Repo(context, "here", init=True, password="y", prefix="restic/q")
    assert repo.copy_to(other)["copied"] == 2
    key = other.add_key(b"z")
    assert len(other.keys()) == 2
    other.remove_key(key)
    repo.forget(keepLast=1, groupBy="")
    repo.prune(maxUnused=0)
    assert len(repo.snapshots()) == 1 and repo.check(readData=True)["errors"] == 0
    assert repo.stats(mode="raw-data")["snapshots_count"] == 1 and repo.unlock() == 0
    try:
        repo.check(readdata=True)
        raise SystemExit("an unknown option was taken")
    except vmbackup.Error as e:
        assert e.code == constants.E_ARG and "readData" in str(e), e
    def explode(*_):
        raise KeyError("boom")
    repo.on_event(explode)
    try:
        repo.backup([source, "/nowhere-at-all"])
        raise SystemExit("the exception was lost")
    except KeyError:
        pass
    assert events is not None
    repo.close()
    other.close()
    context.close()
"""


def go(env, folder):
    if not shutil.which("go"):
        suite.skip("needs Go")
        return
    program = os.path.join(folder, "go-demo")
    # Go's build cache does not notice when pkg-config's answer changes, but knows this variable
    env = dict(env, CGO_ENABLED="1", GOFLAGS="-mod=mod", GOTOOLCHAIN="local",
               CGO_LDFLAGS="-O2 -g -L" + env["LD_LIBRARY_PATH"])
    module = os.path.join(EXAMPLES, "go")
    done = run(["go", "build", "-o", program, "./demo"], cwd=module, env=env, timeout=280)
    if not suite.check("Go: builds with pkg-config", done.returncode == 0, seen(done)):
        return
    done = run([program, CLUSTER], env=env)
    suite.check("Go: store and exec in Go", done.returncode == 0 and "true false" in done.stdout
                and "hook: /usr/bin/virt-freezer --freeze" in done.stdout and
                "repository: true true true" in done.stdout and
                "providers left: 0" in done.stdout, seen(done))
    done = run([program, CLUSTER], env=dict(env, GODEBUG="cgocheck=1", GOGC="1"))
    suite.check("Go: the same with a busy collector", done.returncode == 0, seen(done))


def main():
    build = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        # one place for all runs, so that Go's build cache is of use
        env = install(build, os.path.join(build, "test-root"))
        c_programs(build, folder)
        cxx(build, folder)
        python(env)
        go(env, folder)
    suite.finish()


if __name__ == "__main__":
    main()
