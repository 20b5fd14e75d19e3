#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the store suite against real servers: MinIO and Ceph's RADOS gateway.

    run_stores.py [--build BUILD_DIR] [--servers minio,rgw] [--only text] [--stream MIB]

BUILD_DIR is a configured and built meson folder; $VMB_BUILD when not given.

Ends with 'N passed, N failed, N skipped'."""

import argparse
import base64
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "rig"))

from rig import Rig, Skip  # noqa: E402

ENV = {k: v for k, v in os.environ.items()
       if not k.startswith("AWS_") and k.lower() not in ("http_proxy", "https_proxy")}
# What libs3 2.0 cannot do: keys with other characters are refused, not stored wrongly.
LIBS3_SKIP = "keys_with_odd_characters_work,keys_with_control_bytes_work"


class Counts:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add_line(self, text):
        m = re.search(r"(\d+) passed, (\d+) failed, (\d+) skipped\s*$", text)
        if not m:
            self.failed += 1
            print("FAILED: the suite did not end with its counts")
            return
        self.passed += int(m.group(1))
        self.failed += int(m.group(2))
        self.skipped += int(m.group(3))


def settings_of(at, endpoint=None, **config):
    c = {"region": at["region"], "s3Url": endpoint or at["endpoint"], "s3ForcePathStyle": "true"}
    c.update(config)
    return {"bucket": at["bucket"], "config": c,
            "credentials": "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n"
                           % (at["access_key"], at["secret_key"])}


def run_suite(args, counts, title, provider, settings, more=()):
    print("== %s" % title, flush=True)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(settings, f)
        f.flush()
        argv = [os.path.join(args.build, "tests/conformance/store_conformance"), "--provider",
                provider, "--settings", "@" + f.name] + list(more)
        if args.only:
            argv += ["--only", args.only] if "--only" not in argv else []
        run = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             env=ENV, timeout=900)
    print(run.stdout, flush=True)
    counts.add_line(run.stdout)


def suites_of(name, at):
    """(title, provider, settings, more arguments) for each run on one server."""
    yield (name, "s3", settings_of(at), [])
    yield (name + ", CRC32C and small parts", "s3",
           dict(settings_of(at, checksumAlgorithm="CRC32C"), partSize=5 * 1024 * 1024,
                partsInFlight=1), ["--only", "object_"])
    if name == "minio":
        yield (name + ", CRC64NVME", "s3", settings_of(at, checksumAlgorithm="CRC64NVME"),
               ["--only", "reads_back"])
    if at.get("tls_endpoint"):
        with open(at["ca_file"]) as f:
            ca = f.read()
        yield (name + ", TLS with its CA", "s3",
               dict(settings_of(at, at["tls_endpoint"]), caCert=ca), ["--only", "object_", "--insecure"])
        yield (name + ", TLS unverified", "s3",
               settings_of(at, at["tls_endpoint"], insecureSkipTLSVerify="true"),
               ["--only", "presigned", "--insecure"])
    yield (name + ", libs3", "libs3", settings_of(at), ["--skip", LIBS3_SKIP, "--plain-keys"])


def probe(args, settings, verb, key):
    """Result of one operation on an S3 store."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(settings, f)
        f.flush()
        run = subprocess.run([os.path.join(args.build, "tests/conformance/store_probe"),
                              "@" + f.name, "20000", verb, key, "1000"],
                             stdout=subprocess.PIPE, text=True, env=ENV, timeout=60)
    return json.loads(run.stdout)


def certificates(args, counts, at):
    """A server is believed only when its certificate is by a known authority and for its name."""
    with open(at["ca_file"]) as f:
        ca = f.read()
    url = at["tls_endpoint"]
    other_name = url.replace("127.0.0.1", "other.localhost")  # resolved by libcurl itself
    cases = [("no authority", dict(settings_of(at, url)), "VMB_E_NET: certificate"),
             ("its authority", dict(settings_of(at, url), caCert=ca), "VMB_OK"),
             ("its authority in base64", dict(settings_of(
                 at, url), caCert=base64.b64encode(ca.encode()).decode()), "VMB_OK"),
             ("another name", dict(settings_of(at, other_name), caCert=ca), "VMB_E_NET: subject name"),
             ("unverified", settings_of(at, url, insecureSkipTLSVerify="true"), "VMB_OK")]
    print("== certificates")
    for title, settings, expected in cases:
        r = probe(args, settings, "put", "certificate")
        code, _, word = expected.partition(": ")
        good = r["code"] == code and word in r["message"]
        counts.passed += good
        counts.failed += not good
        print("%-55s %s" % (title, "ok" if good else r), flush=True)


def peak_memory(args, counts, at):
    """A stream of any length takes its three parts (24 MiB) and what fifty shared libraries take
    (15 MiB)."""
    program = os.path.join(args.build, "tests/conformance/store_stream")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(settings_of(at), f)
        f.flush()
        run = subprocess.run([program, "@" + f.name, str(args.stream << 20), str(42 << 20)],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENV,
                             timeout=900)
    print("== peak memory of a stream\n" + run.stdout, flush=True)
    if run.returncode == 0:
        counts.passed += 1
    else:
        counts.failed += 1


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default=os.environ.get("VMB_BUILD"),
                   required="VMB_BUILD" not in os.environ)
    p.add_argument("--servers", default="minio,rgw")
    p.add_argument("--only")
    p.add_argument("--stream", type=int, default=512, metavar="MIB",
                   help="size of the stream whose memory is looked at; 0: none")
    args = p.parse_args()
    if not args.build:
        p.error("--build or VMB_BUILD is needed")
    counts = Counts()
    for name in args.servers.split(","):
        try:
            with Rig(parts=[name]) as rig:
                at = rig.s3[name]
                for title, provider, settings, more in suites_of(name, at):
                    if args.only and "--only" in more:
                        continue
                    run_suite(args, counts, title, provider, settings, more)
                if at.get("tls_endpoint") and not args.only:
                    certificates(args, counts, at)
                if args.stream and name == "minio" and not args.only:
                    peak_memory(args, counts, at)
        except Skip as e:
            print("skipped: %s: %s" % (name, e))
            counts.skipped += 1
    print("%d passed, %d failed, %d skipped" % (counts.passed, counts.failed, counts.skipped))
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
