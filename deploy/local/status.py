"""How a stack is: every process with state, pid, ports, log, health and uptime.

Comes in: the state folder.  Goes out: a plain structure, the same for people and programs.  Looks only.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deploy.local import health
from deploy.local.state import State
from deploy.local.supervisor import Process, Supervisor

_PROBES_AT_ONCE = 8


def report(state: State) -> dict[str, Any]:
    """Ask the supervisor and every process; what was never started is listed as stopped."""
    plan = state.plan()
    supervisor = Supervisor.connect(state)
    running = {process.name: process for process in supervisor.processes()} if supervisor else {}
    with ThreadPoolExecutor(_PROBES_AT_ONCE) as pool:
        entries = list(
            pool.map(
                lambda item: _entry(state, item[0], item[1], running.get(item[0])),
                plan.get("programs", {}).items(),
            )
        )
    wanted = [entry for entry in entries if entry["state"] != "STOPPED"]
    return {
        "ok": bool(wanted) and all(entry["health"] == "ok" for entry in wanted),
        "state": str(state.folder),
        "port_base": plan.get("base"),
        "external": plan.get("external", False),
        "supervisor_pid": supervisor.pid() if supervisor else None,
        "addresses": plan.get("addresses", {}),
        "processes": entries,
    }


def _entry(state: State, name: str, planned: dict[str, Any], process: Process | None) -> dict[str, Any]:
    up = process is not None and process.state == "RUNNING"
    wrong: str | None = "not running"
    if up and planned["group"] == "servers":
        wrong = health.server_answer(planned["ports"])
    elif up:
        wrong = health.application_answer(planned["group"], planned["ports"])
    return {
        "name": name,
        "group": planned["group"],
        "state": process.state if process else "STOPPED",
        "pid": process.pid if process else None,
        "ports": planned["ports"],
        "log": str(state.log(name)),
        "health": wrong or "ok",
        "uptime_s": round(time.time() - process.since, 1) if process and process.since else None,
    }
