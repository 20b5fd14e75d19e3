#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the tree in several ways and runs every suite.

Each suite runs within a time limit, its output goes to a log, and it gets one line with its counts.
The last line is `N passed, N failed, N skipped`: the sum over the suites' own tests.
"""
import argparse
import concurrent.futures
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COUNTS = re.compile(r"^(?:.*: )?(\d+) passed, (\d+) failed, (\d+) skipped\s*$")
CMOCKA_PASSED = re.compile(r"^\[  PASSED  \] (\d+) test", re.M)
CMOCKA_FAILED = re.compile(r"^\[  FAILED  \] .*?(\d+) test", re.M)
SANITIZER_ENV = {
    "ASAN_OPTIONS": "abort_on_error=1:halt_on_error=1:detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Suite:
    """One line of the check: a list of commands, run in order until one fails."""

    def __init__(self, name, commands, limit_s, counter="exit", env=None, build=None,
                 needs=(), after=None, waits=False, velero=False):
        self.name = name
        self.commands = commands
        self.limit_s = limit_s
        self.counter = counter  # exit, line, meson, or meson-any: also no test at all is fine
        self.env = env or {}
        self.build = build  # for counter meson: the build folder
        self.needs = needs  # programs without which the suite is skipped
        self.after = after  # the suite without whose success this one cannot run
        self.waits = waits  # mostly waits for servers: runs beside two others of the kind
        self.velero = velero  # starts a Velero server


class Checker:
    def __init__(self, args):
        self.args = args
        self.top = os.path.join(ROOT, "build-check")
        self.logs = os.path.join(self.top, "logs")
        self.totals = [0, 0, 0]
        self.failed_suites = []
        self.lock = threading.Lock()  # of what is printed and summed up
        self.velero = threading.Lock()  # its server has one fixed port
        self.running = set()  # processes that were started and have not ended
        self.stopping = False
        os.makedirs(self.logs, exist_ok=True)

    def folder(self, name):
        return os.path.join(self.top, name)

    # ---- running ------------------------------------------------------------------------

    def run(self, suite):
        if self.stopping or self.args.only and not any(word in suite.name for word in self.args.only):
            return
        missing = [program for program in suite.needs if not shutil.which(program)]
        if missing:
            word = "Go" if missing == ["go"] else ", ".join(missing)
            self.line(suite, (0, 0, 1), 0, f"skipped: needs {word}")
            return
        log = os.path.join(self.logs, re.sub(r"[^\w.-]+", "-", suite.name) + ".log")
        after = suite.after or "build: gcc"  # without that one nothing can run
        if after in self.failed_suites:
            self.line(suite, (0, 0, 1), 0, f"skipped: \"{after}\" failed")
            return
        if suite.build:  # an old log must not be counted
            path = os.path.join(suite.build, "meson-logs", "testlog.json")
            if os.path.exists(path):
                os.remove(path)
        with self.velero if suite.velero else contextlib.nullcontext():
            started = time.monotonic()
            status, last = self.run_commands(suite, log)
        if self.stopping:
            return
        counts = self.count(suite, log, status)
        note = ""
        if status == "timeout":
            note = f"ended after its limit of {suite.limit_s} s"
        elif status not in (0, 77) and counts[1]:
            note = f"{last} ended with {status}"
        elif not counts[0] and not counts[1]:
            note = self.why_skipped(log)
        with self.lock:
            self.line(suite, counts, time.monotonic() - started, note)
            if counts[1]:
                self.show_failure(suite, log)

    def run_commands(self, suite, log):
        """(exit status or "timeout", words of the last command)."""
        env = dict(os.environ, LC_ALL="C.UTF-8", **suite.env)
        env["VMB_CHECK_LONG"] = "1" if self.args.long else ""
        deadline = time.monotonic() + suite.limit_s * (10 if self.args.long else 1)
        with open(log, "w", encoding="utf-8", errors="replace") as out:
            for command in suite.commands:
                out.write("$ " + " ".join(command) + "\n")
                out.flush()
                status = self.run_one(command, env, out, deadline)
                if status != 0:
                    return status, os.path.basename(command[0])
        return 0, ""

    def stop(self):
        """Ends what is running, and lets nothing more start."""
        self.stopping = True
        for process in list(self.running):
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass  # it has ended by itself

    def run_one(self, command, env, out, deadline):
        """A command in a process group of its own, which ends with it."""
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        self.running.add(process)
        try:
            return process.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # a chance to stop servers, then the end
            for number, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
                try:
                    os.killpg(process.pid, number)
                    process.wait(seconds)
                    break
                except subprocess.TimeoutExpired:
                    continue
                except ProcessLookupError:
                    break
            return "timeout"
        finally:
            self.running.discard(process)

    # ---- counting -----------------------------------------------------------------------

    def count(self, suite, log, status):
        if suite.counter.startswith("meson"):
            counts = self.count_meson(suite)
            if suite.counter == "meson-any" and status == 0 and not counts:
                return (0, 0, 1)
        elif suite.counter == "line":
            counts = self.count_line(log)
        else:
            counts = None
        if status == 77 and counts is None:
            return (0, 0, 1)
        if counts is None or sum(counts) == 0:
            return (1, 0, 0) if status == 0 and suite.counter == "exit" else (0, 1, 0)
        if status not in (0, 77) and counts[1] == 0:
            return (counts[0], 1, counts[2])
        return counts

    @staticmethod
    def why_skipped(log):
        """The last line of the log that gives a reason."""
        with open(log, encoding="utf-8", errors="replace") as f:
            reasons = [line.strip() for line in f if line.startswith("skipped: ")]
        return reasons[-1][:80] if reasons else ""

    @staticmethod
    def count_line(log):
        """The last count line of the log."""
        found = None
        with open(log, encoding="utf-8", errors="replace") as f:
            for line in f:
                match = COUNTS.match(line.rstrip("\n"))
                if match:
                    found = tuple(int(n) for n in match.groups())
        return found

    @staticmethod
    def count_meson(suite):
        path = os.path.join(suite.build, "meson-logs", "testlog.json")
        totals = [0, 0, 0]
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                entry = json.loads(line)
                for i, n in enumerate(count_program(entry)):
                    totals[i] += n
        return tuple(totals)

    # ---- printing -----------------------------------------------------------------------

    def line(self, suite, counts, seconds, note):
        for i in range(3):
            self.totals[i] += counts[i]
        text = f"{counts[0]} passed, {counts[1]} failed, {counts[2]} skipped"
        print(f"{suite.name:<34} {text:<40} {seconds:6.1f} s{'  ' + note if note else ''}",
              flush=True)
        if counts[1]:
            self.failed_suites.append(suite.name)

    def show_failure(self, suite, log):
        with open(log, encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
        print(f"    the end of {os.path.relpath(log, ROOT)}:")
        for line in lines[-25:]:
            print("    | " + line[:300])
        sys.stdout.flush()


def count_program(entry):
    """(passed, failed, skipped) of one program in meson's log, by its own words if it has any."""
    out = entry.get("stdout", "") + "\n" + entry.get("stderr", "")
    result = entry.get("result")
    if result == "SKIP":
        return (0, 0, 1)
    passed = sum(int(n) for n in CMOCKA_PASSED.findall(out))
    failed = sum(int(n) for n in CMOCKA_FAILED.findall(out))
    skipped = 0
    for line in out.splitlines():
        match = COUNTS.match(line)
        if match:
            passed, failed, skipped = (int(n) for n in match.groups())
    if result in ("OK", "EXPECTEDFAIL"):
        return (max(passed, 1), 0, skipped) if passed or not skipped else (0, 0, skipped)
    return (passed, max(failed, 1), skipped)


# ---- the plan ------------------------------------------------------------------------------

def setup(build, *options, env=None):
    """Commands that configure and build a folder; an existing one is configured again."""
    prefix = ["env"] + [f"{k}={v}" for k, v in (env or {}).items()] if env else []
    if os.path.exists(os.path.join(build, "build.ninja")):
        configure = prefix + ["meson", "configure", build] + \
            [o for o in options if o.startswith("-D")]
    else:
        shutil.rmtree(build, ignore_errors=True)
        configure = prefix + ["meson", "setup", build] + list(options)
    return [configure, ["ninja", "-C", build]]


def test(build, *words):
    return ["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs", *words]


def scripts(folder, prefix):
    """Executable-by-Python test scripts below tests/<folder>, in a fixed order."""
    found = []
    for base, dirs, names in os.walk(os.path.join(ROOT, "tests", folder)):
        dirs.sort()
        for name in sorted(names):
            if re.fullmatch(prefix + r"[\w-]*\.py", name):
                found.append(os.path.relpath(os.path.join(base, name), ROOT))
    return found


def needs_of(script):
    """Go, for the suites that start servers of the rig."""
    with open(os.path.join(ROOT, script), encoding="utf-8") as f:
        return ("go",) if re.search(r"\b(rig|kubelib)\b", f.read()) else ()


def starts_velero(script):
    """Does the script start Velero's server, of which there can be one at a time?"""
    with open(os.path.join(ROOT, script), encoding="utf-8") as f:
        text = f.read()
    parts = re.search(r"\b(?:PARTS|parts) ?= ?[\[(][^\])]*\"velero\"", text)
    return parts is not None or "run_velero" in script


def quick_plan(checker):
    gcc = checker.folder("gcc")
    yield Suite("build: gcc", setup(gcc, "-Dwerror=true", "--buildtype=debug",
                                    env={"CC": "gcc"}), 600)
    yield Suite("unit and source checks", [test(gcc)], 240, "meson", build=gcc)


def sanitizer_plan(checker):
    asan = checker.folder("asan")
    yield Suite("build: ASan and UBSan",
                setup(asan, "-Db_sanitize=address,undefined", "--buildtype=debug",
                      "-Dexamples=disabled", "-Dhardening=false", env={"CC": "gcc"}), 600,
                needs=("gcc",))
    yield Suite("unit under ASan and UBSan",
                [test(asan, "--suite", "unit", "--timeout-multiplier", "4")], 420, "meson",
                env=SANITIZER_ENV, build=asan, after="build: ASan and UBSan")
    tsan = checker.folder("tsan")
    yield Suite("build: TSan",
                setup(tsan, "-Db_sanitize=thread", "--buildtype=debug", "-Dexamples=disabled",
                      "-Dhardening=false", env={"CC": "gcc"}), 600)
    yield Suite("unit under TSan",
                [test(tsan, "--suite", "unit", "--timeout-multiplier", "6")], 420, "meson",
                env=SANITIZER_ENV, build=tsan, after="build: TSan")


def clang_plan(checker):
    clang = checker.folder("clang")
    fuzz = os.path.exists(os.path.join(ROOT, "tests", "fuzz", "meson.build"))
    yield Suite("build: clang", setup(clang, "-Dwerror=true", "--buildtype=debug",
                                      "-Db_lundef=false", "-Dfuzz=enabled" if fuzz else
                                      "-Dfuzz=disabled", env={"CC": "clang"}), 600,
                needs=("clang",))
    yield Suite("fuzz smoke", [test(clang, "--suite", "fuzz")], 300, "meson-any", build=clang,
                needs=("clang",), after="build: clang")


def rig_plan(checker):
    gcc = checker.folder("gcc")
    env = {"VMB_BUILD": gcc, "VMBACKUP": os.path.join(gcc, "examples", "vmbackup", "vmbackup"),
           "LD_LIBRARY_PATH": os.path.join(gcc, "src")}
    if os.path.exists(os.path.join(ROOT, "tests", "rig", "build")):
        yield Suite("rig: build the servers", [["python3", "tests/rig/build"]], 3600,
                    needs=("go",))
    for script in scripts("rig", r"(?:selftest|test|run)"):
        yield Suite("rig: " + script[len("tests/"):], [["python3", script]], 600, "line", env,
                    needs=("go",), waits=True, velero="csi-driver" not in script)
    for folder in ("conformance", "cluster", "faults", "interop"):
        for script in scripts(folder, "run"):
            yield Suite(script[len("tests/"):], [["python3", script]], 600, "line", env,
                        needs=needs_of(script), waits=True,
                        velero=starts_velero(script))


def full_plan(checker):
    gcc = checker.folder("gcc")
    yield from quick_plan(checker)
    yield from clang_plan(checker)
    yield from sanitizer_plan(checker)
    yield Suite("abidiff", [["python3", "tests/abi/abidiff.py", gcc]], 120, "line")
    yield Suite("install and link by pkg-config", [["python3", "tests/abi/install.py", gcc]], 180,
                "line")
    yield Suite("command line", [["python3", "tests/bindings/cli.py", gcc]], 120, "line")
    yield Suite("bindings", [["python3", "tests/bindings/bindings.py", gcc]], 300, "line")
    yield from rig_plan(checker)


def main():
    parser = argparse.ArgumentParser(prog="check", description="Builds and tests the tree.")
    level = parser.add_mutually_exclusive_group()
    level.add_argument("--quick", action="store_true",
                       help="one build, unit tests and source checks; under two minutes")
    level.add_argument("--long", action="store_true",
                       help="everything at full count; limits are ten times longer")
    parser.add_argument("--tables", action="store_true",
                        help="after a whole run, write the results into docs/interop.md")
    parser.add_argument("only", nargs="*", metavar="WORD",
                        help="run only the suites whose names contain one of the words")
    args = parser.parse_args()
    checker = Checker(args)
    if args.tables:
        if args.quick or args.only:
            parser.error("--tables needs a whole run")
        tables = checker.folder("tables")
        shutil.rmtree(tables, ignore_errors=True)
        os.makedirs(tables)
        os.environ["VMB_INTEROP_TABLE"] = tables
    plan = quick_plan(checker) if args.quick else full_plan(checker)
    for waits, suites in itertools.groupby(plan, key=lambda suite: suite.waits):
        with concurrent.futures.ThreadPoolExecutor(3 if waits else 1) as pool:
            try:
                list(pool.map(checker.run, suites))
            except KeyboardInterrupt:
                checker.stop()
                print("interrupted")
                return 130
    if checker.failed_suites:
        print("failed: " + ", ".join(checker.failed_suites))
    if args.tables and not checker.totals[1]:
        subprocess.run([sys.executable, os.path.join(ROOT, "tools", "interop-table.py"), tables,
                        os.path.join(ROOT, "docs", "interop.md")], check=False)
    print("%d passed, %d failed, %d skipped" % tuple(checker.totals))
    return 1 if checker.totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
