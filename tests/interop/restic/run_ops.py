#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Operations on snapshots between us and the real restic: the same sets, verdicts, listings, hits,
numbers, copies and excludes. RESTIC_NEW may name a newer restic, which is then asked as well.

Ends with `N passed, N failed, N skipped`.
"""
import datetime
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import table  # noqa: E402
from run_tree import make_source  # noqa: E402

PROBE = os.environ.get("VMB_OPS_PROBE") or os.path.join(
    os.environ.get("VMB_BUILD", "build"), "tests", "interop", "restic", "ops_probe")
NEW = os.environ.get("RESTIC_NEW", "")
LONG = bool(os.environ.get("VMB_CHECK_LONG"))
ENV = dict(os.environ, RESTIC_PASSWORD="geheim", RESTIC_FROM_PASSWORD="geheim", TZ="UTC",
           RESTIC_CACHE_DIR="")


def run(argv, code=0, **options):
    done = subprocess.run(argv, capture_output=True, env=ENV, timeout=300, **options)
    assert done.returncode == code, "%s ended with %d\n%s%s" % (
        " ".join(argv), done.returncode, done.stdout[:2000], done.stderr[:2000])
    return done.stdout


def ours(verb, repo, code=0, **options):
    return run([PROBE, verb, repo, "", json.dumps(options)], code)


def refused(verb, repo, **options):
    done = subprocess.run([PROBE, verb, repo, "", json.dumps(options)], capture_output=True,
                          env=ENV, timeout=300, text=True)
    assert done.returncode == 1, done
    return done.stderr.strip().split("\n")[-1]


def restic(repo, *args, binary="restic", code=0):
    return run([binary, "-r", repo, "--no-cache", "-q", *args], code)


def lines(text):
    return [json.loads(line) for line in text.split(b"\n") if line]


def make_repo(at, **options):
    os.makedirs(at)
    ours("init", at, **options)
    return at


# ---- policies ------------------------------------------------------------------------------------

SPANS = {"keepWithin": "within", "keepWithinHourly": "within-hourly",
         "keepWithinDaily": "within-daily", "keepWithinWeekly": "within-weekly",
         "keepWithinMonthly": "within-monthly", "keepWithinYearly": "within-yearly"}
COUNTS = {"keepLast": "last", "keepHourly": "hourly", "keepDaily": "daily", "keepWeekly": "weekly",
          "keepMonthly": "monthly", "keepYearly": "yearly"}
ZONES = ["Z", "Z", "Z", "+05:30", "-08:00", "+14:00"]


def fake_time(rng, around):
    seconds = rng.choice([3600, 86400, 86400 * 9, 86400 * 70, 86400 * 900])
    t = around + datetime.timedelta(seconds=rng.randint(-seconds, seconds))
    zone = rng.choice(ZONES)
    if rng.random() < 0.2:
        t = t.replace(hour=rng.choice([0, 23]), minute=rng.choice([0, 59]), second=0)
    fraction = rng.choice(["", ".5", ".123456789"])
    return t.strftime("%Y-%m-%dT%H:%M:%S") + fraction + zone


def fake_snapshots(rng, n):
    now = datetime.datetime.utcnow()
    around = rng.choice([now, now - datetime.timedelta(days=400),
                         datetime.datetime(2020, 12, 31, 22), datetime.datetime(2024, 2, 29, 1)])
    out, seen = [], set()
    while len(out) < n:
        snap = {"time": fake_time(rng, around), "tree": "ab" * 32,
                "paths": rng.choice([["/a"], ["/a", "/b"], ["/b", "/a"], ["/c"]]),
                "hostname": rng.choice(["one", "one", "two"]), "username": "root"}
        tags = rng.choice([None, None, ["x"], ["x", "y"], ["y", "x"], ["z"]])
        if tags:
            snap["tags"] = tags
        moment = datetime.datetime.fromisoformat(
            snap["time"].replace("Z", "+00:00").replace(".5", ".500000")
            .replace(".123456789", ".123456"))
        if moment not in seen:  # the order of equal times is chance
            seen.add(moment)
            out.append(snap)
    return out


def fake_policy(rng):
    policy = {}
    for key in rng.sample(sorted(COUNTS), rng.choice([0, 1, 1, 2, 3])):
        policy[key] = rng.choice([1, 2, 3, 5, 20])
    for key in rng.sample(sorted(SPANS), rng.choice([0, 0, 1, 2])):
        policy[key] = rng.choice(["1h", "5h", "2d", "9d12h", "1m", "2m3d", "1y", "1y5m7d2h", "30d"])
    if rng.random() < 0.15:
        policy["keepTags"] = rng.choice([["x"], ["x,y"], ["z", "y"], ["none"]])
    return policy or {"keepLast": 1}


def policy_args(policy, group_by):
    out = ["--group-by", group_by]
    for key, value in policy.items():
        if key == "keepTags":
            for tags in value:
                out += ["--keep-tag", tags]
        else:
            out += ["--keep-" + (COUNTS.get(key) or SPANS.get(key)), str(value)]
    return out


def verdicts(groups, counters=True):
    """{group: ({ids kept}, {ids removed}, {id: reasons})}; our reasons carry IDs, those of restic
    0.14 do not: a snapshot is known by its time."""
    out = {}
    for g in groups:
        key = json.dumps([g["host"], sorted(g["paths"] or []), sorted(g["tags"] or [])])
        reasons = {}
        for r in g["reasons"] or []:
            reasons[r["snapshot"]["time"]] = (r["matches"],
                                             r.get("counters") if counters else None)
        out[key] = ([s["id"] for s in g["keep"] or []], [s["id"] for s in g["remove"] or []],
                    reasons)
    return out


def without_oldest(groups):
    """Our verdicts as restic before 0.17 gives them: it does not keep the oldest one longer."""
    for g in groups:
        keep, reasons = [], []
        for s, r in zip(g["keep"] or [], g["reasons"] or []):
            r["matches"] = [m for m in r["matches"] if not m.startswith("oldest ")]
            if r["matches"]:
                keep.append(s)
                reasons.append(r)
            else:
                g["remove"] = (g["remove"] or []) + [s]
        g["keep"], g["reasons"] = keep, reasons
    return groups


class Suite:
    def __init__(self, folder):
        self.folder = folder
        self.source = os.path.join(folder, "source")
        os.makedirs(self.source)
        make_source(self.source)

    def path(self, name):
        return os.path.join(self.folder, name)

    def data_repo(self):
        """A repository with three snapshots of the source, one of them by restic."""
        at = self.path("data")
        if not os.path.exists(at):
            make_repo(at)
            ours("backup", at, paths=[self.source], tags=["a", "b"], time="2024-01-01T00:00:00Z")
            with open(os.path.join(self.source, "later.txt"), "w", encoding="utf-8") as f:
                f.write("later")
            restic(at, "backup", "--host", "other", self.source, "--time", "2024-01-02 00:00:00")
            ours("backup", at, paths=[self.source + "/sub"], time="2024-01-03T00:00:00Z")
        return at

    # ---- snapshots and policies

    def forget_judges_like_restic(self):
        rng = random.Random(11)
        sets = 60 if LONG else 12
        compared = refusals = 0
        for number in range(sets):
            at = make_repo(self.path("fake%d" % number), compression="off")
            snaps = fake_snapshots(rng, rng.choice([1, 2, 5, 15, 40]))
            with open(self.path("fake.json"), "w", encoding="utf-8") as f:
                json.dump(snaps, f)
            ours("fake", at, **{"from": self.path("fake.json")})
            for _ in range(9):
                policy = fake_policy(rng)
                group_by = rng.choice(["host,paths", "host", "", "tags", "paths,tags"])
                compared += 1
                try:
                    mine = json.loads(ours("forget", at, dryRun=True, groupBy=group_by, **policy))
                except AssertionError as e:
                    assert "would remove every snapshot" in str(e), e
                    refusals += 1
                    if NEW:
                        self.new_refuses(at, policy, group_by)
                    continue
                self.compare_verdicts(at, policy, group_by, mine)
            shutil.rmtree(at)
        assert refusals < compared / 3, (refusals, compared)
        print("     %d policies compared, %d refused" % (compared, refusals))

    def compare_verdicts(self, at, policy, group_by, mine):
        args = ["forget", "--dry-run", "--json", *policy_args(policy, group_by)]
        if NEW:
            theirs = json.loads(restic(at, *args, binary=NEW))
            assert verdicts(theirs, False) == verdicts(mine, False), (policy, theirs, mine)
        theirs = json.loads(restic(at, *args))
        want = verdicts(theirs)
        got = verdicts(without_oldest(mine))
        assert set(want) == set(got), (want, got)
        for key in want:
            assert want[key][0] == got[key][0], (policy, key, want[key], got[key])
            assert sorted(want[key][1]) == sorted(got[key][1]), (policy, key)
            for time, (matches, counters) in want[key][2].items():
                other = got[key][2][time]
                assert matches == other[0], (policy, key, time, matches, other)
                # where the oldest one has taken from a counter, ours is one lower

    def new_refuses(self, at, policy, group_by):
        done = subprocess.run([NEW, "-r", at, "--no-cache", "forget", "--dry-run",
                               *policy_args(policy, group_by)], capture_output=True, env=ENV,
                              timeout=60, text=True)
        assert done.returncode != 0 and "refusing to delete last snapshot" in done.stderr, done

    def forget_removes_what_it_says(self):
        at = make_repo(self.path("forget"))
        with open(self.path("fake.json"), "w", encoding="utf-8") as f:
            json.dump(fake_snapshots(random.Random(3), 20), f)
        ours("fake", at, **{"from": self.path("fake.json")})
        before = {s["id"] for s in json.loads(ours("snapshots", at))}
        assert refused("forget", at).startswith("VMB_E_ARG: ")
        assert refused("forget", at, unsafeAllowRemoveAll=True).startswith("VMB_E_ARG: ")
        assert refused("forget", at, keepTags=["nobody"]).startswith("VMB_E_STATE: ")
        assert refused("forget", at, snapshots=["ff" * 32]).startswith("VMB_E_NOT_FOUND: ")
        assert {s["id"] for s in json.loads(ours("snapshots", at))} == before
        groups = json.loads(ours("forget", at, keepLast=2))
        kept = {s["id"] for g in groups for s in g["keep"] or []}
        removed = {s["id"] for g in groups for s in g["remove"] or []}
        after = {s["id"] for s in json.loads(restic(at, "snapshots", "--json"))}
        assert after == kept and kept | removed == before and removed, (kept, removed)
        one = sorted(after)[0]
        ours("forget", at, snapshots=[one[:12]])
        assert {s["id"] for s in json.loads(restic(at, "snapshots", "--json"))} == after - {one}
        ours("forget", at, host=["one"], unsafeAllowRemoveAll=True)
        assert {s["hostname"] for s in json.loads(restic(at, "snapshots", "--json"))} <= {"two"}

    def filters_choose_like_restic(self):
        at = make_repo(self.path("filters"))
        with open(self.path("fake.json"), "w", encoding="utf-8") as f:
            json.dump(fake_snapshots(random.Random(5), 60), f)
        ours("fake", at, **{"from": self.path("fake.json")})
        for options, args in [
                ({}, []), ({"host": ["one"]}, ["--host", "one"]),
                ({"host": ["one", "two"], "tags": ["x"]}, ["--host", "one", "--host", "two", "--tag", "x"]),
                ({"tags": ["x,y", "z"]}, ["--tag", "x,y", "--tag", "z"]),
                ({"paths": ["/a"]}, ["--path", "/a"]),
                ({"paths": ["/a", "/b"]}, ["--path", "/a", "--path", "/b"]),
                ({"latest": 1}, ["--latest", "1"]), ({"latest": 3, "host": ["two"]},
                                                     ["--latest", "3", "--host", "two"]),
                ({"snapshots": ["latest"], "tags": ["x"]}, ["--tag", "x", "latest"])]:
            want = json.loads(restic(at, "snapshots", "--json", *args))
            got = json.loads(ours("snapshots", at, **options))
            assert [s["id"] for s in want] == [s["id"] for s in got], (options, want, got)
            for a, b in zip(want, got):
                a["paths"].sort()  # restic sorts them while it groups
                b["paths"].sort()
                assert a == b, (a, b)

    # ---- looking in

    def ls_lists_like_restic(self):
        at = self.data_repo()
        for snap in json.loads(ours("snapshots", at)):
            for path, recursive in (("", True), (self.source + "/sub", False),
                                    (self.source + "/sub", True), (self.source + "/sub/hard", False),
                                    (os.path.dirname(self.source), False)):
                args = ["ls", "--json", *(["--recursive"] if recursive else []), snap["id"]]
                want = [n for n in lines(restic(at, *args, *([path] if path else [])))
                        if n["struct_type"] == "node"]
                if not want:
                    assert refused("ls", at, snapshot=snap["id"], path=path,
                                   recursive=recursive).startswith("VMB_E_NOT_FOUND")
                    continue
                got = lines(ours("ls", at, snapshot=snap["id"], path=path, recursive=recursive))
                for n in got:
                    assert n.pop("message_type") == "node"
                    n.pop("inode", None)
                assert want == got, (path, recursive, [(a, b) for a, b in zip(want, got) if a != b][:2])

    def find_finds_like_restic(self):
        at = self.data_repo()
        for patterns, ignore, args in [
                (["*.txt"], False, []), (["small", "r*m"], False, []), (["SUB"], True, ["-i"]),
                (["/*"], False, []), ([self.source + "/sub/**/last"], False, []),
                (["sub/*"], False, []), (["[!a]"], False, []), (["nothing-like-this"], False, []),
                (["*"], False, ["--oldest", "2001-01-01", "--newest", "2001-12-31"]),
                (["d?ep", "?k*"], False, [])]:
            options = {"patterns": patterns, "ignoreCase": ignore}
            if "--oldest" in args:
                options.update(oldest="2001-01-01T00:00:00Z", newest="2001-12-31T00:00:00Z")
            want = json.loads(restic(at, "find", "--json", *args, *patterns))
            got = lines(ours("find", at, **options))
            by_id = {g["snapshot"]: g for g in got}
            assert {w["snapshot"] for w in want} == set(by_id), (patterns, want, got)
            for w in want:
                assert w == by_id[w["snapshot"]], (patterns, w, by_id[w["snapshot"]])

    def dump_writes_the_file(self):
        at = self.data_repo()
        for name in ("random", "text", "sparse", "empty-file", "sub/a<b>&c"):
            got = ours("dump", at, snapshot="latest" if name.startswith("sub") else
                       json.loads(ours("snapshots", at))[0]["id"], path=self.source + "/" + name)
            with open(os.path.join(self.source, name), "rb") as f:
                assert got == f.read(), name
        first = json.loads(ours("snapshots", at))[0]["id"]
        assert refused("dump", at, snapshot=first, path=self.source).startswith("VMB_E_ARG")
        assert refused("dump", at, snapshot=first, path="/no").startswith("VMB_E_NOT_FOUND")

    def stats_count_like_restic(self):
        at = self.data_repo()
        for mode in ("restore-size", "raw-data", "files-by-contents"):
            for ids in ([], [json.loads(ours("snapshots", at))[0]["id"]]):
                for binary in ["restic"] + ([NEW] if NEW else []):
                    want = json.loads(restic(at, "stats", "--json", "--mode", mode, *ids,
                                             binary=binary))
                    got = json.loads(ours("stats", at, mode=mode, snapshots=ids))
                    for key in got.keys() & want.keys():
                        assert want[key] == got[key], (mode, ids, key, want, got)
                    assert "total_size" in got.keys() & want.keys()

    # ---- copies

    def copies_are_like_restics(self):
        source = self.data_repo()
        snaps = json.loads(ours("snapshots", source))
        for name, options in (("v1", {"version": 1}), ("off", {"compression": "off"}),
                              ("max", {"compression": "max", "packSize": 32})):
            at = make_repo(self.path("copy-" + name), **options)
            out = json.loads(ours("copy", source, to=at, **{k: v for k, v in options.items()
                                                            if k != "version"}))
            assert [o["source"] for o in out] == [s["id"] for s in snaps], out
            assert all(o["copied"] for o in out)
            restic(at, "check", "--read-data")
            self.compare_copies(snaps, json.loads(restic(at, "snapshots", "--json")))
            # restic knows our copies, and we know its own
            before = len(os.listdir(os.path.join(at, "snapshots")))
            run(["restic", "-r", at, "--no-cache", "-q", "copy", "--from-repo", source])
            assert len(os.listdir(os.path.join(at, "snapshots"))) == before
            again = json.loads(ours("copy", source, to=at))
            assert [o["id"] for o in again] == [o["id"] for o in out]
            assert not any(o["copied"] for o in again)
            target = self.path("restored-" + name)
            restic(at, "restore", out[0]["id"], "--target", target, "--verify")
            shutil.rmtree(target)
            table.row("repositories", "copy to a repository of another kind: " + name,
                      "ours, restic agrees")

    def compare_copies(self, snaps, copies):
        by_original = {c["original"]: c for c in copies}
        assert len(copies) == len(snaps)
        for s in snaps:
            c = dict(by_original[s["id"]])
            want = {k: v for k, v in s.items() if k not in ("id", "short_id", "parent")}
            got = {k: v for k, v in c.items() if k not in ("id", "short_id", "original")}
            assert want == got, (want, got)

    def we_know_restics_copies(self):
        source = self.data_repo()
        at = self.path("copy-theirs")
        run(["restic", "-r", at, "--no-cache", "-q", "init", "--from-repo", source,
             "--copy-chunker-params"])
        run(["restic", "-r", at, "--no-cache", "-q", "copy", "--from-repo", source])
        out = json.loads(ours("copy", source, to=at))
        assert out and not any(o["copied"] for o in out), out
        one = json.loads(ours("snapshots", source))[1]["id"]
        more = make_repo(self.path("copy-one"))
        out = json.loads(ours("copy", source, to=more, snapshots=[one[:10]]))
        assert [o["source"] for o in out] == [one]
        restic(more, "check", "--read-data")
        # a copy of a copy keeps the first ID
        third = make_repo(self.path("copy-third"))
        ours("copy", more, to=third)
        assert json.loads(restic(third, "snapshots", "--json"))[0]["original"] == one

    TESTS = [filters_choose_like_restic, forget_judges_like_restic, forget_removes_what_it_says,
             ls_lists_like_restic, find_finds_like_restic, dump_writes_the_file,
             stats_count_like_restic, copies_are_like_restics, we_know_restics_copies]


def main():
    if not shutil.which("restic"):
        print("skipped: needs restic\n0 passed, 0 failed, 1 skipped")
        return 77
    passed = failed = 0
    only = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        suite = Suite(folder)
        for test in Suite.TESTS:
            if only and test.__name__ not in only:
                continue
            try:
                test(suite)
                passed += 1
                print("ok   " + test.__name__, flush=True)
            except Exception:
                failed += 1
                print("FAIL %s\n%s" % (test.__name__, traceback.format_exc(limit=-3)[:3000]),
                      flush=True)
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
