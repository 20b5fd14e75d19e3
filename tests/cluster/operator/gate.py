# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy before a plain HTTP store that can hold uploads back, so that a backup stands still for
as long as a test wants it to. All else goes through."""
import contextlib
import socket
import threading
import urllib.parse


class Gate:
    def __init__(self, endpoint):
        url = urllib.parse.urlsplit(endpoint)
        self.target = (url.hostname, url.port or 80)
        self.open = threading.Event()
        self.open.set()
        self.held = threading.Event()  # an upload waits
        self.server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "http://127.0.0.1:%d" % self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        """Holds back every upload from now on."""
        self.held.clear()
        self.open.clear()

    def release(self):
        self.open.set()

    def end(self):
        self.release()
        self.server.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.server.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client, socket.create_connection(self.target) as store:
            threading.Thread(target=self._copy, args=(store, client, False), daemon=True).start()
            self._copy(client, store, True)

    def _copy(self, source, target, gated):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if gated and data[:4] in (b"PUT ", b"POST"):
                    if not self.open.is_set():
                        self.held.set()
                    self.open.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
