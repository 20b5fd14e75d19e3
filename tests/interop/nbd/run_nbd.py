#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Disks inside of backups over NBD: nbdkit with our plugin, read by the clients of others (nbdcopy,
qemu-img, nbdinfo, nbdfuse), and one file out of an ext4 image by debugfs.

Ends with `N passed, N failed, N skipped`.
"""
import json
import os
import random
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

import steps  # noqa: E402
from steps import Skip  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "rig"))

import rig  # noqa: E402

BUILD = os.environ.get("VMB_BUILD", "build")
PLUGIN = os.path.abspath(os.environ.get("VMB_NBDKIT_PLUGIN") or os.path.join(
    BUILD, "examples", "nbdkit", "nbdkit-vmbackup-plugin.so"))
PROBE = os.path.abspath(os.environ.get("VMB_DISK_PROBE") or os.path.join(
    BUILD, "tests", "interop", "restic", "disk_probe"))
ENV = dict(os.environ, RESTIC_PASSWORD="geheim", TZ="UTC", RESTIC_CACHE_DIR="", LC_ALL="C.UTF-8")
MIB = 1024 * 1024
RSS_LIMIT = 112 * MIB  # a cache of 32 MiB, and four clients with 64 threads each


def run(argv, code=0, env=None):
    done = subprocess.run(argv, capture_output=True, env=env or ENV, timeout=300)
    text = done.stdout.decode(errors="replace")
    errors = done.stderr.decode(errors="replace")
    assert done.returncode == code, "%s ended with %d\n%s%s" % (
        " ".join(argv), done.returncode, text, errors)
    return text if code == 0 else errors


def same(a, b):
    return subprocess.run(["cmp", "-s", a, b]).returncode == 0


class Server:
    """nbdkit with the plugin behind a socket."""

    def __init__(self, folder, *parameters):
        self.socket = os.path.join(folder, "socket")
        self.uri = "nbd+unix:///?socket=" + self.socket
        self.pid_file = os.path.join(folder, "pid")
        for path in (self.socket, self.pid_file):
            if os.path.exists(path):
                os.remove(path)
        self.process = subprocess.Popen(
            ["nbdkit", "-f", "-U", self.socket, "-P", self.pid_file, PLUGIN, *parameters],
            env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        # the file is there when connections are taken
        while not (os.path.exists(self.pid_file) and os.path.getsize(self.pid_file)):
            try:
                self.process.wait(0.05)
                raise AssertionError(self.process.stderr.read().decode())
            except subprocess.TimeoutExpired:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.process.terminate()
        self.process.wait(60)
        self.process.stderr.close()

    def peak_rss(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return 0


class Suite:
    def __init__(self, folder):
        self.folder = folder
        self.rng = random.Random(3)
        self.repo = os.path.join(folder, "store", "restic", "shop")
        os.makedirs(self.repo)
        self.password = os.path.join(folder, "password")
        with open(self.password, "w") as f:
            f.write("geheim\n")
        self.image = self.make_image()
        run([PROBE, "init", self.repo])
        self.snapshot = json.loads(run([PROBE, "backup", self.repo, self.image, "-", "0"]))[
            "snapshot"]
        self.common = ["dir=" + os.path.join(folder, "store"), "prefix=restic/shop",
                       "password-file=" + self.password]

    def make_image(self):
        """An ext4 image of 256 MiB with some files."""
        content = os.path.join(self.folder, "content")
        os.makedirs(os.path.join(content, "etc"))
        with open(os.path.join(content, "etc", "hello.conf"), "w") as f:
            f.write("hello = world\n" * 1000)
        with open(os.path.join(content, "data.bin"), "wb") as f:
            f.write(self.rng.randbytes(20 * MIB))
        image = os.path.join(self.folder, "disk.img")
        with open(image, "wb") as f:
            f.truncate(256 * MIB)
        run(["mkfs.ext4", "-q", "-F", "-d", content, image])
        return image

    def serve(self, *parameters):
        return Server(self.folder, *self.common, *parameters)

    def out(self, name):
        path = os.path.join(self.folder, name)
        if os.path.exists(path):
            os.remove(path)
        return path

    # ---- tests

    def nbdcopy_copies_the_disk(self):
        target = self.out("copied.img")
        with self.serve("snapshot=" + self.snapshot[:10]) as server:
            run(["nbdcopy", server.uri, target])
        assert same(self.image, target)
        assert os.stat(target).st_blocks * 512 < 64 * MIB

    def qemu_sees_the_same_disk(self):
        with self.serve("latest") as server:
            text = run(["qemu-img", "compare", "-f", "raw", "-F", "raw", self.image, server.uri])
            assert "identical" in text, text
            target = self.out("converted.qcow2")
            run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", server.uri, target])
            text = run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", self.image, target])
            assert "identical" in text, text

    def holes_are_told(self):
        with self.serve() as server:
            extents = json.loads(run(["nbdinfo", "--map", "--json", server.uri]))
            info = json.loads(run(["nbdinfo", "--json", server.uri]))["exports"][0]
        assert sum(e["length"] for e in extents) == 256 * MIB, extents
        assert sum(e["length"] for e in extents if e["type"] == 3) > 150 * MIB, extents
        assert info["is_read_only"] and info["can_multi_conn"], info

    def one_file_comes_out_of_the_image(self):
        copied, target = self.out("whole.img"), self.out("hello.conf")
        with self.serve() as server:
            run(["nbdcopy", server.uri, copied])
        run(["debugfs", "-R", "dump /etc/hello.conf " + target, copied])
        assert same(os.path.join(self.folder, "content", "etc", "hello.conf"), target)

    def one_file_comes_out_without_a_copy(self):
        if not shutil.which("nbdfuse") or not os.path.exists("/dev/fuse"):
            raise Skip("needs nbdfuse and /dev/fuse")
        at, target = os.path.join(self.folder, "mapped"), self.out("data.bin")
        os.makedirs(at, exist_ok=True)
        mapped = os.path.join(at, "disk.img")
        with self.serve() as server:
            fuse = subprocess.Popen(["nbdfuse", "-r", mapped, server.uri], env=ENV,
                                    stderr=subprocess.PIPE)
            try:
                for _ in range(100):
                    if os.path.exists(mapped) or fuse.poll() is not None:
                        break
                    try:
                        fuse.wait(0.05)
                    except subprocess.TimeoutExpired:
                        pass
                if not os.path.exists(mapped):
                    fuse.kill()
                    raise Skip("nbdfuse: " + fuse.stderr.read().decode()[:200])
                run(["debugfs", "-R", "dump /data.bin " + target, mapped])
            finally:
                self.unmount(at, fuse)
        assert same(os.path.join(self.folder, "content", "data.bin"), target)

    @staticmethod
    def unmount(at, fuse):
        for program in ("umount", "fusermount3", "fusermount"):
            words = [program, at] if program == "umount" else [program, "-u", at]
            if shutil.which(program) and subprocess.run(words, capture_output=True).returncode == 0:
                break
        try:
            fuse.wait(60)
        except subprocess.TimeoutExpired:
            fuse.kill()
            fuse.wait(60)
        fuse.stderr.close()

    def several_clients_read_at_a_time(self):
        with self.serve() as server:
            copies = [(self.out("copy-%d" % i)) for i in range(4)]
            clients = [subprocess.Popen(["nbdcopy", server.uri, c]) for c in copies]
            assert [c.wait(120) for c in clients] == [0, 0, 0, 0]
            rss = server.peak_rss()
        for c in copies:
            assert same(self.image, c)
        print("peak RSS of the server: %d MiB" % (rss // MIB), flush=True)
        assert rss < RSS_LIMIT, rss

    def disk_that_restic_saved_is_served(self):
        if not shutil.which("restic"):
            raise Skip("needs restic")
        run(["restic", "-r", self.repo, "--no-cache", "-q", "backup", self.image])
        with self.serve("path=" + self.image, "snapshot=latest") as server:
            text = run(["qemu-img", "compare", "-f", "raw", "-F", "raw", self.image, server.uri])
        assert "identical" in text, text

    def location_document_is_read(self):
        path = os.path.join(self.folder, "location.yaml")
        with open(path, "w") as f:
            f.write("apiVersion: velero.io/v1\nkind: BackupStorageLocation\n"
                    "metadata: {name: default}\nspec:\n  provider: vmbackup.io/dir\n"
                    "  config: {path: %s/store/restic}\n" % self.folder)
        with Server(self.folder, "location-file=" + path, "prefix=shop",
                    "password-file=" + self.password, self.snapshot) as server:
            assert int(run(["nbdinfo", "--size", server.uri])) == 256 * MIB

    def disk_in_a_bucket_is_served(self):
        """The repository as it lies, in a real MinIO; parameters instead of a location document."""
        try:
            with rig.Rig(parts=["minio"]) as world:
                self.check_bucket(world.s3["minio"], world.s3client("minio"))
        except rig.Skip as why:
            raise Skip(str(why))

    def check_bucket(self, at, client):
        for folder, _, names in os.walk(self.repo):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as f:
                    client.put("some where/restic/shop/" + os.path.relpath(path, self.repo),
                               f.read())
        keys, wrong = self.out("keys"), self.out("wrong-keys")
        for path, secret in ((keys, at["secret_key"]), (wrong, "nonsense")):
            with open(path, "w") as f:
                f.write("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n" % (
                    at["access_key"], secret))
        common = ["bucket=" + at["bucket"], "s3-url=" + at["endpoint"], "region=" + at["region"],
                  "prefix=some where/restic/shop", "password-file=" + self.password]
        with Server(self.folder, *common, "credentials-file=" + keys,
                    "snapshot=" + self.snapshot) as server:
            text = run(["qemu-img", "compare", "-f", "raw", "-F", "raw", self.image, server.uri])
        assert "identical" in text, text
        locks = [k for k in client.list("some where/restic/shop/locks/")]
        assert not locks, locks
        base = ["nbdkit", "-f", "-U", os.path.join(self.folder, "no-socket"), PLUGIN, *common[1:]]
        for parameters, text in (
                ([common[0], "credentials-file=" + wrong], "HTTP 403"),
                (["bucket=no-such-bucket", "credentials-file=" + keys], "no config file")):
            self.out("no-socket")
            errors = run(base + parameters, code=1)
            assert text in errors and "nonsense" not in errors, (parameters, errors)

    def mistakes_are_told(self):
        wrong = os.path.join(self.folder, "wrong")
        with open(wrong, "w") as f:
            f.write("falsch")
        base = ["nbdkit", "-f", "-U", os.path.join(self.folder, "no-socket"), PLUGIN]
        store, password = self.common[0], self.common[2]
        for parameters, text in (
                ([store], "password-file"),
                ([password], "give one of"),
                ([store, "bucket=b", password], "give one of"),
                ([store, password, "region=r"], "need bucket"),
                ([store, password, "nonsense=1"], "unknown parameter"),
                ([store, password], "repository"),  # there is none at the top
                ([*self.common[:2], "password-file=" + wrong], "password"),
                ([*self.common, "snapshot=0000"], "0000"),
                ([*self.common, "path=/nothing", "snapshot=" + self.snapshot], "/nothing")):
            self.out("no-socket")
            errors = run(base + parameters, code=1)
            assert text in errors, (parameters, errors)

    TESTS = [nbdcopy_copies_the_disk, qemu_sees_the_same_disk, holes_are_told,
             one_file_comes_out_of_the_image, one_file_comes_out_without_a_copy,
             several_clients_read_at_a_time, location_document_is_read, mistakes_are_told,
             disk_that_restic_saved_is_served, disk_in_a_bucket_is_served]


def main():
    missing = [p for p in ("nbdkit", "nbdcopy", "nbdinfo", "qemu-img", "mkfs.ext4", "debugfs")
               if not shutil.which(p)]
    if missing or not os.path.exists(PLUGIN):
        return steps.skip_all("needs " + (
            ", ".join(missing) or "the plugin, which is built where nbdkit's headers are"))
    return steps.in_one_folder(Suite, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
