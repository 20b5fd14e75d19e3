#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs a build into a temporary prefix and uses it from there: pkg-config, headers, symbolic
links, the command, and the C examples built out of the tree.

usage: install.py BUILD
"""
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLES = os.path.join(ROOT, "examples")
PLAIN = ["01_match_labels", "02_validate_spec", "03_backup", "04_event_loop", "05_custom_store"]
WITH_JANSSON = ["06_custom_snapshot", "07_custom_action", "08_custom_volume"]
counts = {"passed": 0, "failed": 0, "skipped": 0}


def check(name, fine, text=""):
    counts["passed" if fine else "failed"] += 1
    print(f"{'ok' if fine else 'FAILED'}: {name}{'' if fine else ': ' + text}")
    return fine


def run(command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, **kwargs)


def find(folder, name):
    for base, _, names in os.walk(folder):
        if name in names:
            return os.path.join(base, name)
    return None


def install(build, target):
    """meson install with the prefix that the build has, below a DESTDIR; the root of the files."""
    done = run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", target])
    check("meson install", done.returncode == 0, done.stdout + done.stderr)
    return done.returncode == 0


def pkg_config(env, *options):
    done = run(["pkg-config", *options, "vmbackup"], env=env)
    check("pkg-config " + " ".join(options), done.returncode == 0, done.stderr)
    return done.stdout.split()


def build_examples(folder, flags, env):
    for name in PLAIN + WITH_JANSSON:
        extra = ["-ljansson"] if name in WITH_JANSSON else []
        done = run(["cc", "-Wall", "-Werror", "-pthread", "-D_GNU_SOURCE",
                    os.path.join(EXAMPLES, name + ".c"), "-o", os.path.join(folder, name)]
                   + flags + extra, env=env)
        check(f"{name}.c builds out of the tree", done.returncode == 0, done.stderr)


def check_run(folder, env):
    store = os.path.join(folder, "store")
    os.makedirs(store)
    done = run([os.path.join(folder, "03_backup"), os.path.join(EXAMPLES, "demo-cluster"), store],
               env=env)
    check("03_backup runs", done.returncode == 0 and done.stdout == "Completed\n",
          done.stdout + done.stderr)
    check("it left a backup", os.path.exists(
        os.path.join(store, "backups", "first", "velero-backup.json")))


def main():
    build = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, "root")
        if install(build, root):
            pc = find(root, "vmbackup.pc")
            library = find(root, "libvmbackup.so")
            header = find(root, "vmbackup.h")
            check("library, header and pkg-config file are installed", pc and library and header)
            check("the soname's link is installed",
                  os.path.exists(os.path.join(os.path.dirname(library), "libvmbackup.so.0")))
            command = find(root, "vmbackup")
            check("the command is installed", command and os.access(command, os.X_OK))
            check("kubectl-vmbackup leads to it", os.path.realpath(
                os.path.join(os.path.dirname(command), "kubectl-vmbackup")) ==
                os.path.realpath(command))
            env = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(pc),
                       PKG_CONFIG_SYSROOT_DIR=root,
                       LD_LIBRARY_PATH=os.path.dirname(library))
            flags = pkg_config(env, "--cflags", "--libs")
            version = pkg_config(env, "--modversion")
            done = run([command, "version"], env=env)
            check("the command runs", done.returncode == 0 and version and
                  f"library {version[0]}" in done.stdout, done.stdout + done.stderr)
            build_examples(folder, flags, env)
            check_run(folder, env)
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
