#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast a list is, beside clients that only fetch: 20,000 ConfigMaps of 600 bytes, pages of 500.

VMB_BENCH_COUNT changes the number of objects. Prints a table; nothing passes or fails."""

import http.client
import os
import re
import ssl
import statistics
import subprocess
import sys
import time
import urllib.parse

import kubelib
from kubelib import ok
from run import NS, World

from rig import Rig

COUNT = int(os.environ.get("VMB_BENCH_COUNT", "20000"))
ROUNDS = 5
TOKEN = re.compile(rb'"continue":"([^"]+)"')
PATH = "/api/v1/namespaces/%s/configmaps?limit=500" % NS


def bare(w):
    """One connection, nothing is looked at but the position."""
    start, total, token = time.monotonic(), 0, b""
    conn = http.client.HTTPSConnection(
        "127.0.0.1", urllib.parse.urlsplit(w.rig.api_url).port,
        context=ssl.create_default_context(cafile=w.rig.ca_file))
    while True:
        path = PATH + ("&continue=" + urllib.parse.quote(token) if token else "")
        conn.request("GET", path, headers={"Authorization": "Bearer " + w.rig.token})
        body = conn.getresponse().read()
        total += len(body)
        found = TOKEN.search(body[:4096])
        if not found:
            return time.monotonic() - start, total
        token = found.group(1)


def curl(w):
    """The loop people write: one curl and one connection for each page."""
    start, total, token = time.monotonic(), 0, b""
    while True:
        url = w.rig.api_url + PATH + ("&continue=" + urllib.parse.quote(token) if token else "")
        body = subprocess.run(["curl", "-s", "-A", "loop", "--cacert", w.rig.ca_file, "-H",
                               "Authorization: Bearer " + w.rig.token, url],
                              stdout=subprocess.PIPE, check=True).stdout
        total += len(body)
        found = TOKEN.search(body[:4096])
        if not found:
            return time.monotonic() - start, total
        token = found.group(1)


def main():
    kubelib.find_probe()
    with Rig(parts=["apiserver"]) as rig:
        w = World(rig)
        rig.api("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace",
                                               "metadata": {"name": NS}})
        start = time.monotonic()
        w.make_configmaps(NS, COUNT, 600)
        print("%d objects made in %.1f s" % (COUNT, time.monotonic() - start))

        def probe(**options):
            a = ok(w.probe("list", "-", "v1", "configmaps", NS, page=500, qps=0, **options))
            assert a["items"] == COUNT
            return a.ms / 1e3, a.itemBytes, a.rssKiB / 1024, a.cpuMs / 1e3
        rows = [("bare client, one connection", lambda: bare(w)),
                ("curl, page by page", lambda: curl(w)),
                ("cluster_kube", lambda: probe()),
                ("cluster_kube, prefetch off", lambda: probe(prefetch=0)),
                ("cluster_kube, compression on", lambda: probe(compression=1))]
        results = {name: [] for name, _ in rows}
        for _ in range(ROUNDS):  # by turns, so that all meet the same machine
            for name, fn in rows:
                results[name].append(fn())
        print("%-32s %8s %8s %8s %8s" % ("median of %d" % ROUNDS, "s", "MB", "CPU s", "RSS MiB"))
        for name, _ in rows:
            got = results[name]
            line = "%-32s %8.3f %8.1f" % (name, statistics.median(g[0] for g in got),
                                          got[0][1] / 1e6)
            if len(got[0]) > 2:
                line += " %8.2f %8.1f" % (statistics.median(g[3] for g in got),
                                          max(g[2] for g in got))
            print(line)
        get = ok(w.probe("get", "-", "v1", "configmaps", NS, "cm-00000"))
        print("a single get: %.1f ms, peak %.1f MiB" % (get.ms, get.rssKiB / 1024))


if __name__ == "__main__":
    sys.exit(main())
