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

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

import steps  # noqa: E402
import table  # noqa: E402
from run_tree import listing, make_source  # noqa: E402

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

    # ---- excludes

    def exclude_source(self, rng, at):
        """A folder with names that patterns like to meet."""
        names = ["a", "b", "A.TXT", "b.txt", "x[1]", "c*", "d?", "e\\\\f", "caf\u00e9", "CAF\u00c9",
                 "node_modules", ".git", "sp ace", "a.b.c", "-dash", "!bang", "#hash", "cache"]
        folders = [at]
        for depth in range(4):
            below = []
            for folder in folders:
                for name in rng.sample(names, rng.choice([2, 3, 5])):
                    path = os.path.join(folder, name)
                    if depth < 3 and rng.random() < 0.5:
                        os.makedirs(path)
                        below.append(path)
                    else:
                        with open(path, "w", encoding="utf-8") as f:
                            f.write("x" * rng.choice([0, 3, 1000, 5000]))
                if rng.random() < 0.15:
                    with open(os.path.join(folder, "CACHEDIR.TAG"), "w", encoding="utf-8") as f:
                        f.write(rng.choice(["Signature: 8a477f597d28d172789f06886806bc55\n# x",
                                            "Signature: 8a47", "other " * 20]))
                if rng.random() < 0.15:
                    with open(os.path.join(folder, ".nobackup"), "w", encoding="utf-8") as f:
                        f.write(rng.choice(["", "yes\n", "no\n"]))
            folders = below

    def exclude_options(self, rng, at):
        parts = ["a", "b", "*", "**", "*.txt", "a*", "[ab]", "[^a]", "?", "x\\[1\\]", "c\\*", "*.TXT",
                 "caf\u00e9", "CAF\u00c9", "node_modules", ".git", "d\\?", "e\\\\*", "[!-~]*", "cache",
                 "*e*", "..", ".", ""]

        def pattern():
            text = "/".join(rng.choice(parts) for _ in range(rng.choice([1, 1, 2, 3])))
            if rng.random() < 0.3:
                text = at + "/" + text
            return ("!" if rng.random() < 0.2 else "") + text

        options, args = {}, []
        for key, flag, n in (("excludes", "--exclude", 4), ("iexcludes", "--iexclude", 2)):
            patterns = [p for p in (pattern() for _ in range(rng.randint(0, n))) if p]
            options[key] = patterns
            for p in patterns:
                args += [flag, p]
        if rng.random() < 0.5:
            options["excludeCaches"] = True
            args.append("--exclude-caches")
        if rng.random() < 0.5:
            options["excludeIfPresent"] = [rng.choice([".nobackup", ".nobackup:yes", "a:xxx"])]
            args += ["--exclude-if-present", options["excludeIfPresent"][0]]
        if rng.random() < 0.3:
            options["excludeLargerThan"] = 1000
            args += ["--exclude-larger-than", "1000"]
        return options, args

    def excludes_leave_out_what_restic_leaves_out(self):
        rng = random.Random(23)
        at = make_repo(self.path("excludes"))
        sets = 250 if LONG else 20
        empty = 0
        for number in range(sets):
            source = self.path("ex%d" % (number // 10))
            if not os.path.exists(source):
                os.makedirs(source)
                self.exclude_source(rng, source)
            options, args = self.exclude_options(rng, source)
            try:
                restic(at, "backup", "--host", "probe", "--tag", "n%d" % number, *args, source)
            except AssertionError as e:
                assert "snapshot is empty" in str(e) or "invalid pattern" in str(e) or \
                    "excluded" in str(e), (options, e)
                empty += 1
                continue
            ours("backup", at, paths=[source], tags=["n%d" % number], **options)
            two = json.loads(restic(at, "snapshots", "--json", "--tag", "n%d" % number))
            trees = {self.subtree(at, s["tree"], source) for s in two}
            assert len(two) == 2 and len(trees) == 1, (options, [s["tree"] for s in two])
            assert two[0].get("excludes") == two[1].get("excludes"), two
        assert empty < sets / 3, empty
        print("     %d sets of excludes compared" % (sets - empty))
        restic(at, "check")

    def subtree(self, repo, tree, path):
        for name in path.strip("/").split("/"):
            nodes = json.loads(restic(repo, "cat", "blob", tree))["nodes"]
            found = [n for n in nodes if n["name"] == name]
            if not found:
                return None
            tree = found[0]["subtree"]
        return tree

    def paths_are_sorted_by_components(self):
        at = make_repo(self.path("order"))
        base = self.path("comp")
        for name in ("a/b", "a-c", "a.d", "a/b-x"):
            os.makedirs(os.path.join(base, name))
            with open(os.path.join(base, name, "f"), "w", encoding="utf-8") as f:
                f.write(name)
        paths = [os.path.join(base, n) for n in ("a/b", "a-c", "a.d", "a/b-x")]
        restic(at, "backup", "--host", "probe", *paths)
        ours("backup", at, paths=paths)
        two = json.loads(restic(at, "snapshots", "--json"))
        assert len({self.subtree(at, s["tree"], base) for s in two}) == 1, two

    def mount_points_are_kept_empty(self):
        if os.geteuid() != 0:
            return
        source = self.path("mounts")
        os.makedirs(source + "/m/below")
        if subprocess.run(["mount", "-t", "tmpfs", "ops-test", source + "/m"],
                          capture_output=True).returncode != 0:
            print("     skipped: mounting is not allowed here")
            return
        try:
            os.makedirs(source + "/m/dir")
            with open(source + "/m/file", "w", encoding="utf-8") as f:
                f.write("1")
            at = make_repo(self.path("mounts-repo"))
            restic(at, "backup", "--host", "probe", "--one-file-system", source)
            ours("backup", at, paths=[source], oneFileSystem=True)
            two = json.loads(restic(at, "snapshots", "--json"))
            trees = {self.subtree(at, s["tree"], source) for s in two}
            assert len(trees) == 1, two
            assert self.subtree(at, two[0]["tree"], source + "/m").startswith("ac08ce34ba4f8123")
        finally:
            subprocess.run(["umount", source + "/m"], check=True)

    def summaries_count_like_restic(self):
        source = self.path("count")
        shutil.copytree(self.source, source, symlinks=True,
                        ignore=lambda d, names: [n for n in names if n in (
                            "fifo", "null", "disk", "socket")])
        repos = {"theirs": make_repo(self.path("count-theirs")),
                 "ours": self.path("count-ours")}
        run(["restic", "-r", repos["ours"], "--no-cache", "-q", "init", "--from-repo",
             repos["theirs"], "--copy-chunker-params"])
        for step in range(3):
            if step == 1:
                with open(source + "/sub/deep/er/last", "a", encoding="utf-8") as f:
                    f.write("more")
                os.makedirs(source + "/new/er")
                with open(source + "/new/file", "w", encoding="utf-8") as f:
                    f.write("new")
            out = run(["restic", "-r", repos["theirs"], "--no-cache", "--json", "backup", "--host",
                       "probe", source])
            want = json.loads(out.strip().split(b"\n")[-1])
            got = json.loads(ours("backup", repos["ours"], paths=[source],
                                  **({"parent": "latest"} if step else {})))
            for mine, theirs in (("new", "files_new"), ("changed", "files_changed"),
                                 ("unchanged", "files_unmodified"), ("dirs_new", "dirs_new"),
                                 ("dirs_changed", "dirs_changed"),
                                 ("dirs_unchanged", "dirs_unmodified"),
                                 ("data_blobs", "data_blobs"), ("tree_blobs", "tree_blobs"),
                                 ("bytes", "total_bytes_processed")):
                # others write into the folders above: their times change at any moment
                above = source.count("/") if mine in ("dirs_changed", "dirs_unchanged",
                                                      "tree_blobs") else 0
                assert abs(got[mine] - want[theirs]) <= above, (step, theirs, got, want)
            dry = json.loads(ours("backup", repos["ours"], paths=[source], dryRun=True))
            assert dry["snapshot"] == "" and dry["data_blobs"] == 0, dry
            assert dry["tree_blobs"] <= source.count("/"), dry
        before = len(json.loads(ours("snapshots", repos["ours"])))
        assert before == 3

    # ---- disk images

    def disk_images_are_cut_at_fixed_places(self):
        at = make_repo(self.path("images"))
        source = self.path("vm")
        os.makedirs(source)
        rng = random.Random(9)
        with open(source + "/disk.img", "wb") as f:
            f.write(rng.randbytes(10 << 20))
            f.seek(40 << 20)
            f.write(rng.randbytes((5 << 20) + 17))
        shutil.copy(source + "/disk.img", source + "/other.bin")
        first = json.loads(ours("backup", at, paths=[source], diskImages=["disk.*"]))
        nodes = {n["name"]: n for n in json.loads(restic(at, "cat", "blob", self.subtree(
            at, json.loads(restic(at, "snapshots", "--json"))[0]["tree"], source)))["nodes"]}
        image = nodes["disk.img"]
        assert len(image["content"]) == 12 and len(set(image["content"][3:10])) == 1, image
        assert first["zero"] >= 28 << 20, first
        with open(source + "/disk.img", "r+b") as f:
            f.seek((8 << 20) - 5)
            f.write(b"0123456789")
        second = json.loads(ours("backup", at, paths=[source], diskImages=["disk.*"],
                                 parent="latest"))
        assert second["data_blobs"] == 2 and second["unchanged"] == 1, second
        restic(at, "check", "--read-data")
        assert ours("dump", at, snapshot="latest", path=source + "/disk.img") == \
            open(source + "/disk.img", "rb").read()
        target = self.path("vm-restored")
        restic(at, "restore", "latest", "--target", target, "--verify")

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

    # ---- restoring

    def filters_of_restores_are_restics(self):
        at = make_repo(self.path("filtered"))
        source = self.path("filter-source")
        os.makedirs(source)
        rng = random.Random(31)
        self.exclude_source(rng, source)
        snap = json.loads(ours("backup", at, paths=[source]))["snapshot"]
        compared = 0
        for number in range(100 if LONG else 20):
            which = rng.choice(["includes", "excludes"])
            patterns = [rng.choice(["a", "*.txt", "b/**", "/**/a", source + "/a", "node_modules",
                                    source + "/*/b", "cache", "[ab]", "x*", "*/a/*"])
                        for _ in range(rng.choice([1, 1, 2]))]
            targets = self.path("f-theirs"), self.path("f-ours")
            for t in targets:
                os.makedirs(t)
            args = [a for p in patterns for a in ("--" + which[:-1], p)]
            restic(at, "restore", snap, "--target", targets[0], *args)
            out = json.loads(ours("restore", at, snapshot=snap, target=targets[1],
                                  **{which: patterns}))
            want, got = (self.plain(t, which == "includes") for t in targets)
            assert want == got, (which, patterns, set(want) ^ set(got),
                                 [(k, want[k], got[k]) for k in want if want[k] != got.get(k)][:2])
            assert out["warnings"] == 0, out
            compared += bool(want)
            for t in targets:
                shutil.rmtree(t)
        assert compared >= 5
        print("     %d filtered restores compared" % compared)

    def plain(self, at, folders_on_the_way):
        """A listing; the metadata of folders on the way to what is included is not compared."""
        out = {}
        for path, what in listing(at).items():
            is_dir = what[0] & 0o170000 == 0o040000
            out[path] = what[:1] if is_dir and folders_on_the_way else what
        return out

    def restores_overwrite_only_when_told(self):
        at = self.data_repo()
        snap = json.loads(ours("snapshots", at))[0]["id"]
        target = self.path("over")
        os.makedirs(target)
        first = json.loads(ours("restore", at, snapshot=snap, target=target, verify=True))
        assert first["warnings"] == 0 and first["verified"] > 10, first
        inside = target + self.source
        want = listing(inside)
        with open(inside + "/small", "w", encoding="utf-8") as f:
            f.write("mine")
        os.unlink(inside + "/text")
        os.unlink(inside + "/link")
        os.symlink("elsewhere", inside + "/link")
        dry = json.loads(ours("restore", at, snapshot=snap, target=target, dryRun=True))
        assert dry["skipped"] + dry["files"] + dry["others"] >= first["files"], (dry, first)
        assert not os.path.exists(inside + "/text")
        second = json.loads(ours("restore", at, snapshot=snap, target=target))
        assert second["files"] == 1 and second["warnings"] == 0, second
        assert second["skipped"] >= first["files"] - 1, (first, second)
        with open(inside + "/small", encoding="utf-8") as f:
            assert f.read() == "mine"
        assert os.readlink(inside + "/link") == "elsewhere"
        third = json.loads(ours("restore", at, snapshot=snap, target=target, overwrite="always",
                                verify=True))
        assert third["files"] == first["files"] and third["warnings"] == 0, third
        got = listing(inside)
        assert want == got, [(k, want[k][:8], got.get(k, ())[:8]) for k in want
                             if want[k] != got.get(k)]
        assert not [p for p in got if b"vmbackup-restore" in p]
        shutil.rmtree(target)

    def zeros_are_written_when_told(self):
        at = self.data_repo()
        snap = json.loads(ours("snapshots", at))[0]["id"]
        target = self.path("dense")
        os.makedirs(target)
        out = json.loads(ours("restore", at, snapshot=snap, target=target, noSparse=True,
                              path=self.source + "/all-hole"))
        assert out["holes"] == 0, out
        st = os.stat(target + "/all-hole")
        assert st.st_blocks * 512 >= st.st_size, st

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
             excludes_leave_out_what_restic_leaves_out, paths_are_sorted_by_components,
             mount_points_are_kept_empty, summaries_count_like_restic,
             disk_images_are_cut_at_fixed_places, ls_lists_like_restic, find_finds_like_restic, dump_writes_the_file,
             stats_count_like_restic, filters_of_restores_are_restics,
             restores_overwrite_only_when_told, zeros_are_written_when_told, copies_are_like_restics, we_know_restics_copies]


OURS, THEIRS, BOTH = "ours, restic reads", "restic's, we read", "both write"
ROWS = {  # what a test that passes says in docs/interop.md
    "filters_choose_like_restic": [("snapshots by host, tag and path", BOTH)],
    "forget_judges_like_restic": [("forget: the same verdicts", BOTH)],
    "excludes_leave_out_what_restic_leaves_out": [("excludes: equal trees", BOTH)],
    "disk_images_are_cut_at_fixed_places": [("disk images in fixed chunks", OURS)],
    "ls_lists_like_restic": [("ls, find and dump", BOTH)],
    "stats_count_like_restic": [("stats", BOTH)],
    "filters_of_restores_are_restics": [("restores with includes and excludes", BOTH)],
    "copies_are_like_restics": [("copy to other versions and compressions", OURS)],
    "we_know_restics_copies": [("copy to other versions and compressions", THEIRS)],
}


def main():
    if not shutil.which("restic"):
        return steps.skip_all("needs restic")
    return steps.in_one_folder(Suite, sys.argv[1:], table.noter(ROWS))


if __name__ == "__main__":
    sys.exit(main())
