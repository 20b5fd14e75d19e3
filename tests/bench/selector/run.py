#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs our label selectors beside apimachinery's on the same cases and prints medians and ratios.

"kv" matches labels that lie ready: an unsorted array of strings here, a map with its hash index in
Go. "json" starts from the bytes of metadata.labels as the API server sends them, which is what a
backup has in its hands; Go decodes them first. Times are processor time.

Usage: run.py [build folder]   (made as a release build when it does not exist)
Needs meson, ninja, a C compiler and Go.
"""
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[2]
LIBS = ["api", "model", "codec", "base"]
GOAL = 5.0


def lines(command, **options):
    """Output of a bench program by (selector, way): (ns, hits)."""
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout
    rows = [line.split("\t") for line in text.splitlines()]
    return {(name, way): (float(ns), int(hits)) for name, way, ns, hits in rows}


def build_ours(build):
    if not (build / "build.ninja").exists():
        subprocess.run(["meson", "setup", "--buildtype=release", "-Dtests=disabled",
                        "-Dexamples=disabled", str(build), str(TOP)],
                       check=True, stdout=subprocess.DEVNULL)
    archives = [f"src/libvmb-{lib}.a" for lib in LIBS]
    subprocess.run(["ninja", "-C", str(build), *archives], check=True, stdout=subprocess.DEVNULL)
    program = build / "bench-selector"
    # meson's archives are thin: they only name their objects, by paths from the build folder
    subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", f"-I{TOP}/include", f"-I{TOP}/src",
                    str(HERE / "bench.c"), "-o", str(program), "-Wl,--start-group", *archives,
                    "-Wl,--end-group", "-ljansson", "-lyaml", "-larchive", "-lcrypto", "-lz",
                    "-lisal", "-lpthread"], check=True, cwd=build)
    return program


def main():
    with tempfile.TemporaryDirectory() as scratch:
        build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else scratch).resolve()
        ours = build_ours(build)
        theirs = pathlib.Path(scratch) / "bench-go"
        subprocess.run(["go", "build", "-o", str(theirs), "."], check=True,
                       cwd=HERE / "apimachinery")
        cases = str(HERE / "cases.json")
        a = lines([str(ours), cases])
        b = lines([str(theirs), cases])
    failed = 0
    print(f"{'selector':<14}{'from':<6}{'ours ns':>9}{'Go ns':>9}{'ratio':>8}{'matches/s':>13}")
    for key, (ns, hits) in a.items():
        if hits != b[key][1]:
            print(f"{key}: we match {hits} label sets, apimachinery {b[key][1]}")
            failed = 1
        print(f"{key[0]:<14}{key[1]:<6}{ns:>9.1f}{b[key][0]:>9.1f}{b[key][0] / ns:>7.1f}x"
              f"{1e9 / ns:>13,.0f}")
    print(f"goals: {GOAL:.0f}x from json; 10,000,000 matches/s of two pairs against ten labels (kv)")
    return failed


if __name__ == "__main__":
    sys.exit(main())
