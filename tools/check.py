#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the tree in several ways and runs every suite.

Each suite runs within a time limit, its output goes to a log, and it gets one line with its counts.
The last line is `N passed, N failed, N skipped`: the sum over the suites' own tests.
"""
import argparse
import json
import os
import re
import resource
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


GCC = "build: gcc"
SERVERS = "rig: build the servers"
# The lanes: the suites of one run one after the other, those of two lanes beside each other. What
# lane a suite is of says what it must not run beside.
CPU = "cpu"  # uses all processors by itself, and gives way to the others
VELERO = "velero"  # starts Velero's server, which has a fixed port
ANY = "any"
WORKERS = ((CPU, ANY), (VELERO, ANY), (ANY,), (ANY,))  # each takes of its first lane while it can
# Those that take longest come first: what is left at the end is short. Names, or their beginnings.
LONGEST = ("interop/run_catalog", "interop/run_velero_restore", "conformance/run_stores",
           "interop/restic/run_format", "cluster/operator/run_operator", "interop/restic/run_command",
           "interop/restic/run_ops", "cluster/csi", "faults/run_kill_repo", "faults/kube",
           "faults/repo")


class Suite:
    """One line of the check: a list of commands, run in order until one fails."""

    def __init__(self, name, commands, limit_s, counter="exit", env=None, build=None,
                 needs=(), after=(GCC,), lane=ANY):
        self.name = name
        self.commands = commands
        self.limit_s = limit_s
        self.counter = counter  # exit, line, meson, or meson-any: also no test at all is fine
        self.env = env or {}
        self.build = build  # for counter meson: the build folder
        self.needs = needs  # programs without which the suite is skipped
        self.after = after  # the suites without whose success this one cannot run
        self.lane = lane


class Waiter:
    """Waits for a process with a limit of time, and learns what CPU time it and those took that it
    has waited for."""

    def __init__(self, process):
        self.process = process
        self.cpu_s = 0
        self.thread = threading.Thread(target=self.wait, daemon=True)
        self.thread.start()

    def wait(self):
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime

    def ended(self, seconds):
        self.thread.join(seconds)
        return not self.thread.is_alive()


class Checker:
    def __init__(self, args):
        self.args = args
        self.top = os.path.join(ROOT, "build-check")
        self.logs = os.path.join(self.top, "logs")
        self.totals = [0, 0, 0]
        self.failed_suites = []
        self.lock = threading.Lock()  # of what is printed and summed up
        self.changed = threading.Condition()  # pending and unfinished
        self.pending = []  # suites that wait for a worker
        self.unfinished = set()  # names of suites that wait or run
        self.cpu_s = 0
        self.running = set()  # processes that were started and have not ended
        self.stopping = False
        os.makedirs(self.logs, exist_ok=True)

    def folder(self, name):
        return os.path.join(self.top, name)

    # ---- running ------------------------------------------------------------------------

    def run_all(self, plan):
        """Runs the suites of a plan, several at a time; False after Ctrl-C."""
        self.pending = [suite for suite in plan if not self.args.only or
                        any(word in suite.name for word in self.args.only)]
        self.unfinished = {suite.name for suite in self.pending}
        workers = [threading.Thread(target=self.work, args=(lanes,)) for lanes in WORKERS]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        except KeyboardInterrupt:
            self.stop()
            for worker in workers:
                worker.join()
            return False
        return True

    def work(self, lanes):
        while True:
            with self.changed:
                while (suite := self.take(lanes)) is None:
                    if self.stopping or not any(s.lane in lanes for s in self.pending):
                        return
                    self.changed.wait()
            try:
                self.run(suite)
            except Exception as why:  # of this script itself
                with self.lock:
                    self.line(suite, (0, 1, 0), 0, 0, "%s: %s" % (type(why).__name__, why))
            with self.changed:
                self.unfinished.discard(suite.name)
                self.changed.notify_all()

    def take(self, lanes):
        """The next suite of the lanes that can run now, or None; with self.changed."""
        if self.stopping:
            return None
        for lane in lanes:
            for suite in self.pending:
                if suite.lane == lane and self.unfinished.isdisjoint(suite.after):
                    self.pending.remove(suite)
                    return suite
        return None

    def run(self, suite):
        missing = [program for program in suite.needs if not shutil.which(program)]
        if missing:
            word = "Go" if missing == ["go"] else ", ".join(missing)
            with self.lock:
                self.line(suite, (0, 0, 1), 0, 0, f"skipped: needs {word}")
            return
        log = os.path.join(self.logs, re.sub(r"[^\w.-]+", "-", suite.name) + ".log")
        broken = [name for name in suite.after if name in self.failed_suites]
        if broken:
            with self.lock:
                self.line(suite, (0, 0, 1), 0, 0, f"skipped: \"{broken[0]}\" failed")
            return
        if suite.build:  # an old log must not be counted
            path = os.path.join(suite.build, "meson-logs", "testlog.json")
            if os.path.exists(path):
                os.remove(path)
        started = time.monotonic()
        status, last, cpu_s = self.run_commands(suite, log)
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
            self.line(suite, counts, time.monotonic() - started, cpu_s, note)
            if counts[1]:
                self.show_failure(suite, log)

    def run_commands(self, suite, log):
        """(exit status or "timeout", name of the last command, CPU seconds)."""
        env = dict(os.environ, LC_ALL="C.UTF-8", **suite.env)
        env["VMB_CHECK_LONG"] = "1" if self.args.long else ""
        deadline = time.monotonic() + suite.limit_s * (10 if self.args.long else 1)
        cpu_s = 0
        with open(log, "w", encoding="utf-8", errors="replace") as out:
            for command in suite.commands:
                out.write("$ " + " ".join(command) + "\n")
                out.flush()
                nice = ["nice"] if suite.lane == CPU and not self.args.quick else []
                status, more_s = self.run_one(nice + command, env, out, deadline)
                cpu_s += more_s
                if status != 0:
                    return status, os.path.basename(command[0]), cpu_s
        return 0, "", cpu_s

    def stop(self):
        """Ends what is running, and lets nothing more start."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
        for process in list(self.running):
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass  # it has ended by itself

    def run_one(self, command, env, out, deadline):
        """(exit status or "timeout", CPU seconds) of a command in a process group of its own, which
        ends with it."""
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        self.running.add(process)
        waiter = Waiter(process)
        try:
            if not waiter.ended(max(1, deadline - time.monotonic())):
                # a chance to stop servers, then the end
                for number, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
                    try:
                        os.killpg(process.pid, number)
                    except ProcessLookupError:
                        break
                    if waiter.ended(seconds):
                        break
                return "timeout", waiter.cpu_s
            return process.returncode, waiter.cpu_s
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

    def line(self, suite, counts, seconds, cpu_s, note):
        self.cpu_s += cpu_s
        for i in range(3):
            self.totals[i] += counts[i]
        text = f"{counts[0]} passed, {counts[1]} failed, {counts[2]} skipped"
        print(f"{suite.name:<34} {text:<36} {seconds:6.1f} s {cpu_s:6.1f} CPU s"
              f"{'  ' + note if note else ''}", flush=True)
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
    return parts is not None or "run_velero" in script or "@test(\"velero\"" in text


def quick_plan(checker):
    gcc = checker.folder("gcc")
    yield Suite(GCC, setup(gcc, "-Dwerror=true", "--buildtype=debug", env={"CC": "gcc"}), 600,
                after=(), lane=CPU)
    yield Suite("unit and source checks", [test(gcc, "--timeout-multiplier", "4")], 480, "meson", build=gcc, lane=CPU)


def compiler(name):
    """The environment for a build that nobody installs: its many programs are linked by gold where
    there is one, in a third of the time."""
    return {"CC": name, "CC_LD": "gold"} if shutil.which("ld.gold") else {"CC": name}


def sanitizer_plan(checker, short, name, what):
    build = checker.folder(short)
    yield Suite("build: " + name,
                setup(build, "-Db_sanitize=" + what, "--buildtype=debug", "-Dexamples=disabled",
                      "-Dhardening=false", env=compiler("gcc")), 900,
                needs=("gcc",), lane=CPU)
    yield Suite("unit under " + name,
                [test(build, "--suite", "unit", "--timeout-multiplier", "8")], 900, "meson",
                env=SANITIZER_ENV, build=build, after=("build: " + name,), lane=CPU)


def clang_plan(checker):
    clang = checker.folder("clang")
    fuzz = os.path.exists(os.path.join(ROOT, "tests", "fuzz", "meson.build"))
    yield Suite("build: clang", setup(clang, "-Dwerror=true", "--buildtype=debug",
                                      "-Db_lundef=false", "-Dfuzz=enabled" if fuzz else
                                      "-Dfuzz=disabled", env=compiler("clang")), 900,
                needs=("clang",), lane=CPU)
    yield Suite("fuzz smoke", [test(clang, "--suite", "fuzz")], 300, "meson-any", build=clang,
                needs=("clang",), after=("build: clang",), lane=CPU)


def rig_plan(checker):
    gcc = checker.folder("gcc")
    env = {"VMB_BUILD": gcc, "VMBACKUP": os.path.join(gcc, "examples", "vmbackup", "vmbackup"),
           "LD_LIBRARY_PATH": os.path.join(gcc, "src")}
    if os.path.exists(os.path.join(ROOT, "tests", "rig", "build")):
        yield Suite(SERVERS, [["python3", "tests/rig/build"]], 3600, needs=("go",), after=())
    found = [("rig: " + script[len("tests/"):], script)
             for script in scripts("rig", r"(?:selftest|test|run)")]
    for folder in ("conformance", "cluster", "faults", "interop"):
        found += [(script[len("tests/"):], script) for script in scripts(folder, "run")]

    def rank(entry):
        ranks = [i for i, word in enumerate(LONGEST) if entry[0].startswith(word)]
        return ranks[0] if ranks else len(LONGEST)
    for name, script in sorted(found, key=rank):
        needs = needs_of(script) or (("go",) if name.startswith("rig: ") else ())
        yield Suite(name, [["python3", script]], 900, "line", env, needs=needs,
                    after=(GCC, SERVERS) if needs else (GCC,),
                    lane=VELERO if starts_velero(script) else ANY)


def full_plan(checker):
    gcc = checker.folder("gcc")
    yield from quick_plan(checker)
    yield from sanitizer_plan(checker, "tsan", "TSan", "thread")
    yield from sanitizer_plan(checker, "asan", "ASan and UBSan", "address,undefined")
    yield from clang_plan(checker)
    yield from rig_plan(checker)
    yield Suite("command line", [["python3", "tests/bindings/cli.py", gcc]], 300, "line")
    yield Suite("bindings", [["python3", "tests/bindings/bindings.py", gcc]], 600, "line")
    yield Suite("install and link by pkg-config", [["python3", "tests/abi/install.py", gcc]], 360,
                "line")
    yield Suite("abidiff", [["python3", "tests/abi/abidiff.py", gcc]], 240, "line")


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
    started = time.monotonic()
    if not checker.run_all(quick_plan(checker) if args.quick else full_plan(checker)):
        print("interrupted")
        return 130
    own = resource.getrusage(resource.RUSAGE_SELF)
    print("%.0f s, %.0f CPU s" % (time.monotonic() - started,
                                  checker.cpu_s + own.ru_utime + own.ru_stime))
    if checker.failed_suites:
        print("failed: " + ", ".join(checker.failed_suites))
    if args.tables and not checker.totals[1]:
        subprocess.run([sys.executable, os.path.join(ROOT, "tools", "interop-table.py"), tables,
                        os.path.join(ROOT, "docs", "interop.md")], check=False)
    print("%d passed, %d failed, %d skipped" % tuple(checker.totals))
    return 1 if checker.totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
