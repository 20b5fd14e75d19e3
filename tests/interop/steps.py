# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a suite, one line each: steps on one rig, in order, each of which builds on the
former; methods that share a folder; functions of which each has a folder of its own."""
import functools
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "rig"))

from rig import Rig, Skip  # noqa: E402

VMBACKUP = os.environ.get("VMBACKUP", "vmbackup")
VELERO = "/apis/velero.io/v1/namespaces/velero/"


class Steps:
    """Subclasses set PARTS and STEPS."""

    def __init__(self, rig):
        self.rig = rig
        self.s3 = rig.s3client("minio")

    def vmbackup(self, *args, code=0, env=None):
        done = subprocess.run([VMBACKUP, *args], capture_output=True, text=True, timeout=240,
                              env={**os.environ, **self.rig.environment(), **(env or {})})
        assert done.returncode == code, "vmbackup %s ended with %d\n%s%s" % (
            " ".join(args), done.returncode, done.stdout, done.stderr)
        return done.stdout

    def object(self, kind, name):
        return self.rig.api("GET", VELERO + kind + "/" + name)

    def file(self, backup, suffix):
        return self.s3.get("velero/backups/%s/%s" % (backup, suffix))

    def document(self, backup, suffix):
        return json.loads(gzip.decompress(self.file(backup, backup + "-" + suffix)))


class Failed(AssertionError):
    """A test failed, and the text tells all: no traceback is needed."""


def want(condition, text):
    if not condition:
        raise Failed(text)


def cpu_seconds():
    """Of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def run_tests(tests, note=None):
    """Runs (name, function) pairs and prints the counts; returns the exit code.

    note is told of every test that passed or failed: note(name, "pass")."""
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    for name, test in tests:
        start, cpu = time.monotonic(), cpu_seconds()
        word, text = "ok", ""
        try:
            test()
        except Skip as why:
            word, text = "skip", str(why)
        except Failed as why:
            word, text = "FAIL", "\n%s" % why
        except Exception:
            word, text = "FAIL", "\n" + traceback.format_exc(limit=-3)[-4000:]
        counts[word] += 1
        if note is not None and word != "skip":
            note(name, "pass" if word == "ok" else "fail")
        print("%-4s %-50s %5.1f s %5.1f CPU s %s" % (word, name, time.monotonic() - start,
                                                     cpu_seconds() - cpu, text), flush=True)
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["FAIL"], counts["skip"]))
    return 1 if counts["FAIL"] else 0


def skip_all(why):
    print("skipped: %s\n0 passed, 0 failed, 1 skipped" % why)
    return 77


def chosen(name, words):
    return not words or any(word in name for word in words)


def in_one_folder(suite_class, words=(), note=None):
    """The methods in TESTS of suite_class(folder), in order, whose names contain one of words."""
    with tempfile.TemporaryDirectory() as folder:
        suite = suite_class(folder)
        return run_tests([(test.__name__, functools.partial(test, suite))
                          for test in suite_class.TESTS if chosen(test.__name__, words)], note)


def in_own_folders(functions, make, words=(), note=None):
    """The functions named test_… of a module's globals(); each gets make(folder)."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None

    def run(test):
        with tempfile.TemporaryDirectory(prefix="vmbackup-test-", dir=base) as folder:
            test(make(folder))
    return run_tests([(name[5:], functools.partial(run, test))
                      for name, test in list(functions.items())
                      if name.startswith("test_") and chosen(name[5:], words)], note)


def main(suite_class, **rig_options):
    """Runs STEPS on a rig with PARTS; returns the exit code."""
    try:
        with Rig(parts=list(suite_class.PARTS), **rig_options) as rig:
            suite = suite_class(rig)
            return run_tests([(step.__name__, functools.partial(step, suite))
                              for step in suite_class.STEPS])
    except Skip as why:
        return skip_all(why)
