# SPDX-License-Identifier: Apache-2.0
"""vmbackup-operator on a rig, installed by the manifests of deploy/.

VMBACKUP_OPERATOR names the program: one of a build with -Db_sanitize=thread or address,undefined will
do as well; the suite fails when such a program reported something."""
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path[:0] = [os.path.join(ROOT, "tests", "interop")]

from steps import VELERO, Steps, main  # noqa: E402,F401


def find_operator():
    """Beside the command that the suites are told of, or in the PATH."""
    beside = os.path.join(os.path.dirname(os.environ.get("VMBACKUP", "")), "..", "operator",
                          "vmbackup-operator")
    return os.environ.get("VMBACKUP_OPERATOR") or (
        os.path.abspath(beside) if "VMBACKUP" in os.environ and os.path.exists(beside)
        else "vmbackup-operator")


OPERATOR = find_operator()
DEPLOY = os.path.join(ROOT, "deploy")
END = ("Completed", "PartiallyFailed", "Failed", "FailedValidation")

LOCATION = """
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: %(name)s, namespace: velero}
spec:
  provider: aws
  default: %(default)s
  objectStorage: {bucket: %(bucket)s, prefix: %(prefix)s}
  credential: {name: %(secret)s, key: cloud}
  config: {region: %(region)s, s3ForcePathStyle: "true", s3Url: %(endpoint)s}
"""

SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: %(secret)s, namespace: velero}
stringData:
  cloud: |
    [default]
    aws_access_key_id=%(access_key)s
    aws_secret_access_key=%(secret_key)s
"""

BACKUP = """
apiVersion: velero.io/v1
kind: Backup
metadata: {name: %(name)s, namespace: velero}
spec: {includedNamespaces: [%(ns)s]}
"""


class Operator(Steps):
    """Steps with an operator; subclasses call install() first."""

    def __init__(self, rig):
        super().__init__(rig)
        self.process = None
        self.flags = ["--store-validation-frequency", "5s", "--backup-sync-period", "2s",
                      "--garbage-collection-frequency", "2s", "--schedule-period", "1s"]
        self.log = os.path.join(rig.dir, "operator.log")

    def install(self):
        """What the README says: the manifests; only the program runs beside the cluster."""
        self.rig.kubectl("apply", "-f", os.path.join(DEPLOY, "namespace.yaml"))
        self.rig.apply_crds(os.path.join(DEPLOY, "crds.yaml"))
        self.rig.kubectl("apply", "-f", os.path.join(DEPLOY, "rbac.yaml"))
        self.kubeconfig = self.account_kubeconfig()

    def account_kubeconfig(self):
        """The operator's own service account, so that its rights are tested all the way."""
        token = self.rig.kubectl("create", "token", "vmbackup-operator", "-n", "velero",
                                 "--duration", "4h").strip()
        path = os.path.join(self.rig.dir, "operator.kubeconfig")
        for args in (["set-cluster", "c", "--server", self.rig.api_url, "--certificate-authority",
                      self.rig.ca_file, "--embed-certs"],
                     ["set-credentials", "u", "--token", token],
                     ["set-context", "x", "--cluster", "c", "--user", "u"], ["use-context", "x"]):
            self.rig.run([self.kubectl_path(), "config", "--kubeconfig", path] + args)
        return path

    def kubectl_path(self):
        import buildlib
        return buildlib.binary("kubectl", self.rig.say)

    def location(self, name="default", default=True, store="minio", prefix="velero"):
        at = dict(self.rig.s3[store], name=name, default=str(default).lower(), prefix=prefix,
                  secret="cloud-credentials-" + name)
        self.rig.apply(SECRET % at)
        self.rig.apply(LOCATION % at)

    def start(self, *flags):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [OPERATOR, "--kubeconfig", self.kubeconfig, "--listen",
                 "127.0.0.1:%d" % self.port, *self.flags, *flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.rig._tell_keeper("add %d" % self.process.pid)

    def ready(self, seconds=30):
        self.rig.wait(lambda: self.http("/readyz") == "ok\n", seconds, "ready operator")

    def stop(self, number=signal.SIGTERM, seconds=15):
        """Ends the operator; returns its exit code."""
        if self.process is None:
            return None
        self.process.send_signal(number)
        try:
            code = self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None
        return code

    def http(self, path):
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (self.port, path), timeout=5) as r:
            return r.read().decode()

    def metric(self, name):
        """Sum over the series of a metric; None when there is none."""
        found = None
        for line in self.http("/metrics").splitlines():
            if line.startswith((name + " ", name + "{")):
                found = (found or 0) + float(line.rsplit(" ", 1)[1])
        return found

    def rss_mib(self, field="VmRSS"):
        with open("/proc/%d/status" % self.process.pid, encoding="utf-8") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) / 1024
        raise AssertionError("no %s" % field)

    def sanitized(self):
        """Is it a build whose sanitizer needs memory of its own?"""
        with open("/proc/%d/maps" % self.process.pid, encoding="utf-8") as f:
            text = f.read()
        return "libasan" in text or "libtsan" in text

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process.pid, encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # objects

    def list(self, kind):
        return self.rig.api("GET", VELERO + kind)["items"]

    def phase(self, kind, name):
        return self.object(kind, name).get("status", {}).get("phase", "")

    def wait_phase(self, kind, name, *wanted, seconds=60):
        """Waits for one of the phases; fails at once when another final one comes."""
        def look():
            phase = self.phase(kind, name)
            assert phase in wanted or phase not in END, self.object(kind, name)
            return phase in wanted and phase
        end = time.monotonic() + seconds
        while not look():
            assert time.monotonic() < end, "%s %s: %s after %d s\n%s" % (
                kind, name, self.phase(kind, name) or "no phase", seconds, self.tail())
            time.sleep(0.1)
        return self.object(kind, name)

    def gone(self, kind, name, seconds=30):
        self.rig.wait(lambda: name not in [o["metadata"]["name"] for o in self.list(kind)],
                      seconds, "end of %s %s" % (kind, name))

    def backup(self, name, ns="other"):
        self.rig.apply(BACKUP % {"name": name, "ns": ns})

    def tail(self, lines=30):
        with contextlib.suppress(OSError), open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join("  | " + line for line in f.readlines()[-lines:])
        return ""

    def stored(self, folder="backups"):
        return sorted(self.s3.list("velero/%s/" % folder))
