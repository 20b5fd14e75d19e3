#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The spec's less common fields: our backup and the real Velero's of the same document, compared.

Ends with `N passed, N failed, N skipped`.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))

import run_engine  # noqa: E402
import steps  # noqa: E402

MANY = 12


def volatile(path):
    """Objects that come and go by themselves between two backups, and those that our KubeVirt
    actions bring along, which Velero does only with KubeVirt's plugin."""
    return run_engine.volatile(path) or "virtualmachineclusterpreferences" in path


class Fields(run_engine.Backups):
    PARTS = ("apiserver", "minio", "kubelet", "velero")

    def prepare(self):
        self.rig.load_shop()
        self.make_many(MANY)

    def theirs(self, name, spec):
        self.rig.kubectl("create", "-f", self.spec_file(name, spec))
        self.rig.wait(lambda: self.object("backups", name).get("status", {}).get("phase", "") in
                      ("Completed", "PartiallyFailed", "Failed", "FailedValidation"),
                      120, "the backup %s of Velero" % name)
        return self.object("backups", name)["status"]

    def ordered_resources_come_first_as_with_velero(self):
        spec = {"includedNamespaces": ["many"], "snapshotVolumes": False,
                "orderedResources": {"configmaps": "many/cm-0009,many/gone,many/cm-0004"}}
        mine, his = self.ours("o-ours", spec), self.theirs("o-theirs", spec)
        for name in ("o-ours", "o-theirs"):
            first = [p for p in self.paths(name) if "/configmaps/" in p][:2]
            assert [p.rsplit("/", 1)[1] for p in first] == ["cm-0009.json", "cm-0004.json"], first
        assert mine["phase"] == his["phase"] == "Completed", (mine, his)
        assert mine.get("warnings", 0) == his.get("warnings", 0), (mine, his)

    def cluster_resources_are_taken_as_with_velero(self):
        for word, value in (("true", True), ("false", False)):
            spec = {"includedNamespaces": ["shop"], "snapshotVolumes": False,
                    "includeClusterResources": value}
            self.ours("c-ours-" + word, spec)
            self.theirs("c-theirs-" + word, spec)
            mine, his = (set(self.paths("c-%s-%s" % (who, word))) for who in ("ours", "theirs"))
            differ = {p for p in mine ^ his if not volatile(p)}
            assert not differ, (word, sorted(differ)[:20])
            cluster = {p.split("/")[1] for p in mine if "/cluster/" in p}
            assert ("storageclasses.storage.k8s.io" in cluster) == value, cluster
            assert ("persistentvolumes" in cluster) == value, cluster

    def new_style_filters_are_as_with_velero(self):
        cases = {
            "n1": {"includedNamespaces": ["shop"],
                   "includedClusterScopedResources": ["storageclasses"]},
            "n2": {"includedNamespaces": ["shop"], "excludedClusterScopedResources": ["*"]},
            "n3": {"includedNamespaceScopedResources": ["po", "Deployment.apps"],
                   "includedNamespaces": ["shop", "oth*"]},
            "n4": {"includedNamespaces": ["*"], "excludedNamespaces": ["many", "kube-*"],
                   "includedResources": ["secrets", "cm"]},
            "n5": {"includedResources": ["foos", "po"], "includedNamespaces": ["shop"]},
            "n6": {"includedResources": ["pods"], "includedNamespaces": ["shop"],
                   "labelSelector": {"matchLabels": {"app": "front"}}},
            "n7": {"includedNamespaces": ["shop"], "orLabelSelectors": [
                {"matchLabels": {"app": "front"}},
                {"matchExpressions": [{"key": "app", "operator": "In",
                                       "values": ["front", "migrate-schema"]}]}]},
        }
        wrong = []
        for name, spec in cases.items():
            spec = dict(spec, snapshotVolumes=False)
            self.ours(name + "-ours", spec)
            self.theirs(name + "-theirs", spec)
            mine, his = (set(self.paths("%s-%s" % (name, who))) for who in ("ours", "theirs"))
            wrong += ["%s %s %s" % (name, "ours" if p in mine else "theirs", p)
                      for p in sorted(mine ^ his) if not volatile(p)]
        assert not wrong, "\n".join(wrong[:40])

    def counted(self, status):
        hooks = status.get("hookStatus", {})
        return (status["phase"], status.get("errors", 0), status.get("warnings", 0),
                hooks.get("hooksAttempted", 0), hooks.get("hooksFailed", 0))

    def hook_with_fail_leaves_the_pod_out(self):
        spec = self.hook_spec("Fail")
        mine = self.ours("h-fail", spec, code=3)
        his = self.theirs("h-fail-theirs", spec)
        assert not self.pod_stored("h-fail") and not self.pod_stored("h-fail-theirs")
        # Velero runs no post hook in that pod, and logs its failure twice
        assert mine["hookStatus"]["hooksFailed"] == his["hookStatus"]["hooksFailed"] == 1, \
            (mine, his)
        assert mine["phase"] == his["phase"] == "PartiallyFailed", (mine, his)
        differ = {p for p in set(self.paths("h-fail")) ^ set(self.paths("h-fail-theirs"))
                  if not volatile(p)}
        assert not differ, differ

    def hook_with_continue_keeps_the_pod(self):
        spec = self.hook_spec("Continue")
        mine = self.ours("h-cont", spec, code=3)
        his = self.theirs("h-cont-theirs", spec)
        assert self.pod_stored("h-cont") and self.pod_stored("h-cont-theirs")
        assert self.counted(mine)[:2] + self.counted(mine)[3:] == \
            self.counted(his)[:2] + self.counted(his)[3:], (mine, his)

    STEPS = [prepare, ordered_resources_come_first_as_with_velero,
             cluster_resources_are_taken_as_with_velero, new_style_filters_are_as_with_velero,
             hook_with_fail_leaves_the_pod_out, hook_with_continue_keeps_the_pod]


if __name__ == "__main__":
    sys.exit(steps.main(Fields))
