#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the vmbackup command on the directory cluster and the directory store.

usage: cli.py BUILD
"""
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

from support import CLUSTER, EXAMPLES, Suite, run, seen

suite = Suite()
DEMO = os.path.join(EXAMPLES, "demo-backup.yaml")
COMMANDS = ["backup", "get", "describe", "logs", "download", "location get", "validate",
            "version", "delete", "verify", "copy", "diff", "gc", "schedule next", "restore",
            "get restores", "get schedules", "get snapshot-locations", "describe restore",
            "describe schedule", "logs restore"]


class Cli:
    def __init__(self, build, folder):
        self.program = os.path.join(build, "examples", "vmbackup", "vmbackup")
        self.folder = folder
        self.store = os.path.join(folder, "store")
        os.makedirs(self.store)
        self.cluster = ["--cluster-dir", CLUSTER]
        self.where = ["--store-dir", self.store]
        self.hooks = ["--exec-command", os.path.join(EXAMPLES, "demo-exec.sh")]

    def __call__(self, *args, **kwargs):
        return run([self.program, *args], **kwargs)

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def stored(self, name):
        """The Backup resource as `get -o json` gives it."""
        return json.loads(self("get", name, "-o", "json", *self.where).stdout)


def help_texts(cli):
    done = cli("--help")
    suite.check("help lists every command", done.returncode == 0 and
                all(c.split()[0] in done.stdout for c in COMMANDS), seen(done))
    for command in COMMANDS:
        done = cli(*command.split(), "--help")
        suite.check(f"help of {command}", done.returncode == 0 and "Usage:" in done.stdout and
                    "--help" in done.stdout, seen(done))
    done = cli("version")
    suite.check("version", re.match(r"vmbackup \d+\.\d+\.\d+ \(library", done.stdout), seen(done))


def usage_errors(cli):
    for args, words in [
            ([], "Usage:"),
            (["bakcup"], 'did you mean "backup"'),
            (["backup", "create", "x", "--include-namespace", "a"],
             "did you mean --include-namespaces"),
            (["backup"], "no backup is named"),
            (["backup", "create", "a", "b"], "takes one name"),
            (["backup", "create", "x", "--snapshot-volumes=maybe"], "--snapshot-volumes=true"),
            (["backup", "create", "x", "--labels", "novalue", *cli.cluster, *cli.where],
             "KEY=VALUE"),
            (["backup", "create", "x", "-l", "app in db", *cli.cluster, *cli.where], "position 8"),
            (["backup", "create", "x", "--ttl"], "needs a value"),
            (["get", "-o", "xml", *cli.where], "table, json or yaml"),
            (["describe", *cli.where], "vmbackup describe NAME"),
            (["get", "--set", "no-such=1", *cli.where], "no-such"),
            (["restore", "describe", *cli.where], "vmbackup describe restore NAME"),
            (["schedule", "describe", *cli.cluster], "vmbackup describe schedule NAME"),
            (["logs", "restore", *cli.where], "vmbackup logs restore NAME"),
            (["restore", "create", *cli.where], "--from-backup BACKUP"),
            (["schedule"], "schedule describe NAME"),
            (["snapshot-location"], "snapshot-location get"),
            (["backup", "create", "x", "--cluster-dir", "a", "--context", "b", *cli.where],
             "exclude each other"),
    ]:
        done = cli(*args)
        suite.check("usage: vmbackup " + " ".join(args)[:50], done.returncode == 2 and
                    words in done.stderr, seen(done))


def backups(cli):
    report = os.path.join(cli.folder, "report.json")
    done = cli("backup", "-f", DEMO, *cli.cluster, *cli.where, *cli.hooks, "--report", report)
    suite.check("backup from a file", done.returncode == 0 and
                "backup demo: Completed" in done.stdout, seen(done))
    suite.check("progress goes to standard error, a line each", "phase InProgress\n" in done.stderr
                and "stored " in done.stderr and "\r" not in done.stderr, seen(done))
    suite.check("the hooks ran by the program", done.stderr.count("hook shop/") == 2, seen(done))
    with open(report, encoding="utf-8") as f:
        doc = json.load(f)
    suite.check("the report is written", doc.get("kind") == "RunReport" and
                doc["backup"]["status"]["phase"] == "Completed", json.dumps(doc)[:2000])
    done = cli("backup", "-f", DEMO, *cli.cluster, *cli.where, *cli.hooks)
    suite.check("a second backup of the name is refused", done.returncode == 1 and
                "demo" in done.stderr, seen(done))
    done = cli("backup", "create", "flags", "--include-namespaces", "shop,other",
               "--exclude-resources", "secrets", "-l", "app in (web,reports),!gone", "--ttl", "1h",
               "--labels", "team=a,stage=test", "--annotations", "example.org/x=y",
               "--ordered-resources", "pods=other/a,other/b;persistentvolumes=x",
               "--snapshot-volumes=false", "-n", "openshift-adp", "--quiet", "-o", "json",
               *cli.cluster, *cli.where, *cli.hooks)
    suite.check("backup from flags", done.returncode == 0, seen(done))
    spec = cli.stored("flags")
    suite.check("the flags reach the spec", done.returncode == 0 and
                spec["spec"]["includedNamespaces"] == ["shop", "other"] and
                spec["spec"]["excludedResources"] == ["secrets"] and
                spec["spec"]["labelSelector"]["matchExpressions"][0]["operator"] in
                ("In", "DoesNotExist") and
                spec["spec"]["orderedResources"]["pods"] == "other/a,other/b" and
                spec["spec"]["snapshotVolumes"] is False and
                spec["metadata"]["labels"]["stage"] == "test" and
                spec["metadata"]["namespace"] == "openshift-adp", json.dumps(spec, indent=1))
    done = cli("backup", "create", "selectors", "-l", "a!=b, c notin (e,d), f, !g, h in (i), k=l, k=m",
               "--include-namespaces", "other", "-q", "-o", "json", *cli.cluster, *cli.where)
    selector = json.loads(done.stdout)["spec"]["labelSelector"] if done.stdout else {}
    suite.check("every form of a selector becomes structure", done.returncode == 0 and
                selector["matchLabels"] == {"k": "l"} and
                [(e["key"], e["operator"], e["values"]) for e in selector["matchExpressions"]] ==
                [("a", "NotIn", ["b"]), ("c", "NotIn", ["d", "e"]), ("f", "Exists", []),
                 ("g", "DoesNotExist", []), ("h", "In", ["i"]), ("k", "In", ["m"])], seen(done))
    done = cli("backup", "create", "either", "--or-selector", "app=web or app=reports",
               "--snapshot-volumes=false", *cli.cluster, *cli.where, *cli.hooks)
    suite.check("alternatives", done.returncode == 0 and
                len(cli.stored("either")["spec"]["orLabelSelectors"]) == 2, seen(done))
    failing = cli.file("fail.sh", "#!/bin/sh\necho no guest >&2\nexit 3\n")
    os.chmod(failing, 0o755)
    done = cli("backup", "-f", DEMO, "partial", *cli.cluster, *cli.where, "--exec-command", failing)
    suite.check("a failed hook ends in exit code 3", done.returncode == 3 and
                "PartiallyFailed" in done.stdout and "3" in done.stderr, seen(done))


def reading(cli):
    done = cli("get", *cli.where)
    suite.check("get lists", done.returncode == 0 and done.stdout.startswith("NAME ") and
                "STORAGE LOCATION" in done.stdout and
                re.search(r"^demo +Completed +0 +0 ", done.stdout, re.M), seen(done))
    done = cli("backup", "get", "demo", "-o", "yaml", *cli.where)
    suite.check("get prints YAML", done.returncode == 0 and
                re.search(r"^  name: demo$", done.stdout, re.M) and
                'ttl: "720h0m0s"' in done.stdout, seen(done))
    back = cli.file("back.yaml", done.stdout)
    done = cli("validate", "-f", back)
    suite.check("the YAML can be read again", done.returncode == 0, seen(done))
    done = cli("describe", "demo", "--details", *cli.where)
    suite.check("describe", done.returncode == 0 and "Phase:  Completed" in done.stdout and
                "kubevirt.io/v1/VirtualMachine" in done.stdout and "- shop/web" in done.stdout,
                seen(done))
    done = cli("logs", "demo", *cli.where)
    suite.check("logs", done.returncode == 0 and "level=info" in done.stdout, seen(done)[:2000])
    target = os.path.join(cli.folder, "demo.tar.gz")
    done = cli("download", "demo", "-o", target, *cli.where)
    with tarfile.open(target) as archive:
        names = archive.getnames()
    suite.check("download", done.returncode == 0 and
                "resources/virtualmachines.kubevirt.io/namespaces/shop/web.json" in names,
                "\n".join(names))
    done = cli("download", "demo", "-o", target, *cli.where)
    suite.check("download overwrites nothing", done.returncode == 1 and "--force" in done.stderr,
                seen(done))
    for command in ("get", "describe", "logs", "download"):
        done = cli(command, "nowhere", *cli.where, cwd=cli.folder)
        suite.check(f"{command} of an unknown backup", done.returncode == 1 and
                    "nowhere" in done.stderr and
                    not os.path.exists(os.path.join(cli.folder, "nowhere-data.tar.gz")), seen(done))


RESTORE = """apiVersion: velero.io/v1
kind: Restore
metadata: {name: in-cluster, namespace: velero, creationTimestamp: "2026-11-20T10:00:00Z"}
spec: {backupName: demo, namespaceMapping: {shop: copy}}
---
apiVersion: velero.io/v1
kind: Schedule
metadata: {name: nightly, namespace: velero, creationTimestamp: "2026-11-20T10:00:00Z"}
spec:
  schedule: "0 22 * * *"
  template: {ttl: 48h0m0s, includedNamespaces: [shop], labelSelector: {matchLabels: {app: web}}}
status: {phase: Enabled, lastBackup: "2026-11-23T22:00:00Z"}
---
apiVersion: velero.io/v1
kind: VolumeSnapshotLocation
metadata: {name: ebs, namespace: velero}
spec: {provider: aws}
"""


def leave_restore(cli, name, resource, results):
    """The files of a restore, as they lie in a location."""
    folder = os.path.join(cli.store, "restores", name)
    os.makedirs(folder)
    if resource:
        with open(os.path.join(folder, "vmbackup-restore.json"), "w", encoding="utf-8") as f:
            json.dump(resource, f)
    for suffix, text in (("logs.gz", "level=info msg=restored\n"),
                         ("results.gz", json.dumps(results)),
                         ("resource-list.json.gz", json.dumps({"v1/Pod": ["shop/a(created)"]}))):
        with gzip.open(os.path.join(folder, f"restore-{name}-{suffix}"), "wt") as f:
            f.write(text)


def restores(cli):
    """What the location tells of restores, and what the cluster adds."""
    leave_restore(cli, "ours", {
        "kind": "Restore", "metadata": {"name": "ours", "namespace": "velero",
                                        "creationTimestamp": "2026-11-24T10:00:00Z"},
        "spec": {"backupName": "demo", "itemOperationTimeout": "4h0m0s", "restorePVs": True},
        "status": {"phase": "PartiallyFailed", "errors": 2, "warnings": 0,
                   "startTimestamp": "2026-11-24T10:00:00Z",
                   "completionTimestamp": "2026-11-24T10:01:00Z",
                   "progress": {"totalItems": 3, "itemsRestored": 3}}},
        {"errors": {"namespaces": {"shop": ["pods/a: no", "pods/b: no"]}}, "warnings": {}})
    leave_restore(cli, "theirs", None, {"errors": {}, "warnings": {"cluster": ["odd\x1b[2J"]}})
    done = cli("get", "restores", *cli.where)
    suite.check("restores of a location", done.returncode == 0 and re.search(
        r"^ours +demo +PartiallyFailed +2026-11-24 10:00:00 \+0000 UTC +2026-11-24 10:01:00 "
        r"\+0000 UTC +2 +0 +2026-11-24 10:00:00 \+0000 UTC +<none>$", done.stdout, re.M) and
        re.search(r"^theirs +<n/a> +<n/a> +<n/a> +<n/a> +0 +1 +<n/a> +<none>$", done.stdout, re.M),
        seen(done))
    done = cli("restore", "describe", "ours", "--details", *cli.where)
    suite.check("a restore of a location is described", done.returncode == 0 and all(
        line in done.stdout.splitlines() for line in (
            "Phase:                       PartiallyFailed (run \"vmbackup logs restore ours\" for "
            "more information)", "Items restored:              3", "  Velero:     <none>",
            "    shop:  pods/a: no", "           pods/b: no", "Backup:  demo", "Restore PVs:  true",
            "    - shop/a(created)")), seen(done))
    done = cli("describe", "restore", "theirs", *cli.where)
    suite.check("of another program's restore what there is", done.returncode == 0 and
                "  Cluster:  odd?[2J" in done.stdout and "Backup:" not in done.stdout, seen(done))
    done = cli("logs", "restore", "ours", *cli.where)
    suite.check("the log of a restore", done.returncode == 0 and
                done.stdout == "level=info msg=restored\n", seen(done))
    done = cli("restore", "get", "ours", "-o", "json", *cli.where)
    suite.check("a restore as JSON", done.returncode == 0 and
                json.loads(done.stdout)["status"]["errors"] == 2, seen(done))
    for args in (["get", "restores", "none"], ["describe", "restore", "none"],
                 ["logs", "restore", "none"]):
        done = cli(*args, *cli.where)
        suite.check(" ".join(args), done.returncode == 1 and "none" in done.stderr and
                    "get restores" in done.stderr, seen(done))
    folder = os.path.join(cli.folder, "velero")
    os.makedirs(folder)
    cli.file("velero/objects.yaml", RESTORE)
    both = ["--cluster-dir", folder, *cli.where]
    done = cli("get", "restores", *both)
    suite.check("restores of the cluster and the location, by name", done.returncode == 0 and
                [line.split()[0] for line in done.stdout.splitlines()] ==
                ["NAME", "in-cluster", "ours", "theirs"] and
                re.search(r"^in-cluster +demo +New ", done.stdout, re.M), seen(done))
    done = cli("describe", "restore", "in-cluster", *both)
    suite.check("a restore of the cluster is described", done.returncode == 0 and
                "Namespace mappings:  shop=copy" in done.stdout and "Phase:  New" in done.stdout,
                seen(done))
    done = cli("logs", "restore", "in-cluster", *both)
    suite.check("a restore without a log", done.returncode == 1 and "has not ended" in done.stderr,
                seen(done))
    done = cli("get", "schedules", "--cluster-dir", folder)
    suite.check("schedules", done.returncode == 0 and re.search(
        r"^nightly +Enabled +2026-11-20 10:00:00 \+0000 UTC +0 22 \* \* \* +48h0m0s +\w+ ago +"
        r"app=web +false$", done.stdout, re.M), seen(done))
    done = cli("schedule", "describe", "nightly", "--cluster-dir", folder)
    suite.check("a schedule is described", done.returncode == 0 and
                "Backup Template:\n  Namespaces:\n    Included:  shop\n" in done.stdout and
                "Last Backup:  2026-11-23 22:00:00 +0000 UTC" in done.stdout, seen(done))
    done = cli("get", "schedules", "-o", "json", "--cluster-dir", folder)
    suite.check("schedules as JSON", done.returncode == 0 and
                json.loads(done.stdout)["items"][0]["kind"] == "Schedule", seen(done))
    done = cli("describe", "schedule", "none", "--cluster-dir", folder)
    suite.check("no such schedule", done.returncode == 1 and "get schedules" in done.stderr,
                seen(done))
    done = cli("snapshot-location", "get", "--cluster-dir", folder)
    suite.check("snapshot locations", done.returncode == 0 and
                re.search(r"^ebs +aws$", done.stdout, re.M), seen(done))
    done = cli("get", "schedules", *cli.cluster)
    suite.check("no schedules at all", done.returncode == 0 and not done.stdout and
                "no schedules" in done.stderr, seen(done))


NATIVE = """apiVersion: v1
kind: Namespace
metadata: {name: legacy}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: legacy}
spec: {volumeName: pv-data, storageClassName: gp2, accessModes: [ReadWriteOnce]}
status: {phase: Bound}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-data}
spec:
  awsElasticBlockStore: {volumeID: vol-1}
  storageClassName: gp2
  claimRef: {namespace: legacy, name: data}
"""


def snapshot_locations(cli):
    """VolumeSnapshotLocations, as a Backup chooses them."""
    folder = os.path.join(cli.folder, "native")
    os.makedirs(folder)

    def locate(*pairs):
        cli.file("native/objects.yaml", NATIVE + "".join(f"""---
apiVersion: velero.io/v1
kind: VolumeSnapshotLocation
metadata: {{name: {name}, namespace: velero}}
spec: {{provider: {provider}}}
""" for name, provider in pairs))

    def backup(name, *flags):
        return cli("backup", "create", name, "--include-namespaces", "legacy", "-q", *flags,
                   "--cluster-dir", folder, *cli.where)

    locate()
    done = backup("no-location")
    suite.check("a volume that nobody takes is left out", done.returncode == 0, seen(done))
    done = backup("unknown", "--volume-snapshot-locations", "nowhere")
    suite.check("an unknown snapshot location is refused", done.returncode == 1 and
                'there is no VolumeSnapshotLocation "nowhere"' in done.stderr and
                "volumeSnapshotLocations" in done.stderr, seen(done))
    locate(("one", "aws"))
    done = backup("native")
    suite.check("a volume that Velero's plugin would take is an error, and why",
                done.returncode == 3 and "snapshot location one" in done.stderr and
                "filesystem backup" in done.stderr, seen(done))
    suite.check("the only location is named in the backup",
                cli.stored("native")["spec"]["volumeSnapshotLocations"] == ["one"])
    done = backup("not-wanted", "--snapshot-volumes=false")
    suite.check("no snapshots, no error", done.returncode == 0, seen(done))
    locate(("one", "aws"), ("two", "aws"))
    done = backup("several")
    suite.check("of several locations one must be named", done.returncode == 1 and
                "provider aws has several" in done.stderr, seen(done))
    done = backup("both", "--volume-snapshot-locations", "one,two")
    suite.check("two of one provider are refused", done.returncode == 1 and
                "both of provider aws" in done.stderr, seen(done))
    done = backup("default", "--set", "default-snapshot-locations=aws:two", "--snapshot-volumes=false")
    suite.check("or be the default", done.returncode == 0 and
                cli.stored("default")["spec"]["volumeSnapshotLocations"] == ["two"], seen(done))
    done = backup("bad-default", "--set", "default-snapshot-locations=two")
    suite.check("a default is a pair", done.returncode == 2 and "aws:location" in done.stderr,
                seen(done))


def locations(cli):
    def location_file(name, path):
        return cli.file(name + ".yaml", f"""
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {{name: {name}}}
spec:
  provider: vmbackup.io/dir
  config: {{path: {path}}}
""")

    foreign = os.path.join(cli.folder, "foreign")
    os.makedirs(os.path.join(foreign, "photos", "2026"))
    with open(os.path.join(foreign, "photos", "2026", "cat.jpg"), "wb") as f:
        f.write(b"no backup")
    second = location_file("second", foreign)
    done = cli("location", "get", *cli.where)
    suite.check("location get", done.returncode == 0 and
                done.stdout.splitlines()[0].split("  ")[0] == "NAME" and
                re.search(r"^default .*true$", done.stdout, re.M), seen(done))
    done = cli("location", "get", "--validate", *cli.where, "--location-file", second)
    lines = done.stdout.splitlines()
    suite.check("location get --validate", lines and
                re.match(r"NAME +PHASE +LAST VALIDATED +AGE +DEFAULT$", lines[0]) and
                re.search(r"^default +Available +\d+s ", done.stdout, re.M), seen(done))
    suite.check("a store with foreign folders is unavailable, and why", done.returncode == 1 and
                re.search(r"^second +Unavailable ", done.stdout, re.M) and
                "photos" in done.stderr, seen(done))
    done = cli("location", "get", "--location-file",
               location_file("third", cli.folder + "/no/such/folder"))
    suite.check("a folder that does not exist", done.returncode == 1 and
                "/no/such/folder" in done.stderr, seen(done))
    done = cli("backup", "create", "x", "--storage-location", "fourth", *cli.cluster, *cli.where)
    suite.check("an unknown location", done.returncode == 1 and "fourth" in done.stderr, seen(done))


def validation(cli):
    bad = cli.file("bad.yaml", """apiVersion: velero.io/v1
kind: Backup
metadata:
  name: bad
spec:
  ttl: soon
  labelSelector: {matchLabels: {a: b}}
  orLabelSelectors: [{matchLabels: {c: d}}]
""")
    done = cli("validate", "-f", bad)
    suite.check("validate shows every problem with its place", done.returncode == 1 and
                re.search(r"bad\.yaml:6:\d+: error: spec\.ttl: ", done.stdout) and
                "orLabelSelectors" in done.stdout, seen(done))
    done = cli("backup", "-f", bad, *cli.cluster, *cli.where)
    suite.check("backup refuses it before anything is stored", done.returncode == 1 and
                "spec.ttl" in done.stderr and not os.path.exists(
                    os.path.join(cli.store, "backups", "bad")), seen(done))
    done = cli("validate", "-f", cli.file("broken.yaml", "spec:\n  includedResources: []\n  - a\n"))
    suite.check("a syntax error has its place", done.returncode == 1 and
                re.search(r"broken\.yaml: line 3 column 3: ", done.stderr), seen(done))
    done = cli("validate", "-f", os.path.join(cli.folder, "absent.yaml"))
    suite.check("a missing file", done.returncode == 1 and "No such file" in done.stderr,
                seen(done))


def operations(cli):
    """Work on stored backups; last, for it deletes them."""
    files = []
    for name in ("near", "far"):
        os.makedirs(os.path.join(cli.folder, "at-" + name))
        files += ["--location-file", cli.file(name + ".yaml", f"""apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {{name: {name}}}
spec: {{provider: vmbackup.io/dir, default: {str(name == "near").lower()},
  config: {{path: {os.path.join(cli.folder, "at-" + name)}}}}}
""")]
    for name, labels in (("old", "a=b"), ("new", "a=c")):
        cli("backup", "create", name, "--labels", labels, "--ttl", "1s", "--quiet", *cli.cluster,
            *files, "--snapshot-volumes=false")
    done = cli("verify", "old", *files)
    suite.check("verify", done.returncode == 0 and "backup old: ok, 9 files" in done.stdout,
                seen(done))
    done = cli("diff", "old", "new", *files)
    suite.check("diff of equal objects", done.returncode == 0 and
                "0 added, 0 removed, 0 changed" in done.stdout, seen(done))
    done = cli("copy", "old", "--to", "far", *files)
    suite.check("copy", done.returncode == 0 and "copied from near to far" in done.stdout,
                seen(done))
    done = cli("diff", "old", "old", "--to-location", "far", "-o", "json", *files)
    suite.check("diff over two locations", done.returncode == 0 and
                json.loads(done.stdout)["changed"] == 0, seen(done))
    done = cli("copy", "old", "--to", "far", *files)
    suite.check("a copy replaces nothing", done.returncode == 1 and "already" in done.stderr,
                seen(done))
    done = cli("delete", "backup", "old", *files)
    suite.check("delete asks", done.returncode == 2 and "--confirm" in done.stderr, seen(done))
    done = cli("delete", "backup", "old", "--confirm", *files)
    suite.check("delete", done.returncode == 0 and 'backup "old" deleted' in done.stdout, seen(done))
    archive = os.path.join(cli.folder, "at-far", "backups", "old", "old.tar.gz")
    with open(archive, "r+b") as f:
        f.truncate(os.path.getsize(archive) // 2)
    done = cli("verify", "old", "--storage-location", "far", *files)
    suite.check("verify sees a cut archive", done.returncode == 1 and
                "backup old: damaged" in done.stdout, seen(done))
    time.sleep(1.1)
    done = cli("gc", "--dry-run", *files)
    suite.check("gc shows what expired", done.returncode == 0 and 'backup "new" expired' in
                done.stdout, seen(done))
    done = cli("gc", *files)
    suite.check("gc", done.returncode == 0 and 'backup "new" deleted' in done.stdout, seen(done))
    done = cli("schedule", "next", "30 2 * * *", "--timezone", "Europe/Berlin", "--after",
               "2026-10-24T12:00:00Z", "--count", "3")
    suite.check("schedule next", done.returncode == 0 and done.stdout ==
                "2026-10-25T00:30:00Z\n2026-10-25T01:30:00Z\n2026-10-26T01:30:00Z\n", seen(done))
    done = cli("schedule", "next", "0 25 * * *")
    suite.check("schedule next tells the column", done.returncode == 1 and "column 3" in
                done.stderr, seen(done))


def repositories(cli):
    """The commands on repositories without another program beside them."""
    where = ["repo", "-r", os.path.join(cli.folder, "repo")]
    source = os.path.join(cli.folder, "files")
    target = os.path.join(cli.folder, "back")
    os.makedirs(source)
    with open(os.path.join(source, "a"), "w", encoding="utf-8") as f:
        f.write("content\n")
    env = dict(os.environ, RESTIC_PASSWORD="x")
    suite.check("repo: none there", cli(*where, "snapshots", env=env).returncode == 10)
    suite.check("repo init", cli(*where, "init", env=env).returncode == 0)
    done = cli(*where, "backup", source, "--json", env=env)
    suite.check("repo backup", done.returncode == 0 and
                json.loads(done.stdout.splitlines()[-1])["files_new"] == 1, seen(done))
    done = cli(*where, "backup", source, source + "/none", env=env)
    suite.check("repo backup of what is not there", done.returncode == 3, seen(done))
    done = cli(*where, "snapshots", env=env)
    suite.check("repo snapshots", "2 snapshots" in done.stdout and source in done.stdout, seen(done))
    done = cli(*where, "restore", "latest", "--target", target, env=env)
    suite.check("repo restore", done.returncode == 0 and
                os.path.exists(target + source + "/a"), seen(done))
    done = cli(*where, "snapshots", env=dict(env, RESTIC_PASSWORD="y"))
    suite.check("repo: wrong password", done.returncode == 12 and "--password-file" in done.stderr,
                seen(done))
    done = cli("repo", "--help")
    suite.check("repo: help", done.returncode == 0 and "forget" in done.stdout, seen(done))
    suite.check("repo is a feature", "repo.restic" in cli("version").stdout)


def interrupts(cli):
    """Ctrl-C during a hook that does not end: the run is cancelled and cleaned up."""
    slow = cli.file("slow.sh", f"#!/bin/sh\ntouch {cli.folder}/began\nexec sleep 60\n")
    os.chmod(slow, 0o755)
    process = subprocess.Popen(
        [cli.program, "backup", "-f", DEMO, "stopped", *cli.cluster, *cli.where,
         "--exec-command", slow], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not os.path.exists(os.path.join(cli.folder, "began")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    try:
        out, err = process.communicate(timeout=45)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    suite.check("an interrupt cancels", process.returncode == 1 and "cancel" in err,
                f"{process.returncode} after {time.monotonic() - started:.1f} s\n{out}{err}")
    suite.check("and leaves no backup", not os.path.exists(
        os.path.join(cli.store, "backups", "stopped", "velero-backup.json")))


def main():
    build = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        cli = Cli(build, folder)
        help_texts(cli)
        usage_errors(cli)
        backups(cli)
        reading(cli)
        restores(cli)
        snapshot_locations(cli)
        locations(cli)
        validation(cli)
        interrupts(cli)
        repositories(cli)
        operations(cli)
    suite.finish()


if __name__ == "__main__":
    main()
