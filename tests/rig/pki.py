"""The rig's certificates, by openssl: an authority, servers and clients."""

import os
import threading


class Pki:
    def __init__(self, folder, run):
        self.dir, self.run = folder, run
        self.lock = threading.Lock()
        os.makedirs(folder)
        self.ca_file, self.ca_key = self._at("ca.crt"), self._at("ca.key")
        self.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                  "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj",
                  "/CN=vmbackup rig CA", "-keyout", self.ca_key, "-out", self.ca_file,
                  "-addext", "basicConstraints=critical,CA:TRUE",
                  "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"])

    def _at(self, name):
        return os.path.join(self.dir, name)

    def _issue(self, name, subject, extensions):
        cert, key = self._at(name + ".crt"), self._at(name + ".key")
        with self.lock:
            if os.path.exists(cert):
                return cert, key
            with open(self._at(name + ".ext"), "w", encoding="ascii") as f:
                f.write("\n".join(extensions) + "\n")
            self.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
                      "ec_paramgen_curve:P-256", "-nodes", "-subj", subject, "-keyout", key,
                      "-out", self._at(name + ".csr")])
            self.run(["openssl", "x509", "-req", "-days", "3650", "-in", self._at(name + ".csr"),
                      "-CA", self.ca_file, "-CAkey", self.ca_key, "-CAcreateserial",
                      "-extfile", self._at(name + ".ext"), "-out", cert])
        return cert, key

    def server(self, name, dns=("localhost",), ips=("127.0.0.1",)):
        """(certificate file, key file) of a server."""
        names = ",".join(["DNS:" + d for d in dns] + ["IP:" + i for i in ips])
        return self._issue(name, "/CN=" + name, [
            "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=serverAuth", "subjectAltName=" + names])

    def client(self, user, group):
        """(certificate file, key file) that make a Kubernetes user of a group."""
        return self._issue("client-" + user, "/O=%s/CN=%s" % (group, user), [
            "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=clientAuth"])
