# SPDX-License-Identifier: Apache-2.0
"""Many small objects on the rig's API server, quickly: several processes with several connections
each, since one Python process would be the bottleneck."""
import json
import multiprocessing
import socket
import ssl
import threading
import urllib.parse

PROCESSES, CONNECTIONS, BUNCH = 2, 16, 25
TEXT = "x" * 600


def config_map(i):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c-%06d" % i},
            "data": {"k": TEXT}}


def _answers(stream, n):
    for _ in range(n):
        status, length = stream.readline(), 0
        for line in iter(stream.readline, b"\r\n"):
            if not line:
                raise ConnectionError("the server hung up")
            if line[:15].lower() == b"content-length:":
                length = int(line[15:])
        body = stream.read(length)
        if status[9:12] != b"201":
            raise RuntimeError("%s %s" % (status.decode().strip(), body[:300]))


def _connection(at, path, token, numbers, make, failures):
    """Requests go out in bunches, without waiting for each answer."""
    url = urllib.parse.urlparse(at["url"])
    head = ("POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"
            "Content-Type: application/json\r\nContent-Length: " % (path, url.netloc, token))
    context = ssl.create_default_context(cafile=at["ca"])
    try:
        with socket.create_connection((url.hostname, url.port), timeout=120) as plain, \
                context.wrap_socket(plain, server_hostname=url.hostname) as s, \
                s.makefile("rb") as stream:
            for first in range(0, len(numbers), BUNCH):
                bunch = [json.dumps(make(i)) for i in numbers[first:first + BUNCH]]
                s.sendall("".join("%s%d\r\n\r\n%s" % (head, len(b.encode()), b)
                                  for b in bunch).encode())
                _answers(stream, len(bunch))
    except Exception as why:  # told by the process: a thread's would be lost
        failures.append("%s: %s" % (type(why).__name__, why))


def _process(at, path, token, first, step, count, make):
    failures = []
    threads = [threading.Thread(target=_connection, args=(
        at, path, token, range(first + k * step, count, step * CONNECTIONS), make, failures))
        for k in range(CONNECTIONS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise SystemExit(failures[0])


def fill(rig, path, count, make=config_map):
    """Creates make(0)…make(count - 1) below `path`; raises when one was not made."""
    at = {"url": rig.api_url, "ca": rig.ca_file}
    fork = multiprocessing.get_context("fork")
    parts = [fork.Process(target=_process, args=(at, path, rig.token, i, PROCESSES, count, make))
             for i in range(PROCESSES)]
    for p in parts:
        p.start()
    for p in parts:
        p.join()
    bad = [p.exitcode for p in parts if p.exitcode]
    if bad:
        raise RuntimeError("%d of %d processes could not create their objects" % (len(bad),
                                                                                  len(parts)))
