#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Restores beside the real Velero: {backup by us, by Velero} x {restore by us, by Velero}. What we
restore from a backup must equal what Velero restores from the same one: objects, cluster-scoped
objects and definitions, and the bytes of volumes.

Ends with `N passed, N failed, N skipped`. With VMB_INTEROP_TABLE the outcome also goes into that
folder, as rows of the table in docs/interop.md.
"""
import gzip
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "rig"), HERE]

import archive  # noqa: E402
import steps  # noqa: E402
from run_velero_csi import CLAIMS, content  # noqa: E402
from steps import VELERO  # noqa: E402

MAKERS = ("ours", "velero")
NAMES = {"ours": "libvmbackup", "velero": "Velero"}
# What the server and the two restorers set for each object anew.
RESET = ("uid", "resourceVersion", "creationTimestamp", "generation", "ownerReferences",
         "managedFields", "selfLink")
LABEL = {"suite": "restore"}

TOOLS = """
apiVersion: v1
kind: Namespace
metadata: {name: tools, labels: {suite: restore}, annotations: {note: kept}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.tools.example.com, labels: {suite: restore}}
spec:
  group: tools.example.com
  scope: Namespaced
  names: {kind: Gear, plural: gears, singular: gear}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: plants.tools.example.com, labels: {suite: restore}}
spec:
  group: tools.example.com
  scope: Cluster
  names: {kind: Plant, plural: plants, singular: plant}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: tools-reader, labels: {suite: restore}}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: tools-reader, labels: {suite: restore}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tools-reader}
subjects: [{kind: ServiceAccount, name: worker, namespace: tools}]
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: tools-first, labels: {suite: restore}}
value: 1000
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: worker, namespace: tools, labels: {suite: restore}}
imagePullSecrets: [{name: pull}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: worker, namespace: tools, labels: {suite: restore}}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: worker, namespace: tools, labels: {suite: restore}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: worker}
subjects: [{kind: ServiceAccount, name: worker, namespace: tools}]
---
apiVersion: v1
kind: Service
metadata: {name: door, namespace: tools, labels: {suite: restore}}
spec:
  type: NodePort
  selector: {app: door}
  ports: [{name: http, port: 80}, {name: tls, port: 443}]
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: tools, labels: {suite: restore}}
spec: {clusterIP: None, selector: {app: door}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: pull, namespace: tools, labels: {suite: restore}}
stringData: {key: "<&>"}
---
apiVersion: v1
kind: LimitRange
metadata: {name: limits, namespace: tools, labels: {suite: restore}}
spec: {limits: [{type: Container, default: {cpu: 500m}}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: work, namespace: tools, labels: {suite: restore}}
spec:
  suspend: true
  template:
    metadata: {labels: {suite: restore}}
    spec: {restartPolicy: Never, containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: first, namespace: tools, labels: {suite: restore}}
spec:
  priorityClassName: tools-first
  serviceAccountName: worker
  containers: [{name: c, image: i}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: tools, labels: {suite: restore}}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: tools-check, labels: {suite: restore}}
webhooks: []
"""
CUSTOM = """
apiVersion: tools.example.com/v1
kind: Gear
metadata: {name: big, namespace: tools, labels: {suite: restore}}
spec: {teeth: 12, deep: {list: [1, two, {three: 3}]}}
status: {turning: true}
---
apiVersion: tools.example.com/v1
kind: Plant
metadata: {name: main, labels: {suite: restore}}
spec: {gears: [big]}
"""
TOOLS_PATHS = [
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gears.tools.example.com",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/plants.tools.example.com",
    "/apis/tools.example.com/v1/plants/main",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/tools-reader",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/tools-reader",
    "/apis/scheduling.k8s.io/v1/priorityclasses/tools-first",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/tools-check",
    "/api/v1/namespaces/tools",
    "/apis/tools.example.com/v1/namespaces/tools/gears/big",
    "/api/v1/namespaces/tools/serviceaccounts/worker",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/tools/roles/worker",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/tools/rolebindings/worker",
    "/api/v1/namespaces/tools/services/door",
    "/api/v1/namespaces/tools/services/headless",
    "/api/v1/namespaces/tools/secrets/pull",
    "/api/v1/namespaces/tools/limitranges/limits",
    "/apis/batch/v1/namespaces/tools/jobs/work",
    "/api/v1/namespaces/tools/pods/first",
    "/apis/networking.k8s.io/v1/namespaces/tools/networkpolicies/closed",
]


class Restore(steps.Steps):
    PARTS = ("apiserver", "minio", "kubelet", "csi", "velero")

    def __init__(self, rig):
        super().__init__(rig)
        self.rows = []
        self.tools = {}  # (maker, restorer) -> {path: object}

    # ---- backups ------------------------------------------------------------------------

    def fill(self):
        self.rig.load_shop(storage_class="rig")
        self.saved = {}
        for name in CLAIMS:
            volume = self.rig.csi.bound("shop", name)
            self.rig.csi.write(volume, os.urandom(1 << 20))
            self.saved[name] = content(volume)
        self.rig.apply(TOOLS)
        self.rig.wait(lambda: self.established("gears") and self.established("plants"), 30,
                      "new definitions")
        self.rig.wait(lambda: self.rig.apply(CUSTOM) or True, 30, "custom resources")
        self.rig.restart("velero")  # it looks for new kinds when it starts, and every five minutes

    def established(self, plural):
        crd = self.rig.api("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
                           "%s.tools.example.com" % plural)
        return any(c["type"] == "Established" and c["status"] == "True"
                   for c in crd.get("status", {}).get("conditions", []))

    def both_back_up(self):
        tools = ["--selector", "suite=restore", "--include-cluster-resources=true",
                 "--snapshot-volumes=false"]
        self.vmbackup("backup", "create", "shop-ours", "--include-namespaces", "shop")
        self.vmbackup("backup", "create", "tools-ours", *tools)
        self.rig.velero("backup", "create", "shop-velero", "--include-namespaces", "shop",
                        "--wait")
        self.rig.velero("backup", "create", "tools-velero", *tools, "--wait")
        for name in ("shop-ours", "tools-ours", "shop-velero", "tools-velero"):
            status = json.loads(self.file(name, "velero-backup.json"))["status"]
            assert status["phase"] == "Completed", (name, status)
        for name in CLAIMS:  # what is restored must be the content of then
            self.rig.csi.write(self.rig.csi.bound("shop", name), os.urandom(1 << 20))

    def velero_syncs(self):
        self.rig.restart("velero")
        wanted = {"shop-ours", "tools-ours"}
        self.rig.wait(lambda: wanted <= {b["metadata"]["name"] for b in
                                         self.rig.api("GET", VELERO + "backups")["items"]},
                      150, "sync of our backups")

    # ---- restores -----------------------------------------------------------------------

    def restore(self, by, name, backup, *args):
        """Runs a restore and returns its results."""
        if by == "ours":
            self.vmbackup("restore", "create", name, "--from-backup", backup, *args)
        else:
            self.rig.velero("restore", "create", name, "--from-backup", backup, *args, "--wait",
                            timeout=400)
            status = self.object("restores", name)["status"]
            assert status["phase"] == "Completed", status
        text = self.s3.get("velero/restores/%s/restore-%s-results.gz" % (name, name))
        return json.loads(gzip.decompress(text))

    def shop_is_restored(self):
        """Both restore both backups into namespaces of their own."""
        self.results = {}
        for maker in MAKERS:
            for by in MAKERS:
                target = "shop-%s-%s" % (maker, by)
                found = self.restore(by, "r-" + target, "shop-" + maker, "--namespace-mappings",
                                     "shop:" + target)
                assert not found["errors"], (target, found)
                self.results[target] = found

    def shop_objects_are_equal(self):
        for maker in MAKERS:
            paths = archive.objects(self.file("shop-" + maker, "shop-%s.tar.gz" % maker))
            checked = 0
            for path in sorted(paths):
                parts = path.split("/")
                if parts[2] != "namespaces" or self.skip(parts[1], parts[4]):
                    continue
                one, two = (self.get(parts[1], "shop-%s-%s" % (maker, by), parts[4][:-5])
                            for by in MAKERS)
                assert (one is None) == (two is None), (maker, path, one is None)
                if one is not None:
                    self.compare(maker + " " + path, one, two)
                    checked += 1
            assert checked > 12, (maker, checked)
            self.note(maker, "objects")

    def skip(self, group_resource, file):
        """Kinds whose names or owners each restore makes anew, and what our KubeVirt actions do
        with VMs (the rig's Velero has no KubeVirt plugin; docs/differences.md)."""
        return (group_resource.startswith("volumesnapshot") or
                group_resource == "virtualmachineinstances.kubevirt.io" or
                (group_resource == "pods" and file.startswith("virt-launcher")))

    def compare(self, what, one, two):
        diff = [d for d in archive.differences(normal(one), normal(two)) if not allowed(d)]
        assert not diff, (what, diff)

    def get(self, group_resource, ns, name):
        resource, _, group = group_resource.partition(".")
        base = "/api/v1"
        if group:
            base = "/apis/" + self.rig.api("GET", "/apis/" + group)["preferredVersion"][
                "groupVersion"]
        return self.fetch("%s/namespaces/%s/%s/%s" % (base, ns, resource, name))

    def fetch(self, path):
        try:
            return self.rig.api("GET", path)
        except Exception as e:  # ApiError
            if getattr(e, "status", 0) == 404:
                return None
            raise

    def volumes_hold_the_same_bytes(self):
        for maker in MAKERS:
            for by in MAKERS:
                for name in CLAIMS:
                    volume = self.rig.csi.bound("shop-%s-%s" % (maker, by), name)
                    assert content(volume) == self.saved[name], (maker, by, name)
                self.note(maker, "CSI snapshots", [by])

    def snapshots_are_bound_alike(self):
        """One static content for each disk, kept when its snapshot goes."""
        for maker in MAKERS:
            for by in MAKERS:
                ns = "shop-%s-%s" % (maker, by)
                base = "/apis/snapshot.storage.k8s.io/v1/"
                found = self.rig.api("GET", base + "namespaces/%s/volumesnapshots" % ns)["items"]
                assert len(found) == 2, (ns, len(found))
                for vs in found:
                    vsc = self.rig.api("GET", base + "volumesnapshotcontents/" +
                                       vs["spec"]["source"]["volumeSnapshotContentName"])
                    assert vsc["spec"]["deletionPolicy"] == "Retain", vsc
                    assert vsc["spec"]["volumeSnapshotRef"]["namespace"] == ns, vsc
                    assert vsc["spec"]["source"].get("snapshotHandle"), vsc
                    assert vs["status"]["readyToUse"], vs

    def tools_are_restored(self):
        """Everything that was backed up is removed before each restore."""
        for maker in MAKERS:
            for by in MAKERS:
                self.wipe_tools()
                name = "r-tools-%s-%s" % (maker, by)
                found = self.restore(by, name, "tools-" + maker, "--status-include-resources",
                                     "gears.tools.example.com")
                assert not found["errors"], (name, found)
                self.tools[maker, by] = {p: self.fetch(p) for p in TOOLS_PATHS}

    def wipe_tools(self):
        for path in TOOLS_PATHS:
            if "/namespaces/tools/" not in path:
                try:
                    self.rig.api("DELETE", path)
                except Exception as e:
                    if getattr(e, "status", 0) != 404:
                        raise
        for path in TOOLS_PATHS:
            if "/namespaces/tools/" not in path:
                self.rig.wait(lambda: self.fetch(path) is None, 60, "end of " + path)

    def tools_are_equal(self):
        for maker in MAKERS:
            for path in TOOLS_PATHS:
                one, two = (self.tools[maker, by][path] for by in MAKERS)
                assert one is not None and two is not None, (maker, path, one is None, two is None)
                self.compare(maker + " " + path, one, two)
            self.note(maker, "cluster-scoped objects and CRDs")

    def status_came_back(self):
        gear = "/apis/tools.example.com/v1/namespaces/tools/gears/big"
        for key, found in self.tools.items():
            source = self.tools["velero", "velero"][gear].get("status")
            assert found[gear].get("status") == source, (key, found[gear])

    def resource_lists_are_alike(self):
        for maker in MAKERS:
            lists = []
            for by in MAKERS:
                name = "r-tools-%s-%s" % (maker, by)
                text = self.s3.get("velero/restores/%s/restore-%s-resource-list.json.gz" %
                                   (name, name))
                lists.append(json.loads(gzip.decompress(text)))
            assert lists[0] == lists[1], list(archive.differences(*lists))

    def existing_objects_warn_alike(self):
        """Nothing is removed: a changed object is named by both, in the same words."""
        self.rig.kubectl("-n", "tools", "patch", "secret", "pull", "-p",
                         '{"stringData":{"key":"changed"}}')
        found = []
        for by in MAKERS:
            result = self.restore(by, "again-" + by, "tools-velero")
            lines = [w for part in result["warnings"].get("namespaces", {}).values()
                     for w in part]
            found.append([w for w in lines if "Secret:pull" in w])
        assert found[0] == found[1] and len(found[0]) == 1, found

    def existing_objects_are_updated_alike(self):
        values = []
        for by in MAKERS:
            self.rig.kubectl("-n", "tools", "patch", "secret", "pull", "-p",
                             '{"stringData":{"key":"changed","more":"x"}}')
            self.restore(by, "update-" + by, "tools-velero", "--existing-resource-policy",
                         "update")
            secret = self.fetch("/api/v1/namespaces/tools/secrets/pull")
            assert secret["metadata"]["labels"]["velero.io/restore-name"] == "update-" + by
            values.append(secret["data"])
        assert values[0] == values[1] and "more" not in values[0], values

    def modifiers_change_alike(self):
        rules = """version: v1
resourceModifierRules:
- conditions: {groupResource: services, resourceNameRegex: "^door$", namespaces: [tools]}
  patches:
  - {operation: test, path: /spec/type, value: NodePort}
  - {operation: replace, path: /spec/selector/app, value: window}
- conditions: {groupResource: "*.tools.example.com"}
  mergePatches:
  - patchData: '{"metadata":{"annotations":{"changed":"yes"}},"spec":{"deep":null}}'
- conditions: {groupResource: pods}
  strategicPatches:
  - patchData: |
      spec:
        containers:
        - name: c
          image: other
          env: [{name: A, value: b}]
"""
        self.rig.api("POST", "/api/v1/namespaces/velero/configmaps", {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "rules", "namespace": "velero"}, "data": {"rules": rules}})
        found = {}
        for by in MAKERS:
            self.wipe_tools()
            result = self.restore(by, "modified-" + by, "tools-velero",
                                  "--resource-modifier-configmap", "rules")
            assert not result["errors"], (by, result)
            found[by] = {p: self.fetch(p) for p in TOOLS_PATHS}
        pod = found["ours"]["/api/v1/namespaces/tools/pods/first"]
        assert pod["spec"]["containers"][0]["image"] == "other", pod
        for path in TOOLS_PATHS:
            self.compare("modified " + path, found["ours"][path], found["velero"][path])

    # ---- the table ----------------------------------------------------------------------

    def note(self, maker, column, restorers=MAKERS):
        for by in restorers:
            self.rows.append({"table": "backups", "column": column, "result": "pass",
                              "row": "backup by %s, restore by %s" % (NAMES[maker], NAMES[by])})

    def rows_are_kept(self):
        folder = os.environ.get("VMB_INTEROP_TABLE")
        if folder:
            with open(os.path.join(folder, "velero-restore.jsonl"), "w") as f:
                f.writelines(json.dumps(row) + "\n" for row in self.rows)
        assert len(self.rows) == 12, self.rows

    STEPS = [fill, both_back_up, velero_syncs, shop_is_restored, shop_objects_are_equal,
             volumes_hold_the_same_bytes, snapshots_are_bound_alike, tools_are_restored,
             tools_are_equal, status_came_back, resource_lists_are_alike,
             existing_objects_warn_alike, existing_objects_are_updated_alike,
             modifiers_change_alike, rows_are_kept]


def allowed(difference):
    """What two restores of one backup cannot have in common: see docs/differences.md."""
    at, one, two = difference
    text = "%s %s" % (one, two)
    return ("shop-" in text or  # names of the target namespaces
            "kubevirt" in at or "revisionName" in at or
            at.endswith("/lastTransitionTime") or at.endswith("/caBundle") or
            at.startswith("/status/"))


def normal(obj):
    """Without what the API server and the restorers set anew."""
    meta = {k: v for k, v in obj["metadata"].items() if k not in RESET and k != "namespace"}
    meta["labels"] = {k: v for k, v in meta.get("labels", {}).items()
                      if k not in ("velero.io/backup-name", "velero.io/restore-name") and
                      "controller-uid" not in k}
    out = {**obj, "metadata": meta}
    if obj["kind"] in ("Pod", "PersistentVolumeClaim", "Job", "CustomResourceDefinition",
                       "Namespace"):
        out.pop("status", None)  # controllers are at work on it
    spec = out.get("spec")
    if isinstance(spec, dict):
        spec = {k: v for k, v in spec.items() if k not in ("clusterIP", "clusterIPs")}
        if obj["kind"] == "Service":
            spec["ports"] = [{k: v for k, v in p.items() if k != "nodePort"}
                             for p in spec.get("ports", [])]
        if obj["kind"] == "PersistentVolumeClaim":
            for key in ("volumeName", "dataSource", "dataSourceRef"):
                spec.pop(key, None)
        if obj["kind"] == "Job":
            spec.pop("selector", None)
            spec["template"] = json.loads(json.dumps(spec["template"]))
            for key in list(spec["template"]["metadata"].get("labels", {})):
                if "controller-uid" in key:
                    del spec["template"]["metadata"]["labels"][key]
        out["spec"] = spec
    return out


if __name__ == "__main__":
    sys.exit(steps.main(Restore, velero_features="EnableCSI"))
