"""What runs in a local stack: each program's command, ports and share of the environment.

Comes in: ports, the state folder, where the parts are, the user's environment.  Goes out: the list of programs.
Refused: a FRESHET_WORKERS that names no worker.  Pure apart from `servers.py`, which writes the servers' settings.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.ports import Ports

ROOT = Path(__file__).resolve().parents[2]  # the checkout
WORKERS = ("chunk", "embed", "index", "retrieve", "generate", "deliver", "notify")
MAPPER = "map"  # only where there are topics of the user's own
PURGER = "purge"  # only where there are edges


class BadWorkers(ValueError):
    """FRESHET_WORKERS cannot be understood; the message says what can."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process that the supervisor keeps alive."""

    name: str
    group: str  # servers, gateway or workers; stopped in the opposite order
    command: tuple[str, ...]
    ports: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    bare: bool = False  # a server that must not see our settings


def worker_counts(user: Mapping[str, str]) -> dict[str, int]:
    """How many slots each worker has: one, or what FRESHET_WORKERS="embed=2,index=0" says."""
    names = list(WORKERS)
    for worker, variable in ((MAPPER, "FRESHET_SOURCES"), (PURGER, "FRESHET_EDGE_URLS")):
        if user.get(variable) or user.get(f"{variable}_FILE"):
            names.append(worker)
    counts = dict.fromkeys(names, 1)
    for item in filter(None, (piece.strip() for piece in user.get("FRESHET_WORKERS", "").split(","))):
        name, _, number = item.partition("=")
        if name not in counts or not number.isdecimal():
            raise BadWorkers(f"FRESHET_WORKERS: {item!r} is not NAME=COUNT with a NAME of {', '.join(counts)}")
        counts[name] = int(number)
    return counts


def freshet_command() -> list[str]:
    """The command line of this checkout, whatever is installed: run with its root as working directory."""
    return [sys.executable, "-m", "cli"]


def application_programs(ports: Ports, user: Mapping[str, str]) -> list[Program]:
    """The gateway and every worker slot; a slot keeps its name over restarts, for static group membership."""
    python = (sys.executable, "-m")  # not `freshet worker`: a worker that died is back half a second sooner without it
    programs = [Program("gateway", "gateway", (*python, "gateway"), {"http": ports.gateway})]
    position = 0
    for worker, count in worker_counts(user).items():
        for slot in range(count):
            metrics = ports.metrics(position)
            position += 1
            programs.append(
                Program(
                    name=worker if count == 1 else f"{worker}-{slot}",
                    group="workers",
                    command=(*python, "streams", worker),
                    ports={"metrics": metrics},
                    environment={"FRESHET_METRICS_PORT": str(metrics), "FRESHET_WORKER_SLOT": str(slot)},
                )
            )
    return programs
