#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Restore speed and memory: ours and the bare creates of the same objects, in one run on the real
API server; with --velero the real Velero beside them.

ConfigMaps of 600 bytes of data in one namespace are backed up and restored into a new one. Prints
seconds, CPU seconds, peak RSS and the ratios. Not a test: nothing fails on a number.

    VMBACKUP=build/examples/vmbackup/vmbackup tests/bench/restore.py [--size 20001] [--velero]
"""
import argparse
import http.client
import json
import multiprocessing
import os
import ssl
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "rig"), HERE]

from backup import VMBACKUP, VELERO, fill, velero_rss, velero_seconds, watch_rss  # noqa: E402
from rig import Rig, Skip  # noqa: E402

CONNECTIONS = 16


def create_part(api_url, ca_file, token, namespace, bodies):
    """Creates objects over one connection."""
    at = urllib.parse.urlparse(api_url)
    c = http.client.HTTPSConnection(at.hostname, at.port, timeout=60,
                                    context=ssl.create_default_context(cafile=ca_file))
    path = "/api/v1/namespaces/%s/configmaps" % namespace
    for body in bodies:
        c.request("POST", path, body, {"Authorization": "Bearer " + token,
                                       "Content-Type": "application/json"})
        answer = c.getresponse()
        text = answer.read()
        if answer.status != 201:
            raise RuntimeError(text[:300])


def create_process(api_url, ca_file, token, namespace, parts):
    """Several connections in one process: a single Python process would be the bottleneck."""
    threads = [threading.Thread(target=create_part, args=(api_url, ca_file, token, namespace, p))
               for p in parts]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def bare_creates(rig, source, target):
    """Seconds to create the same objects over 16 connections."""
    items = rig.api("GET", "/api/v1/namespaces/%s/configmaps" % source)["items"]
    bodies = []
    for i in items:
        if i["metadata"]["name"].startswith("cm-"):
            meta = {"name": i["metadata"]["name"], "labels": dict(i["metadata"]["labels"],
                    **{"velero.io/backup-name": "b", "velero.io/restore-name": "r"})}
            bodies.append(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta,
                                      "data": i["data"]}))
    rig.api("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace",
                                           "metadata": {"name": target}})
    parts = [bodies[i::CONNECTIONS] for i in range(CONNECTIONS)]
    start = time.monotonic()
    processes = [multiprocessing.Process(target=create_process,
                                         args=(rig.api_url, rig.ca_file, rig.token, target,
                                               parts[i::4])) for i in range(4)]
    for p in processes:
        p.start()
    for p in processes:
        p.join()
    return time.monotonic() - start


def ours(rig, *args):
    """(seconds, peak RSS in MiB, CPU seconds) of one command."""
    start = time.monotonic()
    process = subprocess.Popen([VMBACKUP, *args], env={**os.environ, **rig.environment()},
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    peak = [0]
    watcher = threading.Thread(target=watch_rss, args=(process.pid, peak))
    watcher.start()
    text = process.stdout.read()
    watcher.join()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError("vmbackup ended with %d: %s" % (process.returncode,
                                                           text.decode(errors="replace")[-2000:]))
    return seconds, peak[0], usage.ru_utime + usage.ru_stime


def velero_cpu():
    """CPU seconds of the server's processes so far: the server, and its plugins (its children)."""
    tick, found = os.sysconf("SC_CLK_TCK"), {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                argv = f.read().split(b"\0")
            with open("/proc/%s/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        server = len(argv) > 1 and argv[0].endswith(b"/velero") and argv[1] == b"server"
        # of the process, and of its children that have ended
        found[pid] = (fields[1], server, sum(int(n) for n in fields[11:15]) / tick)
    servers = {pid for pid in found if found[pid][1]}
    return sum(seconds for pid, (parent, _, seconds) in found.items()
               if pid in servers or parent in servers)


def velero(rig, size):
    """(seconds, peak RSS in MiB, CPU seconds) of a restore by a fresh Velero server."""
    rig.restart("velero")
    rig.wait(lambda: any(b["metadata"]["name"] == "b" for b in
                         rig.api("GET", VELERO + "backups")["items"]), 150, "sync of the backup")
    before = velero_cpu()
    rig.velero("restore", "create", "v", "--from-backup", "b", "--namespace-mappings",
               "bench:velero-copy", "--wait", timeout=1200)
    status = rig.api("GET", VELERO + "restores/v")["status"]
    found = velero_seconds(status), velero_rss(rig), velero_cpu() - before
    print("  Velero 1.18: %.0f s, %.1f MiB, CPU %.2f s, %s" % (*found, status["phase"]), flush=True)
    count = len(rig.api("GET", "/api/v1/namespaces/velero-copy/configmaps")["items"])
    if count < size:
        raise RuntimeError("Velero restored %d of %d" % (count, size))
    return found


def measure(rig, size, runs, with_velero):
    print("%d ConfigMaps" % size, flush=True)
    fill(rig, "bench", size)
    where, found = [], []
    if not with_velero:
        folder = os.path.join(rig.dir, "store")
        os.makedirs(folder)
        where = ["--store-dir", folder]
    ours(rig, "backup", "create", "b", "--include-namespaces", "bench", "--quiet", *where)
    for i in range(runs):
        bare = bare_creates(rig, "bench", "bare-%d" % i)
        found.append(ours(rig, "restore", "create", "r%d" % i, "--from-backup", "b",
                          "--namespace-mappings", "bench:copy-%d" % i, "--quiet", *where))
        seconds, rss, cpu = found[-1]
        print("  bare creates over %d connections: %.2f s; ours: %.2f s (%.2f x), %.1f MiB, CPU "
              "%.2f s" % (CONNECTIONS, bare, seconds, seconds / bare, rss, cpu), flush=True)
    if with_velero:
        theirs = velero(rig, size)
        seconds, rss, cpu = (statistics.median(column) for column in zip(*found))
        print("  Velero takes %.1f x the time, %.1f x the memory, %.1f x the CPU seconds of ours" %
              (theirs[0] / seconds, theirs[1] / rss, theirs[2] / cpu), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=20001)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--velero", action="store_true")
    args = parser.parse_args()
    try:
        with Rig(parts=["apiserver"] + (["minio", "velero"] if args.velero else [])) as rig:
            measure(rig, args.size, args.runs, args.velero)
    except Skip as why:
        print("skipped: %s" % why)
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
