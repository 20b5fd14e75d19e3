"""Ends a rig's processes when the rig itself can't any more.

Started by rig.py as `python3 keeper.py <parent pid>`, with a pipe as its standard input. The
rig writes `add PID` for each process it starts (a session leader) and `del PID` when it
has ended it, and `dir PATH` for a folder to remove. At the pipe's end, or when its parent
is gone, everything still listed is ended: SIGTERM to the process group, SIGKILL after a
grace.
"""

import os
import select
import shutil
import signal
import sys
import time

GRACE = 5.0


def stat_of(pid):
    """(state, process group, session, start time) of a process, or None."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[2]), int(fields[3]), int(fields[19])


def members(leader, since):
    """The living processes of the session that `leader` opened at start time `since`."""
    out = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = stat_of(int(name))
            if stat and stat[0] not in b"ZX" and stat[2] == leader and stat[3] >= since:
                out.append(int(name))
    return out


def signal_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass


def end(leaders, grace=GRACE):
    """Ends the sessions of {leader: start time}."""
    left = [p for leader, since in leaders.items() for p in members(leader, since)]
    signal_all(left, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [p for leader, since in leaders.items() for p in members(leader, since)]
    while left:
        signal_all(left, signal.SIGKILL)
        time.sleep(0.05)
        left = [p for leader, since in leaders.items() for p in members(leader, since)]


def main():
    parent = int(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    leaders, folders, pending = {}, [], b""
    while True:
        if select.select([0], [], [], 1.0)[0]:
            data = os.read(0, 65536)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                verb, _, rest = line.decode().partition(" ")
                if verb == "add":
                    stat = stat_of(int(rest))
                    if stat:
                        leaders[int(rest)] = stat[3]
                elif verb == "del":
                    leaders.pop(int(rest), None)
                elif verb == "dir":
                    folders.append(rest)
                elif verb == "keep":
                    folders.clear()
        elif os.getppid() != parent:
            break
    end(leaders)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
