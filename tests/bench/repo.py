#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Repositories beside restic: wall time, CPU seconds and peak memory of ours and of every restic that
is found, in one run. Not a test: nothing fails on a number.

    VMBACKUP=build/examples/vmbackup/vmbackup tests/bench/repo.py [--cases random,disk,files]
        [--runs 3] [--size-mib 2048] [--files 200000] [--dir FOLDER]

Build with --buildtype=release. Programs of restic: the one in PATH and those in $VMB_RESTIC
(separated by ':'). Cases: random bytes, a sparse disk image as a VM leaves it, many small files.
Steps: first backup; again without a parent (every byte is read); 1 % changed; restore; check of
every byte. Each program gets an empty repository per run; caches are off. CPU is user and system
time of the process; the peak is its resident set.
"""
import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
STEPS = ("first", "forced", "changed", "restore", "check")
ENV = dict(os.environ, RESTIC_PASSWORD="bench", RESTIC_PROGRESS_FPS="0.01")


# ---- sources -------------------------------------------------------------------------------------

def make_random(folder, mib, _files):
    with open(os.path.join(folder, "random.bin"), "wb") as f:
        for _ in range(mib):
            f.write(os.urandom(MIB))


def system_files(limit):
    """Bytes of the programs and libraries of this machine, as an installed guest holds them."""
    for top in ("/usr/lib", "/usr/bin", "/usr/share", "/usr/include"):
        for where, dirs, names in os.walk(top):
            dirs.sort()
            for name in sorted(names):
                path = os.path.join(where, name)
                if os.path.islink(path) or not os.path.isfile(path):
                    continue
                with open(path, "rb") as f:
                    while limit > 0 and (piece := f.read(min(MIB, limit))):
                        yield piece
                        limit -= len(piece)
                if limit <= 0:
                    return


def make_disk(folder, mib, _files):
    """A third of the disk is files, a ninth random bytes, the rest holes between them."""
    rng = random.Random(7)
    total, used, at = mib * MIB, 0, 0
    with open(os.path.join(folder, "disk.img"), "wb") as f:
        f.truncate(total)
        pieces = system_files(total * 35 // 100)
        run = 0
        for piece in pieces:
            if run <= 0:
                at = (at + 4095 & ~4095) + (rng.randrange(8 * MIB) & ~4095)
                run = rng.randrange(1, 16 * MIB)
            if at + len(piece) > total * 85 // 100:
                break
            f.seek(at)
            f.write(piece)
            at += len(piece)
            run -= len(piece)
        at = total * 86 // 100
        while used < total * 11 // 100:
            f.seek(at + used)
            f.write(rng.randbytes(MIB))
            used += MIB


def make_files(folder, _mib, files):
    rng = random.Random(11)
    words = [b"%s " % rng.randbytes(3).hex().encode() for _ in range(2000)]
    for i in range(files):
        where = os.path.join(folder, "%02d" % (i % 40), "%03d" % (i // 40 % 50))
        if i < 2000:
            os.makedirs(where, exist_ok=True)
        size = rng.randrange(100, 8000)
        data = rng.randbytes(size) if i % 2 else b"".join(rng.choices(words, k=size // 7))
        with open(os.path.join(where, "file-%06d.txt" % i), "wb") as f:
            f.write(data)


def change(folder, case):
    """Overwrites about 1 %: every hundredth file, or 16 stretches of a large one."""
    rng = random.Random(23)
    for where, _dirs, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(where, name)
            if case == "files":
                if int(name[5:11]) % 100 == 0:
                    with open(path, "wb") as f:
                        f.write(rng.randbytes(4000))
                continue
            size = os.stat(path).st_size
            with open(path, "r+b") as f:
                for i in range(16):
                    f.seek(size // 16 * i + rng.randrange(size // 64))
                    f.write(rng.randbytes(size // 1600))


SOURCES = {"random": make_random, "disk": make_disk, "files": make_files}


# ---- programs ------------------------------------------------------------------------------------

class Ours:
    def __init__(self, command):
        self.command, self.name = command, "ours"

    def call(self, repo, *rest):
        return [self.command, "repo", "-r", repo, *rest]

    def init(self, repo):
        return self.call(repo, "init")

    def backup(self, repo, source, forced):
        return self.call(repo, "backup", *(["--force"] if forced else []), source)

    def restore(self, repo, target):
        return self.call(repo, "restore", "latest", "--target", target)

    def check(self, repo):
        return self.call(repo, "check", "--read-data")


class Restic:
    def __init__(self, path):
        self.path = path
        text = subprocess.run([path, "version"], capture_output=True, text=True, check=True).stdout
        self.name = " ".join(text.split()[:2])

    def call(self, repo, *rest):
        return [self.path, "-q", "-r", repo, "--no-cache", *rest]

    def init(self, repo):
        return self.call(repo, "init")

    def backup(self, repo, source, forced):
        return self.call(repo, "backup", *(["--force"] if forced else []), source)

    def restore(self, repo, target):
        return self.call(repo, "restore", "latest", "--target", target)

    def check(self, repo):
        return self.call(repo, "check", "--read-data")


def programs(args):
    found = [] if args.only == "restic" else [Ours(os.path.abspath(args.command))]
    paths = [shutil.which("restic")] + os.environ.get("VMB_RESTIC", "").split(":")
    if args.only != "ours":
        found += [Restic(p) for p in paths if p and os.access(p, os.X_OK)]
    return found


def measure_here(command):
    """In a small process of its own: a child's peak counts what its parent held when it was made."""
    start = time.monotonic()
    pid = os.posix_spawnp(command[0], command, ENV)
    _pid, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - start
    os.write(3, json.dumps([os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime,
                            usage.ru_maxrss / 1024]).encode())


def measure(command):
    """(wall s, CPU s, peak MiB) of one command."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile("w+") as facts:
        def numbers_to_3():
            os.dup2(facts.fileno(), 3)
        subprocess.run([sys.executable, "-S", os.path.abspath(__file__), "--measure", *command],
                       env=ENV, stdout=out, stderr=subprocess.STDOUT, check=True, close_fds=False,
                       preexec_fn=numbers_to_3)
        out.seek(0)
        facts.seek(0)
        text = out.read().decode(errors="replace")
        code, wall, cpu, peak = json.load(facts)
    if code != 0:
        raise RuntimeError("%s: exit code %d\n%s" % (" ".join(command), code, text[-800:]))
    return wall, cpu, peak


# ---- runs ----------------------------------------------------------------------------------------

def same(source, target):
    """Does the restored tree hold the same bytes? diff reads both."""
    return subprocess.run(["diff", "-rq", source, target + source], stdout=subprocess.DEVNULL,
                          check=False).returncode == 0


def touch_memory(base, mib):
    """A virtual machine gets its memory when that is first used: not at the first program's cost."""
    with tempfile.TemporaryFile(dir=base) as f:
        for _ in range(mib):
            f.write(bytes(MIB))


def one_run(program, case, work, pristine, steps):
    """Results by step. The source is put back to what it was afterwards."""
    repo, target = os.path.join(work, "repo"), os.path.join(work, "target")
    source = os.path.join(work, "source")
    for path in (repo, target):
        shutil.rmtree(path, ignore_errors=True)
    if not os.path.isdir(source):
        subprocess.run(["cp", "-a", "--sparse=always", pristine, source], check=True)
    got = {}
    measure(program.init(repo))
    for step in steps:
        if step == "changed":
            change(source, case)
        if step == "restore":
            os.mkdir(target)
        command = {"first": lambda: program.backup(repo, source, True),
                   "forced": lambda: program.backup(repo, source, True),
                   "changed": lambda: program.backup(repo, source, False),
                   "restore": lambda: program.restore(repo, target),
                   "check": lambda: program.check(repo)}[step]()
        wall, cpu, peak = measure(command)
        got[step] = (wall, cpu, peak)
        if step == "restore":
            if not same(source, target):
                raise RuntimeError("%s: the restored files differ" % program.name)
            shutil.rmtree(target)
    if "changed" in steps:
        shutil.rmtree(source)
    shutil.rmtree(repo)
    return got


def machine():
    """What one core does here, by other programs' word."""
    facts = {}
    for name in ("sha256", "aes-256-ctr"):
        try:
            text = subprocess.run(["openssl", "speed", "-seconds", "1", "-bytes", "1048576", "-evp", name],
                                  capture_output=True, text=True, check=True).stdout
            facts["openssl " + name] = "%.2f GB/s" % (float(text.split()[-1].rstrip("k")) / 1e6)
        except (OSError, ValueError, IndexError, subprocess.CalledProcessError):
            pass
    try:
        with tempfile.NamedTemporaryFile() as f:
            f.write(b"".join(system_files(64 * MIB)))
            f.flush()
            text = subprocess.run(["zstd", "-b3", "-i1", f.name], capture_output=True, text=True, check=True)
            found = re.findall(r"([\d.]+) MB/s", text.stdout + text.stderr)
            facts["zstd -b3 of programs"] = "%s MB/s, back %s MB/s" % tuple(found[-2:])
    except (OSError, TypeError, subprocess.CalledProcessError):
        pass
    return facts


def report(case, results):
    def middle(name, step, i):
        return statistics.median(r[step][i] for r in results[name] if step in r)

    print("\n%s (medians of %d runs)" % (case, max(len(v) for v in results.values())))
    print("%-10s %-18s %9s %9s %9s" % ("step", "program", "wall s", "CPU s", "peak MiB"))
    for step in STEPS:
        if not any(step in r for v in results.values() for r in v):
            continue
        for name in results:
            wall, cpu, peak = (middle(name, step, i) for i in range(3))
            line = "%-10s %-18s %9.2f %9.2f %9.0f" % (step, name, wall, cpu, peak)
            if name != "ours" and "ours" in results:
                line += "   %.1fx the time, %.1fx the CPU, %.1fx the memory of ours" % (
                    wall / middle("ours", step, 0), cpu / middle("ours", step, 1),
                    peak / middle("ours", step, 2))
            print(line)
    sys.stdout.flush()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--cases", default="random,disk,files")
    p.add_argument("--steps", default=",".join(STEPS))
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--size-mib", type=int, default=2048)
    p.add_argument("--files", type=int, default=200000)
    p.add_argument("--only", choices=("ours", "restic"))
    p.add_argument("--command", default=os.environ.get("VMBACKUP", "build/examples/vmbackup/vmbackup"))
    p.add_argument("--dir", help="where sources and repositories go; the default is memory if it fits")
    p.add_argument("--json", help="a file for the raw numbers")
    args = p.parse_args()
    need = 5 * args.size_mib * MIB
    memory = "/dev/shm"
    roomy = os.path.isdir(memory) and shutil.disk_usage(memory).free > 2 * need
    base = args.dir or (memory if roomy else tempfile.gettempdir())
    if shutil.disk_usage(base).free < need:
        sys.exit("%s: less than %d MiB are free" % (base, need // MIB))
    print("in %s, %d cores; %s" % (base, os.cpu_count(), "; ".join(
        "%s: %s" % kv for kv in machine().items())))
    raw, steps = {}, [s for s in STEPS if s in args.steps.split(",")]
    for case in args.cases.split(","):
        work = tempfile.mkdtemp(prefix="vmb-bench-", dir=base)
        try:
            pristine = os.path.join(work, "pristine")
            os.mkdir(pristine)
            SOURCES[case](pristine, args.size_mib, args.files)
            touch_memory(base, 3 * args.size_mib)
            results = {}
            for _ in range(args.runs):  # turn by turn, so that noise meets all alike
                for program in programs(args):
                    results.setdefault(program.name, []).append(
                        one_run(program, case, work, pristine, steps))
            report(case, results)
            raw[case] = results
        finally:
            shutil.rmtree(work, ignore_errors=True)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(raw, f, indent=1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure_here(sys.argv[2:])
    else:
        main()
