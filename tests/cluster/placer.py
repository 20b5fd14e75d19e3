# SPDX-License-Identifier: Apache-2.0
"""What a scheduler, a provisioner and a kubelet do for pods that are restored: each pod gets onto the
node, its claims get volumes, and these lie where the kubelet has them. Nothing runs."""
import contextlib
import os
import shutil
import subprocess
import threading

MERGE = "application/merge-patch+json"


class Placer(threading.Thread):
    """with Placer(rig, pods, sizes): pods of every namespace in `namespaces` are placed."""

    def __init__(self, rig, folder, namespaces, sizes):
        super().__init__(daemon=True)
        self.rig, self.folder, self.namespaces, self.sizes = rig, folder, namespaces, sizes
        self.places = {}  # (namespace, claim or pod/volume) -> path
        self.placed = []  # names of pods
        self.held = []
        self.over = threading.Event()
        self.error = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.join(60)
        if self.error and not exc[0]:
            raise self.error

    def run(self):
        while not self.over.wait(0.2):
            for ns in self.namespaces:
                try:
                    for pod in self.rig.api("GET", "/api/v1/namespaces/%s/pods" % ns)["items"]:
                        if not pod["spec"].get("nodeName"):
                            self.place(ns, pod)
                except Exception as e:  # a pod that went away meanwhile
                    if getattr(e, "status", 0) not in (404, 409):
                        self.error = e

    def place(self, ns, pod):
        base = "/api/v1/namespaces/%s/" % ns
        for volume in pod["spec"].get("volumes", []):
            self.lay_out(ns, pod, volume)
        self.rig.api("POST", base + "pods/%s/binding" % pod["metadata"]["name"], {
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.rig.node or "rig-node"}})
        self.placed.append(pod["metadata"]["name"])

    def lay_out(self, ns, pod, volume):
        at = os.path.join(self.folder, pod["metadata"]["uid"])
        if "emptyDir" in volume:
            path = os.path.join(at, "volumes", "kubernetes.io~empty-dir", volume["name"])
            os.makedirs(path)
            self.places[ns, pod["metadata"]["name"] + "/" + volume["name"]] = path
        elif "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            pvc = self.bind(ns, claim)
            name = pvc["spec"]["volumeName"]
            if pvc["spec"].get("volumeMode") == "Block":
                path = os.path.join(at, "volumeDevices", "kubernetes.io~csi", name)
                os.makedirs(os.path.dirname(path))
                os.symlink(self.disk(ns, claim), path)
            else:
                path = os.path.join(at, "volumes", "kubernetes.io~csi", name, "mount")
                os.makedirs(os.path.dirname(path))
                former = self.places.get((ns, claim))
                if former:
                    os.rename(former, path)
                else:
                    os.makedirs(path)
                self.places[ns, claim] = path

    def disk(self, ns, claim):
        """A block device of the size that is asked for, or a file where there are none."""
        if (ns, claim) not in self.places:
            path = os.path.join(self.rig.dir, "disk-%s-%s" % (ns, claim))
            with open(path, "wb") as f:
                f.truncate(self.sizes[claim])
            made = None
            if os.geteuid() == 0 and shutil.which("losetup"):
                made = subprocess.run(["losetup", "-f", "--show", path], capture_output=True,
                                      text=True)
            if not made or made.returncode:
                raise AssertionError("no loop device: %s" % (made and made.stderr))
            loop = made.stdout.strip()
            self.held.append(open(loop, "rb"))
            subprocess.run(["losetup", "-d", loop], check=True)  # it goes when we do
            self.places[ns, claim] = loop
        return self.places[ns, claim]

    def bind(self, ns, claim):
        path = "/api/v1/namespaces/%s/persistentvolumeclaims/%s" % (ns, claim)
        pvc = self.rig.api("GET", path)
        if not pvc["spec"].get("volumeName"):
            name = "pv-%s-%s" % (ns, claim)
            with contextlib.suppress(Exception):
                self.rig.api("POST", "/api/v1/persistentvolumes", {
                    "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
                    "spec": {"accessModes": pvc["spec"]["accessModes"],
                             "capacity": pvc["spec"]["resources"]["requests"],
                             "claimRef": {"namespace": ns, "name": claim,
                                          "uid": pvc["metadata"]["uid"]},
                             "csi": {"driver": "disks.shop.example", "volumeHandle": name},
                             "persistentVolumeReclaimPolicy": "Delete",
                             "storageClassName": pvc["spec"].get("storageClassName", ""),
                             "volumeMode": pvc["spec"].get("volumeMode", "Filesystem")}})
            self.rig.api("PATCH", path, {"spec": {"volumeName": name}}, content_type=MERGE)
        self.rig.api("PATCH", path + "/status", {"status": {"phase": "Bound"}}, content_type=MERGE)
        return self.rig.api("GET", path)
