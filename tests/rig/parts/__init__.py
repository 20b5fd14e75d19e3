"""The rig's parts: one class for each server (or group of servers) a suite can ask for.

A part stands in a module of this folder and registers itself in PARTS:

    from . import Part, register

    @register
    class Csi(Part):
        name = "csi"
        needs = ("apiserver",)          # started before it, stopped after it

        def setup(self):                # once, before the first start (may be left out)
            ...

        def start(self):                # spawn, then wait until it answers
            self.spawn("csi-driver", [self.binary("rig-csi-driver"), "--endpoint", ...])
            self.wait(self.ready, 30, "the CSI socket")

Everything a part learns (ports, folders) belongs into setup(), since start() runs again at
each rig.restart(name). stop() need not be written: the base class ends what spawn() began,
last first.
"""

import importlib
import os
import pkgutil

import buildlib

# name -> class, filled by register()
PARTS = {}


def register(cls):
    PARTS[cls.name] = cls
    return cls


def load():
    """Imports every module of this folder, so that PARTS is complete."""
    for info in pkgutil.iter_modules(__path__):
        importlib.import_module("%s.%s" % (__name__, info.name))
    return PARTS


class Part:
    name = ""
    needs = ()
    builds = ()  # parts of buildlib.BUILDS which it wants built; for `up --build` and CI

    def __init__(self, rig):
        self.rig = rig
        self.procs = []
        self.dir = os.path.join(rig.dir, self.name)
        os.makedirs(self.dir, exist_ok=True)

    # to be written by a part

    def setup(self):
        """Once, before the first start."""

    def start(self):
        """Spawns the part's processes and waits until they answer."""
        raise NotImplementedError

    def stop(self):
        for proc in reversed(self.procs):
            proc.stop()
        self.procs.clear()

    def kill(self):
        """SIGKILL to all its processes, as a crash would."""
        for proc in reversed(self.procs):
            proc.kill()
        self.procs.clear()

    def close(self):
        """At the rig's end, after stop(): for what setup() began and stop() leaves alone."""

    # helpers for parts

    def spawn(self, name, argv, env=None, cwd=None):
        """Starts a process whose output goes to <rig.dir>/<name>.log; returns it (a Proc)."""
        proc = self.rig.spawn(name, argv, env=env, cwd=cwd or self.dir)
        self.procs.append(proc)
        return proc

    def wait(self, fn, seconds, what):
        """Waits until fn() is true; fails at once when one of the part's processes ended."""
        self.rig.wait(fn, seconds, what, procs=self.procs)

    def binary(self, name):
        """The path of a program of buildlib.BUILDS, built now if it is missing."""
        return buildlib.binary(name, self.rig.say)

    def path(self, *names):
        return os.path.join(self.dir, *names)
