"""Builds the rig's servers with the ordinary Go tool, into a cache outside the tree.

Every part is a Go module of its own under modules/ (the peers' dependencies conflict with
each other) or a small program of the rig itself. A part is built once per content: the
name of its folder in the cache carries a hash of its go.mod, go.sum, sources and of the
build options.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class Skip(Exception):
    """A part can't be had on this machine; the text says why."""


class BuildError(Exception):
    """The Go tool refused; the text holds its last words."""


# part -> folder, {binary: package}, value of -ldflags. In the order in which they are wanted.
BUILDS = {
    "etcd": ("modules/etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, "-s -w"),
    "kubernetes": ("modules/kubernetes", {
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    }, "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3"
       " -X k8s.io/component-base/version.gitMajor=1"
       " -X k8s.io/component-base/version.gitMinor=36"),
    "minio": ("modules/minio", {"minio": "github.com/minio/minio"}, "-s -w"),
    "kubelet": ("kubelet", {"rig-kubelet": "."}, "-s -w"),
    "velero": ("modules/velero", {"velero": "github.com/vmware-tanzu/velero/cmd/velero"},
               "-s -w -X github.com/vmware-tanzu/velero/pkg/buildinfo.Version=v1.18.3"),
    "velero-plugin-aws": ("modules/velero-plugin-aws", {
        "velero-plugin-for-aws":
            "github.com/vmware-tanzu/velero-plugin-for-aws/velero-plugin-for-aws",
    }, "-s -w"),
    "csi-driver": ("csi-driver", {"rig-csi-driver": "."}, "-s -w"),
    "snapshotter": ("modules/snapshotter", {
        "snapshot-controller":
            "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller",
        "csi-snapshotter":
            "github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter",
    }, "-s -w -X main.version=v8.7.0"),
    "provisioner": ("modules/provisioner", {
        "csi-provisioner": "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner",
    }, "-s -w -X main.version=v6.4.0"),
    "csi-sanity": ("modules/csi-sanity", {
        "csi-sanity": "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity",
    }, "-s -w"),
}


def cache_dir():
    base = os.environ.get("VMB_RIG_CACHE")
    if not base:
        base = os.path.join(os.environ.get("XDG_CACHE_HOME")
                            or os.path.join(os.path.expanduser("~"), ".cache"), "vmbackup-rig")
    return os.path.abspath(base)


def go_tool():
    """The Go tool's path, or None."""
    return (os.environ.get("GO") or shutil.which("go")
            or next((p for p in ("/usr/local/go/bin/go", "/usr/lib/go/bin/go")
                     if os.access(p, os.X_OK)), None))


def digest(part):
    folder, binaries, ldflags = BUILDS[part]
    h = hashlib.sha256(repr((sorted(binaries.items()), ldflags)).encode())
    top = os.path.join(HERE, folder)
    for where, dirs, files in os.walk(top):
        dirs.sort()
        for name in sorted(files):
            if name.endswith(".go") and not name.endswith("_test.go") \
                    or name in ("go.mod", "go.sum"):
                path = os.path.join(where, name)
                with open(path, "rb") as f:
                    body = f.read()
                h.update(b"%s\0%d\0" % (os.path.relpath(path, top).encode(), len(body)))
                h.update(body)
    return h.hexdigest()[:16]


def part_dir(part):
    return os.path.join(cache_dir(), "%s-%s" % (part, digest(part)))


def is_built(part):
    return os.path.isdir(part_dir(part))


def build(part, say=None):
    """Builds a part unless it is there; returns its folder. Raises Skip or BuildError."""
    out = part_dir(part)
    if os.path.isdir(out):
        if say:
            say("%-18s there" % part)
        return out
    folder, binaries, ldflags = BUILDS[part]
    top = os.path.join(HERE, folder)
    if not os.path.exists(os.path.join(top, "go.mod")):
        raise Skip("skipped: no %s in this tree" % folder)
    go = go_tool()
    if not go:
        raise Skip("skipped: needs Go")
    os.makedirs(cache_dir(), exist_ok=True)
    with open(os.path.join(cache_dir(), "%s.lock" % part), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(out):  # another caller built it while this one waited
            if say:
                say("%-18s there" % part)
            return out
        tmp = out + ".part"
        shutil.rmtree(tmp, ignore_errors=True)
        os.makedirs(tmp)
        start = time.monotonic()
        for name, package in binaries.items():
            argv = [go, "build", "-trimpath", "-buildvcs=false", "-mod=readonly",
                    "-ldflags", ldflags, "-o", os.path.join(tmp, name), package]
            if shutil.which("nice"):
                argv = ["nice"] + argv
            run = subprocess.run(argv, cwd=top, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 errors="replace")
            if run.returncode:
                shutil.rmtree(tmp, ignore_errors=True)
                raise BuildError("%s: go build %s failed (exit %d)\n%s" % (
                    part, package, run.returncode, "\n".join(run.stdout.splitlines()[-30:])))
        os.rename(tmp, out)
        if say:
            say("%-18s built in %.1f s" % (part, time.monotonic() - start))
    return out


def binary(name, say=None):
    """The path of a built program; builds its part where needed."""
    for part, (_, binaries, _) in BUILDS.items():
        if name in binaries:
            if say and not is_built(part):
                say("building %s, which takes some minutes" % part)
            return os.path.join(build(part), name)
    raise KeyError(name)


def main(argv):
    def say(text):
        print(text, flush=True)

    if argv and argv[0] in ("-h", "--help"):
        print("usage: build [part... | --list | --prune]\nparts: %s\n"
              "Builds the parts (all by default) into %s;\n"
              "--prune removes what other states of the tree left there.\n"
              "Exit code: 0 built, 1 a build failed, 2 usage, 77 can't be built here."
              % (" ".join(BUILDS), cache_dir()))
        return 0
    if argv and argv[0] == "--list":
        for part in BUILDS:
            print("%-18s %-8s %s" % (part, "there" if is_built(part) else "missing",
                                     part_dir(part)))
        return 0
    if argv == ["--prune"]:
        keep = {os.path.basename(part_dir(part)) for part in BUILDS}
        for name in sorted(os.listdir(cache_dir()) if os.path.isdir(cache_dir()) else []):
            if name.rpartition("-")[0] in BUILDS and name not in keep and "." not in name:
                shutil.rmtree(os.path.join(cache_dir(), name))
                say("removed " + name)
        return 0
    unknown = [a for a in argv if a not in BUILDS]
    if unknown:
        print("build: no such part: %s" % " ".join(unknown), file=sys.stderr)
        return 2
    code = 0
    for part in argv or BUILDS:
        try:
            build(part, say)
        except Skip as e:
            say("%-18s %s" % (part, e))
            code = code or 77
        except BuildError as e:
            print(e, file=sys.stderr, flush=True)
            code = 1
    return code
