"""What `up` and `down` do: a rig for people, in a shell or detached."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import buildlib  # noqa: E402
import keeper  # noqa: E402
import rig as rigs  # noqa: E402

DEFAULT = ["apiserver", "minio", "kubelet", "velero"]


def state_file(name):
    folder = os.path.join(buildlib.cache_dir(), "run")
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, name)


def running(state):
    """The detached rig's {pid, since, env file, dir}, or None."""
    try:
        with open(state, encoding="utf-8") as f:
            found = json.load(f)
    except (OSError, ValueError):
        return None
    stat = keeper.stat_of(found["pid"])
    return found if stat and stat[3] == found["since"] else None


def write_env(rig, path):
    with open(path, "w", encoding="utf-8") as f:
        for name, value in rig.environment().items():
            f.write("export %s=%s\n" % (name, shlex.quote(value)))


def describe(rig):
    out = ["parts: " + " ".join("%s (%.1f s)" % (n, rig.times[n]) for n in rig._order)]
    out += ["%s: %s" % item for item in sorted(rig.skipped.items())]
    if rig.kubeconfig:
        out.append("KUBECONFIG=%s (%s)" % (rig.kubeconfig, rig.api_url))
    for name, at in sorted(rig.s3.items()):
        if rig.has(name):
            out.append("S3 %s: %s bucket %s key %s secret %s region %s" % (
                name, at["endpoint"], at["bucket"], at["access_key"], at["secret_key"],
                at["region"]))
    out.append("logs: " + rig.dir)
    return "\n".join(out)


def up(argv):
    parser = argparse.ArgumentParser(
        prog="up", description="Starts parts of the rig and opens a shell in which they can be "
        "used; they end with it.")
    parser.add_argument("parts", nargs="*", help="default: " + " ".join(DEFAULT))
    parser.add_argument("--detach", action="store_true",
                        help="write a file to source and return; `down` ends the rig")
    parser.add_argument("--name", default="rig", help="of a detached rig, for more than one")
    parser.add_argument("--shop", action="store_true", help="load the demo namespace")
    parser.add_argument("--no-crds", action="store_true")
    parser.add_argument("--velero-features", default="", help="such as EnableCSI")
    parser.add_argument("--exec", nargs=argparse.REMAINDER, metavar="COMMAND", dest="command",
                        help="run a command in place of a shell")
    parser.add_argument("--hold", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    state = state_file(args.name + ".json")
    if args.detach and not args.hold:
        return detach(args, argv, state)
    rig = rigs.Rig(parts=args.parts or DEFAULT, crds=not args.no_crds,
                   velero_features=args.velero_features, verbose=True)
    try:
        with rig:
            if args.shop:
                rig.load_shop()
            if args.hold:
                return hold(rig, state)
            print(describe(rig), flush=True)
            env = dict(os.environ, **rig.environment())
            command = args.command or [os.environ.get("SHELL") or "/bin/sh"]
            signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the shell
            return subprocess.call(command, env=env)
    except rigs.Skip as e:
        print("up: %s" % e, file=sys.stderr)
        return 77
    except rigs.RigError as e:
        print("up: %s" % e, file=sys.stderr)
        return 1


def detach(args, argv, state):
    if running(state):
        print("up: a rig named %s runs already; `down %s` ends it" % (args.name, args.name),
              file=sys.stderr)
        return 1
    log = state_file(args.name + ".log")
    if os.path.exists(state):
        os.remove(state)
    with open(log, "wb") as out:
        child = subprocess.Popen([sys.executable, os.path.join(HERE, "up"), "--hold"] + argv,
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 start_new_session=True)
    while child.poll() is None and not running(state):
        time.sleep(0.1)
    found = running(state)
    with open(log, encoding="utf-8", errors="replace") as f:
        (sys.stdout if found else sys.stderr).write(f.read())
    if not found:
        return child.returncode or 1
    print("to use it: . %s\nto end it: down %s" % (found["env"], args.name))
    return 0


def hold(rig, state):
    env = state[:-len(".json")] + ".env"
    write_env(rig, env)
    with open(state + ".new", "w", encoding="utf-8") as f:
        json.dump({"pid": os.getpid(), "since": keeper.stat_of(os.getpid())[3], "env": env,
                   "dir": rig.dir}, f)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    print(describe(rig), flush=True)
    os.rename(state + ".new", state)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.remove(state)
    return 0


def down(argv):
    parser = argparse.ArgumentParser(prog="down", description="Ends a detached rig.")
    parser.add_argument("name", nargs="?", default="rig")
    args = parser.parse_args(argv)
    state = state_file(args.name + ".json")
    found = running(state)
    if not found:
        print("down: no rig named %s runs" % args.name)
        return 0
    os.kill(found["pid"], signal.SIGTERM)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        stat = keeper.stat_of(found["pid"])
        if not stat or stat[0] in b"ZX" or stat[3] != found["since"]:
            print("down: ended")
            return 0
        time.sleep(0.1)
    os.kill(found["pid"], signal.SIGKILL)  # its keeper ends the servers
    print("down: killed")
    return 1
