#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes client against what goes wrong: servers that die, proxies that lie.

Every call ends in success after retries or in one clear error; none outlives its deadline."""

import json
import os
import random
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "cluster", "kube"))

import kubelib  # noqa: E402
from kubelib import SLACK_MS, fails, kubeconfig, ok, small, write  # noqa: E402
from proxy import Proxy, exit_status, frame, status, websocket  # noqa: E402

from rig import Rig, Skip  # noqa: E402

test = kubelib.Suite()
NS = "probe"
COUNT = 400
LIST = ("list", "-", "v1", "configmaps", NS)
HTML = {"Content-Type": "text/html"}


class World:
    def __init__(self, rig, proxy):
        self.rig, self.proxy, self.dir = rig, proxy, rig.dir
        self.direct = kubelib.Probe(rig.kubeconfig)
        self.probe = kubelib.Probe(kubeconfig(rig.dir, "c-proxy", proxy.url,
                                              {"token": rig.token}))
        self.names = ["cm-%03d" % n for n in range(COUNT)]

    def list(self, plan, **options):
        self.proxy.reset(plan)
        return self.probe(*LIST, page=100, names=1, **options)

    def complete(self, answer):
        ok(answer)
        assert answer.names == self.names, "%d items" % len(answer.names)
        return answer

    def pages(self):
        return [r for r in self.proxy.requests if r.path.endswith("/configmaps")]


def on_page(number, *fates):
    """Befalls the first tries of a page (0: the first); the page is told by its order among the
    different tokens."""
    seen, left = [], list(fates)

    def plan(request):
        if not request.path.endswith("/configmaps") or request.method != "GET":
            return None
        if request.token not in seen:
            seen.append(request.token)
        return left.pop(0) if seen.index(request.token) == number and left else None
    return plan


def always(fate):
    return lambda request: fate


# ---- servers that die ---------------------------------------------------------------------------

@test
def list_api_server_killed_and_restarted(w):
    p = w.direct.start(*LIST, page=50, names=1, item_sleep_ms=5)
    time.sleep(0.7)
    w.rig.restart("apiserver", kill=True)
    a = w.complete(w.direct.finish(p))
    return "%.1f s" % (a.ms / 1e3)


@test
def list_api_server_killed_for_good_meets_the_deadline(w):
    p = w.direct.start(*LIST, page=50, item_sleep_ms=5, deadline_ms=3000)
    time.sleep(0.7)
    w.rig.stop("apiserver", kill=True)
    try:
        a = w.direct.finish(p)
        assert a.code in ("VMB_E_NET", "VMB_E_TIMEOUT"), a.code
        assert "list configmaps in namespace probe" in a.message and a.ms < 4000 + SLACK_MS, a
    finally:
        w.rig.start("apiserver")
    return a.message


@test
def list_api_server_hangs_for_a_while(w):
    p = w.direct.start(*LIST, page=50, names=1, item_sleep_ms=5)
    time.sleep(0.7)
    w.rig.pause("apiserver")
    time.sleep(2)
    w.rig.resume("apiserver")
    w.complete(w.direct.finish(p))


@test
def list_etcd_killed_and_restarted(w):
    p = w.direct.start(*LIST, page=50, names=1, item_sleep_ms=5)
    time.sleep(0.7)
    w.rig.restart("etcd", kill=True)
    w.complete(w.direct.finish(p))


# ---- answers ------------------------------------------------------------------------------------

@test
def list_web_page_is_one_clear_error(w):
    a = fails(w.list(on_page(1, ("answer", 200, HTML, "\n<html><title>Login</title>\n"))),
              "VMB_E_PROTOCOL", "list configmaps in namespace probe", "web page",
              "<html><title>Login</title>")
    assert len(w.pages()) <= 3 and not a.retryable
    fails(w.list(always(("answer", 404, HTML, "<h1>nginx</h1>"))), "VMB_E_PROTOCOL", "nginx")
    fails(w.list(always(("answer", 302, {"Location": "/login"}, ""))), "VMB_E_PROTOCOL", "302")


@test
def list_nonsense_is_one_clear_error(w):
    kind = {"Content-Type": "application/json"}
    for body in ('{"kind":"ConfigMapList","items":[{"metadata":{"name":"x"}}', '{"kind":"Pod"}',
                 "", "null", '{"items":[1]}', '{"items":[{}]}}'):
        fails(w.list(on_page(0, ("answer", 200, kind, body))), "VMB_E_PROTOCOL",
              "list configmaps in namespace probe")


@test
def list_busy_with_retry_after_waits(w):
    busy = ("answer", 429, {"Retry-After": "1", "Content-Type": "application/json"}, "{}")
    a = w.complete(w.list(on_page(1, busy, busy)))
    assert a.ms > 2000, a.ms
    tries = [r.time for r in w.pages() if r.token][:3]
    assert tries[1] - tries[0] >= 1 and tries[2] - tries[1] >= 1, tries


@test
def list_storm_of_server_errors_is_survived(w):
    w.complete(w.list(on_page(0, status(500, "InternalError"), ("answer", 502, HTML, "<p>bad</p>"),
                              ("answer", 503, {"Retry-After": "1"}, "busy"))))
    w.complete(w.list(on_page(2, status(503, "ServiceUnavailable"), status(504, "Timeout"),
                              status(500, "InternalError", "etcdserver: leader changed"))))


@test
def list_endless_storm_meets_the_deadline(w):
    for fate in (status(503, "ServiceUnavailable", "no endpoints"),
                 ("answer", 429, {"Retry-After": "1"}, "busy")):
        a = fails(w.list(always(fate), deadline_ms=3000), "VMB_E_SERVER",
                  "list configmaps in namespace probe")
        assert a.ms < 3500 + SLACK_MS and a.retryable, a.ms
    a = fails(w.list(always(fate), cancel_ms=1000), "VMB_E_CANCELLED")
    assert a.ms < 2000 + SLACK_MS, a.ms


@test
def list_absurd_patience_is_not_kept(w):
    a = fails(w.list(always(("answer", 503, {"Retry-After": "86400"}, "busy")), deadline_ms=2000),
              "VMB_E_SERVER", "busy")
    assert a.ms < 2500 + SLACK_MS, a.ms  # no use in waiting: told at once


# ---- connections --------------------------------------------------------------------------------

@test
def list_cut_bodies_are_fetched_again(w):
    w.complete(w.list(on_page(0, ("cut", 0), ("cut", 1), ("cut", 20000))))
    w.complete(w.list(on_page(3, ("cut", 30000), ("cut", 100))))


@test
def list_resets_are_survived(w):
    w.complete(w.list(on_page(0, ("reset",), ("lose",))))
    w.complete(w.list(on_page(2, ("lose",), ("reset",), ("lose",))))


@test
def list_stalled_body_meets_the_deadline(w):
    a = fails(w.list(on_page(1, ("stall", 5000)), deadline_ms=1500), "VMB_E_TIMEOUT",
              "list configmaps in namespace probe")
    assert a.ms < 2500 + SLACK_MS, a.ms
    a = fails(w.list(on_page(1, ("stall", 5000)), cancel_ms=700), "VMB_E_CANCELLED")
    assert a.ms < 1700 + SLACK_MS, a.ms


@test
def list_silent_server_hears_cancellation_ahead(w):
    # the page fetched ahead hangs while the receiver is busy with the first one
    a = fails(w.list(on_page(1, ("silence",)), item_sleep_ms=5, fail_at=90), "VMB_E_FULL")
    assert a.ms < 2000 + SLACK_MS, a.ms


@test
def list_bad_weather_is_survived(w):
    for seed in range(5):
        dice = random.Random(seed)

        def plan(request):
            if dice.random() > 0.4:
                return None
            return dice.choice([("cut", dice.randrange(60000)), ("reset",), ("lose",),
                                status(503, "ServiceUnavailable"), status(500, "InternalError"),
                                ("answer", 429, {}, "busy")])
        w.complete(w.list(plan, prefetch=seed % 2))


# ---- positions that are lost ---------------------------------------------------------------------

@test
def gone_without_token_starts_again(w):
    a = ok(w.list(on_page(2, status(410, "Expired"))))
    assert sorted(set(a.names)) == w.names and len(a.names) == COUNT + 200, len(a.names)


@test
def gone_always_ends_in_one_whole_list(w):
    a = ok(w.list(lambda r: status(410, "Expired") if r.token else None))
    assert sorted(set(a.names)) == w.names
    assert "limit" not in w.pages()[-1].query and len(w.pages()) < 9, len(w.pages())


@test
def gone_with_useless_tokens_ends(w):
    a = fails(w.list(lambda r: status(410, "Expired", **{"continue": "again"}) if r.token
                     else None), "VMB_E_GONE", "list configmaps in namespace probe")
    assert len(w.pages()) < 10 and a.retryable


# ---- pages that are too large --------------------------------------------------------------------

@test
def page_too_large_is_asked_for_in_smaller_ones(w):
    def big(name, size):
        return {"metadata": {"name": name}, "data": {"x": "y" * size}}

    def plan(request):
        start = int(request.token or 0)
        n = int(request.query.get("limit", ["60"])[0])
        items = [big("big-%02d" % k, 1 << 20) for k in range(start, min(60, start + n))]
        more = {"continue": str(start + n)} if start + n < 60 else {}
        return ("answer", 200, {"Content-Type": "application/json"},
                json.dumps({"kind": "ConfigMapList", "metadata": more, "items": items}))
    w.proxy.reset(plan)
    a = ok(w.probe(*LIST, page=0, names=1))
    assert a.names == ["big-%02d" % k for k in range(60)]
    limits = [int(r.query["limit"][0]) for r in w.pages()]
    small(a, 110)
    return "limits %s, peak %d MiB" % (limits[:8], a.rssKiB >> 10)


@test
def page_of_a_server_that_ignores_limits_is_taken(w):
    body = json.dumps({"kind": "ConfigMapList", "metadata": {}, "items": [
        {"metadata": {"name": "n-%d" % k}, "data": {"x": "y" * 1000000}} for k in range(40)]})
    w.proxy.reset(always(("answer", 200, {"Content-Type": "application/json"}, body)))
    a = ok(w.probe(*LIST))
    assert a["items"] == 40
    return "%d requests" % len(w.pages())


@test
def page_beyond_every_limit_is_refused(w):
    def speak(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
                            b'{"kind":"ConfigMapList","items":[{"x":"')
        for _ in range(600):
            handler.wfile.write(b"y" * (1 << 20))
    w.proxy.reset(always(("raw", speak)))
    a = fails(w.probe(*LIST, page=1), "VMB_E_LIMIT", "list configmaps in namespace probe")
    small(a, 420)
    return "peak %d MiB" % (a.rssKiB >> 10)


# ---- logins --------------------------------------------------------------------------------------

@test
def login_expired_is_renewed_from_the_token_file(w):
    write(w.dir, "token", w.rig.token)
    config = kubeconfig(w.dir, "c-file", w.proxy.url, {"tokenFile": "token"})
    w.proxy.reset(on_page(2, status(401, "Unauthorized")))
    w.complete(w.probe(*LIST, page=100, names=1, kubeconfig=config))
    assert len(w.pages()) == 5


@test
def login_expired_changes_while_the_list_runs(w):
    write(w.dir, "token", "stale")
    config = kubeconfig(w.dir, "c-file", w.proxy.url, {"tokenFile": "token"})

    def plan(request):
        if request.number == 0:  # the kubelet writes a new one just now
            write(w.dir, "token", w.rig.token)
            return status(401, "Unauthorized")
    w.proxy.reset(plan)
    w.complete(w.probe(*LIST, page=100, names=1, kubeconfig=config))


@test
def login_refused_for_good_is_one_error(w):
    write(w.dir, "token", w.rig.token)
    config = kubeconfig(w.dir, "c-file", w.proxy.url, {"tokenFile": "token"})
    w.proxy.reset(always(status(401, "Unauthorized")))
    a = fails(w.probe(*LIST, kubeconfig=config), "VMB_E_DENIED", "Unauthorized")
    assert len(w.pages()) == 2 and a.ms < 2000 + SLACK_MS
    fails(w.list(always(status(401, "Unauthorized"))), "VMB_E_DENIED")
    assert len(w.pages()) == 1  # a fixed token does not become better


# ---- changes -------------------------------------------------------------------------------------

def cm(name):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def first(*fates):
    left = list(fates)
    return lambda request: left.pop(0) if left else None


@test
def create_with_a_lost_answer_is_sent_once(w):
    w.proxy.reset(first(("lose",)))
    fails(w.probe("create", "-", "v1", "configmaps", NS, input=cm("once")), "VMB_E_NET",
          "create configmaps in namespace probe")
    assert len(w.proxy.requests) == 1
    ok(w.probe("delete", "-", "v1", "configmaps", NS, "once"))


@test
def create_refused_as_busy_is_sent_again(w):
    busy = ("answer", 429, {"Retry-After": "1"}, "busy")
    w.proxy.reset(first(busy, busy))
    a = ok(w.probe("create", "-", "v1", "configmaps", NS, input=cm("busy")))
    assert len(w.proxy.requests) == 3 and a.ms > 2000
    ok(w.probe("delete", "-", "v1", "configmaps", NS, "busy"))
    w.proxy.reset(always(busy))
    a = fails(w.probe("create", "-", "v1", "configmaps", NS, input=cm("busy"), deadline_ms=2500),
              "VMB_E_SERVER", "busy")
    assert a.ms < 3000 + SLACK_MS


@test
def delete_with_a_lost_answer_succeeds(w):
    w.proxy.reset()
    ok(w.probe("create", "-", "v1", "configmaps", NS, input=cm("gone")))
    w.proxy.reset(first(("lose",)))
    ok(w.probe("delete", "-", "v1", "configmaps", NS, "gone"))
    fails(w.probe("delete", "-", "v1", "configmaps", NS, "gone"), "VMB_E_NOT_FOUND")


@test
def patch_with_a_lost_answer(w):
    w.proxy.reset(first(("lose",)))
    a = ok(w.probe("patch", "-", "v1", "configmaps", NS, "cm-000", "merge",
                   input={"data": {"p": "1"}}))
    assert a["object"]["data"]["p"] == "1" and len(w.proxy.requests) == 2
    w.proxy.reset(first(("lose",)))
    fails(w.probe("patch", "-", "v1", "configmaps", NS, "cm-000", "json",
                  input=[{"op": "remove", "path": "/data/p"}]), "VMB_E_NET")
    assert len(w.proxy.requests) == 1


# ---- discovery -----------------------------------------------------------------------------------

@test
def discovery_of_an_old_server_is_the_same(w):
    w.proxy.reset()
    new = ok(w.probe("discover"))["object"]

    def plan(request):
        code, headers, body = w.proxy.forward(request, accept="application/json")
        return ("answer", code, dict(headers), body)
    w.proxy.reset(plan)
    old = ok(w.probe("discover"))["object"]
    assert len(w.proxy.requests) > 20

    def norm(doc):
        return {(g["group"], g["preferredVersion"], v["version"]):
                {r["name"]: dict(r, verbs=sorted(r["verbs"])) for r in v["resources"]}
                for g in doc["groups"] for v in g["versions"]}
    a, b = norm(new), norm(old)
    for key in set(a) | set(b):
        assert a.get(key) == b.get(key), (key, a.get(key), b.get(key))
    return "%d requests instead of 3" % len(w.proxy.requests)


@test
def discovery_of_an_old_server_with_a_broken_group_warns(w):
    def plan(request):
        if request.path.startswith("/apis/kubevirt.io"):
            return status(503, "ServiceUnavailable", "no endpoints available")
        code, headers, body = w.proxy.forward(request, accept="application/json")
        return ("answer", code, dict(headers), body)
    w.proxy.reset(plan)
    a = ok(w.probe("discover"))
    groups = [g["group"] for g in a["object"]["groups"]]
    assert "kubevirt.io" not in groups and "apps" in groups
    assert any("no endpoints available" in x for x in a["object"]["warnings"])


@test
def discovery_without_version_goes_on(w):
    w.proxy.reset(lambda r: status(403, "Forbidden", "no") if r.path == "/version" else None)
    doc = ok(w.probe("discover"))["object"]
    assert doc["serverVersion"]["gitVersion"] == "" and len(doc["warnings"]) == 1


@test
def discovery_nonsense_is_one_clear_error(w):
    for body in ("<html>", "{}", '{"kind":"Pod"}', '{"kind":"APIGroupDiscoveryList","items":['):
        w.proxy.reset(lambda r: ("answer", 200, {}, body) if r.path == "/apis" else None)
        a = w.probe("discover")
        assert a.code in ("VMB_E_PROTOCOL", "VMB_E_PARSE"), (body, a.code, a.message)
        assert "discover /apis" in a.message, a.message


# ---- exec ----------------------------------------------------------------------------------------

def run(w, plan, *argv, **options):
    w.proxy.reset(plan)
    return w.probe("exec", NS, "one", "main", *(argv or ("x",)), **options)


WHAT = "exec in pod probe/one container main"


@test
def exec_fragments_pings_and_empty_messages(w):
    a = ok(run(w, always(websocket(
        frame(b"\x01"), frame(b"\x02"), frame(b"\x03"), frame(b"ping", 9),
        frame(b"\x01he", fin=False), frame(b"l", 0, fin=False), frame(b"", 9), frame(b"lo", 0),
        frame(b"", 2), frame(b"\x02e"), frame(b"\x09unknown channel"), frame(b"x", 10),
        frame(exit_status(7)[:9], fin=False), frame(exit_status(7)[9:], 0),
        frame(b"\x03\xe8", 8)))))
    assert (a.out, a.err, a.exit) == ("hello", "e", 7)


@test
def exec_ends_without_ceremony(w):
    assert ok(run(w, always(websocket(frame(exit_status(0)))))).exit == 0
    assert ok(run(w, always(websocket(frame(exit_status(5)), 0.1, "reset")))).exit == 5
    a = ok(run(w, always(websocket(frame(exit_status(0)), "hold"))))
    assert a.exit == 0 and a.ms < 3500 + SLACK_MS, a.ms


@test
def exec_without_status_is_lost(w):
    for parts in ((), (frame(b"\x01out"),), (frame(b"\x03"),), (frame(b"\x01out"), "reset"),
                  (frame(b"\x01out")[:3],), (frame(b"\x03\xe8", 8),),
                  (frame(b"\x03\xf3server shutdown", 8),)):
        a = fails(run(w, always(websocket(*parts))), "VMB_E_NET", WHAT)
        assert not a.retryable and a.exit == -1
    assert "server shutdown" in a.message


@test
def exec_hostile_frames_are_refused(w):
    for bad in (frame(b"\x01x", mask=b"abcd"), frame(b"\x01x", 1), frame(b"\x01x", rsv=0x40),
                frame(b"\x01x", 3), frame(b"x" * 126, 9), frame(b"", 9, fin=False),
                frame(b"x", 0), frame(b"\x01", fin=False) + frame(b"\x01"),
                b"\x82\x7f" + b"\xff" * 8, b"\x82\x7f\x7f" + b"\xff" * 7 + b"\x01" * 100):
        fails(run(w, always(websocket(bad, "hold")), deadline_ms=5000), "VMB_E_PROTOCOL", WHAT)


@test
def exec_nonsense_status_is_refused(w):
    for text in (b"\x03exit 3", b"\x03{}", b"\x03\xff\xff", b"\x03" + b"[" * 5000):
        fails(run(w, always(websocket(frame(text), frame(b"\x03\xe8", 8)))), "VMB_E_PROTOCOL",
              WHAT)
    fails(run(w, always(websocket(*[frame(b"\x03" + b"x" * 60000)] * 3, "hold"))), "VMB_E_LIMIT",
          "exec status")


@test
def exec_bad_handshakes_are_refused(w):
    fails(run(w, always(websocket(accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA="))), "VMB_E_PROTOCOL",
          WHAT, "handshake")
    fails(run(w, always(websocket(protocol="base64.channel.k8s.io"))), "VMB_E_PROTOCOL", WHAT)
    fails(run(w, always(("raw", lambda h: h.wfile.write(b"SSH-2.0-x\r\n")))), "VMB_E_PROTOCOL",
          WHAT, "no HTTP")
    fails(run(w, always(("raw", lambda h: h.wfile.write(b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" *
                                                        20000)))), "VMB_E_LIMIT", WHAT)
    fails(run(w, always(("raw", lambda h: None))), "VMB_E_NET", WHAT, "closed before an answer")
    fails(run(w, always(("answer", 200, {}, "{}"))), "VMB_E_PROTOCOL", WHAT)


@test
def exec_refusals_are_told(w):
    fails(run(w, always(status(403, "Forbidden", "no exec for you"))), "VMB_E_DENIED",
          WHAT + ": no exec for you")
    fails(run(w, always(status(404, "NotFound", 'pods "one" not found'))), "VMB_E_NOT_FOUND",
          WHAT + ': pods "one" not found')
    fails(run(w, always(("answer", 403, HTML, "<h1>blocked</h1>"))), "VMB_E_DENIED", "blocked")
    a = fails(run(w, always(status(503, "ServiceUnavailable", "busy"))), "VMB_E_SERVER", "busy")
    assert a.retryable
    fails(run(w, always(status(401, "Unauthorized"))), "VMB_E_DENIED")
    assert len(w.proxy.requests) == 1
    a = fails(run(w, always(("stall", 3))), "VMB_E_NOT_FOUND", "404")  # its body does not come
    assert a.ms < 6500 + SLACK_MS, a.ms


@test
def exec_second_protocol_is_tried(w):
    def plan(request):
        if request.headers["Sec-WebSocket-Protocol"] == "v5.channel.k8s.io":
            return websocket(frame(b"\x01five"), frame(exit_status(0)))
        return ("answer", 400, {}, "unable to upgrade: no such protocol")
    a = ok(run(w, plan))
    assert a.out == "five" and len(w.proxy.requests) == 2
    fails(run(w, always(("answer", 400, {}, "unable to upgrade"))), "VMB_E_INVALID",
          "unable to upgrade")
    assert len(w.proxy.requests) == 2


@test
def exec_silence_meets_deadline_and_cancellation(w):
    for plan in (always(("silence",)), always(websocket("hold")),
                 always(websocket(frame(b"\x01x"), b"\x82", "hold")),
                 always(("raw", lambda h: (h.wfile.write(b"HTTP/1.1 1"), time.sleep(20))))):
        a = fails(run(w, plan, deadline_ms=800), "VMB_E_TIMEOUT", WHAT)
        assert a.ms < 1800 + SLACK_MS, a.ms
        a = fails(run(w, plan, cancel_ms=500), "VMB_E_CANCELLED", WHAT)
        assert a.ms < 1500 + SLACK_MS, a.ms


@test
def exec_pings_a_silent_server(w):
    heard = []

    def speak(handler):
        websocket(frame(b"\x01x"))[1](handler)
        handler.connection.settimeout(15)
        heard.append(handler.rfile.read(6))
        handler.wfile.write(frame(b"", 10) + frame(exit_status(0)) + frame(b"\x03\xe8", 8))
    a = ok(run(w, always(("raw", speak))))
    assert heard and heard[0][:2] == b"\x89\x80" and a.ms > 9000, (heard, a.ms)


def main():
    kubelib.find_probe()
    try:
        with Rig(parts=["apiserver"]) as rig:
            rig.need("apiserver")
            rig.api("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace",
                                                   "metadata": {"name": NS}})
            for n in range(COUNT):
                rig.api("POST", "/api/v1/namespaces/%s/configmaps" % NS, dict(
                    cm("cm-%03d" % n), data={"x": "y" * 300}))
            with Proxy(rig.api_url, rig.ca_file) as proxy:
                return test.run(World(rig, proxy), only=os.environ.get("VMB_ONLY"))
    except Skip as e:
        print(str(e))
        print("0 passed, 0 failed, 1 skipped")
        return 77


if __name__ == "__main__":
    assert threading.current_thread() is threading.main_thread()
    sys.exit(main())
