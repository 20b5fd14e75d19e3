"""The real Velero server, outside a cluster, with its S3 plugin and MinIO as default store."""

import fcntl
import os
import socket
import tempfile
import time

from . import Part, register

# The server's second metrics port is fixed (8080): one Velero at a time on a machine.
PORT = 8080
LOCK = os.path.join(tempfile.gettempdir(), "vmbackup-rig-velero.lock")

DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": "velero", "namespace": "velero"},
    "spec": {"replicas": 1, "selector": {"matchLabels": {"deploy": "velero"}},
             "template": {"metadata": {"labels": {"deploy": "velero"}}, "spec": {
                 "containers": [{"name": "velero", "image": "velero/velero:v1.18.3"}]}}}}


@register
class Velero(Part):
    """Options flags: more flags for the server; wait: seconds for the location (60)."""

    name = "velero"
    needs = ("apiserver", "minio")
    builds = ("velero", "velero-plugin-aws")

    def take_turn(self):
        self.turn = open(LOCK, "w")
        end = time.monotonic() + 600
        while True:
            try:
                fcntl.flock(self.turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(1)
        # of a suite that was killed the lock is gone before its server
        self.rig.wait(self.port_is_free, 120, "free port %d, which another program holds" % PORT)

    @staticmethod
    def port_is_free():
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", PORT))
        return True

    def close(self):
        self.turn.close()

    def setup(self):
        rig = self.rig
        self.take_turn()
        self.metrics, self.profiler = rig.free_port(), rig.free_port()
        os.makedirs(self.path("plugins"))
        os.makedirs(self.path("scratch"))
        os.symlink(self.binary("velero-plugin-for-aws"),
                   self.path("plugins", "velero-plugin-for-aws"))
        rig.api("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace",
                                               "metadata": {"name": "velero"}})
        # A restore ends PartiallyFailed when the server does not find its own Deployment.
        rig.api("POST", "/apis/apps/v1/namespaces/velero/deployments", DEPLOYMENT)
        self.make_location("default", "minio", "velero", True, None)

    def start(self):
        rig = self.rig
        argv = [self.binary("velero"), "server", "--kubeconfig", rig.kubeconfig,
                "--namespace", "velero", "--plugin-dir", self.path("plugins"),
                "--metrics-address", "127.0.0.1:%d" % self.metrics,
                "--profiler-address", "127.0.0.1:%d" % self.profiler,
                "--store-validation-frequency", "10s"]
        if rig.velero_features:
            argv += ["--features", rig.velero_features]
        argv += rig.option("velero", "flags", [])
        self.spawn("velero", argv, env={
            "VELERO_NAMESPACE": "velero", "VELERO_SCRATCH_DIR": self.path("scratch"),
            "HOME": self.dir})
        self.wait_available("default")

    def location(self, name, store, prefix, default, bucket):
        self.make_location(name, store, prefix, default, bucket)
        self.wait_available(name)

    def make_location(self, name, store, prefix, default, bucket):
        rig, at = self.rig, self.rig.s3[store]
        secret = "cloud-credentials" if name == "default" else "cloud-credentials-" + name
        rig.api("POST", "/api/v1/namespaces/velero/secrets", {
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": secret, "namespace": "velero"},
            "stringData": {"cloud": "[default]\naws_access_key_id=%s\n"
                                    "aws_secret_access_key=%s\n" % (at["access_key"],
                                                                    at["secret_key"])}})
        storage = {"bucket": bucket or at["bucket"]}
        if prefix:
            storage["prefix"] = prefix
        rig.api("POST", "/apis/velero.io/v1/namespaces/velero/backupstoragelocations", {
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
            "metadata": {"name": name, "namespace": "velero"},
            "spec": {"provider": "aws", "default": default, "objectStorage": storage,
                     "credential": {"name": secret, "key": "cloud"},
                     "config": {"region": at["region"], "s3ForcePathStyle": "true",
                                "s3Url": at["endpoint"], "checksumAlgorithm": ""}}})

    def wait_available(self, name):
        path = "/apis/velero.io/v1/namespaces/velero/backupstoragelocations/" + name
        self.wait(lambda: self.rig.api("GET", path).get("status", {}).get("phase")
                  == "Available", self.rig.option("velero", "wait", 60),
                  "Available location " + name)
