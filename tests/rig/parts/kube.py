"""etcd, kube-apiserver and kube-controller-manager."""

import json
import os

from . import Part, register

CRDS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "crds")

RBAC = "/apis/rbac.authorization.k8s.io/v1"
READ, WRITE = ["get", "list", "watch"], ["create", "update", "patch", "delete"]
CUSTOM = ["kubevirt.io", "cdi.kubevirt.io", "instancetype.kubevirt.io", "k8s.cni.cncf.io",
          "snapshot.storage.k8s.io", "velero.io"]
# user -> group; the token of each is "<user>-token". Rights: admin all, viewer reads (but no
# Secrets), editor writes in namespaces, nobody none.
USERS = {"admin": "system:masters", "viewer": "viewers", "editor": "editors", "nobody": "nobodies"}


@register
class Etcd(Part):
    name = "etcd"
    builds = ("etcd",)

    def setup(self):
        self.client = "http://127.0.0.1:%d" % self.rig.free_port()
        self.peer = "http://127.0.0.1:%d" % self.rig.free_port()

    def start(self):
        self.spawn("etcd", [
            self.binary("etcd"), "--data-dir", self.path("data"),
            "--listen-client-urls", self.client, "--advertise-client-urls", self.client,
            "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer,
            "--initial-cluster", "default=" + self.peer, "--unsafe-no-fsync",
            "--quota-backend-bytes", "8589934592", "--log-level", "warn"])
        self.wait(lambda: http_ok(self.client + "/health"), 30, "healthy etcd")


def http_ok(url):
    import urllib.request
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status == 200


@register
class ApiServer(Part):
    """The kube-apiserver, with RBAC, static tokens and client certificates.

    Option flags: more flags for it, a list.
    """

    name = "apiserver"
    needs = ("etcd",)
    builds = ("kubernetes",)

    def setup(self):
        rig = self.rig
        self.port = rig.free_port()
        rig.api_url = "https://127.0.0.1:%d" % self.port
        rig.ca_file = rig.pki.ca_file
        self.cert, self.key = rig.pki.server("apiserver",
                                             ("localhost", "kubernetes", "kubernetes.default.svc"))
        rig.client_cert, rig.client_key = rig.pki.client("cert-admin", "system:masters")
        rig.tokens = {user: user + "-token" for user in USERS}
        rig.token = rig.tokens["admin"]
        with open(self.path("tokens.csv"), "w", encoding="ascii") as f:
            for user, group in USERS.items():
                f.write('%s,%s,%s,"%s"\n' % (rig.tokens[user], user, user, group))
        rig.run(["openssl", "genrsa", "-out", self.path("sa.key"), "2048"])
        rig.kubeconfig = self.kubeconfig_of("admin")
        self.prepared = False

    def kubeconfig_of(self, user):
        path = self.path("kubeconfig-" + user)
        if not os.path.exists(path):
            config = {
                "apiVersion": "v1", "kind": "Config", "current-context": "rig",
                "clusters": [{"name": "rig", "cluster": {
                    "server": self.rig.api_url, "certificate-authority": self.rig.ca_file}}],
                "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": user}}],
                "users": [{"name": user, "user": {"token": self.rig.tokens[user]}
                           if user in self.rig.tokens else
                           {"client-certificate": self.rig.client_cert,
                            "client-key": self.rig.client_key}}],
            }
            with open(path, "w", encoding="ascii") as f:
                json.dump(config, f, indent=1)  # JSON is YAML
            os.chmod(path, 0o600)
        return path

    def start(self):
        rig = self.rig
        self.spawn("kube-apiserver", [
            self.binary("kube-apiserver"), "--etcd-servers", rig.parts["etcd"].client,
            "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1",
            "--secure-port", self.port, "--cert-dir", self.dir,
            "--tls-cert-file", self.cert, "--tls-private-key-file", self.key,
            "--client-ca-file", rig.ca_file, "--token-auth-file", self.path("tokens.csv"),
            "--authorization-mode", "RBAC", "--anonymous-auth=true",
            "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-signing-key-file", self.path("sa.key"),
            "--service-account-key-file", self.path("sa.key"),
            "--service-cluster-ip-range", "10.0.0.0/24",
            "--disable-admission-plugins", "ServiceAccount",
            "--endpoint-reconciler-type", "none", "--shutdown-delay-duration", "0s",
        ] + rig.option("apiserver", "flags", []))
        self.wait(lambda: rig.api("GET", "/readyz") == "ok", 90, "ready kube-apiserver")
        if not self.prepared:
            self.prepare()
            self.prepared = True
        rig.wait(rig._established, 60, "served custom resources", self.procs)

    def prepare(self):
        rig = self.rig
        # The roles view and edit are put together by a controller; here stand what they would
        # be put together from, and the rights on the custom resources.
        for role, group, verbs in (("view", "viewers", READ), ("edit", "editors", READ + WRITE)):
            rig.api("POST", RBAC + "/clusterroles", {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": "rig-" + role},
                "rules": [{"apiGroups": CUSTOM, "resources": ["*"], "verbs": verbs},
                          {"apiGroups": [""], "resources": ["namespaces"], "verbs": READ}]})
            for name in {"rig-" + role, "system:aggregate-to-" + role, "system:aggregate-to-view"}:
                rig.api("POST", RBAC + "/clusterrolebindings", {
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                    "metadata": {"name": "%s:%s" % (group, name)},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                                "name": name},
                    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
                                  "name": group}]})
        for user in ("viewer", "editor"):  # the authorizer learns of the bindings a bit later
            rig.wait(lambda: rig.api("GET", "/api/v1/namespaces/default/pods?limit=1",
                                     token=rig.tokens[user]), 20, "rights of " + user)
        if rig.crds and os.path.isdir(CRDS):
            rig.apply(CRDS)
        if rig.velero_crds:
            rig.apply(rig.velero("install", "--crds-only", "--dry-run", "-o", "yaml"))


@register
class ControllerManager(Part):
    """Only the controllers that work without nodes: namespace deletion, volume binding.

    Option controllers: another list for --controllers.
    """

    name = "controller-manager"
    needs = ("apiserver",)
    builds = ("kubernetes",)
    controllers = ("namespace-controller", "garbage-collector-controller",
                   "persistentvolume-binder-controller",
                   "persistentvolumeclaim-protection-controller",
                   "persistentvolume-protection-controller", "serviceaccount-controller")

    def setup(self):
        self.port = self.rig.free_port()

    def start(self):
        self.spawn("kube-controller-manager", [
            self.binary("kube-controller-manager"), "--kubeconfig", self.rig.kubeconfig,
            "--leader-elect=false", "--bind-address", "127.0.0.1", "--secure-port", self.port,
            "--cert-dir", self.dir, "--controllers",
            ",".join(self.rig.option("controller-manager", "controllers", self.controllers)),
        ] + self.rig.option("controller-manager", "flags", []))
        self.wait(self.ready, 60, "healthy kube-controller-manager")

    def ready(self):
        import ssl
        import urllib.request
        context = ssl._create_unverified_context()  # it made its certificate itself
        with urllib.request.urlopen("https://127.0.0.1:%d/healthz" % self.port, timeout=5,
                                    context=context) as answer:
            return answer.read() == b"ok"
