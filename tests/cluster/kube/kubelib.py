# SPDX-License-Identifier: Apache-2.0
"""What the suites of the Kubernetes client share: the probe, kubeconfigs, counting."""

import json
import os
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "tests", "rig"))


def find_probe():
    """kube_probe of the build folder VMB_BUILD (or the first argument), or VMB_KUBE_PROBE."""
    build = os.environ.get("VMB_BUILD") or (sys.argv[1] if len(sys.argv) > 1 else
                                            os.path.join(ROOT, "build"))
    path = os.environ.get("VMB_KUBE_PROBE") or os.path.join(build, "tests", "unit", "kube",
                                                            "kube_probe")
    if not os.access(path, os.X_OK):
        print("skipped: no %s; build the tree and set VMB_BUILD" % path)
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(77)
    return path


class Answer(dict):
    """The probe's JSON; fields as attributes."""
    __getattr__ = dict.__getitem__


SLACK_MS = 10000  # what a busy machine may take longer; a call that hangs takes longer than that


class Probe:
    def __init__(self, kubeconfig, env=None):
        self.path = find_probe()
        self.kubeconfig = kubeconfig
        self.env = env or {}

    def start(self, *words, kubeconfig=None, env=None, **options):
        """Options are the probe's, with - for _: page=100, deadline_ms=500."""
        argv = [self.path]
        config = self.kubeconfig if kubeconfig is None else kubeconfig
        if config:
            argv += ["--kubeconfig", config]
        for key, value in options.items():
            argv += ["--" + key.replace("_", "-"), str(value)]
        full = {k: v for k, v in os.environ.items()
                if not k.lower().endswith("_proxy") and k != "KUBECONFIG"}
        full.update(self.env)
        full.update(env or {})
        return subprocess.Popen(argv + [str(w) for w in words], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=full)

    @staticmethod
    def finish(process, input=None, limit=120):
        try:
            out, err = process.communicate(
                None if input is None else json.dumps(input).encode(), limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise AssertionError("the probe hangs: %s" % " ".join(process.args[1:])) from None
        if process.returncode != 0 or err:
            raise AssertionError("probe %s: exit %d %s" % (
                " ".join(process.args[1:]), process.returncode, err.decode()[-2000:]))
        return Answer(json.loads(out))

    def __call__(self, *words, input=None, limit=120, **options):
        return self.finish(self.start(*words, **options), input, limit)


def ok(answer):
    assert answer.code == "VMB_OK", "%s: %s" % (answer.code, answer.message)
    return answer


def fails(answer, code, *says):
    assert answer.code == code, "%s instead of %s: %s" % (answer.code, code, answer.message)
    for text in says:
        assert text in answer.message, "%r is not in %r" % (text, answer.message)
    return answer


def small(answer, mib):
    """The probe's peak stayed small; VMB_RSS_FACTOR is for builds with sanitizers."""
    limit = mib * float(os.environ.get("VMB_RSS_FACTOR", "1"))
    assert answer.rssKiB < limit * 1024, "%d KiB" % answer.rssKiB


def kubeconfig(folder, name, server, user=None, **cluster):
    """Writes a kubeconfig of one context; JSON is YAML."""
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "test",
              "contexts": [{"name": "test", "context": {"cluster": "k", "user": "u"}}],
              "clusters": [{"name": "k", "cluster": dict(server=server, **cluster)}],
              "users": [{"name": "u", "user": user or {}}]}
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)
    return path


def write(folder, name, text, mode=0o600):
    """Writes a file whole, by renaming."""
    path = os.path.join(folder, name)
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)
    return path


class Suite:
    """Tests are functions in the order of their registration."""

    def __init__(self):
        self.tests = []

    def __call__(self, fn):
        self.tests.append(fn)
        return fn

    def run(self, *args, only=None):
        counts = [0, 0]
        for fn in self.tests:
            if only and only not in fn.__name__:
                continue
            start = time.monotonic()
            try:
                note = fn(*args)
                counts[0] += 1
                word = "ok  "
            except Exception as e:
                counts[1] += 1
                word, note = "FAIL", "%s: %s" % (type(e).__name__, e)
                if not isinstance(e, AssertionError):
                    traceback.print_exc()
            print("%s %-52s %6.2f s%s" % (word, fn.__name__, time.monotonic() - start,
                                          "  " + note if note else ""), flush=True)
        print("%d passed, %d failed, 0 skipped" % tuple(counts))
        return 1 if counts[1] else 0
