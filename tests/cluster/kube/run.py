#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes client against a real API server and a real exec endpoint."""

import base64
import concurrent.futures
import hashlib
import http.client
import json
import os
import re
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

import kubelib
from kubelib import SLACK_MS, fails, kubeconfig, ok, small, write

from rig import Rig, Skip  # found by kubelib

test = kubelib.Suite()
NS = "probe"
COUNT = 1234


class World:
    """The rig with the objects that the tests look at."""

    def __init__(self, rig):
        self.rig = rig
        self.dir = rig.dir
        self.probe = kubelib.Probe(rig.kubeconfig)

    def connection(self):
        return http.client.HTTPSConnection(
            "127.0.0.1", urllib.parse.urlsplit(self.rig.api_url).port,
            context=ssl.create_default_context(cafile=self.rig.ca_file))

    def make_configmaps(self, ns, count, size, labels=None):
        """Many objects, on a few connections."""
        def some(numbers):
            conn = self.connection()
            for n in numbers:
                body = {"apiVersion": "v1", "kind": "ConfigMap",
                        "metadata": {"name": "cm-%05d" % n,
                                     "labels": {"parity": "odd" if n % 2 else "even"}},
                        "data": {"text": ("%d-é\"\\ " % n + "x" * size)[:size]}}
                conn.request("POST", "/api/v1/namespaces/%s/configmaps" % ns, json.dumps(body),
                             {"Authorization": "Bearer " + self.rig.token,
                              "Content-Type": "application/json"})
                answer = conn.getresponse()
                answer.read()
                assert answer.status == 201, answer.status
            conn.close()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(some, [range(k, count, 8) for k in range(8)]))

    def make_pod(self, name):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NS},
               "spec": {"nodeName": self.rig.node,
                        "containers": [{"name": "main", "image": "none"},
                                       {"name": "side", "image": "none"}]}}
        self.rig.api("POST", "/api/v1/namespaces/%s/pods" % NS, pod)
        self.rig.api("PATCH", "/api/v1/namespaces/%s/pods/%s/status" % (NS, name), {"status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": c, "ready": True, "restartCount": 0, "image": "none",
                                   "imageID": "", "containerID": "rig://" + c, "state": {
                                       "running": {"startedAt": "2026-01-01T00:00:00Z"}}}
                                  for c in ("main", "side")]}})

    def config(self, name, user, **cluster):
        cluster.setdefault("server", self.rig.api_url)
        if "insecure-skip-tls-verify" not in cluster and cluster["server"].startswith("https"):
            cluster.setdefault("certificate-authority", self.rig.ca_file)
        return kubeconfig(self.dir, name, user=user, **cluster)


# ---- discovery ----------------------------------------------------------------------------------

@test
def discovery_agrees_with_kubectl(w):
    doc = ok(w.probe("discover"))["object"]
    assert re.match(r"v1\.\d+", doc["serverVersion"]["gitVersion"]), doc["serverVersion"]
    assert doc["serverVersion"]["major"] == "1" and doc["serverVersion"]["minor"]
    assert doc["groups"][0]["group"] == "" and doc["warnings"] == []
    mine = set()
    for g in doc["groups"]:
        version = next(v for v in g["versions"] if v["version"] == g["preferredVersion"])
        for r in version["resources"]:
            assert "/" not in r["name"] and r["verbs"], r
            mine.add((r["name"], g["group"], r["kind"], r["namespaced"]))
    theirs = set()
    for root in ["/api/v1"] + ["/apis/" + g["preferredVersion"]["groupVersion"]
                               for g in w.rig.api("GET", "/apis")["groups"]]:
        group = root.split("/")[2] if root != "/api/v1" else ""
        for r in w.rig.api("GET", root)["resources"]:
            if "/" not in r["name"]:
                theirs.add((r["name"], group, r["kind"], r["namespaced"]))
    assert mine == theirs, mine ^ theirs
    conn = w.connection()
    conn.request("GET", "/apis", headers={
        "Authorization": "Bearer " + w.rig.token, "Accept":
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"})
    order = [g["metadata"]["name"] for g in json.loads(conn.getresponse().read())["items"]]
    conn.close()
    assert [g["group"] for g in doc["groups"]][1:] == order, order
    pods = next(r for r in doc["groups"][0]["versions"][0]["resources"] if r["name"] == "pods")
    assert pods["shortNames"] == ["po"] and pods["singularName"] == "pod"
    return "%d resources" % len(mine)


@test
def discovery_of_a_user_without_rights_still_works(w):
    doc = ok(w.probe("discover", kubeconfig=w.rig.kubeconfig_of("nobody")))["object"]
    assert any(g["group"] == "apps" for g in doc["groups"])


@test
def discovery_with_a_dead_group_warns(w):
    w.rig.api("POST", "/apis/apiregistration.k8s.io/v1/apiservices", {
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.dead.example"},
        "spec": {"group": "dead.example", "version": "v1", "groupPriorityMinimum": 100,
                 "versionPriority": 100, "insecureSkipTLSVerify": True,
                 "service": {"name": "none", "namespace": "default"}}})
    try:
        doc = w.rig.wait(lambda: dead_warning(w), 30, "warning about the dead group")
        assert not any(g["group"] == "dead.example" for g in doc["groups"])
        assert any(g["group"] == "kubevirt.io" for g in doc["groups"])
    finally:
        w.rig.api("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/v1.dead.example")
    return doc["warnings"][0][:60]


def dead_warning(w):
    doc = ok(w.probe("discover"))["object"]
    return doc if any("dead.example" in x for x in doc["warnings"]) else None


# ---- lists --------------------------------------------------------------------------------------

def names(count=COUNT):
    return ["cm-%05d" % n for n in range(count)]


@test
def list_in_pages_is_complete(w):
    for prefetch in (1, 0):
        a = ok(w.probe("list", "-", "v1", "configmaps", NS, page=100, names=1, prefetch=prefetch))
        assert a.names == names(), "prefetch %d: %d items" % (prefetch, len(a.names))


@test
def list_page_sizes_do_not_matter(w):
    for page in (0, 1233, 1234, 1235, 5000, 617):
        a = ok(w.probe("list", "-", "v1", "configmaps", NS, page=page, names=1))
        assert a.names == names(), page


@test
def list_items_are_the_server_s_bytes(w):
    raw = w.rig.api("GET", "/api/v1/namespaces/%s/configmaps?limit=500" % NS)
    total = 0
    conn = w.connection()
    token = ""
    while True:
        conn.request("GET", "/api/v1/namespaces/%s/configmaps?limit=500&continue=%s" % (
            NS, urllib.parse.quote(token)), headers={"Authorization": "Bearer " + w.rig.token})
        page = json.loads(conn.getresponse().read())
        total += sum(len(json.dumps(i, separators=(",", ":"), ensure_ascii=False).encode())
                     for i in page["items"])
        token = page["metadata"].get("continue", "")
        if not token:
            break
    a = ok(w.probe("list", "-", "v1", "configmaps", NS))
    assert a.itemBytes == total, (a.itemBytes, total)
    assert raw["items"][0]["data"]["text"].startswith("0-é\"\\")


@test
def list_with_compression_is_the_same(w):
    plain = ok(w.probe("list", "-", "v1", "configmaps", NS, compression=0))
    small = ok(w.probe("list", "-", "v1", "configmaps", NS, compression=1, names=1))
    assert small.itemBytes == plain.itemBytes and small.names == names()


@test
def list_by_selector(w):
    a = ok(w.probe("list", "-", "v1", "configmaps", NS, "parity in (odd),nope!=x", page=100))
    assert a["items"] == COUNT // 2
    fails(w.probe("list", "-", "v1", "configmaps", NS, "a in"), "VMB_E_INVALID",
          "list configmaps in namespace probe: unable to parse")


@test
def list_of_all_namespaces_and_of_cluster_scope(w):
    a = ok(w.probe("list", "-", "v1", "configmaps", "-", page=300))
    assert a["items"] >= COUNT
    a = ok(w.probe("list", "-", "v1", "namespaces", "-", names=1))
    assert NS in a.names


@test
def list_of_nothing(w):
    assert ok(w.probe("list", "-", "v1", "configmaps", "no-such-namespace"))["items"] == 0
    fails(w.probe("list", "no.such.group", "v1", "things", NS), "VMB_E_NOT_FOUND", "list things")
    fails(w.probe("list", "-", "v1", "nothings", NS), "VMB_E_NOT_FOUND")


@test
def list_receiver_may_use_the_provider(w):
    a = ok(w.probe("list", "-", "v1", "configmaps", NS, page=100, get_at=50, qps=0))
    assert a["items"] == COUNT and a.nested == COUNT // 50


@test
def list_receiver_failure_ends_it(w):
    a = fails(w.probe("list", "-", "v1", "configmaps", NS, page=100, fail_at=150),
              "VMB_E_FULL", "the receiver is full")
    assert a["items"] == 150 and a.ms < 5000 + SLACK_MS


@test
def list_cancelled_between_items(w):
    a = fails(w.probe("list", "-", "v1", "configmaps", NS, page=100, item_sleep_ms=20,
                      cancel_ms=2000), "VMB_E_CANCELLED")
    assert 1 < a["items"] < COUNT, (a.ms, a["items"])


@test
def list_of_a_paused_server_hears_deadline_and_cancellation(w):
    w.rig.pause("apiserver")
    try:
        a = fails(w.probe("list", "-", "v1", "configmaps", NS, deadline_ms=1000), "VMB_E_TIMEOUT")
        assert a.ms < 2000 + SLACK_MS, a.ms
        a = fails(w.probe("list", "-", "v1", "configmaps", NS, cancel_ms=500), "VMB_E_CANCELLED")
        assert a.ms < 1500 + SLACK_MS, a.ms
    finally:
        w.rig.resume("apiserver")


@test
def list_position_lost_by_compaction_is_taken_up_again(w):
    # The token that comes with 410 carries on: nothing twice, nothing missing.
    p = w.probe.start("list", "-", "v1", "configmaps", NS, page=100, names=1, item_sleep_ms=4,
                      prefetch=0)
    time.sleep(0.8)  # it is somewhere between the second and the fourth page
    compact(w)
    a = ok(w.probe.finish(p))
    assert sorted(set(a.names)) == names() and len(a.names) == COUNT, len(a.names)


def compact(w):
    """What the API server does to etcd every five minutes."""
    w.rig.api("PATCH", "/api/v1/namespaces/%s" % NS, {"metadata": {"labels": {
        "t": str(time.time_ns())}}})
    url = w.rig.parts["etcd"].client
    conn = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)

    def call(path, body):
        conn.request("POST", path, json.dumps(body))
        return json.loads(conn.getresponse().read())

    status = call("/v3/maintenance/status", {})
    call("/v3/kv/compaction", {"revision": status["header"]["revision"], "physical": True})
    conn.close()


# ---- single objects -----------------------------------------------------------------------------

@test
def object_life(w):
    made = ok(w.probe("create", "-", "v1", "configmaps", NS, input={
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "life"},
        "data": {"a": "1"}}))["object"]
    assert made["metadata"]["uid"]
    fails(w.probe("create", "-", "v1", "configmaps", NS, input={
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "life"}}),
        "VMB_E_EXISTS", 'create configmaps in namespace probe: configmaps "life" already exists')
    got = ok(w.probe("get", "-", "v1", "configmaps", NS, "life"))["object"]
    assert got == made and got["kind"] == "ConfigMap"
    merged = ok(w.probe("patch", "-", "v1", "configmaps", NS, "life", "merge",
                        input={"data": {"a": None, "b": "2"}}))["object"]
    assert merged["data"] == {"b": "2"}
    changed = ok(w.probe("patch", "-", "v1", "configmaps", NS, "life", "json",
                         input=[{"op": "add", "path": "/data/c", "value": "3"}]))["object"]
    assert changed["data"] == {"b": "2", "c": "3"}
    fails(w.probe("patch", "-", "v1", "configmaps", NS, "life", "merge",
                  input={"metadata": {"resourceVersion": "1"}}), "VMB_E_CONFLICT")
    fails(w.probe("patch", "-", "v1", "configmaps", NS, "life", "json",
                  input=[{"op": "test", "path": "/data/c", "value": "4"}]), "VMB_E_INVALID")
    ok(w.probe("delete", "-", "v1", "configmaps", NS, "life"))
    fails(w.probe("delete", "-", "v1", "configmaps", NS, "life"), "VMB_E_NOT_FOUND")
    fails(w.probe("get", "-", "v1", "configmaps", NS, "life"), "VMB_E_NOT_FOUND",
          'get configmaps probe/life: configmaps "life" not found')


@test
def object_with_generated_name(w):
    made = ok(w.probe("create", "-", "v1", "configmaps", NS, input={
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "gen-"}}))["object"]
    assert re.match("gen-.+", made["metadata"]["name"])
    ok(w.probe("delete", "-", "v1", "configmaps", NS, made["metadata"]["name"]))


@test
def object_status_is_patched_by_subresource(w):
    a = ok(w.probe("patch", "-", "v1", "pods", NS, "one", "merge", "status",
                   input={"status": {"message": "hello"}}))
    assert a["object"]["status"]["message"] == "hello"


@test
def object_of_a_custom_resource(w):
    ok(w.probe("create", "kubevirt.io", "v1", "virtualmachines", NS, input={
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "vm"},
        "spec": {"runStrategy": "Halted", "template": {"spec": {"domain": {"devices": {}}}}}}))
    a = ok(w.probe("list", "kubevirt.io", "v1", "virtualmachines", NS, names=1))
    assert a.names == ["vm"]
    ok(w.probe("delete", "kubevirt.io", "v1", "virtualmachines", NS, "vm"))


@test
def object_refused_by_validation(w):
    a = fails(w.probe("create", "-", "v1", "configmaps", NS, input={
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not Valid"}}),
        "VMB_E_INVALID", "Invalid value")
    assert "\n" not in a.message and not a.retryable
    fails(w.probe("create", "-", "v1", "configmaps", NS, input=[1]), "VMB_E_INVALID")
    fails(w.probe("get", "-", "v1", "configmaps", NS, ".."), "VMB_E_ARG")


@test
def object_for_a_viewer(w):
    viewer = w.rig.kubeconfig_of("viewer")
    ok(w.probe("get", "-", "v1", "configmaps", NS, "cm-00000", kubeconfig=viewer))
    fails(w.probe("create", "-", "v1", "configmaps", NS, kubeconfig=viewer, input={
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}),
        "VMB_E_DENIED", 'User "viewer" cannot create resource "configmaps"')
    fails(w.probe("delete", "-", "v1", "configmaps", NS, "cm-00000", kubeconfig=viewer),
          "VMB_E_DENIED")
    fails(w.probe("list", "-", "v1", "secrets", NS, kubeconfig=viewer), "VMB_E_DENIED",
          "list secrets in namespace probe")
    fails(w.probe("list", "-", "v1", "pods", NS, kubeconfig=w.rig.kubeconfig_of("nobody")),
          "VMB_E_DENIED", "nobody")


# ---- who we are ---------------------------------------------------------------------------------

def get_one(w, config, **more):
    return w.probe("get", "-", "v1", "configmaps", NS, "cm-00001", kubeconfig=config, **more)


@test
def user_by_token_and_by_environment(w):
    config = w.config("c-token", {"token": w.rig.token})
    ok(get_one(w, config))
    other = w.config("c-other", {"token": "wrong"})
    ok(w.probe("get", "-", "v1", "configmaps", NS, "cm-00001", kubeconfig="",
               env={"KUBECONFIG": "/nowhere/x:%s:%s" % (config, other)}))
    fails(get_one(w, other), "VMB_E_DENIED", "get configmaps probe/cm-00001: Unauthorized")


@test
def user_by_client_certificate(w):
    ok(get_one(w, w.config("c-cert", {"client-certificate": w.rig.client_cert,
                                      "client-key": w.rig.client_key})))
    data = {k + "-data": base64.b64encode(open(p, "rb").read()).decode()
            for k, p in (("client-certificate", w.rig.client_cert),
                         ("client-key", w.rig.client_key))}
    ca = base64.b64encode(open(w.rig.ca_file, "rb").read()).decode()
    path = w.config("c-certdata", data, **{"certificate-authority-data": ca})
    config = json.load(open(path, encoding="utf-8"))
    del config["clusters"][0]["cluster"]["certificate-authority"]
    ok(get_one(w, write(w.dir, "c-certdata", json.dumps(config))))


@test
def user_by_token_file_that_rotates(w):
    token = write(w.dir, "token", "old-token")
    config = w.config("c-tokenfile", {"tokenFile": "token"})
    fails(get_one(w, config), "VMB_E_DENIED", "Unauthorized")
    write(w.dir, "token", w.rig.token + "\n")
    ok(get_one(w, config))
    p = w.probe.start("list", "-", "v1", "configmaps", NS, page=100, item_sleep_ms=1,
                      kubeconfig=config)
    time.sleep(0.4)
    write(w.dir, "token", w.rig.tokens["viewer"])
    assert ok(w.probe.finish(p))["items"] == COUNT
    os.remove(token)
    fails(get_one(w, config), "VMB_E_NOT_FOUND", token)


def plugin(w, name, status, version="v1"):
    api = "client.authentication.k8s.io/" + version
    path = write(w.dir, name, "#!/bin/sh\necho run >> $0.log\ncat <<'END'\n%s\nEND\n" % json.dumps(
        {"apiVersion": api, "kind": "ExecCredential", "status": status}), 0o700)
    return path, {"exec": {"apiVersion": api, "command": "./" + name, "interactiveMode": "Never"}}


@test
def user_by_plugin_token(w):
    for version in ("v1", "v1beta1"):
        path, user = plugin(w, "plug-" + version, {"token": w.rig.token}, version)
        a = ok(w.probe("list", "-", "v1", "configmaps", NS, page=100,
                       kubeconfig=w.config("c-plugin", user)))
        assert a["items"] == COUNT
        runs = open(path + ".log", encoding="ascii").read().count("run")
        assert runs == 1, "%d runs for one list" % runs
    path, user = plugin(w, "plug-bad", {"token": "wrong"})
    fails(get_one(w, w.config("c-plugin-bad", user)), "VMB_E_DENIED", "Unauthorized")
    assert open(path + ".log", encoding="ascii").read().count("run") == 2  # once more after 401


@test
def user_by_plugin_certificate(w):
    _, user = plugin(w, "plug-cert", {
        "clientCertificateData": open(w.rig.client_cert, encoding="ascii").read(),
        "clientKeyData": open(w.rig.client_key, encoding="ascii").read()})
    ok(get_one(w, w.config("c-plugcert", user)))
    ok(w.probe("exec", NS, "one", "main", "echo", "hi", kubeconfig=w.config("c-plugcert", user)))


@test
def user_by_plugin_that_fails(w):
    write(w.dir, "plug-fail", "#!/bin/sh\necho 'please log in' >&2\nexit 1\n", 0o700)
    config = w.config("c-plugfail", {"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "./plug-fail"}})
    fails(get_one(w, config), "VMB_E_DENIED", "exit code 1: please log in", "c-plugfail")


@test
def user_impersonated(w):
    config = w.config("c-as", {"token": w.rig.token, "as": "bob", "as-groups": ["viewers"]})
    ok(get_one(w, config))
    fails(w.probe("delete", "-", "v1", "configmaps", NS, "cm-00000", kubeconfig=config),
          "VMB_E_DENIED", 'User "bob"')
    fails(w.probe("exec", NS, "one", "main", "echo", kubeconfig=config), "VMB_E_DENIED",
          'User "bob"')


@test
def user_anonymous(w):
    fails(get_one(w, w.config("c-anon", {})), "VMB_E_DENIED", "system:anonymous")


# ---- how we get there ---------------------------------------------------------------------------

@test
def server_with_unknown_authority_is_refused_at_once(w):
    w.rig.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
               "-subj", "/CN=other", "-keyout", os.path.join(w.dir, "other.key"),
               "-out", os.path.join(w.dir, "other.pem")])
    config = w.config("c-ca", {"token": w.rig.token},
                      **{"certificate-authority": os.path.join(w.dir, "other.pem")})
    a = fails(get_one(w, config), "VMB_E_NET", "certificate", "get configmaps probe/cm-00001")
    assert a.ms < 3000 + SLACK_MS and not a.retryable, a.ms
    fails(w.probe("exec", NS, "one", "main", "echo", kubeconfig=config), "VMB_E_NET",
          "certificate")


@test
def server_unverified_when_told_so(w):
    ok(get_one(w, w.config("c-insecure", {"token": w.rig.token},
                           **{"insecure-skip-tls-verify": True})))


@test
def server_name_differs_from_address(w):
    user = {"token": w.rig.token}
    ok(get_one(w, w.config("c-name", user, **{"tls-server-name": "kubernetes.default.svc"})))
    config = w.config("c-badname", user, **{"tls-server-name": "elsewhere.example"})
    a = fails(get_one(w, config), "VMB_E_NET", "elsewhere.example")
    assert a.ms < 3000 + SLACK_MS
    config = w.config("c-name", user, **{"tls-server-name": "kubernetes.default.svc"})
    assert ok(w.probe("exec", NS, "one", "main", "echo", "hi", kubeconfig=config)).out == "hi\n"


@test
def server_plain_http_through_kubectl_proxy(w):
    # without its filter, which would refuse exec
    p = subprocess.Popen(["kubectl", "--kubeconfig", w.rig.kubeconfig, "proxy", "--port=0",
                          "--api-prefix=/pre/fix", "--reject-paths=^$"], stdout=subprocess.PIPE,
                         text=True)
    try:
        port = re.search(r":(\d+)", p.stdout.readline()).group(1)
        config = kubeconfig(w.dir, "c-http", "http://127.0.0.1:%s/pre/fix/" % port)
        a = ok(w.probe("list", "-", "v1", "configmaps", NS, page=100, names=1, kubeconfig=config))
        assert a.names == names()
        a = ok(w.probe("exec", NS, "one", "main", "echo", "plain", kubeconfig=config))
        assert a.out == "plain\n"
    finally:
        p.terminate()
        p.wait()


class Tunnel(socketserver.StreamRequestHandler):
    """An HTTP proxy that knows CONNECT only."""

    def handle(self):
        line = self.rfile.readline().decode()
        while self.rfile.readline().strip():
            pass
        host, port = line.split()[1].rsplit(":", 1)
        self.server.lines.append(line.strip())
        with socket.create_connection((host, int(port))) as other:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=self.copy, args=(other, self.connection))
            back.start()
            self.copy(self.connection, other)
            back.join()

    @staticmethod
    def copy(source, target):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@test
def server_behind_a_proxy(w):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy:
        proxy.daemon_threads, proxy.block_on_close, proxy.lines = True, False, []
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        config = w.config("c-via", {"token": w.rig.token},
                          **{"proxy-url": "http://127.0.0.1:%d" % proxy.server_address[1]})
        ok(get_one(w, config))
        a = ok(w.probe("exec", NS, "one", "main", "echo", "through", kubeconfig=config))
        assert a.out == "through\n"
        assert len(proxy.lines) == 2, proxy.lines
        proxy.shutdown()


@test
def server_absent_is_named(w):
    config = kubeconfig(w.dir, "c-none", "https://127.0.0.1:1")
    a = fails(get_one(w, config, deadline_ms=2500), "VMB_E_NET", "127.0.0.1")
    assert a.ms < 3500 + SLACK_MS and a.retryable


@test
def requests_keep_to_their_rate(w):
    a = ok(w.probe("list", "-", "v1", "configmaps", NS, page=100, qps=10, burst=3))
    assert 800 < a.ms < 3000 + SLACK_MS + SLACK_MS, a.ms  # 13 pages: ten of them wait 100 ms
    return "13 requests at qps 10, burst 3: %.0f ms" % a.ms


# ---- exec ---------------------------------------------------------------------------------------

def run(w, *argv, **options):
    return w.probe("exec", NS, "one", "main", *argv, **options)


@test
def exec_exit_codes(w):
    for code in (0, 3, 137, 255):
        assert ok(run(w, "rig-exit", code)).exit == code


@test
def exec_output_and_argv(w):
    a = ok(run(w, "echo", "hello"))
    assert (a.out, a.err, a.exit) == ("hello\n", "", 0)
    words = ["", "a b", "é☃", "x&y=z?#%41", "'\"\\", "*", "line\nbreak", "+"]
    assert json.loads(ok(run(w, "rig-argv", *words)).out) == words
    a = ok(run(w, "rig-stderr", "to", "stderr"))
    assert (a.out, a.err) == ("", "to stderr\n")
    a = ok(run(w, "sh", "-c", "echo out; echo err >&2; exit 4"))
    assert (a.out, a.err, a.exit) == ("out\n", "err\n", 4)


@test
def exec_picks_the_container(w):
    ok(w.probe("exec", NS, "one", "side", "echo"))
    entry = w.rig.exec_journal()[-1]
    assert (entry["namespace"], entry["pod"], entry["container"]) == (NS, "one", "side"), entry


@test
def exec_where_nothing_is(w):
    fails(w.probe("exec", NS, "none", "main", "echo"), "VMB_E_NOT_FOUND",
          "exec in pod probe/none container main")
    fails(w.probe("exec", NS, "one", "none", "echo"), "VMB_E_NOT_FOUND", "container none")
    a = fails(run(w, "no-such-program"), "VMB_E_SERVER", "executable file not found")
    assert not a.retryable


@test
def exec_without_rights(w):
    fails(w.probe("exec", NS, "one", "main", "echo", kubeconfig=w.rig.kubeconfig_of("viewer")),
          "VMB_E_DENIED", 'User "viewer" cannot')
    fails(w.probe("exec", NS, "one", "main", "echo",
                  kubeconfig=w.config("c-wrong", {"token": "wrong"})),
          "VMB_E_DENIED", "Unauthorized")


@test
def exec_refused_login_is_renewed(w):
    # the plugin's first answer is a stale token
    body = json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                       "status": {"token": "TOKEN"}})
    write(w.dir, "plug-stale", "#!/bin/sh\n[ -e $0.log ] && t=%s || t=stale\n"
          "echo run >> $0.log\necho '%s' | sed s/TOKEN/$t/\n" % (w.rig.token, body), 0o700)
    config = w.config("c-stale", {"exec": {"apiVersion": "client.authentication.k8s.io/v1",
                                           "command": "./plug-stale"}})
    assert ok(run(w, "echo", "fresh", kubeconfig=config)).out == "fresh\n"


@test
def exec_flood_flows_in_bounded_memory(w):
    size = 100 << 20
    a = ok(run(w, "rig-flood", size, limit=200))
    want = hashlib.sha256()
    for n in range(0, size // 64, 1024):
        want.update(b"".join(b"%063d\n" % k for k in range(n, n + 1024)))
    assert a.outBytes == size and a.sha256 == want.hexdigest()
    small(a, 25)
    return "100 MiB in %.1f s, %.1f s of it CPU, peak %.1f MiB" % (
        a.ms / 1e3, a.cpuMs / 1e3, a.rssKiB / 1024)


@test
def exec_flood_is_cancelled(w):
    a = fails(run(w, "rig-flood", 100 << 30, cancel_ms=2000), "VMB_E_CANCELLED")
    assert a.ms < 1500 + SLACK_MS and a.outBytes > 0, a.ms


@test
def exec_late_command_meets_its_deadline(w):
    assert ok(run(w, "rig-sleep", "1.5", deadline_ms=20000)).exit == 0
    a = fails(run(w, "rig-sleep", "30", deadline_ms=1000), "VMB_E_TIMEOUT",
              "exec in pod probe/one container main: timed out")
    assert 900 < a.ms < 2000 + SLACK_MS + SLACK_MS, a.ms


@test
def exec_endless_command_is_cancelled(w):
    a = fails(run(w, "rig-never", cancel_ms=1000), "VMB_E_CANCELLED",
              "exec in pod probe/one container main: cancelled")
    assert 900 < a.ms < 2000 + SLACK_MS + SLACK_MS, a.ms


@test
def exec_silent_command_outlives_the_pings(w):
    assert ok(run(w, "rig-sleep", "13")).exit == 0  # pings go out every 10 s


@test
def exec_dropped_connection_is_told(w):
    # kubectl ends with 0 here, see "A lost connection" in the rig's README
    for more in ((), (1 << 20,)):
        a = fails(run(w, "rig-drop", *more), "VMB_E_NET", "exec in pod probe/one container main: "
                  "the connection ended before the exit code came")
        assert a.exit == -1 and a.ms < 10000 + SLACK_MS and not a.retryable and a.outBytes >= 8


@test
def exec_survives_no_crash_of_the_api_server(w):
    before = len(w.rig.exec_journal())
    p = w.probe.start("exec", NS, "one", "main", "rig-never")
    w.rig.wait(lambda: len(w.rig.exec_journal()) > before, 60, "a command that runs")
    time.sleep(0.5)  # its first answer passes through the API server
    w.rig.stop("apiserver", kill=True)
    try:
        a = fails(w.probe.finish(p, limit=30), "VMB_E_NET",
                  "exec in pod probe/one container main: the connection ended")
    finally:
        w.rig.start("apiserver")
    return a.message[-60:]


@test
def exec_many_at_once(w):
    def one(n):
        return ok(run(w, "sh", "-c", "echo %d; exit %d" % (n, n)))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for n, a in enumerate(pool.map(one, range(24))):
            assert (a.out, a.exit) == ("%d\n" % n, n)


def main():
    kubelib.find_probe()
    try:
        with Rig(parts=["apiserver", "kubelet"]) as rig:
            rig.need("apiserver", "kubelet")
            w = World(rig)
            rig.api("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace",
                                                   "metadata": {"name": NS}})
            w.make_configmaps(NS, COUNT, 300)
            w.make_pod("one")
            return test.run(w, only=os.environ.get("VMB_ONLY"))
    except Skip as e:
        print(str(e))
        print("0 passed, 0 failed, 1 skipped")
        return 77


if __name__ == "__main__":
    assert threading.current_thread() is threading.main_thread()
    sys.exit(main())
