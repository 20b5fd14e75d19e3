#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Backup speed and memory: ours, the bare list of the same objects, and the real Velero, in one run.

For each size: ConfigMaps of 600 bytes of data in one namespace on the real API server, backed up
into MinIO and into a folder. Prints medians and ratios. Not a test: nothing fails on a number.

    VMBACKUP=build/examples/vmbackup/vmbackup tests/bench/backup.py [--sizes 20000,100000]
"""
import argparse
import http.client
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "rig"))

from rig import Rig, Skip  # noqa: E402

VMBACKUP = os.environ.get("VMBACKUP", "vmbackup")
VELERO = "/apis/velero.io/v1/namespaces/velero/"


def connection(rig):
    at = urllib.parse.urlparse(rig.api_url)
    return http.client.HTTPSConnection(at.hostname, at.port, timeout=60,
                                       context=ssl.create_default_context(cafile=rig.ca_file))


def fill(rig, namespace, count):
    """Creates the objects over 8 connections."""
    rig.api("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace",
                                           "metadata": {"name": namespace}})
    path = "/api/v1/namespaces/%s/configmaps" % namespace
    value = "x" * 590

    def work(first):
        c = connection(rig)
        for i in range(first, count, 8):
            body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap",
                               "metadata": {"name": "cm-%06d" % i, "labels": {"n": str(i % 10)}},
                               "data": {"value": value, "i": "%09d" % i}})
            c.request("POST", path, body, {"Authorization": "Bearer " + rig.token,
                                           "Content-Type": "application/json"})
            answer = c.getresponse()
            text = answer.read()
            if answer.status != 201:
                raise RuntimeError(text[:300])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def bare_list(rig, namespace):
    """Seconds to read every page of 500 over one connection, without looking at the items."""
    c = connection(rig)
    start, size, token = time.monotonic(), 0, ""
    while True:
        query = "limit=500" + ("&continue=" + urllib.parse.quote(token) if token else "")
        c.request("GET", "/api/v1/namespaces/%s/configmaps?%s" % (namespace, query),
                  headers={"Authorization": "Bearer " + rig.token, "Accept": "application/json"})
        text = c.getresponse().read()
        size += len(text)
        head = text[:4096].decode(errors="replace")
        mark = '"continue":"'
        token = head.split(mark)[1].split('"')[0] if mark in head else ""
        if not token:
            return time.monotonic() - start, size


def watch_rss(pid, peak):
    """Follows a process' peak RSS. (ru_maxrss would also count this program, as it was at fork.)"""
    while True:
        try:
            with open("/proc/%d/status" % pid) as f:
                line = next((line for line in f if line.startswith("VmHWM")), None)
            if line is None:  # it has ended
                return
            peak[0] = max(peak[0], int(line.split()[1]) / 1024)
        except OSError:
            return
        time.sleep(0.02)


def ours(rig, name, namespace, *where):
    """(seconds, peak RSS in MiB, CPU seconds) of one backup by the command-line tool."""
    peak = [0.0]
    args = [VMBACKUP, "backup", "create", name, "--include-namespaces", namespace, "--quiet",
            *where]
    start = time.monotonic()
    process = subprocess.Popen(args, env={**os.environ, **rig.environment()},
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    watcher = threading.Thread(target=watch_rss, args=(process.pid, peak), daemon=True)
    watcher.start()
    errors = process.stderr.read()
    watcher.join()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError("vmbackup ended with %d: %s" % (process.returncode,
                                                           errors.decode(errors="replace")))
    return seconds, peak[0], usage.ru_utime + usage.ru_stime


def velero(rig, name, namespace):
    """(seconds, peak RSS in MiB) of one backup by a fresh Velero server."""
    rig.restart("velero")
    rig.velero("backup", "create", name, "--include-namespaces", namespace, "--wait",
               timeout=900)
    status = rig.api("GET", VELERO + "backups/" + name)["status"]
    if status["phase"] != "Completed":
        raise RuntimeError("Velero's backup: %s" % status)
    return velero_seconds(status), velero_rss(rig)


def velero_seconds(status):
    def at(key):
        return time.mktime(time.strptime(status[key], "%Y-%m-%dT%H:%M:%SZ"))
    return at("completionTimestamp") - at("startTimestamp")


def velero_rss(rig):
    """Largest VmHWM of the server's processes (the server and its plugins)."""
    best = 0.0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                argv = f.read().split(b"\0")
            if len(argv) < 2 or not argv[0].endswith(b"/velero") or argv[1] != b"server":
                continue
            with open("/proc/%s/status" % pid) as f:
                line = next(line for line in f if line.startswith("VmHWM"))
            best = max(best, int(line.split()[1]) / 1024)
        except (OSError, StopIteration):
            continue
    return best


def line(what, seconds, rss, base, cpu=None):
    times = sorted(s for s in seconds)
    middle = statistics.median(times)
    print("  %-28s %8.2f s (%.2f to %.2f)%s%s%s" % (
        what, middle, times[0], times[-1],
        "  %7.1f MiB" % max(rss) if rss else "",
        "  %.2f x bare list" % (middle / base) if base else "",
        "  CPU %.2f s" % statistics.median(cpu) if cpu else ""), flush=True)
    return middle


def measure(rig, size, runs, with_velero):
    namespace = "bench-%d" % size
    print("%d ConfigMaps" % size, flush=True)
    start = time.monotonic()
    fill(rig, namespace, size)
    print("  created in %.1f s" % (time.monotonic() - start), flush=True)
    bare = [bare_list(rig, namespace) for _ in range(runs)]
    base = line("bare list, pages of 500", [b[0] for b in bare], None, None)
    print("  %.1f MB of JSON" % (bare[0][1] / 1e6))
    where = getattr(rig, "location_args", [])
    into_s3 = [ours(rig, "m%d-%d" % (size, i), namespace, *where) for i in range(runs)]
    one = line("ours into MinIO", [r[0] for r in into_s3], [r[1] for r in into_s3], base,
               [r[2] for r in into_s3])
    folder = os.path.join(rig.dir, "store")
    os.makedirs(folder)
    into_dir = []
    for i in range(runs):
        into_dir.append(ours(rig, "d%d-%d" % (size, i), namespace, "--store-dir", folder))
    line("ours into a folder", [r[0] for r in into_dir], [r[1] for r in into_dir], base,
         [r[2] for r in into_dir])
    shutil.rmtree(folder, ignore_errors=True)
    if with_velero:
        seconds, rss = velero(rig, "v%d" % size, namespace)
        line("Velero 1.18 into MinIO", [seconds], [rss], base)
        print("  ours is %.1f times faster than Velero" % (seconds / one), flush=True)


LOCATION = """
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: default, namespace: velero}
spec:
  provider: aws
  default: true
  objectStorage: {bucket: %(bucket)s, prefix: velero}
  config: {region: %(region)s, s3ForcePathStyle: "true", s3Url: "%(endpoint)s"}
"""


def locations(rig):
    """Without Velero there is no location in the cluster: each run gets one from a file."""
    path = os.path.join(rig.dir, "location.yaml")
    with open(path, "w") as f:
        f.write(LOCATION % rig.s3["minio"])
    rig.location_args = ["--location-file", path]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="20000,100000")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-velero", action="store_true")
    args = parser.parse_args()
    try:
        parts = ["apiserver", "minio"] + ([] if args.no_velero else ["velero"])
        with Rig(parts=parts) as rig:
            if args.no_velero:
                locations(rig)
            for size in args.sizes.split(","):
                measure(rig, int(size), args.runs, not args.no_velero)
    except Skip as why:
        print("skipped: %s" % why)
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
