"""A node without containers: the exec endpoint of a kubelet, and the Node object for it."""

import itertools
import json
import os
import urllib.request
import ssl

from . import Part, register


@register
class Kubelet(Part):
    """Option node: the node's name ("rig-node")."""

    name = "kubelet"
    needs = ("apiserver",)
    builds = ("kubelet",)
    ids = itertools.count(1)

    def setup(self):
        self.port = self.rig.free_port()
        self.cert, self.key = self.rig.pki.server("kubelet")
        self.node = self.rig.option("kubelet", "node", "rig-node")
        self.file = self.path("exec.jsonl")

    def start(self):
        self.spawn("rig-kubelet", [
            self.binary("rig-kubelet"), "-listen", "127.0.0.1:%d" % self.port,
            "-cert", self.cert, "-key", self.key, "-journal", self.file, "-state", self.dir])
        self.wait(self.ready, 20, "answering rig-kubelet")
        if self.rig.node is None:
            self.register_node()

    def ready(self):
        context = ssl.create_default_context(cafile=self.rig.ca_file)
        with urllib.request.urlopen("https://127.0.0.1:%d/healthz" % self.port, timeout=5,
                                    context=context) as answer:
            return answer.read() == b"ok"

    def register_node(self):
        self.rig.api("POST", "/api/v1/nodes", {
            "apiVersion": "v1", "kind": "Node", "metadata": {
                "name": self.node, "labels": {"kubernetes.io/hostname": self.node,
                                              "kubevirt.io/schedulable": "true"}}})
        self.rig.api("PATCH", "/api/v1/nodes/%s/status" % self.node, {"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"},
                          {"type": "Hostname", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                            "message": "the rig's exec endpoint is up"}]}})
        self.rig.node = self.node

    def journal(self):
        try:
            with open(self.file, encoding="utf-8") as f:
                return [json.loads(line) for line in f]
        except FileNotFoundError:
            return []

    def frozen(self):
        """The guests that are frozen now, as "namespace.name"."""
        return sorted(os.listdir(self.path("frozen")))

    def fault(self, match="", times=0, sleep=0, stderr="", exit=None, never=False, drop=False,
              agent=None, **others):
        """What befalls the commands whose argv (joined by spaces) contains match.

        times   how many commands; 0 is all, until the next call
        sleep   seconds before anything else
        stderr  a text written there
        exit    ends with this code without running the command
        never   does not end
        drop    the connection is reset
        agent   False: virt-freezer finds no guest agent, so it freezes nothing and exits 0
        Without arguments: no fault any more.
        """
        if others:
            raise TypeError("unknown faults: %s" % " ".join(others))
        path = self.path("fault.json")
        what = {"match": match, "times": times, "sleep": sleep, "stderr": stderr, "exit": exit,
                "never": never, "drop": drop, "agent": agent}
        if not any(v not in ("", 0, None, False) for k, v in what.items() if k != "exit") \
                and exit is None and agent is None:
            if os.path.exists(path):
                os.remove(path)
            return
        what["id"] = next(self.ids)
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(what, f)
        os.rename(path + ".new", path)
