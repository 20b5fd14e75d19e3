# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy before the API server that does harm on command, and a WebSocket end that lies.

A plan is a function of a Request; what it returns befalls the request:

    None                        forwarded
    ("answer", status, headers, body)
    ("cut", bytes)              forwarded; the body ends after so many bytes, the connection too
    ("stall", bytes)            the same, but the connection stays open and silent
    ("lose",)                   forwarded; the connection is reset instead of the answer
    ("reset",)                  reset before anything is forwarded
    ("silence",)                never answered
    ("raw", fn)                 fn(handler) speaks on the socket itself
"""

import base64
import hashlib
import http.client
import http.server
import json
import socket
import ssl
import struct
import threading
import time
import urllib.parse

STALL = 60.0


class Request:
    def __init__(self, number, method, target, headers, body):
        self.number, self.method, self.target = number, method, target
        self.headers, self.body = headers, body
        parts = urllib.parse.urlsplit(target)
        self.path, self.query = parts.path, urllib.parse.parse_qs(parts.query)
        self.time = time.monotonic()

    @property
    def token(self):
        return self.query.get("continue", [""])[0]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except (OSError, ssl.SSLError):
            pass  # the client went away: that is its right

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        proxy = self.server.proxy
        request = proxy.note(self.command, self.path, self.headers, body)
        fate = proxy.plan(request) if proxy.plan else None
        if fate is None:
            self.give(*proxy.forward(request))
        else:
            getattr(self, "fate_" + fate[0])(proxy, request, *fate[1:])

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = serve

    def give(self, status, headers, body, sent=None):
        self.send_response(status)
        for name, value in headers:
            if name.lower() in ("content-type", "content-encoding", "retry-after"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if sent is None else body[:sent])
        self.wfile.flush()

    def hang_up(self):
        """With a RST, as a broken machine does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def fate_answer(self, proxy, request, status, headers, body):
        self.give(status, list(headers.items()), body.encode() if isinstance(body, str) else body)

    def fate_cut(self, proxy, request, sent):
        self.give(*proxy.forward(request), sent=sent)
        self.close_connection = True

    def fate_stall(self, proxy, request, sent):
        self.give(*proxy.forward(request), sent=sent)
        proxy.ended.wait(STALL)
        self.close_connection = True

    def fate_lose(self, proxy, request):
        proxy.forward(request)
        self.hang_up()

    def fate_reset(self, proxy, request):
        self.hang_up()

    def fate_silence(self, proxy, request):
        proxy.ended.wait(STALL)
        self.close_connection = True

    def fate_raw(self, proxy, request, fn):
        self.close_connection = True
        fn(self)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


class Proxy:
    """A context manager; .url is where it listens."""

    def __init__(self, upstream, ca_file):
        self.upstream = urllib.parse.urlsplit(upstream)
        self.context = ssl.create_default_context(cafile=ca_file)
        self.lock = threading.Lock()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.proxy = self
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]
        self.ended = threading.Event()
        self.reset()

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()
        return False

    def reset(self, plan=None):
        with self.lock:
            self.plan, self.requests = plan, []

    def note(self, method, target, headers, body):
        with self.lock:
            request = Request(len(self.requests), method, target, headers, body)
            self.requests.append(request)
            return request

    def forward(self, request, accept=None):
        conn = http.client.HTTPSConnection(self.upstream.netloc, context=self.context, timeout=60)
        headers = {k: request.headers[k] for k in
                   ("Authorization", "Accept", "Accept-Encoding", "Content-Type")
                   if k in request.headers}
        if accept:
            headers["Accept"] = accept
        conn.request(request.method, request.target, request.body or None, headers)
        answer = conn.getresponse()
        body = answer.read()
        conn.close()
        return answer.status, answer.getheaders(), body


def status(code, reason, message="", **metadata):
    """The answer of an API server that says no."""
    return ("answer", code, {"Content-Type": "application/json"}, json.dumps({
        "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
        "message": message or reason, "reason": reason, "code": code}))


# ---- WebSockets ---------------------------------------------------------------------------------

def accept_key(key):
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


def frame(payload, opcode=2, fin=True, mask=b"", rsv=0):
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    if mask:
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head + mask + payload


def exit_status(code):
    if code == 0:
        return b'\x03{"metadata":{},"status":"Success"}'
    return b"\x03" + json.dumps({"status": "Failure", "reason": "NonZeroExitCode", "details": {
        "causes": [{"reason": "ExitCode", "message": str(code)}]}}).encode()


def websocket(*parts, accept=None, protocol=None):
    """A fate that upgrades, then sends the parts (bytes; a number is a pause; "hold" keeps the
    connection open; "reset" resets it) and hangs up."""
    def speak(handler):
        key = handler.headers.get("Sec-WebSocket-Key", "")
        offered = handler.headers.get("Sec-WebSocket-Protocol", "")
        handler.wfile.write((
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n" % (
                accept or accept_key(key), protocol or offered.split(",")[0])).encode())
        for part in parts:
            handler.wfile.flush()
            if isinstance(part, bytes):
                handler.wfile.write(part)
            elif part == "hold":
                handler.server.proxy.ended.wait(STALL)
            elif part == "reset":
                handler.hang_up()
                return
            else:
                time.sleep(part)
        handler.wfile.flush()
    return ("raw", speak)
