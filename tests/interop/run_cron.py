#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmb_schedule_next() beside github.com/robfig/cron, which Velero parses schedules with, and beside
Python's own time zones: random expressions, zones and times, many of them near clock changes.

Ends with `N passed, N failed, N skipped`.
"""
import ctypes
import datetime
import os
import random
import shutil
import subprocess
import sys
import tempfile
import zoneinfo

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("VMB_BUILD", "build")
COUNT = 200000 if os.environ.get("VMB_CHECK_LONG") else 40000

# With daylight time on both halves of the earth, changes at midnight, of half an hour, of a whole
# day, negative daylight time, and zones that have none.
ZONES = ["UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York",
         "America/Sao_Paulo", "America/St_Johns", "America/Havana", "America/Santiago",
         "America/Asuncion", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Beirut", "Asia/Tehran",
         "Asia/Amman", "Africa/Cairo", "Africa/Casablanca", "Australia/Lord_Howe",
         "Australia/Sydney", "Pacific/Apia", "Pacific/Chatham", "Pacific/Auckland",
         "Antarctica/Troll", "America/Scoresbysund", "Etc/GMT+5", "Asia/Gaza"]
LIMITS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAYS = "sun mon tue wed thu fri sat".split()
DESCRIPTORS = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"]
MISTAKES = ["60", "7", "32", "0-99", "5-2", "*/0", "1/2/3", "1-2-3", "a", "-1", "mon-xyz", "1.5",
            "*-3", "?", "?/7", "+5", "007", "*/1", "*/99", "1/100", "jan", "SUN", "Mon-Fri"]


class Random(random.Random):
    def value(self, field):
        low, high = LIMITS[field]
        n = self.randint(low, high)
        if field == 3 and self.random() < 0.3:
            return MONTHS[n - 1]
        if field == 4 and self.random() < 0.4:
            return self.choice([DAYS[n], DAYS[n].upper(), DAYS[n].title()])
        return str(n)

    def part(self, field):
        low, high = LIMITS[field]
        kind = self.random()
        if kind < 0.1:
            return self.choice(MISTAKES) if self.random() < 0.15 else "*"
        if kind < 0.35:
            return "%s/%d" % (self.choice(["*", "*", "?", self.value(field)]),
                              self.randint(1, high + 1))
        if kind < 0.6:
            a, b = sorted((self.randint(low, high), self.randint(low, high)))
            step = "/%d" % self.randint(1, 5) if self.random() < 0.3 else ""
            return "%d-%d%s" % (a, b, step)
        return self.value(field)

    def field(self, field):
        if self.random() < (0.55 if field > 1 else 0.3):
            return self.choice("***?")
        return ",".join(self.part(field) for _ in range(self.choice([1, 1, 1, 2, 3])))

    def expression(self):
        kind = self.random()
        if kind < 0.03:
            text = self.choice(DESCRIPTORS)
        elif kind < 0.06:
            text = "@every " + self.choice(["1h", "90m", "1h30m10s", "500ms", "1500ms", "0s",
                                            "-5m", "x", "24h", "2562047h", "1.5h"])
        else:
            text = " ".join(self.field(i) for i in range(5))
        if self.random() < 0.8:
            text = "%sTZ=%s %s" % (self.choice(["", "CRON_"]), self.choice(ZONES), text)
        return text

    def moment(self):
        """Mostly within days of a possible clock change."""
        year = self.randint(1975, 2090)
        if self.random() < 0.5:
            return self.randint(0, 3786912000)
        month = self.choice([2, 3, 4, 5, 9, 10, 11])
        start = datetime.datetime(year, month, 1, tzinfo=datetime.timezone.utc)
        return int(start.timestamp()) + self.randint(0, 31 * 86400)


class Library:
    def __init__(self):
        self.lib = ctypes.CDLL(os.path.join(BUILD, "src", "libvmbackup.so"))
        for name in ("vmb_schedule_next", "vmb_schedule_prev"):
            function = getattr(self.lib, name)
            function.restype = ctypes.c_int32
            function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int64,
                                 ctypes.POINTER(ctypes.c_int64), ctypes.c_void_p]

    def ask(self, name, expr, at):
        """Seconds, "never" or "error"."""
        out = ctypes.c_int64()
        code = getattr(self.lib, name)(expr.encode(), None, at * 1000000000, ctypes.byref(out),
                                       None)
        if code:
            return "never" if code == -6 else "error"
        assert out.value % 1000000000 == 0
        return out.value // 1000000000

    def answer(self, expr, after):
        times = []
        while len(times) < 5 and (not times or isinstance(times[-1], int)):
            times.append(self.ask("vmb_schedule_next", expr, times[-1] if times else after))
        return " ".join(str(t) for t in times)


def build_oracle(folder):
    program = os.path.join(folder, "oracle")
    subprocess.run(["go", "build", "-o", program, "."], cwd=os.path.join(HERE, "cron"), check=True,
                   timeout=400)
    return program


def compare_with_robfig(library, cases):
    with tempfile.TemporaryDirectory() as folder:
        program = build_oracle(folder)
        text = "".join("%s\t%d\n" % case for case in cases)
        done = subprocess.run([program], input=text, capture_output=True, text=True, check=True,
                              timeout=400, env={**os.environ, "TZ": "UTC"})
    wrong = errors = 0
    for (expr, after), theirs in zip(cases, done.stdout.splitlines()):
        ours = library.answer(expr, after)
        errors += theirs == "error"
        # beyond the nanoseconds of 64 bits
        if "never" in ours and theirs.split()[-1].isdigit() and int(theirs.split()[-1]) > 9223372036:
            continue
        if ours != theirs:
            wrong += 1
            if wrong < 10:
                print("%r after %d: ours %s, robfig %s" % (expr, after, ours, theirs))
    print("%d expressions, %d of them refused by both" % (len(cases), errors))
    assert 0 < errors < len(cases) // 3, errors
    assert not wrong, "%d answers differ" % wrong


def fields_of(expr):
    """(zone, one set of values and whether it is a bare star per field), None if not plain."""
    zone = "UTC"
    if "=" in expr:
        head, expr = expr.split(" ", 1)
        zone = head.split("=")[1]
    words = expr.split()
    if len(words) != 5 or expr.startswith("@"):
        return None
    found = []
    for word, (low, high) in zip(words, LIMITS):
        values, star = set(), False
        for part in word.lower().split(","):
            body, _, step = part.partition("/")
            a, dash, b = body.partition("-")
            if body in ("*", "?"):
                start, end = low, high
                star = star or step in ("", "1")
            else:
                number = {**{m: i + 1 for i, m in enumerate(MONTHS)},
                          **{d: i for i, d in enumerate(DAYS)}}
                start = number[a] if a in number else int(a)
                end = (number[b] if b in number else int(b)) if dash else high if step else start
            values |= set(range(start, end + 1, int(step or 1)))
        found.append((values, star))
    return zoneinfo.ZoneInfo(zone), found


def matches(fields, local):
    minute, hour, day, month, weekday = fields
    by_day = local.day in day[0]
    by_weekday = (local.weekday() + 1) % 7 in weekday[0]
    days = by_day and by_weekday if day[1] or weekday[1] else by_day or by_weekday
    return (local.minute in minute[0] and local.hour in hour[0] and local.month in month[0] and days)


def local_time(zone, unix):
    return datetime.datetime.fromtimestamp(unix, datetime.timezone.utc).astimezone(zone)


def compare_with_python(library, cases):
    """Each time found fits its expression, and where no clock changes there is none before it;
    prev leads back."""
    looked = 0
    for expr, after in cases:
        first = library.ask("vmb_schedule_next", expr, after)
        if not isinstance(first, int) or "@" in expr or "*-" in expr:
            continue
        zone, fields = fields_of(expr)
        assert matches(fields, local_time(zone, first)), (expr, after, first)
        assert first > after
        assert library.ask("vmb_schedule_prev", expr, first + 1) == first, (expr, first)
        offsets = {local_time(zone, t).utcoffset() for t in
                   range(after - 3600, min(first + 3600, after + 4 * 86400), 1800)}
        if len(offsets) == 1:
            minute = after - after % 60 + 60
            for t in range(minute, min(first, after + 2 * 86400), 60):
                assert not matches(fields, local_time(zone, t)), (expr, after, first, t)
        looked += 1
    assert looked > len(cases) // 3, looked


def main():
    library = Library()
    seed = int(os.environ.get("VMB_SEED", "20261124"))
    source = Random(seed)
    cases = [(source.expression(), source.moment()) for _ in range(COUNT)]
    steps = [lambda: compare_with_python(library, cases[:COUNT // 20])]
    names = ["times beside Python's zones", "times beside robfig/cron"]
    if shutil.which("go"):
        steps.append(lambda: compare_with_robfig(library, cases))
    passed = failed = 0
    for name, step in zip(names, steps):
        try:
            step()
            passed += 1
            print("ok   " + name)
        except (AssertionError, subprocess.SubprocessError) as why:
            failed += 1
            print("FAIL %s (seed %d): %s" % (name, seed, why))
    skipped = len(names) - len(steps)
    if skipped:
        print("skipped: robfig/cron needs Go")
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
