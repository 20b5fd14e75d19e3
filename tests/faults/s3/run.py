#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Spoils the way between the S3 store and a real MinIO, and looks at what comes of it.

    run.py [--build BUILD_DIR] [--only text]

BUILD_DIR is a configured and built meson folder; $VMB_BUILD when not given.

Every case must end in success after retries or in one clear error, never in an object that is
visible and not whole, and never past the deadline. Ends with 'N passed, N failed, N skipped'."""

import argparse
import contextlib
import datetime
import email.utils
import hashlib
import hmac
import http.client
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "rig"))

from rig import Rig, Skip  # noqa: E402

MIB = 1 << 20
SLACK = 10  # seconds that a busy machine may take longer
HOP = {"connection", "keep-alive", "transfer-encoding", "te", "expect"}
S3_ERROR = "<?xml version='1.0'?><Error><Code>%s</Code><Message>%s.</Message></Error>"


class Proxy:
    """HTTP/1.1 proxy in front of one server. fault(request) is asked first: it answers itself and
    returns True, or returns None to let the request pass, or a dict of ways to spoil it."""

    def __init__(self, target):
        self.target = urllib.parse.urlsplit(target)
        self.fault = lambda r: None
        self.requests = []
        self.lock = threading.Lock()
        self.quit = threading.Event()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def handle_any(self):
                proxy.handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *a: None
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.quit.set()
        self.server.shutdown()
        self.server.server_close()

    def count(self, method=None, part=""):
        with self.lock:
            return sum(1 for m, p in self.requests if (not method or m == method) and part in p)

    def handle(self, h):
        r = Request(h, self)
        with self.lock:
            self.requests.append((h.command, h.path))
            r.number = len(self.requests)
            same = [1 for m, p in self.requests
                    if (m, p.split("&")[0]) == (h.command, h.path.split("&")[0])]
            r.seen = len(same)
        try:
            how = self.fault(r)
            if how is not True:
                self.forward(r, how or {})
        except (ConnectionError, BrokenPipeError, socket.timeout, OSError):
            h.close_connection = True

    def forward(self, r, how):
        body = r.body(how.get("cut_request"))
        if body is None:
            return
        c = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=60)
        c.putrequest(r.h.command, r.h.path, skip_host=True, skip_accept_encoding=True)
        for k, v in r.h.headers.items():
            if k.lower() not in HOP and k.lower() != "content-length":
                c.putheader(k, v)
        if r.h.command in ("PUT", "POST"):
            c.putheader("Content-Length", str(len(body)))
        c.endheaders(body if body else None)
        a = c.getresponse()
        data = a.read()
        headers = [(k, v) for k, v in a.getheaders()
                   if k.lower() not in HOP and k.lower() != "content-length"]
        c.close()
        if how.get("lose_answer"):
            return r.cut()
        if how.get("change"):
            status, headers, data = how["change"](a.status, headers, data)
        else:
            status = a.status
        length = a.getheader("Content-Length") if r.h.command == "HEAD" else str(len(data))
        r.raw(status, headers + ([("Content-Length", length)] if length and status != 204 else []),
              data, how.get("cut_answer"))


class Request:
    def __init__(self, h, proxy):
        self.h, self.proxy = h, proxy
        self.method, self.path = h.command, h.path
        self.number = self.seen = 0
        self.taken = False

    def body(self, cut=None):
        """Reads the body; with cut only so many bytes, then the connection goes."""
        n = int(self.h.headers.get("Content-Length") or 0)
        if cut is not None and n > cut:
            self.h.rfile.read(cut)
            self.cut()
            return None
        self.taken = True
        return self.h.rfile.read(n) if n else b""

    def cut(self):
        self.h.close_connection = True
        with contextlib.suppress(OSError):
            self.h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                         b"\x01\0\0\0\0\0\0\0")
            self.h.connection.shutdown(socket.SHUT_RDWR)
        return True

    def raw(self, status, headers, data, cut=None):
        lines = ["HTTP/1.1 %d X" % status] + ["%s: %s" % kv for kv in headers]
        out = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if self.method == "HEAD":
            data = b""
        if cut is not None and len(data) > cut:
            self.h.wfile.write(out + data[:cut])
            self.h.wfile.flush()
            time.sleep(0.05)  # let the bytes arrive before the reset overtakes them
            return self.cut()
        self.h.wfile.write(out + data)
        self.h.wfile.flush()
        return True

    def answer(self, status, text, kind="application/xml", **headers):
        if not self.taken:
            self.body()
        data = text.encode()
        all_headers = [("Content-Type", kind), ("Content-Length", str(len(data))),
                       ("Date", email.utils.formatdate(usegmt=True))]
        all_headers += [(k.replace("_", "-"), v) for k, v in headers.items()]
        return self.raw(status, all_headers, data)

    def error(self, status, code, message="No", **headers):
        return self.answer(status, S3_ERROR % (code, message), **headers)

    def never(self):
        self.body()
        self.proxy.quit.wait(60)
        return self.cut()


class Case:
    """What a test gets: the proxy, a probe of the store, and a look behind the proxy."""

    def __init__(self, args, rig, proxy):
        self.args, self.rig, self.proxy = args, rig, proxy
        self.at = rig.s3["minio"]
        self.direct = rig.s3client("minio")

    def settings(self, endpoint=None, access=None, secret=None, region=None, config=None, **top):
        s = {"bucket": self.at["bucket"],
             "config": {"region": region or self.at["region"],
                        "s3Url": endpoint or self.proxy.url, "s3ForcePathStyle": "true"},
             "credentials": "[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n"
                            % (access or self.at["access_key"], secret or self.at["secret_key"])}
        s["config"].update(config or {})
        s.update(top)
        return {k: v for k, v in s.items() if v is not None}

    def start(self, verb, key, size=0, deadline=60, env=None, **kw):
        f = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False, dir=self.rig.dir)
        json.dump(self.settings(**kw), f)
        f.close()
        program = os.path.join(self.args.build, "tests/conformance/store_probe")
        e = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        e.update(env or {})
        return subprocess.Popen([program, "@" + f.name, str(int(deadline * 1000)), verb, key,
                                 str(size)], stdout=subprocess.PIPE, text=True, env=e)

    def probe(self, verb, key, size=0, deadline=60, **kw):
        started = time.monotonic()
        run = self.start(verb, key, size, deadline, **kw)
        out, _ = run.communicate(timeout=deadline + 60)
        took = time.monotonic() - started
        assert run.returncode in (0, 1), "the probe died: %s" % run.returncode
        result = json.loads(out)
        # An abort may take 4 s more, on purpose: it removes the parts.
        limit = deadline + (5.5 if verb.startswith("put") else 1) + SLACK
        assert took < limit, "took %.1f s with a deadline of %s s" % (took, deadline)
        return result

    def expect(self, code, verb, key, *args, message="", **kw):
        r = self.probe(verb, key, *args, **kw)
        assert r["code"] == code, "%s %s gave %s, not %s" % (verb, key, r, code)
        assert message in r["message"], "the message is: %s" % r["message"]
        for secret in (self.at["secret_key"], self.at["access_key"], "Signature="):
            assert secret not in r["message"], "a secret in: %s" % r["message"]
        return r

    def ok(self, verb, key, *args, **kw):
        return self.expect("VMB_OK", verb, key, *args, **kw)

    def whole(self, key, size):
        """The object is there, whole, seen without the proxy."""
        r = self.probe("get", key, endpoint=self.at["endpoint"])
        assert r["code"] == "VMB_OK" and r["seen"] == size, "behind the proxy: %s" % r

    def absent(self, key):
        assert not self.direct.exists(key), "%s is visible" % key

    def no_uploads(self, wait=0, below=""):
        """No multipart upload lies about, of objects whose names begin so."""
        end = time.monotonic() + wait
        while True:
            status, _, body = self.direct.request("GET", "/" + self.at["bucket"],
                                                  {"uploads": ""})
            left = [key for key in re.findall("<Key>(.*?)</Key>", body.decode())
                    if key.startswith(below)]
            if not left:
                return
            assert time.monotonic() < end, "%d uploads are left" % len(left)
            time.sleep(0.2)


CASES = []


def case(fn):
    CASES.append(fn)
    return fn


# ---- broken connections ----------------------------------------------------------------------


@case
def get_cut_in_every_answer_resumes(c):
    c.ok("put", "cut/get", 5 * MIB)
    c.proxy.fault = lambda r: {"cut_answer": MIB} if r.method == "GET" else None
    c.ok("get", "cut/get")
    assert c.proxy.count("GET") == 5, c.proxy.count("GET")


@case
def get_of_an_object_that_changes_meanwhile_is_a_conflict(c):
    c.ok("put", "cut/changes", 3 * MIB)

    def fault(r):
        if r.method == "GET":
            if r.seen == 1:
                return {"cut_answer": MIB}
            if r.seen == 2:
                c.direct.put("cut/changes", b"something else")
        return None
    c.proxy.fault = fault
    c.expect("VMB_E_CONFLICT", "get", "cut/changes", message="changed while it was read")


def shortened(n):
    """A ranged answer that holds the first n bytes of the range, as a server may give it."""
    def change(status, headers, data):
        if status != 206 or len(data) <= n:
            return status, headers, data
        ranged = dict(headers)["Content-Range"]
        first, total = re.match(r"bytes (\d+)-\d+/(\d+)", ranged).groups()
        headers = [(k, v) for k, v in headers if k != "Content-Range"]
        headers.append(("Content-Range", "bytes %s-%d/%s" % (first, int(first) + n - 1, total)))
        return status, headers, data[:n]
    return change


@case
def get_range_answered_in_parts_is_whole(c):
    c.ok("put", "cut/range", 3 * MIB)

    def fault(r):
        if r.method == "GET":
            return {"cut_answer": MIB} if r.seen == 1 else {"change": shortened(MIB // 2)}
        return None
    c.proxy.fault = fault
    r = c.ok("get", "cut/range")
    assert r["seen"] == 3 * MIB, r


@case
def put_small_cut_in_the_body_is_repeated(c):
    c.proxy.fault = lambda r: {"cut_request": 1000} if r.seen <= 2 and r.method == "PUT" else None
    c.ok("put", "cut/small", 100000)
    c.whole("cut/small", 100000)


@case
def put_part_cut_in_the_body_is_repeated(c):
    c.proxy.fault = lambda r: ({"cut_request": MIB}
                               if r.seen == 1 and "partNumber" in r.path else None)
    c.ok("put", "cut/parts", 20 * MIB)
    c.whole("cut/parts", 20 * MIB)
    c.no_uploads()


@case
def put_cut_for_ever_fails_and_leaves_nothing(c):
    c.proxy.fault = lambda r: {"cut_request": MIB} if "partNumber" in r.path else None
    c.expect("VMB_E_NET", "put", "cut/never", 20 * MIB, maxTries=3)
    c.absent("cut/never")
    c.no_uploads(5)


@case
def put_whose_answer_is_lost_is_not_taken_for_another(c):
    c.proxy.fault = lambda r: {"lose_answer": r.method == "PUT" and r.seen == 1}
    c.ok("put-new", "cut/answer", 1000)
    c.whole("cut/answer", 1000)
    c.proxy.fault = lambda r: None
    c.expect("VMB_E_EXISTS", "put-new", "cut/answer", 999)


@case
def complete_whose_answer_is_lost_succeeds(c):
    c.proxy.fault = lambda r: {"lose_answer": (r.method == "POST" and "uploads" not in r.path and
                                               r.seen == 1)}
    c.ok("put", "cut/complete", 20 * MIB)
    c.whole("cut/complete", 20 * MIB)


@case
def complete_if_absent_whose_answer_is_lost_is_not_taken_for_another(c):
    c.proxy.fault = lambda r: {"lose_answer": (r.method == "POST" and "uploads" not in r.path and
                                               r.seen == 1)}
    c.ok("put-new", "cut/new", 20 * MIB)
    c.whole("cut/new", 20 * MIB)
    c.proxy.fault = lambda r: None
    c.expect("VMB_E_EXISTS", "put-new", "cut/new", 20 * MIB)
    c.no_uploads()


@case
def list_cut_in_the_answer_is_repeated(c):
    for i in range(30):
        c.direct.put("cutlist/%02d" % i, b"x")
    c.proxy.fault = lambda r: {"cut_answer": 500} if r.seen <= 2 else None
    r = c.ok("list", "cutlist/")
    assert r["seen"] == 30


# ---- servers in trouble ------------------------------------------------------------------------


@case
def every_third_request_500_everything_works(c):
    c.proxy.fault = lambda r: r.error(500, "InternalError") if r.number % 3 == 0 else None
    for i in range(3):
        c.ok("put", "third/small%d" % i, 5000)
        c.ok("get", "third/small%d" % i)
        c.ok("stat", "third/small%d" % i)
    c.ok("put", "third/big", 30 * MIB)
    c.ok("get", "third/big")
    assert c.ok("list", "third/")["seen"] == 4
    c.ok("remove", "third/small0")
    c.whole("third/big", 30 * MIB)
    c.no_uploads()


@case
def slow_down_storm_with_retry_after_passes(c):
    c.proxy.fault = lambda r: (r.error(503, "SlowDown", Retry_After="1")
                               if r.number <= 3 else None)
    r = c.ok("put", "slow/a", 1000)
    assert r["ms"] >= 3000, "Retry-After was not honoured: %s" % r


@case
def slow_down_without_end_is_an_error_before_the_deadline(c):
    c.proxy.fault = lambda r: r.error(503, "SlowDown", Retry_After="1")
    c.expect("VMB_E_SERVER", "put", "slow/b", 1000, deadline=4, message="SlowDown")
    c.absent("slow/b")


@case
def server_errors_without_end_are_one_error(c):
    c.proxy.fault = lambda r: r.error(500, "InternalError")
    c.expect("VMB_E_SERVER", "get", "none", maxTries=4, message="InternalError")
    assert c.proxy.count() == 4


@case
def html_error_page_is_retried_by_its_status(c):
    page = "<html><body><h1>503 Service Unavailable</h1></body></html>"
    c.proxy.fault = lambda r: r.answer(503, page, "text/html") if r.number <= 2 else None
    c.ok("put", "html/a", 1000)
    c.proxy.fault = lambda r: r.answer(503, page, "text/html")
    c.expect("VMB_E_SERVER", "put", "html/b", 1000, maxTries=3, message="text/html")
    c.absent("html/b")


@case
def html_page_as_success_is_no_success(c):
    page = "<html><body>Please log in<br></body></html>"
    c.proxy.fault = lambda r: r.answer(200, page, "text/html") if r.method == "PUT" else None
    c.expect("VMB_E_PROTOCOL", "put", "html/c", 1000)
    c.absent("html/c")
    c.expect("VMB_E_PROTOCOL", "put", "html/d", 20 * MIB)
    c.absent("html/d")
    c.no_uploads(5)
    c.proxy.fault = lambda r: r.answer(200, page, "text/html")
    c.expect("VMB_E_PROTOCOL", "list", "html/")


@case
def complete_with_an_error_inside_200_is_repeated(c):
    bad = S3_ERROR % ("InternalError", "We encountered an internal error")
    c.proxy.fault = lambda r: (r.answer(200, "\n   " + bad)
                               if r.method == "POST" and "uploads" not in r.path and r.seen == 1
                               else None)
    c.ok("put", "complete/a", 20 * MIB)
    c.whole("complete/a", 20 * MIB)
    c.proxy.fault = lambda r: (r.answer(200, bad)
                               if r.method == "POST" and "uploads" not in r.path else None)
    c.expect("VMB_E_SERVER", "put", "complete/b", 20 * MIB, maxTries=3, message="InternalError")
    c.absent("complete/b")
    c.no_uploads(5)


@case
def complete_answered_late_with_blanks_is_waited_for(c):
    def change(status, headers, data):
        time.sleep(3)
        return status, headers, b"<?xml version='1.0' encoding='UTF-8'?>" + b" " * 40 + \
            data[data.index(b"?>") + 2:]
    c.proxy.fault = lambda r: ({"change": change}
                               if r.method == "POST" and "uploads" not in r.path else None)
    c.ok("put", "complete/c", 20 * MIB)


@case
def complete_with_an_empty_etag_is_looked_after(c):
    def change(status, headers, data):
        return status, headers, re.sub(b"<ETag>[^<]*</ETag>", b"<ETag></ETag>", data)
    c.proxy.fault = lambda r: ({"change": change}
                               if r.method == "POST" and "uploads" not in r.path else None)
    c.ok("put", "complete/d", 20 * MIB)
    assert c.proxy.count("HEAD") == 1


def wrong_etag(status, headers, data):
    other = '"00000000000000000000000000000000"'
    return status, [(k, other if k.lower() == "etag" else v) for k, v in headers], data


@case
def wrong_etag_once_is_repeated(c):
    c.proxy.fault = lambda r: ({"change": wrong_etag}
                               if r.method == "PUT" and r.seen == 1 else None)
    c.ok("put", "etag/a", 1000)
    c.ok("put", "etag/b", 20 * MIB)
    c.whole("etag/b", 20 * MIB)


@case
def wrong_etag_always_is_an_error_and_nothing_visible(c):
    c.proxy.fault = lambda r: {"change": wrong_etag} if r.method == "PUT" else None
    c.expect("VMB_E_PROTOCOL", "put", "etag/c", 1000, message="ETag")
    c.absent("etag/c")
    c.expect("VMB_E_PROTOCOL", "put", "etag/d", 20 * MIB, message="ETag")
    c.absent("etag/d")
    c.no_uploads(5)


@case
def bytes_changed_on_the_way_are_refused_and_sent_again(c):
    def fault(r):
        if r.method == "PUT" and r.seen == 1:
            body = bytearray(r.body())
            body[len(body) // 2] ^= 1
            r.body = lambda cut=None: bytes(body)
        return None
    c.proxy.fault = fault
    c.ok("put", "flip/a", 100000)
    c.ok("put", "flip/b", 20 * MIB)
    c.whole("flip/a", 100000)
    c.whole("flip/b", 20 * MIB)


# ---- refusals ------------------------------------------------------------------------------------


@case
def full_store_is_told_at_once(c):
    c.proxy.fault = lambda r: (r.error(507, "XMinioStorageFull", "Storage backend is full")
                               if r.method == "PUT" else None)
    c.expect("VMB_E_FULL", "put", "full/a", 1000, message="full")
    assert c.proxy.count("PUT") == 1
    c.proxy.fault = lambda r: (r.error(403, "QuotaExceeded") if r.method == "PUT" else None)
    c.expect("VMB_E_FULL", "put", "full/b", 1000)
    c.proxy.fault = lambda r: (r.error(507, "InsufficientStorage")
                               if "partNumber=2" in r.path else None)
    c.expect("VMB_E_FULL", "put", "full/c", 30 * MIB)
    c.absent("full/c")
    c.no_uploads(5)


@case
def refused_credentials_are_not_tried_again(c):
    c.expect("VMB_E_DENIED", "list", "", secret="wrong-secret-key", message="SignatureDoesNot")
    assert c.proxy.count() == 1
    c.expect("VMB_E_DENIED", "put", "denied", 1000, access="nobody-known")
    c.expect("VMB_E_DENIED", "put", "denied", 20 * MIB, secret="wrong-secret-key")
    c.expect("VMB_E_DENIED", "stat", "denied", secret="wrong-secret-key")
    assert c.proxy.count() == 4
    c.absent("denied")


@case
def bucket_that_is_not_there_is_named(c):
    c.expect("VMB_E_NOT_FOUND", "put", "a", 10, bucket="no-such-bucket", message="no-such-bucket")
    c.expect("VMB_E_NOT_FOUND", "list", "", bucket="no-such-bucket", message="no-such-bucket")
    c.expect("VMB_E_NOT_FOUND", "remove", "a", bucket="no-such-bucket")


@case
def conditional_put_that_is_unknown_falls_back(c):
    c.proxy.fault = lambda r: (r.error(501, "NotImplemented")
                               if "If-None-Match" in r.h.headers else None)
    c.ok("put-new", "cond/a", 1000)
    c.expect("VMB_E_EXISTS", "put-new", "cond/a", 1000)
    c.ok("put-new", "cond/b", 20 * MIB)
    c.expect("VMB_E_EXISTS", "put-new", "cond/b", 20 * MIB)
    c.whole("cond/a", 1000)
    c.no_uploads(5)


# ---- clocks, regions, silence -----------------------------------------------------------------------


@case
def clock_twenty_minutes_off_is_corrected(c):
    """The program's clock is wrong, the real server refuses it."""
    preload = os.path.abspath(os.path.join(c.args.build, "tests/conformance/skew.so"))
    for skew in (-1200, 1200):
        env = {"LD_PRELOAD": preload, "SKEW_SECONDS": str(skew)}
        if c.args.asan:
            env = {"SKEW_SECONDS": str(skew), "LD_PRELOAD": c.args.asan + " " + preload}
        before = c.proxy.count()
        c.ok("put", "clock/%d" % skew, 1000, env=env)
        assert c.proxy.count() == before + 2, c.proxy.requests
        c.ok("stat", "clock/%d" % skew, env=env)  # HEAD: no error code to go by
        c.ok("put", "clock/big%d" % skew, 20 * MIB, env=env)
        c.whole("clock/big%d" % skew, 20 * MIB)


@case
def region_wrong_is_learnt_from_the_real_server(c):
    """MinIO answers 400 AuthorizationHeaderMalformed with the right region."""
    c.ok("put", "region/a", 1000, region="eu-central-1")
    c.ok("put", "region/b", 20 * MIB, region="eu-central-1")
    c.ok("list", "region/", region="eu-central-1")


@case
def redirect_to_another_region_is_followed(c):
    def fault(r):
        if "/us-east-1/s3/" not in r.h.headers.get("Authorization", ""):
            return r.error(301, "PermanentRedirect", x_amz_bucket_region="us-east-1")
        return None
    c.proxy.fault = fault
    c.ok("put", "region/c", 1000, region="eu-central-1")
    c.ok("stat", "region/c", region="eu-central-1")
    c.whole("region/c", 1000)


@case
def redirect_without_a_region_is_an_error_and_not_followed(c):
    c.proxy.fault = lambda r: r.error(307, "TemporaryRedirect",
                                      Location="http://127.0.0.1:1/elsewhere")
    c.expect("VMB_E_PROTOCOL", "put", "region/d", 1000)
    assert c.proxy.count() == 1


@case
def server_that_never_answers_meets_the_deadline(c):
    c.proxy.fault = lambda r: r.never()
    for verb in ("put", "get", "stat", "list", "remove"):
        r = c.expect("VMB_E_TIMEOUT", verb, "never/a", 1000, deadline=1.5)
        assert r["ms"] < 2500, r
    c.absent("never/a")


@case
def part_that_is_never_answered_meets_the_deadline(c):
    c.proxy.fault = lambda r: r.never() if "partNumber=2" in r.path else None
    c.expect("VMB_E_TIMEOUT", "put", "never/b", 30 * MIB, deadline=3)
    c.absent("never/b")
    c.no_uploads(5)


@case
def complete_that_is_never_answered_meets_the_deadline(c):
    c.proxy.fault = lambda r: (r.never() if r.method == "POST" and "uploads" not in r.path
                               else None)
    c.expect("VMB_E_TIMEOUT", "put", "never/c", 20 * MIB, deadline=3)
    c.absent("never/c")
    c.no_uploads(5)


@case
def program_killed_in_the_middle_leaves_nothing_visible(c):
    begun = threading.Event()

    def fault(r):
        if "partNumber=3" in r.path:
            begun.set()
        return None
    c.proxy.fault = fault
    run = c.start("put", "killed/a", 200 * MIB)
    assert begun.wait(60)
    run.send_signal(signal.SIGKILL)
    run.wait()
    time.sleep(0.5)  # what was on its way arrives
    c.absent("killed/a")


def begin_upload(c, key, part=None):
    """As a writer does that dies afterwards."""
    path = "/" + c.at["bucket"] + "/" + key
    status, _, body = c.direct.request("POST", path, {"uploads": ""})
    assert status == 200, body
    upload = re.search(b"<UploadId>(.*?)</UploadId>", body).group(1).decode()
    if part:
        status, _, body = c.direct.request("PUT", path, {"partNumber": "1", "uploadId": upload},
                                           part)
        assert status == 200, body
    return upload


def now_ms(later=0):
    return int(time.time() * 1000) + later


@case
def sweep_ends_uploads_of_dead_writers(c):
    before = now_ms(-1000)
    for key in ("swept/a", "swept/b c+d/\u00fc", "swept"):
        begin_upload(c, key)
    begin_upload(c, "swept/parts", b"x" * 1000)
    r = c.ok("sweep", "swept/", before)
    assert r["seen"] == 0, r
    r = c.ok("sweep", "swept/", now_ms(1000))
    assert r["seen"] == 3, r
    r = c.ok("sweep", "swept/", now_ms(1000))
    assert r["seen"] == 0, r
    r = c.ok("sweep", "swept", now_ms(1000))  # the one that is beside
    assert r["seen"] == 1, r
    c.no_uploads(below="swept")  # what another test killed lies there still


@case
def sweep_leaves_uploads_that_still_get_parts(c):
    """A long upload begins early: what counts is when its last part came."""
    upload = begin_upload(c, "swept/long", b"x" * 1000)
    time.sleep(1.1)
    between = now_ms()
    time.sleep(1.1)
    path = "/" + c.at["bucket"] + "/swept/long"
    status, _, body = c.direct.request("PUT", path, {"partNumber": "2", "uploadId": upload}, b"y")
    assert status == 200, body
    r = c.ok("sweep", "swept/", between)
    assert r["seen"] == 0, r
    r = c.ok("sweep", "swept/", now_ms(1000))
    assert r["seen"] == 1, r


@case
def sweep_in_doubt_takes_an_upload_for_living(c):
    begin_upload(c, "doubt/x", b"x" * 1000)

    def parts(answer):
        return lambda r: (r.answer(200, answer)
                          if r.method == "GET" and "uploadId=" in r.path else None)
    c.proxy.fault = parts("<Parts/>")
    c.expect("VMB_E_PROTOCOL", "sweep", "doubt/", now_ms(1000))
    c.proxy.fault = parts("<ListPartsResult><IsTruncated>false</IsTruncated>"
                          "<Part><PartNumber>1</PartNumber></Part></ListPartsResult>")
    r = c.ok("sweep", "doubt/", now_ms(1000))
    assert r["seen"] == 0, r
    c.proxy.fault = lambda r: None
    # a clock two hours fast: what is older than an hour by it may be young
    env = {"LD_PRELOAD": os.path.abspath(os.path.join(c.args.build, "tests/conformance/skew.so")),
           "SKEW_SECONDS": "7200"}
    if c.args.asan:
        env["LD_PRELOAD"] = c.args.asan + " " + env["LD_PRELOAD"]
    r = c.ok("sweep", "doubt/", now_ms(3600 * 1000), env=env)
    assert r["seen"] == 0, r
    r = c.ok("sweep", "doubt/", now_ms(1000))
    assert r["seen"] == 1, r


@case
def sweep_that_is_refused_says_so(c):
    begin_upload(c, "swept/x")
    c.proxy.fault = lambda r: r.error(403, "AccessDenied") if "uploads" in r.path else None
    c.expect("VMB_E_DENIED", "sweep", "swept/", now_ms(1000))
    c.proxy.fault = lambda r: r.answer(200, "<html/>") if "uploads" in r.path else None
    c.expect("VMB_E_PROTOCOL", "sweep", "swept/", now_ms(1000))
    c.proxy.fault = lambda r: (r.error(404, "NoSuchUpload") if r.method == "DELETE" else None)
    r = c.ok("sweep", "swept/", now_ms(1000))
    assert r["seen"] == 0, r
    c.proxy.fault = lambda r: None
    r = c.ok("sweep", "swept/", now_ms(1000))
    assert r["seen"] == 1, r


@case
def server_down_then_up_again_is_waited_for(c):
    c.rig.stop("minio")
    run = c.start("put", "down/a", 1000, endpoint=c.at["endpoint"], maxTries=12)
    time.sleep(1.5)
    c.rig.start("minio")
    out, _ = run.communicate(timeout=60)
    assert json.loads(out)["code"] == "VMB_OK", out
    c.whole("down/a", 1000)


# ---- other ways to sign in and to address ------------------------------------------------------------


def temporary_keys(c):
    """AssumeRole at the real MinIO: keys that are good only with their token."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = "%s/us-east-1/sts/aws4_request" % now[:8]
    url = urllib.parse.urlsplit(c.at["endpoint"])
    form = b"Action=AssumeRole&Version=2011-06-15&DurationSeconds=900"
    digest = hashlib.sha256(form).hexdigest()
    canonical = ("POST\n/\n\nhost:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n\n"
                 "host;x-amz-content-sha256;x-amz-date\n%s" % (url.netloc, digest, now, digest))
    text = "AWS4-HMAC-SHA256\n%s\n%s\n%s" % (now, scope,
                                             hashlib.sha256(canonical.encode()).hexdigest())
    key = ("AWS4" + c.at["secret_key"]).encode()
    for step in scope.split("/"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    h = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    h.request("POST", "/", form, {
        "x-amz-content-sha256": digest, "x-amz-date": now,
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=host;"
        "x-amz-content-sha256;x-amz-date, Signature=%s" % (c.at["access_key"], scope, signature)})
    body = h.getresponse().read().decode()
    h.close()
    return {name: re.search("<%s>(.*?)</%s>" % (name, name), body).group(1)
            for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")}


def credentials_file(keys, token=True):
    text = "[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n" % (
        keys["AccessKeyId"], keys["SecretAccessKey"])
    return text + ("aws_session_token=%s\n" % keys["SessionToken"] if token else "")


@case
def session_token_is_sent_and_signed(c):
    keys = temporary_keys(c)
    c.ok("put", "token/a", 1000, credentials=credentials_file(keys))
    c.ok("put", "token/b", 20 * MIB, credentials=credentials_file(keys))
    c.whole("token/b", 20 * MIB)
    c.expect("VMB_E_DENIED", "stat", "token/a", credentials=credentials_file(keys, token=False))


@case
def expired_token_is_read_anew_from_the_file(c):
    path = os.path.join(c.rig.dir, "credentials-rotated")
    stale = {"AccessKeyId": "stale", "SecretAccessKey": "stale", "SessionToken": "stale"}
    with open(path, "w") as f:
        f.write(credentials_file(stale))

    def fault(r):
        if "Credential=stale/" in r.h.headers["Authorization"]:
            with open(path, "w") as f:
                f.write(credentials_file(temporary_keys(c)))
            return r.error(400, "ExpiredToken")
        return None
    c.proxy.fault = fault
    c.ok("put", "token/c", 1000, credentials=None, config={"credentialsFile": path})
    assert c.proxy.count() == 2
    c.proxy.fault = lambda r: r.error(400, "ExpiredToken")
    c.expect("VMB_E_DENIED", "put", "token/d", 1000, credentials=None,
             config={"credentialsFile": path})
    assert c.proxy.count() == 3


@case
def web_identity_is_exchanged_for_keys(c):
    """The answer of the token service is faked, the keys in it are real."""
    token = os.path.join(c.rig.dir, "web-token")
    with open(token, "w") as f:
        f.write("a.web+token/=\n")
    forms = []

    def fault(r):
        if r.path != "/sts":
            return None
        forms.append(urllib.parse.parse_qs(r.body().decode()))
        fields = "".join("<%s>%s</%s>" % (k, v, k) for k, v in temporary_keys(c).items())
        return r.answer(200, "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>"
                        "<Credentials>%s</Credentials></AssumeRoleWithWebIdentityResult>"
                        "</AssumeRoleWithWebIdentityResponse>" % fields)
    c.proxy.fault = fault
    c.ok("put", "web/a", 20 * MIB, credentials=None,
         env={"AWS_ENDPOINT_URL_STS": c.proxy.url + "/sts", "AWS_ROLE_ARN": "arn:aws:iam::1:role/x",
              "AWS_WEB_IDENTITY_TOKEN_FILE": token})
    assert forms == [{"Action": ["AssumeRoleWithWebIdentity"], "Version": ["2011-06-15"],
                      "DurationSeconds": ["3600"], "RoleArn": ["arn:aws:iam::1:role/x"],
                      "RoleSessionName": ["vmbackup"], "WebIdentityToken": ["a.web+token/="]}], forms
    c.whole("web/a", 20 * MIB)
    c.proxy.fault = lambda r: r.answer(403, "<ErrorResponse><Error><Code>AccessDenied</Code>"
                                       "</Error></ErrorResponse>")
    c.expect("VMB_E_DENIED", "put", "web/b", 10, credentials=None, message="AccessDenied",
             env={"AWS_ENDPOINT_URL_STS": c.proxy.url + "/sts", "AWS_ROLE_ARN": "arn:x",
                  "AWS_WEB_IDENTITY_TOKEN_FILE": token})


@case
def web_identity_service_that_is_away_does_not_end_what_its_keys_still_open(c):
    token = os.path.join(c.rig.dir, "web-token")
    with open(token, "w") as f:
        f.write("a.web+token/=\n")
    asked = []

    def fault(r):
        if r.path != "/sts":
            return None
        r.body()
        asked.append(1)
        if len(asked) > 1:
            return r.answer(503, "busy")
        keys = temporary_keys(c)  # to be renewed at once, since they last for minutes only
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=280)
        keys["Expiration"] = soon.strftime("%Y-%m-%dT%H:%M:%SZ")
        fields = "".join("<%s>%s</%s>" % (k, v, k) for k, v in keys.items())
        return r.answer(200, "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>"
                        "<Credentials>%s</Credentials></AssumeRoleWithWebIdentityResult>"
                        "</AssumeRoleWithWebIdentityResponse>" % fields)
    c.proxy.fault = fault
    c.ok("put", "web/away", 20 * MIB, credentials=None, maxTries=2,
         env={"AWS_ENDPOINT_URL_STS": c.proxy.url + "/sts", "AWS_ROLE_ARN": "arn:aws:iam::1:role/x",
              "AWS_WEB_IDENTITY_TOKEN_FILE": token})
    assert len(asked) > 1, asked
    c.whole("web/away", 20 * MIB)


@case
def keys_from_the_environment_are_used(c):
    c.ok("put", "env/a", 10, credentials=None,
         env={"AWS_ACCESS_KEY_ID": c.at["access_key"],
              "AWS_SECRET_ACCESS_KEY": c.at["secret_key"]})
    c.expect("VMB_E_DENIED", "put", "env/b", 10, credentials=None, message="none given",
             env={"HOME": "/nonexistent"})


@case
def virtual_host_style_is_served(c):
    port = urllib.parse.urlsplit(c.at["endpoint"]).port
    vhost = {"s3Url": "http://s3.localhost:%d" % port, "s3ForcePathStyle": "false"}
    c.ok("put", "vhost/a b+c", 20 * MIB, config=vhost)
    c.whole("vhost/a b+c", 20 * MIB)
    assert c.ok("list", "vhost/", config=vhost)["seen"] == 1
    c.ok("get", "vhost/a b+c", config=vhost)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default=os.environ.get("VMB_BUILD"),
                   required="VMB_BUILD" not in os.environ)
    p.add_argument("--only")
    p.add_argument("--asan", help="the sanitizer's library, to be preloaded first")
    args = p.parse_args()
    if not args.build:
        p.error("--build or VMB_BUILD is needed")
    passed = failed = 0
    try:
        with Rig(parts=["minio"],
                 options={"minio": {"env": {"MINIO_DOMAIN": "s3.localhost"}}}) as rig:
            for fn in CASES:
                if args.only and args.only not in fn.__name__:
                    continue
                proxy = Proxy(rig.s3["minio"]["endpoint"])
                started = time.monotonic()
                try:
                    fn(Case(args, rig, proxy))
                    outcome = "ok"
                    passed += 1
                except Exception as e:  # noqa: BLE001: a case must not end the suite
                    outcome = "FAILED: %s: %s" % (type(e).__name__, e)
                    failed += 1
                finally:
                    proxy.close()
                print("%-62s %5.1f s  %s" % (fn.__name__, time.monotonic() - started, outcome),
                      flush=True)
    except Skip as e:
        print("skipped: %s" % e)
        print("0 passed, 0 failed, %d skipped" % len(CASES))
        return 77
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
