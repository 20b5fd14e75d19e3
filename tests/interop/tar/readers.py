#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Archives that we write, against other people's tar: GNU tar and Python read them, and the bytes are
those of Go's archive/tar. usage: readers.py <write_tar program>"""
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def paths():
    out = ["metadata/version", "a"]
    head = "resources/virtualmachineinstancemigrations.kubevirt.io/v1-preferredversion/namespaces/"
    for n in list(range(1, 260)) + [300, 505, 506, 507, 900, 980, 999, 1000, 1001]:
        name = "n" * n
        out.append(name)
        out.append("resources/secrets/namespaces/shop/" + name + ".json")
        out.append(head + "s" * (1 + n % 63) + "/" + name + ".json")
    out += ["r/r\u00f4le-\u20ac.json", "\u00e4/" + "x" * 120, "d" * 155 + "/" + "f" * 100,
            "d" * 156 + "/" + "f" * 100, "d" * 155 + "/" + "f" * 101, "d" * 99 + "/f", "d" * 100 + "/f",
            "resources/clusterroles.rbac.authorization.k8s.io/cluster/system:node.json"]
    return list(dict.fromkeys(out))


def first_difference(a, b):
    at = next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))
    return f"{len(a)} and {len(b)} bytes differ from {at} (block {at // 512}, byte {at % 512})"


def check_python(archive, want):
    with tarfile.open(archive) as t:
        members = t.getmembers()
        assert [m.name for m in members] == want, "python: names"
        for m in members:
            assert m.isreg() and m.mode == 0o755 and m.mtime == 1779264022, m.name
            assert t.extractfile(m).read().decode() == m.name, m.name


def check_gnu_tar(archive, want):
    env = dict(os.environ, LC_ALL="C.UTF-8", TZ="UTC")
    out = subprocess.run(["tar", "tvzf", archive, "--quoting-style=literal"], env=env, check=True,
                         capture_output=True)
    assert out.stderr == b"", out.stderr
    lines = out.stdout.decode().splitlines()
    assert len(lines) == len(want), "GNU tar: number of entries"
    for line, path in zip(lines, want):
        assert line.startswith("-rwxr-xr-x 0/0 ") and line.endswith(" 2026-05-20 08:00 " + path), line


def check_go(plain, want):
    if shutil.which("go") is None:
        print("skipped: the comparison with Go's bytes, as there is no go program")
        return
    with tempfile.TemporaryDirectory() as d:
        shutil.copy(os.path.join(HERE, "golden.go"), d)
        env = dict(os.environ, GO111MODULE="off", GOFLAGS="")
        out = subprocess.run(["go", "run", "golden.go"], input=want.encode(), cwd=d, env=env, check=True,
                             stdout=subprocess.PIPE).stdout
    with open(plain, "rb") as f:
        ours = f.read()
    assert ours == out, "Go: " + first_difference(ours, out)
    print(f"{len(ours)} bytes are those of Go")


def main():
    want = paths()
    text = "".join(p + "\n" for p in want)
    with tempfile.TemporaryDirectory() as d:
        plain, packed = os.path.join(d, "a.tar"), os.path.join(d, "a.tar.gz")
        subprocess.run([sys.argv[1], plain], input=text.encode(), check=True)
        subprocess.run([sys.argv[1], packed, "gz"], input=text.encode(), check=True)
        check_python(plain, want)
        check_python(packed, want)
        check_gnu_tar(packed, want)
        check_go(plain, text)
    print(f"{len(want)} entries read back by GNU tar and Python")


main()
