# SPDX-License-Identifier: Apache-2.0
"""Steps of the operator's suite: deletions that are refused or have to wait, folders that are not
mounted, and a second operator that takes over while a backup runs."""
import os
import signal
import time

import crowd
from gate import Gate
from operatorlib import LOCATION, Operator

LEASE = "/apis/coordination.k8s.io/v1/namespaces/velero/leases/vmbackup-operator"

# Everything but removing objects.
NO_DELETE = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]},
    {"Effect": "Deny", "Action": ["s3:DeleteObject"], "Resource": ["arn:aws:s3:::*"]}]}

LIMITED = """
apiVersion: v1
kind: Secret
metadata: {name: cloud-credentials-guarded, namespace: velero}
stringData:
  cloud: |
    [default]
    aws_access_key_id=%s
    aws_secret_access_key=%s
    aws_session_token=%s
"""

FOLDER = """
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: folder, namespace: velero}
spec:
  provider: vmbackup.io/dir
  objectStorage: {bucket: ""}
  config: {path: %s}
"""

BACKUP = """
apiVersion: velero.io/v1
kind: Backup
metadata: {name: %s, namespace: velero}
spec: {includedNamespaces: [%s], storageLocation: %s}
"""

REQUEST = """
apiVersion: velero.io/v1
kind: DeleteBackupRequest
metadata: {name: %s, namespace: velero, labels: {velero.io/backup-name: %s}}
spec: {backupName: %s}
"""

RESTORE = """
apiVersion: velero.io/v1
kind: Restore
metadata: {name: %s, namespace: velero}
spec: {backupName: %s, namespaceMapping: {%s: %s}}
"""


class Trouble(Operator):
    def backup_in(self, location, name, ns="other"):
        self.rig.apply(BACKUP % (name, ns, location))

    def request_deletion(self, backup, name=None):
        self.rig.apply(REQUEST % (name or backup, backup, backup))

    def set_phase(self, kind, name, phase):
        self.rig.kubectl("patch", kind, name, "-n", "velero", "--type", "merge", "-p",
                         '{"status":{"phase":"%s"}}' % phase)

    def reasons(self, name):
        events = self.rig.api("GET", "/api/v1/namespaces/velero/events")["items"]
        return [e["reason"] for e in events if e["involvedObject"]["name"] == name]

    def wait_location(self, name, phase):
        self.rig.wait(lambda: self.phase("backupstoragelocations", name) == phase, 30,
                      "%s location %s" % (phase, name))
        return self.object("backupstoragelocations", name)

    # deletions

    def refused_deletion_gives_the_backup_back(self):
        """A store that lets nobody remove anything: the request fails, the backup stays usable."""
        self.location(name="guarded", default=False, prefix="guarded")
        self.rig.apply(LIMITED % self.s3.limited(NO_DELETE))
        self.wait_location("guarded", "Available")
        self.backup_in("guarded", "kept")
        self.wait_phase("backups", "kept", "Completed")
        before = sorted(self.s3.list("guarded/backups/kept/"))
        self.request_deletion("kept")
        self.rig.wait(lambda: self.phase("deletebackuprequests", "kept") == "Processed", 60,
                      "refused request")
        request = self.object("deletebackuprequests", "kept")
        assert request["status"]["errors"], request
        assert self.phase("backups", "kept") == "Completed", self.object("backups", "kept")
        assert "NotDeleted" in self.reasons("kept")
        assert set(before) <= set(self.s3.list("guarded/backups/kept/"))
        self.rig.apply(RESTORE % ("of-kept", "kept", "other", "copy-kept"))
        self.wait_phase("restores", "of-kept", "Completed")
        # one that nobody works on, as a store that could not be asked leaves it
        self.set_phase("backup", "kept", "Deleting")
        self.rig.wait(lambda: self.phase("backups", "kept") == "Completed", 60, "phase given back")
        self.location(name="guarded", default=False, prefix="guarded")  # all rights again
        self.rig.velero("backup", "delete", "kept", "--confirm")
        self.gone("backups", "kept", seconds=60)
        assert not self.s3.list("guarded/backups/kept/"), self.s3.list("guarded/")
        self.rig.kubectl("delete", "bsl", "guarded", "-n", "velero")

    def deletion_waits_for_a_running_restore(self):
        self.rig.kubectl("create", "namespace", "busy")
        crowd.fill(self.rig, "/api/v1/namespaces/busy/configmaps", 2000)
        self.backup("busy", "busy")
        self.wait_phase("backups", "busy", "Completed")
        self.rig.apply(RESTORE % ("busy-back", "busy", "busy", "busy-copy"))
        self.rig.wait(lambda: self.phase("restores", "busy-back") == "InProgress", 30,
                      "running restore")
        self.request_deletion("busy", "busy-request")
        self.gone("backups", "busy", seconds=300)
        self.gone("restores", "busy-back")
        assert "Completed" in self.reasons("busy-back"), self.reasons("busy-back")
        if "Waiting" not in self.reasons("busy-request"):
            print("     the restore was faster than the request")
        assert not self.stored("backups/busy") and not self.stored("restores/busy-back")
        names = self.rig.kubectl("get", "configmap", "-n", "busy-copy", "-o", "name")
        assert names.count("/c-") == 2000, names.count("/c-")
        self.rig.kubectl("delete", "namespace", "busy", "busy-copy", "--wait=false")

    def restores_of_a_backup_that_goes_are_refused(self):
        self.stop()
        self.set_phase("backup", "first", "Deleting")
        self.rig.apply(RESTORE % ("too-late", "first", "other", "copy-late"))
        self.start("--backup-sync-period", "1h")  # a sync would give the phase back
        found = self.wait_phase("restores", "too-late", "FailedValidation")
        assert "being deleted" in found["status"]["validationErrors"][0], found
        self.stop()
        self.start()
        self.rig.wait(lambda: self.phase("backups", "first") == "Completed", 60, "phase given back")
        self.rig.kubectl("delete", "restore", "too-late", "-n", "velero")

    # stores that are not there

    def unmounted_folder_takes_no_backups_away(self):
        mount, away = (os.path.join(self.rig.dir, n) for n in ("mount", "away"))
        os.mkdir(mount)
        self.rig.apply(FOLDER % mount)
        self.wait_location("folder", "Available")
        for name in ("in-folder-1", "in-folder-2"):
            self.backup_in("folder", name)
            self.wait_phase("backups", name, "Completed")
        os.rename(mount, away)  # no folder: an error
        found = self.wait_location("folder", "Unavailable")
        assert mount in found["status"]["message"], found
        os.mkdir(mount)  # the mount point alone: an empty store
        self.wait_location("folder", "Available")
        self.rig.wait(lambda: self.missing() == 2.0, 60, "missing backups")
        time.sleep(5)
        assert self.phase("backups", "in-folder-1") == "Completed"
        assert self.phase("backups", "in-folder-2") == "Completed"
        assert "is its folder mounted" in self.tail(200)
        os.rmdir(mount)
        os.rename(away, mount)
        self.rig.wait(lambda: self.missing() == 0.0, 60, "no missing backup")
        for name in ("in-folder-1", "in-folder-2"):
            self.rig.velero("backup", "delete", name, "--confirm")
        for name in ("in-folder-1", "in-folder-2"):
            self.gone("backups", name)
        self.rig.kubectl("delete", "bsl", "folder", "-n", "velero")

    def missing(self):
        for line in self.http("/metrics").splitlines():
            if line.startswith('vmbackup_location_missing_backups{backup_location_name="folder"}'):
                return float(line.rsplit(" ", 1)[1])
        return None

    # two operators

    def two_operators(self):
        """The leader, then the one that waits: (process, port) each."""
        self.stop()
        found = []
        for name in ("one", "two"):
            self.start("--leader-elect", "--identity", name)
            self.ready()
            if name == "one":
                self.rig.wait(lambda: self.metric("vmbackup_leader") == 1.0, 40, "leader")
            found.append((self.process, self.port))
        return found

    def hold_backup(self, gate, name):
        """A backup that stands still in its upload."""
        self.rig.apply(LOCATION % dict(
            self.rig.s3["minio"], name="gated", default="false", prefix="gated",
            secret="cloud-credentials-default", endpoint=gate.endpoint))
        self.wait_location("gated", "Available")
        gate.close()
        self.backup_in("gated", name)
        assert gate.held.wait(60), "no upload began"
        assert self.phase("backups", name) in ("InProgress", "Finalizing"), self.phase("backups",
                                                                                       name)

    def taken_over(self, gate, name):
        """The second operator ends the backup that the first one left, and works."""
        self.rig.wait(lambda: self.metric("vmbackup_leader") == 1.0, 60, "new leader")
        found = self.wait_phase("backups", name, "Failed")
        assert found["status"]["failureReason"], found
        assert not self.s3.list("gated/backups/%s/" % name), self.s3.list("gated/")
        self.backup_in("gated", name + "-next")
        self.wait_phase("backups", name + "-next", "Completed")
        return found

    def end_of_two(self, gate, name):
        self.rig.velero("backup", "delete", name, name + "-next", "--confirm")
        self.gone("backups", name)
        self.gone("backups", name + "-next")
        self.rig.kubectl("delete", "bsl", "gated", "-n", "velero")
        gate.end()
        assert self.stop() == 0
        self.start()
        self.ready()

    def killed_leader_is_followed_while_a_backup_runs(self):
        gate = Gate(self.rig.s3["minio"]["endpoint"])
        (first, _), (second, port) = self.two_operators()
        self.hold_backup(gate, "orphan")
        first.kill()
        first.wait()
        gate.release()
        self.process, self.port = second, port
        begin = time.monotonic()
        self.taken_over(gate, "orphan")
        print("     the next backup was stored %.1f s after the kill" % (time.monotonic() - begin))
        self.end_of_two(gate, "orphan")

    def paused_leader_does_no_harm(self):
        """A leader that stands still for longer than its lease finds another one at work."""
        gate = Gate(self.rig.s3["minio"]["endpoint"])
        (first, first_port), (second, port) = self.two_operators()
        self.hold_backup(gate, "sleeper")
        first.send_signal(signal.SIGSTOP)
        gate.release()
        self.process, self.port = second, port
        found = self.taken_over(gate, "sleeper")
        first.send_signal(signal.SIGCONT)
        assert first.wait(60) == 1, first.returncode
        time.sleep(3)
        after = self.object("backups", "sleeper")["status"]
        assert after["phase"] == "Failed", after
        assert after["failureReason"] == found["status"]["failureReason"], after
        assert not self.s3.list("gated/backups/sleeper/"), self.s3.list("gated/backups/")
        assert self.rig.api("GET", LEASE)["spec"]["holderIdentity"] == "two"
        self.end_of_two(gate, "sleeper")
