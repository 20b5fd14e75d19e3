# SPDX-License-Identifier: Apache-2.0
"""What the suites of this folder share: counting, running, an installed copy of the library."""
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLES = os.path.join(ROOT, "examples")
CLUSTER = os.path.join(EXAMPLES, "demo-cluster")


class Suite:
    """Counts checks; a failed one prints what was seen."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, fine, seen=""):
        if fine:
            self.passed += 1
            print(f"ok: {name}")
        else:
            self.failed += 1
            print(f"FAILED: {name}\n{seen}")
        return bool(fine)

    def skip(self, why):
        self.skipped += 1
        print(f"skipped: {why}")

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        sys.exit(1 if self.failed or not self.passed else 0)


def run(command, timeout=120, **kwargs):
    """A finished process; stdout and stderr are text."""
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                          stdin=kwargs.pop("stdin", subprocess.DEVNULL), **kwargs)


def seen(done):
    return f"exit code {done.returncode}\n{done.stdout}{done.stderr}"


def find(folder, name):
    for base, _, names in os.walk(folder):
        if name in names:
            return os.path.join(base, name)
    return None


def install(build, root):
    """Installs a build below root; the environment in which pkg-config finds it."""
    shutil.rmtree(root, ignore_errors=True)
    done = run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", root])
    if done.returncode != 0:
        raise SystemExit(seen(done))
    library = find(root, "libvmbackup.so")
    return dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(find(root, "vmbackup.pc")),
                PKG_CONFIG_SYSROOT_DIR=root, LD_LIBRARY_PATH=os.path.dirname(library),
                LIBVMBACKUP=library)
