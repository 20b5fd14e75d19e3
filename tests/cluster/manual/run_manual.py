#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The OpenShift manual's procedure for backing up virtual machines (its sections 15.3.1, 15.3.1.1 to
15.3.1.3 and the note on schedules), by kubectl only, against vmbackup-operator in place of OADP's
and Velero's. Every object has to reach the phase that the manual names. Prints each step with what
it saw; ends with `N passed, N failed, N skipped`.
"""
import gzip
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "operator"))

from operatorlib import SECRET, Operator, main  # noqa: E402

# The application that the prerequisites ask for.
APPLICATION = """
apiVersion: oadp.openshift.io/v1alpha1
kind: DataProtectionApplication
metadata: {name: dpa, namespace: velero}
spec:
  backupImages: false
  configuration:
    velero: {defaultPlugins: [openshift, aws, csi, kubevirt]}
    nodeAgent: {enable: false, uploaderType: kopia}
  backupLocations:
    - name: default
      velero:
        provider: aws
        default: true
        objectStorage: {bucket: %(bucket)s, prefix: velero}
        credential: {name: cloud-credentials, key: cloud}
        config: {region: %(region)s, s3ForcePathStyle: "true", s3Url: %(endpoint)s}
"""

# 15.3.1, with the callout numbers taken out and the two selectors one at a time
BACKUP = """
apiVersion: velero.io/v1
kind: Backup
metadata:
  name: %(name)s
  labels: {velero.io/storage-location: default}
  namespace: velero
spec:
  hooks: {}
  includedNamespaces: [shop]
  includedResources: []
  excludedResources: []
  storageLocation: default
  ttl: 720h0m0s
%(more)s
"""
LABELS = """  labelSelector:
    matchLabels: {app: front}
"""
OR_LABELS = """  orLabelSelectors:
    - matchLabels: {app: web}
    - matchLabels: {app: front}
"""

# 15.3.1.1
SNAPSHOT_CLASS = """
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata:
  name: manual
  labels: {velero.io/csi-volumesnapshot-class: "true"}
driver: %(driver)s
deletionPolicy: Retain
"""

# 15.3.1.2
FILE_BACKUP = "  defaultVolumesToFsBackup: true\n"

# 15.3.1.3
HOOKS = """
apiVersion: velero.io/v1
kind: Backup
metadata: {name: hooked, namespace: velero}
spec:
  includedNamespaces: [shop]
  storageLocation: default
  hooks:
    resources:
      - name: uname
        includedNamespaces: [shop]
        excludedNamespaces: []
        includedResources: [pods]
        excludedResources: []
        labelSelector:
          matchLabels: {app: front}
        pre:
          - exec:
              container: %(container)s
              command: [/bin/uname, -a]
              onError: Fail
              timeout: 30s
        post:
          - exec:
              container: %(container)s
              command: [/bin/uname, -a]
              onError: Fail
              timeout: 30s
"""

# the note: the same as a schedule
SCHEDULE = """
apiVersion: velero.io/v1
kind: Schedule
metadata: {name: %(name)s, namespace: velero}
spec:
  schedule: "%(cron)s"
  template:
    hooks: {}
    includedNamespaces: [shop]
    storageLocation: default
    ttl: 720h0m0s
"""


def saw(text):
    for line in str(text).rstrip().splitlines():
        print("     | " + line, flush=True)


class Manual(Operator):
    PARTS = ("apiserver", "minio", "kubelet", "csi")

    def get(self, *args):
        out = self.rig.kubectl("get", *args, "-n", "velero")
        saw("$ kubectl get %s -n velero\n%s" % (" ".join(args), out))
        return out

    def apply(self, text):
        saw(self.rig.kubectl("apply", "-f", "-", input=text))

    def until(self, what, path, wanted, seconds=90):
        """As the manual's `oc get ... -o jsonpath={.status.phase}`, again and again."""
        seen = []
        end = time.monotonic() + seconds
        while True:
            text = self.rig.kubectl("get", *what, "-n", "velero", "-o", "jsonpath={%s}" % path)
            if not seen or seen[-1] != text:
                seen.append(text)
            if text == wanted:
                break
            assert time.monotonic() < end, "%s: %r, never %s\n%s" % (what, seen, wanted,
                                                                    self.tail())
            time.sleep(0.1)
        saw("$ kubectl get %s -n velero -o jsonpath='{%s}'\n%s" % (
            " ".join(what), path, " -> ".join(s or '""' for s in seen)))

    def status(self, name):
        return json.loads(self.rig.kubectl("get", "backup", name, "-n", "velero", "-o",
                                           "json"))["status"]

    def prerequisites_operator_is_installed(self):
        self.install()
        self.rig.apply_crds(os.path.join(HERE, "dpa-crd.yaml"))
        self.rig.load_shop(storage_class="rig")
        for claim in ("web-root", "web-data"):
            self.rig.csi.write(self.rig.csi.bound("shop", claim), os.urandom(1 << 20))
        pods = self.rig.api("GET", "/api/v1/namespaces/shop/pods?labelSelector=app%3Dfront")
        self.container = pods["items"][0]["spec"]["containers"][0]["name"]
        self.start("--fs-host-pods", self.make_volumes())
        self.ready()
        saw(self.rig.kubectl("get", "crds", "-o", "name").replace("\n", " "))

    def make_volumes(self):
        """What a kubelet makes on its node: a folder for every volume of a pod."""
        top = os.path.join(self.rig.dir, "pods")
        os.makedirs(top)
        for pod in self.rig.api("GET", "/api/v1/namespaces/shop/pods")["items"]:
            for v in pod["spec"].get("volumes", []):
                at = os.path.join(top, pod["metadata"]["uid"], "volumes")
                if "emptyDir" in v:
                    at = os.path.join(at, "kubernetes.io~empty-dir", v["name"])
                elif "persistentVolumeClaim" in v:
                    name = v["persistentVolumeClaim"]["claimName"]
                    claim = self.rig.api("GET", "/api/v1/namespaces/shop/persistentvolumeclaims/"
                                         + name)
                    at = os.path.join(at, "kubernetes.io~csi", claim["spec"]["volumeName"],
                                      "mount")
                else:
                    continue
                os.makedirs(at)
                with open(os.path.join(at, "file"), "wb") as f:
                    f.write(os.urandom(100000))
        return top

    def prerequisites_application_is_reconciled(self):
        at = dict(self.rig.s3["minio"], secret="cloud-credentials")
        self.apply(SECRET % at)
        self.apply(APPLICATION % at)
        self.until(["dpa", "dpa"], '.status.conditions[?(@.type=="Reconciled")].status', "True")

    def locations_are_listed_as_available(self):
        """`oc get backupStorageLocations`: PHASE, LAST VALIDATED, AGE and DEFAULT."""
        self.until(["backupStorageLocations", "default"], ".status.phase", "Available")
        head, row = self.get("backupStorageLocations").splitlines()[:2]
        assert head.split() == ["NAME", "PHASE", "LAST", "VALIDATED", "AGE", "DEFAULT"], head
        assert row.split()[:2] == ["default", "Available"] and row.split()[-1] == "true", row

    def backup_by_labels_is_completed(self):
        self.apply(BACKUP % {"name": "by-labels", "more": LABELS})
        self.until(["backup", "by-labels"], ".status.phase", "Completed")
        assert self.status("by-labels")["progress"]["itemsBackedUp"] > 0

    def backup_by_alternatives_is_completed(self):
        self.apply(BACKUP % {"name": "by-either", "more": OR_LABELS})
        self.until(["backup", "by-either"], ".status.phase", "Completed")

    def backup_with_both_selectors_is_refused(self):
        """As the manual prints it, with both selectors, it cannot be accepted."""
        self.apply(BACKUP % {"name": "both", "more": LABELS + OR_LABELS})
        self.until(["backup", "both"], ".status.phase", "FailedValidation")
        saw("validationErrors: %s" % self.status("both")["validationErrors"])

    def csi_snapshots_are_taken_of_the_disks(self):
        """15.3.1.1: a VolumeSnapshotClass with the label and deletionPolicy Retain."""
        for c in self.rig.api("GET", "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses")[
                "items"]:
            driver = c["driver"]
            self.rig.kubectl("delete", "volumesnapshotclass", c["metadata"]["name"])
        self.apply(SNAPSHOT_CLASS % {"driver": driver})
        self.apply(BACKUP % {"name": "with-disks", "more": ""})
        self.until(["backup", "with-disks"], ".status.phase", "Completed")
        status = self.status("with-disks")
        saw("csiVolumeSnapshotsAttempted: %(csiVolumeSnapshotsAttempted)s, "
            "csiVolumeSnapshotsCompleted: %(csiVolumeSnapshotsCompleted)s" % status)
        assert status["csiVolumeSnapshotsCompleted"] == 2, status
        frozen = [e["event"] for e in self.rig.exec_journal() if "event" in e][-2:]
        saw("the guest: %s" % ", ".join(frozen))
        assert frozen == ["freeze", "thaw"], frozen

    def file_backup_is_understood(self):
        """15.3.1.2: defaultVolumesToFsBackup. The disk of the guest's system is a block volume, which
        no filesystem backup can take: it is left out by the pod's annotation."""
        launcher = next(p for p in self.rig.api("GET", "/api/v1/namespaces/shop/pods")["items"]
                        if p["metadata"]["name"].startswith("virt-launcher"))
        self.rig.kubectl("annotate", "pod", launcher["metadata"]["name"], "-n", "shop",
                         "backup.velero.io/backup-volumes-excludes=root")
        self.apply(BACKUP % {"name": "by-files", "more": FILE_BACKUP})
        self.until(["backup", "by-files"], ".status.phase", "Completed")
        records = json.loads(gzip.decompress(self.file("by-files",
                                                       "by-files-podvolumebackups.json.gz")))
        saw("\n".join("%s/%s: %s" % (r["spec"]["pod"]["name"], r["spec"]["volume"],
                                     r["status"]["phase"]) for r in records))
        assert "data" in [r["spec"]["volume"] for r in records], records

    def hooks_are_run_before_and_after(self):
        """15.3.1.3: hooks by a Backup."""
        since = len(self.rig.exec_journal())
        self.apply(HOOKS % {"container": self.container})
        self.until(["backup", "hooked"], ".status.phase", "Completed")
        ran = [e for e in self.rig.exec_journal()[since:] if e["argv"][:1] == ["/bin/uname"]]
        saw("ran: %s" % [(e["pod"], e["argv"], e["exit"]) for e in ran])
        assert len(ran) == 2 and all(e["exit"] == 0 for e in ran), ran
        assert self.status("hooked")["hookStatus"]["hooksAttempted"] >= 2

    def schedule_makes_backups(self):
        """The note: a Schedule in place of a Backup."""
        self.apply(SCHEDULE % {"name": "nightly", "cron": "0 22 * * ?"})
        self.until(["schedule", "nightly"], ".status.phase", "Enabled")
        self.apply(SCHEDULE % {"name": "often", "cron": "@every 2s"})
        self.until(["schedule", "often"], ".status.phase", "Enabled")
        made = self.rig.wait(lambda: [b["metadata"]["name"] for b in self.list("backups") if
                                      b["metadata"]["name"].startswith("often-")], 30, "a backup")
        self.until(["backup", made[0]], ".status.phase", "Completed")
        saw(self.rig.kubectl("delete", "schedule", "often", "-n", "velero"))
        self.get("schedules")
        self.get("backups")
        assert self.stop() == 0

    STEPS = [prerequisites_operator_is_installed, prerequisites_application_is_reconciled,
             locations_are_listed_as_available, backup_by_labels_is_completed,
             backup_by_alternatives_is_completed, backup_with_both_selectors_is_refused,
             csi_snapshots_are_taken_of_the_disks, file_backup_is_understood,
             hooks_are_run_before_and_after, schedule_makes_backups]


if __name__ == "__main__":
    sys.exit(main(Manual))
