#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Restores of archives that nobody should have written, and into clusters that resist: broken and
hostile archives, objects that servers refuse, policies, quotas, namespaces that go away, servers that
fail for a while, a run that is continued.

Ends with `N passed, N failed, N skipped`.
"""
import gzip
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "rig"), os.path.join(HERE, "..", "interop"),
                os.path.join(HERE, "kube"), os.path.join(HERE, "..", "cluster", "kube")]

import proxy  # noqa: E402
import steps  # noqa: E402

PREFERRED = "v1-preferredversion/"


def obj(kind, name, ns=None, api="v1", **more):
    meta = {"name": name, "uid": "u-" + name, "resourceVersion": "7"}
    if ns:
        meta["namespace"] = ns
    meta.update(more.pop("metadata", {}))
    return {"apiVersion": api, "kind": kind, "metadata": meta, **more}


def cm(name, ns="shop", **more):
    return obj("ConfigMap", name, ns, data={"k": "v"}, **more)


def member(resource, ns, name, body, version=""):
    scope = "namespaces/%s" % ns if ns else "cluster"
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return "resources/%s/%s%s/%s.json" % (resource, version, scope, name), text


def cms(*names, ns="shop"):
    return [member("configmaps", ns, n, cm(n, ns)) for n in names]


class Hostile(steps.Steps):
    PARTS = ("apiserver", "minio")

    def __init__(self, rig):
        super().__init__(rig)
        self.store = os.path.join(rig.dir, "store")
        os.makedirs(self.store)
        self.count = 0

    # ---- archives and restores ----------------------------------------------------------

    def tar(self, members):
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as tar:
            for m in members:
                if isinstance(m, tarfile.TarInfo):
                    tar.addfile(m)
                    continue
                entry = tarfile.TarInfo(m[0])
                entry.size = len(m[1])
                tar.addfile(entry, io.BytesIO(m[1]))
        return raw.getvalue()

    def backup(self, members=(), data=None):
        """Lays a backup out; returns its name."""
        self.count += 1
        name = "h%d" % self.count
        folder = os.path.join(self.store, "backups", name)
        os.makedirs(folder)
        data = gzip.compress(self.tar(members), 1) if data is None else data
        with open(os.path.join(folder, name + ".tar.gz"), "wb") as f:
            f.write(data)
        with open(os.path.join(folder, "velero-backup.json"), "w") as f:
            json.dump({"apiVersion": "velero.io/v1", "kind": "Backup",
                       "metadata": {"name": name, "namespace": "velero"}, "spec": {},
                       "status": {"phase": "Completed", "formatVersion": "1.1.0", "version": 1}}, f)
        return name

    def start(self, backup, ns, *args, name=None, env=None, source="shop"):
        name = name or "r-" + backup
        command = [steps.VMBACKUP, "restore", "create", name, "--from-backup", backup, "--quiet",
                   "--namespace-mappings", "%s:%s" % (source, ns), "--store-dir", self.store, *args]
        return name, subprocess.Popen(command, text=True, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT,
                                      env={**os.environ, **self.rig.environment(), **(env or {})})

    def end(self, name, process, code):
        text, _ = process.communicate(timeout=200)
        assert process.returncode == code, (process.returncode, text[-2000:])
        try:
            with open(os.path.join(self.store, "restores", name, "restore-%s-results.gz" % name),
                      "rb") as f:
                found = json.loads(gzip.decompress(f.read()))
        except FileNotFoundError:
            return [], [text]
        return lines(found["warnings"]), lines(found["errors"])

    def restore(self, backup, ns, *args, code=0, **options):
        """(warnings, errors) as lists of lines."""
        return self.end(*self.start(backup, ns, *args, **options), code)

    def names(self, ns, path="/api/v1/namespaces/%s/configmaps"):
        try:
            items = self.rig.api("GET", path % ns)["items"]
        except Exception as e:
            if getattr(e, "status", 0) == 404:
                return []
            raise
        return sorted(i["metadata"]["name"] for i in items
                      if i["metadata"]["name"] != "kube-root-ca.crt")

    def fetch(self, path):
        try:
            return self.rig.api("GET", path)
        except Exception as e:
            if getattr(e, "status", 0) == 404:
                return None
            raise

    # ---- archives -----------------------------------------------------------------------

    def order_and_side_files_do_not_matter(self):
        """Reversed, twice, with a wrong list of resources and without metadata/version."""
        shop = cms("a", "b") + [member("namespaces", "", "shop", obj("Namespace", "shop", metadata={
            "labels": {"team": "x"}}))]
        shop += [member("serviceaccounts", "shop", "worker", obj("ServiceAccount", "worker", "shop"))]
        name = self.backup(list(reversed(shop)) + shop)
        with open(os.path.join(self.store, "backups", name, name + "-resource-list.json.gz"),
                  "wb") as f:
            f.write(gzip.compress(b'{"v1/Secret":["shop/none"],"v1/ConfigMap":7}'))
        warnings, errors = self.restore(name, "reversed")
        assert not errors and not warnings, (warnings, errors)
        assert self.names("reversed") == ["a", "b"]
        assert self.fetch("/api/v1/namespaces/reversed")["metadata"]["labels"]["team"] == "x"

    def damaged_archives_create_nothing(self):
        random.seed(7)
        body = self.tar(cms(*["cm-%03d" % i for i in range(300)]))
        whole = gzip.compress(body, 6)
        broken = [b"", b"\x1f\x8b", whole[:-1], whole[:-9], whole[:len(whole) // 2],
                  b"not an archive " * 1000]
        for _ in range(6):
            at = random.randrange(20, len(whole) - 10)
            broken.append(whole[:at] + bytes([whole[at] ^ 0x5a]) + whole[at + 1:])
        for i, data in enumerate(broken):
            ns = "damaged-%d" % i
            _, errors = self.restore(self.backup(data=data), ns, code=1)
            assert self.fetch("/api/v1/namespaces/" + ns) is None, (i, errors)

    def plain_and_split_archives_are_read(self):
        body = self.tar(cms("a", "b", "c"))
        split = gzip.compress(body[:700]) + gzip.compress(body[700:]) + gzip.compress(b"")
        for i, data in enumerate((body, split)):
            _, errors = self.restore(self.backup(data=data), "plain-%d" % i)
            assert not errors and self.names("plain-%d" % i) == ["a", "b", "c"], errors

    def paths_lead_nowhere_else(self):
        evil = ["../../etc/x.json", "/etc/x.json", "resources/../../x.json",
                "resources/configmaps/namespaces/../x.json"]
        for i, path in enumerate(evil):
            ns = "path-%d" % i
            name = self.backup(cms("a") + [(path, json.dumps(cm("x")).encode())])
            _, errors = self.restore(name, ns, code=1)
            assert self.fetch("/api/v1/namespaces/" + ns) is None, (path, errors)
        links = []
        for kind, name in ((tarfile.SYMTYPE, "s"), (tarfile.LNKTYPE, "h"), (tarfile.CHRTYPE, "c"),
                           (tarfile.FIFOTYPE, "f"), (tarfile.DIRTYPE, "d")):
            entry = tarfile.TarInfo("resources/configmaps/namespaces/shop/%s.json" % name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            links.append(entry)
        _, errors = self.restore(self.backup(links + cms("a")), "links")
        assert not errors and self.names("links") == ["a"], errors

    def broken_objects_are_told_and_the_others_restored(self):
        deep = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deep"},"data":' + \
            b"[" * 100000 + b"]" * 100000 + b"}"
        big = json.dumps(dict(cm("big"), data={"k": "x" * (9 << 20)})).encode()
        bodies = {
            "empty": b"", "text": b"hello", "list": b"[]", "null": b"null", "number": b"1",
            "deep": deep, "big": big, "utf8": b'{"metadata":{"name":"\xff\xfe"}}',
            "nul": b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a\\u0000b"}}',
            "nometa": b'{"apiVersion":"v1","kind":"ConfigMap"}',
            "meta": b'{"apiVersion":"v1","kind":"ConfigMap","metadata":[]}',
            "noname": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g-"}},
            "nokind": {"apiVersion": "v1", "metadata": {"name": "nokind"}},
            "badapi": dict(cm("badapi"), apiVersion="../../v1"),
            "dots": dict(cm("dots"), metadata={"name": ".."}),
            "slash": dict(cm("slash"), metadata={"name": "a/b"}),
            "kind": dict(cm("kind"), kind="Secret"),
        }
        listed = dict(cm("labels"), metadata={"name": "labels", "labels": [1]})  # made good
        name = self.backup([member("configmaps", "shop", n, b) for n, b in bodies.items()] +
                           cms("good") + [member("configmaps", "shop", "labels", listed)])
        _, errors = self.restore(name, "broken", code=3)
        assert self.names("broken") == ["good", "labels"], self.names("broken")
        missing = [n for n in bodies if not any(n in e for e in errors)]
        assert not missing and len(errors) == len(bodies), (missing, errors)

    def names_inside_of_objects_count(self):
        """The file may be named otherwise; the namespace is the folder's."""
        name = self.backup([member("configmaps", "shop", "file", cm("inside", "elsewhere"))])
        _, errors = self.restore(name, "inside")
        assert not errors and self.names("inside") == ["inside"], errors
        assert self.fetch("/api/v1/namespaces/elsewhere") is None

    def owners_in_a_circle_are_dropped(self):
        def owned(name, by):
            return member("configmaps", "shop", name, cm(name, metadata={
                "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": by,
                                     "uid": "u-" + by, "controller": True}],
                "finalizers": ["example.com/keep"], "generateName": "x-"}))
        _, errors = self.restore(self.backup([owned("a", "b"), owned("b", "a")]), "circle")
        assert not errors and self.names("circle") == ["a", "b"], errors
        meta = self.fetch("/api/v1/namespaces/circle/configmaps/a")["metadata"]
        assert "ownerReferences" not in meta and meta["finalizers"] == ["example.com/keep"], meta
        for n in ("a", "b"):
            self.rig.api("PATCH", "/api/v1/namespaces/circle/configmaps/" + n,
                         {"metadata": {"finalizers": None}})

    def versions_are_chosen_that_the_cluster_serves(self):
        """An archive with EnableAPIGroupVersions whose preferred version is no longer served."""
        def scaler(version):
            return obj("HorizontalPodAutoscaler", "h", "shop", api="autoscaling/" + version, spec={
                "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment",
                                                     "name": "d"}})
        gr = "horizontalpodautoscalers.autoscaling"
        old = scaler("v2beta9")
        name = self.backup([
            member(gr, "shop", "h", old), member(gr, "shop", "h", old, "v2beta9-preferredversion/"),
            member(gr, "shop", "h", scaler("v2"), "v2/"),
            member(gr, "shop", "h", scaler("v2alpha9"), "v2alpha9/")])
        _, errors = self.restore(name, "versions")
        path = "/apis/autoscaling/v2/namespaces/versions/horizontalpodautoscalers/h"
        assert not errors and self.fetch(path) is not None, errors

    def kinds_that_are_gone_are_errors(self):
        crd = obj("CustomResourceDefinition", "olds.example.org", api="apiextensions.k8s.io/v1beta1",
                  spec={"group": "example.org", "version": "v1", "scope": "Namespaced",
                        "names": {"kind": "Old", "plural": "olds"}})
        csv = obj("ClusterServiceVersion", "op.v1", "shop", api="operators.coreos.com/v1alpha1")
        name = self.backup([
            member("customresourcedefinitions.apiextensions.k8s.io", "", "olds.example.org", crd),
            member("olds.example.org", "shop", "o", obj("Old", "o", "shop", api="example.org/v1")),
            member("clusterserviceversions.operators.coreos.com", "shop", "op.v1", csv)] + cms("a"))
        _, errors = self.restore(name, "gone", "--include-cluster-resources=true", code=3)
        assert len(errors) == 3 and self.names("gone") == ["a"], errors

    # ---- clusters -----------------------------------------------------------------------

    def policies_refuse_single_objects(self):
        base = "/apis/admissionregistration.k8s.io/v1/"
        self.rig.api("POST", base + "validatingadmissionpolicies", {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "no-evil"}, "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                    "resources": ["configmaps"]}]},
                "validations": [{"expression": "!object.metadata.name.startsWith('evil')",
                                 "message": "evil is not allowed"}]}})
        self.rig.api("POST", base + "validatingadmissionpolicybindings", {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "no-evil"},
            "spec": {"policyName": "no-evil", "validationActions": ["Deny"]}})
        self.rig.wait(self.is_refused, 60, "the policy")
        name = self.backup(cms("a", "evil-1", "evil-2"))
        _, errors = self.restore(name, "policy", code=3)
        assert len(errors) == 2 and all("evil is not allowed" in e for e in errors), errors
        assert self.names("policy") == ["a"]

    def is_refused(self):
        try:
            self.rig.api("POST", "/api/v1/namespaces/default/configmaps?dryRun=All",
                         cm("evil", "default") | {"metadata": {"name": "evil"}})
        except Exception as e:
            return getattr(e, "status", 0) == 422
        return False

    def refused_objects_that_exist_are_compared(self):
        """Admission speaks before the server looks for the name."""
        self.rig.api("DELETE", "/apis/admissionregistration.k8s.io/v1/"
                     "validatingadmissionpolicybindings/no-evil")
        self.rig.wait(lambda: not self.is_refused(), 60, "end of the policy")
        name = self.backup(cms("evil-1", "evil-2"))
        _, errors = self.restore(name, "present")
        assert not errors, errors
        self.rig.api("PATCH", "/api/v1/namespaces/present/configmaps/evil-2", {"data": {"k": "w"}})
        self.rig.api("POST", "/apis/admissionregistration.k8s.io/v1/"
                     "validatingadmissionpolicybindings", {
                         "apiVersion": "admissionregistration.k8s.io/v1",
                         "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "no-evil"},
                         "spec": {"policyName": "no-evil", "validationActions": ["Deny"]}})
        self.rig.wait(self.is_refused, 60, "the policy")
        warnings, errors = self.restore(name, "present", name="second")
        assert not errors and len(warnings) == 1 and "evil-2" in warnings[0], (warnings, errors)
        self.rig.api("DELETE", "/apis/admissionregistration.k8s.io/v1/"
                     "validatingadmissionpolicybindings/no-evil")
        self.rig.wait(lambda: not self.is_refused(), 60, "end of the policy")

    def quotas_do_not_lose_objects(self):
        """Many creates change one quota at a time; a quota that is used up by them is no error."""
        ns = "quota"
        self.rig.api("POST", "/api/v1/namespaces", obj("Namespace", ns) | {"metadata": {"name": ns}})
        self.rig.api("POST", "/api/v1/namespaces/quota/resourcequotas", {
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
            "spec": {"hard": {"count/configmaps": "400"}}})
        self.rig.api("PATCH", "/api/v1/namespaces/quota/resourcequotas/q/status", {
            "status": {"hard": {"count/configmaps": "400"}, "used": {"count/configmaps": "0"}}})
        name = self.backup(cms(*["cm-%03d" % i for i in range(400)]))
        _, errors = self.restore(name, ns)
        assert not errors and len(self.names(ns)) == 400, (len(self.names(ns)), errors[:3])
        warnings, errors = self.restore(name, ns, name="quota-again")
        assert not errors and not warnings, (warnings[:3], errors[:3])

    def immutable_objects_keep_their_content(self):
        frozen = cm("frozen") | {"immutable": True}
        name = self.backup([member("configmaps", "shop", "frozen", frozen)] + cms("soft"))
        self.restore(name, "immutable")
        other = self.backup([member("configmaps", "shop", "frozen", frozen | {"data": {"k": "2"}})] +
                            [member("configmaps", "shop", "soft", cm("soft") | {"data": {"k": "2"}})])
        warnings, errors = self.restore(other, "immutable", "--existing-resource-policy", "update")
        assert not errors and len(warnings) == 1 and "frozen" in warnings[0], (warnings, errors)
        path = "/api/v1/namespaces/immutable/configmaps/"
        assert self.fetch(path + "soft")["data"] == {"k": "2"}
        found = self.fetch(path + "frozen")
        assert found["data"] == {"k": "v"}, found
        assert found["metadata"]["labels"]["velero.io/restore-name"] == "r-" + other, found

    def namespace_that_goes_away_holds_nobody_up(self):
        self.rig.api("POST", "/api/v1/namespaces", {
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "leaving"}})
        self.rig.api("DELETE", "/api/v1/namespaces/leaving")
        assert self.fetch("/api/v1/namespaces/leaving")["status"]["phase"] == "Terminating"
        name = self.backup(cms("a", "b") + cms("c", "d", ns="staying"))
        started = self.start(name, "leaving")
        self.rig.wait(lambda: self.names("staying") == ["c", "d"], 60, "the other namespace",)
        assert started[1].poll() is None
        ns = self.fetch("/api/v1/namespaces/leaving")
        ns["spec"]["finalizers"] = []
        self.rig.api("PUT", "/api/v1/namespaces/leaving/finalize", ns)
        warnings, errors = self.end(*started, 0)
        assert not errors and not warnings, (warnings, errors)
        assert self.names("leaving") == ["a", "b"]

    # ---- servers that fail --------------------------------------------------------------

    def through(self, p):
        path = os.path.join(self.rig.dir, "through-proxy.yaml")
        with open(path, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c",
                       "clusters": [{"name": "c", "cluster": {"server": p.url}}],
                       "users": [{"name": "u", "user": {"token": self.rig.token}}],
                       "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}, f)
        return {"KUBECONFIG": path}

    def storms_lose_nothing(self):
        """One request of five fails, in every way there is."""
        busy = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 429,
                           "reason": "TooManyRequests", "message": "too many"}).encode()
        json_type = {"Content-Type": "application/json"}
        fates = [("answer", 429, {"Retry-After": "1", **json_type}, busy),
                 ("answer", 500, json_type, b'{"kind":"Status","apiVersion":"v1","status":"Failure",'
                  b'"code":500,"reason":"InternalError","message":"etcd: leader changed"}'),
                 ("answer", 503, {}, b"no backend"), ("lose",), ("reset",), ("cut", 20)]
        seen = []

        def plan(request):
            if request.method != "POST" or request.number % 5 != 0:
                return None
            seen.append(request.number)
            return fates[len(seen) % len(fates)]

        name = self.backup(cms(*["cm-%03d" % i for i in range(300)]))
        with proxy.Proxy(self.rig.api_url, self.rig.ca_file) as p:
            p.reset(plan)
            warnings, errors = self.restore(name, "storm", env=self.through(p))
        assert len(seen) > 30, len(seen)
        assert not errors and not warnings, (warnings[:3], errors[:3])
        assert len(self.names("storm")) == 300

    def server_that_fails_for_ever_is_not_waited_for_each_time(self):
        def plan(request):
            if request.method == "POST" and request.path.endswith("/configmaps"):
                return ("answer", 500, {}, b"no")
            return None

        name = self.backup(cms(*["cm-%03d" % i for i in range(200)]) +
                           [member("secrets", "shop", "s", obj("Secret", "s", "shop"))])
        start = time.monotonic()
        with proxy.Proxy(self.rig.api_url, self.rig.ca_file) as p:
            p.reset(plan)
            _, errors = self.restore(name, "for-ever", env=self.through(p), code=3)
        assert len(errors) == 200 and self.names("for-ever") == []
        assert self.fetch("/api/v1/namespaces/for-ever/secrets/s") is not None
        assert time.monotonic() - start < 190  # 200 times 20 seconds in 16 threads would be more

    def interrupted_restore_is_continued(self):
        """What controllers changed in objects of the first run is no difference in the second."""
        name = self.backup(cms(*["cm-%04d" % i for i in range(2000)]))
        started = self.start(name, "again")
        self.rig.wait(lambda: len(self.names("again")) > 50, 60, "the first objects")
        started[1].kill()
        started[1].communicate()
        first = self.names("again")
        assert 50 < len(first) < 2000, len(first)
        self.rig.api("PATCH", "/api/v1/namespaces/again/configmaps/" + first[0],
                     {"data": {"added": "by a controller"}})
        note = os.path.join(self.store, "restores", "r-" + name, "vmbackup-unfinished.json")
        assert os.path.exists(note)
        warnings, errors = self.restore(name, "again")
        assert not errors and not warnings, (warnings[:3], errors[:3])
        assert len(self.names("again")) == 2000 and not os.path.exists(note)
        warnings, errors = self.restore(name, "again")
        assert not errors and len(warnings) == 1, (warnings, errors)

    STEPS = [order_and_side_files_do_not_matter, damaged_archives_create_nothing,
             plain_and_split_archives_are_read, paths_lead_nowhere_else,
             broken_objects_are_told_and_the_others_restored, names_inside_of_objects_count,
             owners_in_a_circle_are_dropped, versions_are_chosen_that_the_cluster_serves,
             kinds_that_are_gone_are_errors, policies_refuse_single_objects,
             refused_objects_that_exist_are_compared, quotas_do_not_lose_objects,
             immutable_objects_keep_their_content, namespace_that_goes_away_holds_nobody_up,
             storms_lose_nothing, server_that_fails_for_ever_is_not_waited_for_each_time,
             interrupted_restore_is_continued]


def lines(part):
    """The texts of a results document, wherever they stand."""
    out = list(part.get("velero") or []) + list(part.get("cluster") or [])
    for texts in (part.get("namespaces") or {}).values():
        out += texts
    return out


if __name__ == "__main__":
    sys.exit(steps.main(Hostile))
