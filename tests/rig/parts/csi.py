"""CSI storage: the rig's driver under the real snapshot-controller, csi-snapshotter and
csi-provisioner. The part stands at rig.csi; csi-driver/README.md says how to use it.
"""

import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import buildlib

from . import Part, register

DRIVER = "csi.rig.vmbackup.io"
CRD_MODULE = "github.com/kubernetes-csi/external-snapshotter/client/v8"
SNAP = "/apis/snapshot.storage.k8s.io/v1"
ORDER = ("driver", "snapshot-controller", "csi-snapshotter", "csi-provisioner")

OBJECTS = [
    {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": DRIVER},
     "spec": {"attachRequired": False, "podInfoOnMount": False,
              "volumeLifecycleModes": ["Persistent"]}},
    {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "rig"},
     "provisioner": DRIVER, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    {"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
     "metadata": {"name": "rig-snap",
                  "labels": {"velero.io/csi-volumesnapshot-class": "true"}},
     "driver": DRIVER, "deletionPolicy": "Retain"},
    {"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
     "metadata": {"name": "rig-snap-delete"}, "driver": DRIVER, "deletionPolicy": "Delete"},
]


class Volume:
    """A bound PersistentVolumeClaim; os.fspath() of it is its backing path."""

    def __init__(self, namespace, pvc, pv, handle, mode, path):
        self.namespace, self.pvc, self.pv = namespace, pvc, pv
        self.handle, self.mode, self.path = handle, mode, path

    def __fspath__(self):
        return self.path

    def __repr__(self):
        return "Volume(%s/%s, pv=%s, handle=%s, mode=%s)" % (
            self.namespace, self.pvc, self.pv, self.handle, self.mode)


class Driver:
    """The driver's files and its control port."""

    def __init__(self, state_dir, port):
        self.state_dir = state_dir
        self.url = "http://127.0.0.1:%d" % port

    def call(self, method, path, body=None, **query):
        query = {k: v for k, v in query.items() if v is not None}
        if query:
            path += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(
            self.url + path, method=method, data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as e:
            raise RuntimeError("%s %s: %d %s" % (method, path, e.code,
                                                 e.read().decode(errors="replace"))) from None
        return text.decode().strip() if path == "/healthz" else json.loads(text)

    def healthy(self):
        return self.call("GET", "/healthz") == "ok"

    def fault(self, kind, **more):
        """Arms a fault; returns it. See README.md for the kinds and their fields."""
        volume = more.get("volume")
        if isinstance(volume, Volume):
            more["volume"] = volume.handle
        return self.call("POST", "/fault", dict(more, kind=kind))

    def faults(self):
        """The faults that are armed, with their hits."""
        return self.call("GET", "/fault")

    def clear(self, kind=None):
        """Drops the armed faults of a kind, or all."""
        return self.call("DELETE", "/fault", kind=kind)

    def lose(self, handle):
        """The snapshot vanishes from the storage, now."""
        return self.call("POST", "/lose", snapshot=handle)

    def journal(self, method=None, volume=None, snapshot=None, phase=None, since=0):
        """The calls so far, oldest first; `since` is the seq of the last entry already seen."""
        if isinstance(volume, Volume):
            volume = volume.handle
        want = {"method": method, "volume": volume, "snapshot": snapshot, "phase": phase}
        return [e for e in self.call("GET", "/journal", since=since)
                if all(v is None or e.get(k) == v for k, v in want.items())]

    def counters(self):
        """{method: number of calls}."""
        return self.call("GET", "/counters")

    def volumes(self):
        return self.call("GET", "/volumes")

    def snapshots(self):
        return self.call("GET", "/snapshots")

    def cut(self, handle):
        """(begin, end) of the copy of a snapshot, in ns since 1970: it was cut between."""
        at = {e["phase"]: e["ns"] for e in self.journal("CreateSnapshot", snapshot=handle)
              if e["phase"].startswith("cut-")}
        return at["cut-begin"], at["cut-end"]

    def volume_path(self, handle):
        return os.path.join(self.state_dir, "volumes", handle, "data")

    def snapshot_path(self, handle):
        """The snapshot's bytes: a folder (Filesystem) or a file (Block)."""
        return os.path.join(self.state_dir, "snapshots", handle, "data")


class Storage(Driver):
    """rig.csi: what a suite does with the storage."""

    def __init__(self, part, state_dir, port):
        super().__init__(state_dir, port)
        self.part, self.rig = part, part.rig
        self.start_one, self.stop_one = part.start_one, part.stop_one
        self.restart_driver = part.restart_driver

    def wait_for(self, fn, seconds, what):
        """rig.wait that ends early when the driver or a sidecar dies."""
        return self.rig.wait(fn, seconds, what, procs=self.part.procs)

    # volumes

    def claim(self, namespace, pvc, size, mode="Filesystem", source=None, storage_class="rig",
              access="ReadWriteOnce"):
        """Creates a claim (and its namespace where missing) and does not wait. `source` is
        the name of a VolumeSnapshot, or a whole dataSource."""
        self.namespace(namespace)
        spec = {"accessModes": [access], "volumeMode": mode, "storageClassName": storage_class,
                "resources": {"requests": {"storage": str(size)}}}
        if isinstance(source, str):
            source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot",
                      "name": source}
        if source:
            spec["dataSource"] = source
        return self.rig.api("POST", "/api/v1/namespaces/%s/persistentvolumeclaims" % namespace, {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": pvc},
            "spec": spec})

    def namespace(self, name):
        try:
            self.rig.api("POST", "/api/v1/namespaces", {
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except Exception as e:
            if getattr(e, "status", 0) != 409:
                raise

    def bound(self, namespace, pvc, seconds=60):
        """Waits until a claim and its PersistentVolume are Bound; returns the Volume."""
        def ready():
            claim = self.rig.api(
                "GET", "/api/v1/namespaces/%s/persistentvolumeclaims/%s" % (namespace, pvc))
            if claim["status"].get("phase") != "Bound":
                return None
            pv = self.rig.api("GET", "/api/v1/persistentvolumes/" + claim["spec"]["volumeName"])
            return pv if pv["status"].get("phase") == "Bound" else None

        pv = self.wait_for(ready, seconds, "bound claim %s/%s" % (namespace, pvc))
        handle = pv["spec"]["csi"]["volumeHandle"]
        return Volume(namespace, pvc, pv["metadata"]["name"], handle,
                      pv["spec"].get("volumeMode", "Filesystem"), self.volume_path(handle))

    def make_volume(self, namespace, pvc, size, mode="Filesystem", data=None, file="disk.img",
                    **more):
        """Makes a claim with a bound volume and fills it; returns the Volume.

        `data` are bytes (the head of a Block volume, or `file` in a Filesystem one) or a
        callable that gets the backing path.
        """
        self.claim(namespace, pvc, size, mode, **more)
        volume = self.bound(namespace, pvc)
        if callable(data):
            data(volume.path)
        elif data is not None:
            self.write(volume, data, file=file)
        return volume

    def write(self, volume, data, offset=0, file="disk.img"):
        """Overwrites bytes, as the guest would: of a Block volume, or of a file in it."""
        path = volume.path if volume.mode == "Block" else os.path.join(volume.path, file)
        if volume.mode == "Block" and offset + len(data) > os.stat(path).st_size:
            raise ValueError("%d bytes at %d do not fit into %s" % (len(data), offset, volume))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        with open(fd, "wb") as f:
            f.seek(offset)
            f.write(data)
            f.flush()
            os.fsync(fd)

    def path(self, pv):
        """The backing path of a PersistentVolume, by name."""
        if isinstance(pv, Volume):
            return pv.path
        pv = self.rig.api("GET", "/api/v1/persistentvolumes/" + pv)
        return self.volume_path(pv["spec"]["csi"]["volumeHandle"])

    # snapshots

    def snapshot(self, namespace, name, pvc=None, content=None, snapshot_class="rig-snap"):
        """Creates a VolumeSnapshot of a claim, or of a pre-provisioned content; no wait."""
        spec = {"source": {"persistentVolumeClaimName": pvc} if pvc else
                {"volumeSnapshotContentName": content}}
        if snapshot_class:
            spec["volumeSnapshotClassName"] = snapshot_class
        return self.rig.api("POST", "%s/namespaces/%s/volumesnapshots" % (SNAP, namespace), {
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "metadata": {"name": name}, "spec": spec})

    def content(self, name, handle, namespace, snapshot, policy="Retain", mode=None):
        """Creates a pre-provisioned VolumeSnapshotContent for a handle of the storage."""
        spec = {"deletionPolicy": policy, "driver": DRIVER, "source": {"snapshotHandle": handle},
                "volumeSnapshotRef": {"namespace": namespace, "name": snapshot},
                "volumeSnapshotClassName": "rig-snap"}
        if mode:
            spec["sourceVolumeMode"] = mode
        return self.rig.api("POST", SNAP + "/volumesnapshotcontents", {
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
            "metadata": {"name": name}, "spec": spec})

    def get_snapshot(self, namespace, name):
        """(VolumeSnapshot, its bound VolumeSnapshotContent or None)."""
        vs = self.rig.api("GET", "%s/namespaces/%s/volumesnapshots/%s" % (SNAP, namespace, name))
        bound = vs.get("status", {}).get("boundVolumeSnapshotContentName")
        return vs, bound and self.rig.api("GET", "%s/volumesnapshotcontents/%s" % (SNAP, bound))

    def handle(self, namespace, name, seconds=60):
        """Waits for the snapshot handle of a VolumeSnapshot and returns it."""
        def get():
            _, vsc = self.get_snapshot(namespace, name)
            return vsc and vsc.get("status", {}).get("snapshotHandle")

        return self.wait_for(get, seconds, "handle of snapshot %s/%s" % (namespace, name))

    def ready(self, namespace, name, seconds=60):
        """Waits until a VolumeSnapshot is ready to use; returns its handle."""
        def get():
            vs, vsc = self.get_snapshot(namespace, name)
            return (vs.get("status", {}).get("readyToUse") and vsc
                    and vsc["status"]["snapshotHandle"])

        return self.wait_for(get, seconds, "ready snapshot %s/%s" % (namespace, name))

    def gone(self, handle, seconds=30):
        """Waits until the storage no longer has a snapshot or a volume."""
        def get():
            return not os.path.exists(self.snapshot_path(handle)) and \
                not os.path.exists(self.volume_path(handle))

        return self.wait_for(get, seconds, "end of " + handle)


@register
class Csi(Part):
    """The CSI driver and its sidecars.

    Options: timeout      of the sidecars' calls to the driver ("60s")
             retry_start  first pause before a retry ("100ms"); doubles up to
             retry_max    ("1s")
             qps          the sidecars' API requests per second (500)
             verbosity    of the sidecars' logs (2)
             state_dir    folder for volumes and snapshots, for instance on a file
                          system with reflinks
    """

    name = "csi"
    needs = ("apiserver", "controller-manager")
    builds = ("csi-driver", "snapshotter", "provisioner")

    def setup(self):
        self.port = self.rig.free_port()
        self.state_dir = self.rig.option("csi", "state_dir") or self.path("state")
        self.socket = self.path("csi.sock")
        self.prepared = False
        self.running = {}
        self.rig.csi = Storage(self, self.state_dir, self.port)

    def start(self):
        if not self.prepared:
            self.prepare()
            self.prepared = True
        self.running = {}
        for name in ORDER:
            self.start_one(name)

    def prepare(self):
        rig = self.rig
        # The real resources take the place of smaller ones that the rig may have put there.
        there = {crd["metadata"]["name"] for crd in rig.api(
            "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]}
        for verb, files in (("replace", []), ("create", [])):
            for path in self.crd_files():
                group, plural = os.path.basename(path)[:-len(".yaml")].split("_")
                if (plural + "." + group in there) == (verb == "replace"):
                    files += ["-f", path]
            if files:
                rig.kubectl(verb, *files)
        rig.wait(rig._established, 60, "established snapshot resources")
        rig.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": OBJECTS}, indent=1))

    def crd_files(self):
        """The snapshot CRDs stand in a module that go.mod of the snapshotter pins."""
        go = buildlib.go_tool()
        if not go:
            raise buildlib.Skip("skipped: needs Go for the snapshot resources")
        top = os.path.join(buildlib.HERE, "modules", "snapshotter")
        run = subprocess.run([go, "mod", "download", "-json", CRD_MODULE], cwd=top, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        if run.returncode:
            raise buildlib.Skip("skipped: %s: %s" % (CRD_MODULE, run.stdout[-500:]))
        folder = os.path.join(json.loads(run.stdout)["Dir"], "config", "crd")
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if "_" in name]

    # single processes

    def argv(self, name):
        option = lambda key, default: str(self.rig.option("csi", key, default))  # noqa: E731
        if name == "driver":
            return [self.binary("rig-csi-driver"), "--endpoint", "unix://" + self.socket,
                    "--state-dir", self.state_dir, "--control", "127.0.0.1:%d" % self.port,
                    "--driver-name", DRIVER]
        qps = option("qps", 500)
        argv = [self.binary(name), "--kubeconfig", self.rig.kubeconfig, "--leader-election=false",
                "--kube-api-qps", qps, "--kube-api-burst", str(2 * int(qps)),
                "--retry-interval-start", option("retry_start", "100ms"),
                "--retry-interval-max", option("retry_max", "1s"), "-v", option("verbosity", 2)]
        if name != "snapshot-controller":
            argv += ["--csi-address", self.socket, "--timeout", option("timeout", "60s"),
                     "--extra-create-metadata"]
        return argv

    def start_one(self, name):
        """Starts one of "driver", "snapshot-controller", "csi-snapshotter",
        "csi-provisioner" after stop_one()."""
        self.running[name] = self.spawn("csi-driver" if name == "driver" else name,
                                        self.argv(name))
        if name == "driver":
            self.wait(self.rig.csi.healthy, 30, "CSI driver")

    def stop_one(self, name, kill=False):
        """Ends one of the four processes; the sidecars end by themselves with the driver."""
        proc = self.running.pop(name)
        self.procs.remove(proc)
        proc.kill() if kill else proc.stop()

    def restart_driver(self, kill=False):
        """Ends the driver and starts it on the same state; its sidecars with it, as they
        leave when they lose the socket. Armed faults are forgotten."""
        sidecars = [n for n in ("csi-provisioner", "csi-snapshotter") if n in self.running]
        for name in ["driver"] + sidecars:
            self.stop_one(name, kill)
        for name in ["driver"] + sidecars[::-1]:
            self.start_one(name)
