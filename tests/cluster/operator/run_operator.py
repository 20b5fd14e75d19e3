#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmbackup-operator on a real API server and MinIO: the velero client's verbs, sync, deletion,
garbage collection, schedules, lost watches, and the operator killed again and again.

usage: run_operator.py [--long] [STEP...]      ends with `N passed, N failed, N skipped`
"""
import gzip
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tarfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import crowd  # noqa: E402
from operatorlib import DEPLOY, END, LOCATION, OPERATOR, main  # noqa: E402
from trouble import Trouble  # noqa: E402

LONG = "--long" in sys.argv
KILLS = int(os.environ.get("VMB_KILLS", "0")) or (200 if LONG else 20)
MANY = 1000
REPORT = re.compile("WARNING: ThreadSanitizer|ERROR: (Address|Leak)Sanitizer|runtime error:")
OBJECTS = 100000 if LONG else 0
SEED = int(os.environ.get("VMB_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)

# What docs/operator.md promises: resource [names] -> verbs beyond those that every account has.
NAMESPACED = {
    "backups.velero.io": "create delete patch watch",
    "restores.velero.io": "delete patch watch",
    "downloadrequests.velero.io": "delete patch watch",
    "serverstatusrequests.velero.io": "delete patch watch",
    "deletebackuprequests.velero.io": "create delete patch watch",
    "schedules.velero.io": "patch watch",
    "backuprepositories.velero.io": "patch watch",
    "backupstoragelocations.velero.io": "create delete patch watch",
    "volumesnapshotlocations.velero.io": "create patch",
    "podvolumebackups.velero.io": "create",
    "dataprotectionapplications.oadp.openshift.io": "watch",
    "dataprotectionapplications.oadp.openshift.io/status": "patch",
    "leases.coordination.k8s.io": "create",
    "leases.coordination.k8s.io [vmbackup-operator]": "patch",
    "events": "create",
    "pods": "delete",
    "pods/exec": "create",
    "volumesnapshots.snapshot.storage.k8s.io": "create delete patch",
    "volumesnapshotcontents.snapshot.storage.k8s.io": "create delete patch",
    "roles.rbac.authorization.k8s.io": "bind escalate",
    "clusterroles.rbac.authorization.k8s.io": "bind escalate",
    "*.*": "create get list patch",
}


class Suite(Trouble):
    PARTS = ("apiserver", "controller-manager", "minio")

    # installing

    def manifests_are_accepted(self):
        self.install()
        self.rig.kubectl("apply", "-f", os.path.join(DEPLOY, "deployment.yaml"))
        self.rig.kubectl("apply", "-f", os.path.join(DEPLOY, "networkpolicy.yaml"))
        self.rig.kubectl("delete", "-f", os.path.join(DEPLOY, "deployment.yaml"))
        self.rig.kubectl("create", "namespace", "other")
        for i in range(5):
            self.rig.kubectl("create", "configmap", "c%d" % i, "-n", "other",
                             "--from-literal=k=v%d" % i)
        done = subprocess.run([sys.executable, os.path.join(DEPLOY, "crds.py"), "--check"],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    def pod_meets_restricted_security(self):
        """The namespace enforces it: a pod of the Deployment's template is admitted."""
        text = open(os.path.join(DEPLOY, "deployment.yaml"), encoding="utf-8").read()
        pod = self.rig.load(text)[0]["spec"]["template"]
        pod.update(apiVersion="v1", kind="Pod")
        pod["metadata"]["name"] = "probe"
        done = self.rig.kubectl("create", "--dry-run=server", "-n", "velero", "-f", "-",
                                input=json.dumps(pod), check=False)
        assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        done = self.rig.kubectl("create", "--dry-run=server", "-n", "velero", "-f", "-",
                                input=json.dumps(pod), check=False)
        assert done.returncode != 0, "the check of the check: nothing is enforced"

    def rights_are_the_documented_minimum(self):
        out = self.rig.kubectl("auth", "can-i", "--list", "-n", "velero", "--as",
                               "system:serviceaccount:velero:vmbackup-operator")
        found = {}
        for line in out.splitlines()[1:]:
            if line.startswith("selfsubject"):
                continue  # every account may ask what it may do
            match = re.match(r"(\S+)\s+\[.*?\]\s+\[(.*?)\]\s+\[(.*)\]$", line)
            if match and not match[1].startswith("["):
                key = match[1] + (" [%s]" % match[2] if match[2] else "")
                found.setdefault(key, set()).update(match[3].split())
        wanted = {k: set(v.split()) for k, v in NAMESPACED.items()}
        assert found == wanted, "only granted: %r\nonly documented: %r" % (
            {k: v - wanted.get(k, set()) for k, v in found.items() if v - wanted.get(k, set())},
            {k: v - found.get(k, set()) for k, v in wanted.items() if v - found.get(k, set())})

    def mistakes_are_readable(self):
        def run(*args):
            done = subprocess.run([OPERATOR, *args], capture_output=True, text=True, timeout=20)
            return done.returncode, done.stderr
        code, text = run("--kubeconfig", "/nonexistent")
        assert code == 1 and "/nonexistent" in text, text
        code, text = run("--no-such-flag")
        assert code == 2 and "no-such-flag" in text, text
        code, text = run("--kubeconfig", self.kubeconfig, "--default-backup-ttl", "soon")
        assert code == 1 and "defaultTTL" in text and "duration" in text, text
        code, text = run("--kubeconfig", self.kubeconfig, "--listen", "nowhere")
        assert code == 1 and "--listen" in text, text

    def locations_get_their_phases(self):
        self.location()
        self.start()
        self.ready()
        found = self.wait_location("default", "Available")
        assert found["status"]["lastValidationTime"], found
        self.location(name="broken", default=False, prefix="x")
        self.rig.kubectl("delete", "secret", "cloud-credentials-broken", "-n", "velero")
        found = self.wait_location("broken", "Unavailable")
        assert "cloud-credentials-broken" in found["status"]["message"], found
        assert self.metric("velero_backup_location_status_gauge") == 1.0
        self.rig.kubectl("delete", "bsl", "broken", "-n", "velero")
        text = self.rig.kubectl("get", "bsl", "-n", "velero").splitlines()
        assert text[0].split() == ["NAME", "PHASE", "LAST", "VALIDATED", "AGE", "DEFAULT"], text
        assert text[1].split()[1] == "Available" and text[1].split()[-1] == "true", text

    # the client

    def client_creates_and_describes(self):
        out = self.rig.velero("backup", "create", "first", "--include-namespaces", "other",
                              "--wait")
        assert "status: Completed" in out, out
        out = self.rig.velero("backup", "get")
        assert "first" in out and "Completed" in out, out
        out = self.rig.velero("backup", "describe", "first", "--details")
        assert "v1/ConfigMap:" in out and "other/c4" in out, out
        assert "level=info" in self.rig.velero("backup", "logs", "first")
        target = os.path.join(self.rig.dir, "first.tar.gz")
        self.rig.velero("backup", "download", "first", "-o", target)
        with tarfile.open(target) as tar:
            assert "resources/configmaps/namespaces/other/c0.json" in tar.getnames()
        out = self.rig.kubectl("get", "backups", "first", "-n", "velero", "-o",
                               "jsonpath={.status.phase}")
        assert out == "Completed", out
        assert "vmbackup" in self.rig.velero("version")
        stored = json.loads(self.file("first", "velero-backup.json"))
        made = self.object("backups", "first")
        assert stored["metadata"]["uid"] == made["metadata"]["uid"]
        assert stored["status"] == made["status"], (stored["status"], made["status"])
        assert stored["spec"] == made["spec"], (stored["spec"], made["spec"])

    def phase_changes_become_events(self):
        events = self.rig.api("GET", "/api/v1/namespaces/velero/events")["items"]
        reasons = [e["reason"] for e in events if e["involvedObject"]["name"] == "first"]
        assert reasons == ["InProgress", "Completed"], reasons

    def invalid_backups_are_refused_with_reasons(self):
        self.rig.apply("""
apiVersion: velero.io/v1
kind: Backup
metadata: {name: both, namespace: velero}
spec:
  labelSelector: {matchLabels: {a: b}}
  orLabelSelectors: [{matchLabels: {a: b}}]
""")
        found = self.wait_phase("backups", "both", "FailedValidation")
        assert "orLabelSelectors" in found["status"]["validationErrors"][0], found
        self.rig.apply("""
apiVersion: velero.io/v1
kind: Backup
metadata: {name: nowhere, namespace: velero}
spec: {storageLocation: nowhere}
""")
        found = self.wait_phase("backups", "nowhere", "FailedValidation")
        assert "nowhere" in found["status"]["validationErrors"][0], found
        done = self.rig.kubectl("apply", "-f", "-", check=False, input="""
apiVersion: velero.io/v1
kind: Backup
metadata: {name: typo, namespace: velero}
spec: {ttl: 30 days}
""")
        assert done.returncode != 0 and "spec.ttl" in done.stderr, done
        self.rig.kubectl("delete", "backup", "both", "nowhere", "-n", "velero")

    def client_restores(self):
        out = self.rig.velero("restore", "create", "back", "--from-backup", "first",
                              "--namespace-mappings", "other:copy", "--wait")
        assert "status: Completed" in out, out
        names = self.rig.kubectl("get", "configmap", "-n", "copy", "-o", "name").split()
        assert "configmap/c4" in names, names
        assert "level=info" in self.rig.velero("restore", "logs", "back")
        out = self.rig.velero("restore", "describe", "back", "--details")
        assert "copy/c0(created)" in out, out
        assert self.stored("restores/back"), "no files of the restore"
        self.rig.velero("restore", "delete", "back", "--confirm")
        self.gone("restores", "back")
        assert not self.stored("restores/back"), self.stored("restores/back")
        out = self.rig.velero("restore", "create", "never", "--from-schedule", "none",
                              check=False)
        assert out.returncode != 0 or self.wait_phase("restores", "never", "FailedValidation")

    def client_schedules(self):
        self.rig.velero("schedule", "create", "often", "--schedule", "@every 3s",
                        "--include-namespaces", "other", "--ttl", "1h")
        self.rig.wait(lambda: len(self.of_schedule("often")) >= 2, 30, "two scheduled backups")
        self.rig.velero("schedule", "pause", "often")
        self.rig.wait(lambda: all(b["status"].get("phase") == "Completed"
                                  for b in self.of_schedule("often")), 20, "end of the backups")
        made = self.of_schedule("often")
        time.sleep(5)
        assert len(self.of_schedule("often")) == len(made), "a paused schedule makes backups"
        assert re.fullmatch(r"often-\d{14}", made[0]["metadata"]["name"]), made[0]["metadata"]
        at = [time.mktime(time.strptime(b["metadata"]["creationTimestamp"],
                                        "%Y-%m-%dT%H:%M:%SZ")) for b in made]
        assert all(b - a >= 2 for a, b in zip(sorted(at), sorted(at)[1:])), sorted(at)
        found = self.object("schedules", "often")
        assert found["status"]["phase"] == "Enabled" and found["status"]["lastBackup"], found
        self.rig.apply("""
apiVersion: velero.io/v1
kind: Schedule
metadata: {name: bad, namespace: velero}
spec: {schedule: every day, template: {}}
""")
        self.rig.wait(lambda: self.phase("schedules", "bad") == "FailedValidation", 20,
                      "refused schedule")
        self.rig.velero("schedule", "delete", "often", "bad", "--confirm")

    def of_schedule(self, name):
        return [b for b in self.list("backups")
                if b["metadata"].get("labels", {}).get("velero.io/schedule-name") == name]

    def client_deletes(self):
        for b in self.of_schedule("often"):
            self.rig.velero("backup", "delete", b["metadata"]["name"], "--confirm")
        for b in self.of_schedule("often"):
            self.gone("backups", b["metadata"]["name"])
        left = [k for k in self.stored() if "/often-" in k]
        assert not left, left
        assert not self.list("deletebackuprequests"), self.list("deletebackuprequests")
        self.rig.velero("backup", "delete", "no-such-backup", "--confirm", check=False)

    # what lies in the store

    def lost_objects_come_back_from_the_store(self):
        before = self.object("backups", "first")
        self.rig.kubectl("delete", "backup", "first", "-n", "velero")
        self.rig.wait(lambda: self.phase("backups", "first") == "Completed", 20, "synced backup")
        after = self.object("backups", "first")
        assert after["status"] == before["status"] and after["spec"] == before["spec"], after
        assert after["metadata"]["uid"] != before["metadata"]["uid"]

    def vanished_backups_lose_their_objects(self):
        self.backup("vanish")
        self.wait_phase("backups", "vanish", "Completed")
        for key in self.s3.list("velero/backups/vanish/"):
            self.s3.delete(key)
        self.gone("backups", "vanish")

    def unfinished_backups_are_not_synced(self):
        doc = json.loads(self.file("first", "velero-backup.json"))
        doc["metadata"]["name"] = "torso"
        doc["status"]["phase"] = "InProgress"
        doc["status"]["expiration"] = "2099-01-01T00:00:00Z"
        self.s3.put("velero/backups/torso/velero-backup.json", json.dumps(doc).encode())
        self.s3.put("velero/backups/empty/empty-logs.gz", gzip.compress(b""))
        self.s3.put("velero/backups/garbled/velero-backup.json", b"{")
        time.sleep(5)
        names = [b["metadata"]["name"] for b in self.list("backups")]
        assert not {"torso", "empty", "garbled"} & set(names), names
        for key in self.stored():
            if key.split("/")[2] in ("torso", "empty", "garbled"):
                self.s3.delete(key)

    def backup_of_a_taken_name_goes_without_the_other(self):
        """Another cluster's backup lies there: this one fails, and its deletion leaves that."""
        doc = json.loads(self.file("first", "velero-backup.json"))
        doc["metadata"].update(name="taken", uid="0c9e2c1c-0000-4000-8000-000000000000")
        doc["status"].update(phase="InProgress", expiration="2099-01-01T00:00:00Z")
        self.s3.put("velero/backups/taken/velero-backup.json", json.dumps(doc).encode())
        self.backup("taken")
        found = self.wait_phase("backups", "taken", "Failed")
        assert "already exists" in found["status"]["failureReason"], found
        self.rig.velero("backup", "delete", "taken", "--confirm")
        self.gone("backups", "taken")
        left = [k for k in self.stored() if "/taken/" in k]
        assert left == ["velero/backups/taken/velero-backup.json"], left
        self.s3.delete(left[0])

    def expired_backups_are_deleted(self):
        self.rig.apply("""
apiVersion: velero.io/v1
kind: Backup
metadata: {name: short, namespace: velero}
spec: {includedNamespaces: [other], ttl: 4s}
""")
        self.wait_phase("backups", "short", "Completed")
        self.gone("backups", "short")
        self.rig.wait(lambda: not [k for k in self.stored() if "/short/" in k], 20, "no files")

    # one at a time

    def backups_wait_for_each_other(self):
        for i in range(6):
            self.backup("queue-%d" % i)
        for i in range(6):
            self.wait_phase("backups", "queue-%d" % i, "Completed")
        spans = sorted((b["status"]["startTimestamp"], b["status"]["completionTimestamp"])
                       for b in self.list("backups")
                       if b["metadata"]["name"].startswith("queue-"))
        for (_, end), (begin, _) in zip(spans, spans[1:]):
            assert end <= begin, spans

    # lost connections

    def watch_survives_a_restart_of_the_api_server(self):
        for kill in (False, True):
            self.rig.restart("apiserver", kill=kill)
            name = "after-restart-%d" % kill
            self.rig.wait(lambda: self.backup(name) or True, 60, "API server")
            self.wait_phase("backups", name, "Completed", seconds=90)
        assert self.process.poll() is None

    def watch_survives_a_forgotten_position(self):
        """etcd is compacted while the operator cannot watch: its position is gone (410)."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            self.rig.restart("apiserver", kill=True)
            for i in range(30):
                self.rig.kubectl("label", "configmap", "c0", "-n", "other", "x=%d" % i,
                                 "--overwrite")
            self.compact()
            self.rig.kubectl("delete", "backup", "after-restart-0", "-n", "velero", "--wait=false")
            self.backup("after-gone")
        finally:
            self.process.send_signal(signal.SIGCONT)
        self.wait_phase("backups", "after-gone", "Completed", seconds=120)

    def compact(self):
        base = self.rig.parts["etcd"].client
        import base64
        import urllib.request

        def call(path, body):
            request = urllib.request.Request(base + path, json.dumps(body).encode(),
                                             {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read())
        found = call("/v3/kv/range", {"key": base64.b64encode(b"/").decode()})
        call("/v3/kv/compaction", {"revision": found["header"]["revision"], "physical": True})

    # ends

    def sigterm_fails_the_running_backup_cleanly(self):
        self.rig.wait(lambda: self.slow("slow"), 60, "backup to be interrupted")
        started = time.monotonic()
        assert self.stop() == 0, self.tail()
        assert time.monotonic() - started < 50  # of the 60 s that its pod gets
        phase = self.phase("backups", "slow")
        assert phase in END, phase
        if phase == "Failed":
            assert not [k for k in self.stored() if "/slow/" in k], self.stored()
        self.start()
        self.ready()
        self.rig.kubectl("delete", "backup", "slow", "-n", "velero")

    def slow(self, name):
        self.rig.kubectl("delete", "backup", name, "-n", "velero", "--ignore-not-found")
        self.rig.apply("""
apiVersion: velero.io/v1
kind: Backup
metadata: {name: %s, namespace: velero}
spec: {includeClusterResources: true}
""" % name)
        # one that is ReadyToStart when the operator ends is taken up by the next
        self.rig.wait(lambda: self.phase("backups", name) not in ("", "New", "ReadyToStart"), 60,
                      "begun backup")
        return True

    def probes_are_answered_while_clients_dawdle(self):
        idle = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(40)]
        try:
            for s in idle:
                s.sendall(b"GET /metrics HTTP/1.1\r\n")
            begin = time.monotonic()
            for _ in range(10):
                assert self.http("/healthz") == "ok\n"
            took = (time.monotonic() - begin) / 10
            assert took < 1, "the kubelet waits for a second, this took %.1f s" % took
        finally:
            for s in idle:
                s.close()

    def silent_store_does_not_hold_up_the_end(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen(8)
            self.rig.apply(LOCATION % dict(
                self.rig.s3["minio"], name="silent", default="false", prefix="x",
                secret="cloud-credentials-default",
                endpoint="http://127.0.0.1:%d" % s.getsockname()[1]))
            time.sleep(2)
            code = self.stop()
        assert code == 0, code
        self.rig.kubectl("delete", "bsl", "silent", "-n", "velero")
        self.start()
        self.ready()

    def second_process_waits_for_the_lease(self):
        self.stop()
        self.start("--leader-elect", "--identity", "one")
        self.ready()
        self.rig.wait(lambda: self.metric("vmbackup_leader") == 1.0, 30, "leader")
        first, port = self.process, self.port
        self.start("--leader-elect", "--identity", "two")
        self.ready()
        time.sleep(3)
        assert self.metric("vmbackup_leader") == 0.0
        lease = self.rig.api("GET", "/apis/coordination.k8s.io/v1/namespaces/velero/leases/"
                                    "vmbackup-operator")
        assert lease["spec"]["holderIdentity"] == "one", lease
        second, second_port = self.process, self.port
        self.process, self.port = first, port
        assert self.stop() == 0  # gives the lease back: the other need not wait for it to run out
        self.process, self.port = second, second_port
        self.rig.wait(lambda: self.metric("vmbackup_leader") == 1.0, 10, "new leader")
        self.backup("of-two")
        self.wait_phase("backups", "of-two", "Completed")
        assert self.stop() == 0
        self.start()
        self.ready()

    def lost_lease_ends_the_process(self):
        self.stop()
        self.start("--leader-elect", "--identity", "one")
        self.rig.wait(lambda: self.metric("vmbackup_leader") == 1.0, 40, "leader")
        self.rig.api("PATCH", "/apis/coordination.k8s.io/v1/namespaces/velero/leases/"
                              "vmbackup-operator", {"spec": {"holderIdentity": "thief"}})
        assert self.process.wait(60) == 1
        self.process = None
        assert "lost" in self.tail(), self.tail()
        self.rig.api("DELETE", "/apis/coordination.k8s.io/v1/namespaces/velero/leases/"
                               "vmbackup-operator")
        self.start()
        self.ready()

    def killed_operator_leaves_nothing_in_progress(self):
        """SIGKILL at random points of backups, restores and deletions."""
        dice = random.Random(SEED)
        print("     seed %d: VMB_SEED repeats it" % SEED)
        self.backup("keeper")
        self.wait_phase("backups", "keeper", "Completed")
        outcomes = {}
        for i in range(KILLS):
            name = "kill-%d" % i
            self.backup(name)
            what = dice.choice(["backup", "backup", "restore", "delete"])
            if what != "backup":
                self.wait_phase("backups", name, "Completed")
            if what == "restore":
                self.rig.apply("""
apiVersion: velero.io/v1
kind: Restore
metadata: {name: %s, namespace: velero}
spec: {backupName: %s, namespaceMapping: {other: copy-%d}}
""" % (name, name, i))
            elif what == "delete":
                self.rig.apply("""
apiVersion: velero.io/v1
kind: DeleteBackupRequest
metadata: {name: %s, namespace: velero, labels: {velero.io/backup-name: %s}}
spec: {backupName: %s}
""" % (name, name, name))
            time.sleep(dice.random() * 0.35)
            self.stop(signal.SIGKILL)
            self.start()
            self.settle(name, what, outcomes)
        print("     %r" % outcomes)
        assert self.phase("backups", "keeper") == "Completed"
        self.backup("next")
        self.wait_phase("backups", "next", "Completed")
        self.whole_backups_only()

    def settle(self, name, what, outcomes):
        """Waits until the work is at rest, and looks at what is left."""
        def at_rest():
            phases = [o.get("status", {}).get("phase", "")
                      for o in self.list("backups") + self.list("restores")]
            return all(p in END for p in phases) and not self.list("deletebackuprequests")
        self.rig.wait(at_rest, 40, "rest after the kill of %s (%s)" % (name, what))
        if what == "delete":
            assert name not in [b["metadata"]["name"] for b in self.list("backups")]
            assert not self.stored("backups/" + name), self.stored("backups/" + name)
            phase = "deleted"
        else:
            kind = "restores" if what == "restore" else "backups"
            found = self.object(kind, name)
            phase = found["status"]["phase"]
            if phase == "Failed":
                assert found["status"]["failureReason"], found
                if what == "backup":
                    assert not self.stored("backups/" + name), self.stored("backups/" + name)
            else:
                assert phase == "Completed", found
        outcomes[what, phase] = outcomes.get((what, phase), 0) + 1

    def whole_backups_only(self):
        """Every folder with files is a listed backup, and whole."""
        names = {b["metadata"]["name"]: b for b in self.list("backups")}
        for folder in {k.split("/")[2] for k in self.stored()}:
            assert folder in names, "%s has files and no object" % folder
            with_archive = json.loads(self.file(folder, "velero-backup.json"))
            assert with_archive["status"]["phase"] in END
            gzip.decompress(self.file(folder, folder + ".tar.gz"))

    # many

    def thousand_backups_are_no_trouble(self):
        doc = json.loads(self.file("first", "velero-backup.json"))
        begin = time.monotonic()
        before = self.metric("velero_backup_total") or 0
        for i in range(MANY):
            doc["metadata"]["name"] = "many-%04d" % i
            self.s3.put("velero/backups/many-%04d/velero-backup.json" % i,
                        json.dumps(doc).encode())
        print("     %d stored in %.1f s" % (MANY, time.monotonic() - begin))
        begin = time.monotonic()
        self.rig.wait(lambda: (self.metric("velero_backup_total") or 0) >= before + MANY, 240,
                      "sync of %d backups" % MANY)
        print("     synced in %.1f s" % (time.monotonic() - begin))
        out = self.rig.velero("backup", "get", timeout=60)
        assert out.count("many-") == MANY
        uids = {b["metadata"]["uid"] for b in self.list("backups")}
        self.stop()
        self.start()
        begin, cpu = time.monotonic(), self.cpu_seconds()
        self.ready(60)
        self.backup("among-many")
        self.wait_phase("backups", "among-many", "Completed")
        print("     restarted and at work after %.1f s, %.2f CPU s, %.1f MiB" % (
            time.monotonic() - begin, self.cpu_seconds() - cpu, self.rss_mib("VmHWM")))
        after = {b["metadata"]["uid"]: b for b in self.list("backups")}
        assert uids < set(after) and len(after) == len(uids) + 1, "a restart changed Backups"

    def idle_memory_is_small(self):
        self.stop()
        self.start()
        self.ready()
        time.sleep(15)
        rss = self.rss_mib()
        print("     %.1f MiB resident, %.1f MiB of it its own, with %d Backups" % (
            rss, self.rss_mib("RssAnon"), len(self.list("backups"))))
        assert self.sanitized() or rss < 20, rss

    def memory_is_bounded_with_many_objects(self):
        if not OBJECTS:
            from steps import Skip
            raise Skip("only with --long")
        self.rig.kubectl("create", "namespace", "crowd")
        begin = time.monotonic()
        crowd.fill(self.rig, "/api/v1/namespaces/crowd/configmaps", OBJECTS)
        print("     %d objects made in %.1f s" % (OBJECTS, time.monotonic() - begin))
        begin, cpu = time.monotonic(), self.cpu_seconds()
        self.backup("crowd", "crowd")
        self.wait_phase("backups", "crowd", "Completed", seconds=300)
        status = self.object("backups", "crowd")["status"]
        assert status["progress"]["itemsBackedUp"] >= OBJECTS, status
        peak = self.rss_mib("VmHWM")
        print("     peak %.1f MiB, %.1f s, %.1f CPU s with %d objects" % (
            peak, time.monotonic() - begin, self.cpu_seconds() - cpu, OBJECTS))
        assert peak < 96, peak

    def nothing_is_said_about_secrets(self):
        with open(self.log, encoding="utf-8") as f:
            text = f.read()
        assert self.rig.s3["minio"]["secret_key"] not in text
        token = self.rig.run(["grep", "-o", "token: .*", self.kubeconfig]).stdout.split()[1]
        assert token not in text
        assert self.stop() == 0

    def sanitizers_have_nothing_to_say(self):
        """Only a build with sanitizers can fail here: see operatorlib.py."""
        assert self.stop() in (0, None), self.tail()  # leaks are told at the end
        with open(self.log, encoding="utf-8", errors="replace") as f:
            lines = f.readlines()
        found = [i for i, line in enumerate(lines) if REPORT.search(line)]
        assert not found, "%d reports; %s" % (len(found), "\n".join(
            "".join(lines[i:i + 40]) for i in found[:8]))

    STEPS = [manifests_are_accepted, pod_meets_restricted_security,
             rights_are_the_documented_minimum, mistakes_are_readable,
             locations_get_their_phases, client_creates_and_describes, phase_changes_become_events,
             invalid_backups_are_refused_with_reasons, client_restores, client_schedules,
             client_deletes, lost_objects_come_back_from_the_store,
             vanished_backups_lose_their_objects, unfinished_backups_are_not_synced,
             backup_of_a_taken_name_goes_without_the_other,
             expired_backups_are_deleted, backups_wait_for_each_other,
             watch_survives_a_restart_of_the_api_server, watch_survives_a_forgotten_position,
             probes_are_answered_while_clients_dawdle,
             silent_store_does_not_hold_up_the_end,
             sigterm_fails_the_running_backup_cleanly, second_process_waits_for_the_lease,
             lost_lease_ends_the_process, Trouble.refused_deletion_gives_the_backup_back,
             Trouble.deletion_waits_for_a_running_restore,
             Trouble.restores_of_a_backup_that_goes_are_refused,
             Trouble.unmounted_folder_takes_no_backups_away,
             Trouble.killed_leader_is_followed_while_a_backup_runs,
             Trouble.paused_leader_does_no_harm, killed_operator_leaves_nothing_in_progress,
             thousand_backups_are_no_trouble, idle_memory_is_small,
             memory_is_bounded_with_many_objects, nothing_is_said_about_secrets,
             sanitizers_have_nothing_to_say]


def chosen():
    """All steps; or what installs the operator and the steps that are named."""
    words = [w for w in sys.argv[1:] if not w.startswith("-")]
    if not words:
        return Suite.STEPS
    base = [Suite.manifests_are_accepted, Suite.locations_get_their_phases,
            Suite.client_creates_and_describes]
    return base + [s for s in Suite.STEPS if s not in base and
                   any(w in s.__name__ for w in words + ["sanitizers_have"])]


if __name__ == "__main__":
    Suite.STEPS = chosen()
    sys.exit(main(Suite))
