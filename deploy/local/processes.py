"""Processes and ports as the system shows them, without /proc.

A pid alone names nobody: the number may be somebody else's by now.  A process counts as ours only if it began when we
wrote that it began.  Looks and signals only what it was given.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_CLOCK_SLACK_S = 3.0  # ps counts from the boot time, which moves a little when the clock is set


@dataclass(frozen=True, slots=True)
class Seen:
    """A running process, by ps."""

    pid: int
    group: int
    started: float
    command: str


def look(pids: Iterable[int]) -> dict[int, Seen]:
    """Those of the pids that run now; zombies do not count."""
    wanted = ",".join(str(pid) for pid in pids)
    if not wanted:
        return {}
    # C and UTC, so that the date has one form; -ww, so that the command is not cut.
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    listing = subprocess.run(
        ["ps", "-ww", "-o", "pid=,pgid=,stat=,lstart=,command=", "-p", wanted],
        capture_output=True, text=True, errors="replace", env=environment, check=False,
    ).stdout  # fmt: skip
    seen = {}
    for line in listing.splitlines():
        fields = line.split(None, 8)
        if len(fields) < 8 or fields[2].startswith("Z"):
            continue
        began = datetime.strptime(" ".join(fields[3:8]), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
        pid = int(fields[0])
        seen[pid] = Seen(pid, int(fields[1]), began.timestamp(), fields[8] if len(fields) > 8 else "")
    return seen


def still_running(recorded: Mapping[int, float]) -> dict[int, Seen]:
    """Those of our recorded processes (pid -> when it began) that still run."""
    return {
        pid: seen
        for pid, seen in look(recorded).items()
        if abs(seen.started - recorded[pid]) <= _CLOCK_SLACK_S and pid != os.getpid()
    }


def end(recorded: Mapping[int, float], patience_s: float) -> list[Seen]:
    """Ask our recorded processes to end, make them after a while, and return those that were running."""
    found = still_running(recorded)
    _signal(found.values(), signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    left = found
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = still_running(recorded)
    _signal(left.values(), signal.SIGKILL)
    while left and time.monotonic() < deadline + 5:
        time.sleep(0.05)
        left = still_running(recorded)
    return list(found.values())


def _signal(processes: Iterable[Seen], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if process.group == process.pid:  # it leads a group of its own, so what it started goes with it
                os.killpg(process.pid, number)
            else:
                os.kill(process.pid, number)


def port_taken(port: int) -> bool:
    """Whether somebody listens on this loopback port, or on all interfaces."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return True
    with socket.socket() as probe:  # bound but not listening yet, or listening on another interface only
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def who_listens(port: int) -> str:
    """The process on the port, in words, where the system can tell; empty where not."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-t"],
            capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
        pids = [int(line) for line in done.stdout.split() if line.isdecimal()]
        return ", ".join(f"{seen.command[:60]} (pid {pid})" for pid, seen in look(pids[:2]).items())
    return ""
