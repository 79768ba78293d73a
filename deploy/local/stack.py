"""Bring the local stack up, take it down, and say how it is.

Comes in: the state folder, the user's environment and somebody to tell.  Goes out: a running stack, or a `StackFailed`
whose message says what is wrong and what to do.  Twice is as good as once: up finds what runs, down what is left.
"""

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deploy.local import health, processes
from deploy.local.cache import locked
from deploy.local.plan import Plan, make_plan, write
from deploy.local.ports import Ports
from deploy.local.programs import ROOT, Program, freshet_command
from deploy.local.readiness import StackFailed, Tell, wait_for
from deploy.local.servers import format_kafka
from deploy.local.state import State
from deploy.local.supervisor import Supervisor

SERVERS = ("kafka", "weaviate", "redis-state", "redis-cache")
_SERVERS_READY_S = 90  # measured: 8 s; a loaded machine or a long log to read may need more
_GATEWAY_READY_S = 120  # the first start exports the encoder, 10 s, and imports torch
_DOWN_S = 60


@dataclass(frozen=True, slots=True)
class Up:
    """Where a stack that is up can be reached."""

    ports: Ports
    addresses: dict[str, str]
    already_up: bool


def up(state: State, user: Mapping[str, str], tell: Tell, *, servers_only: bool = False) -> Up:
    """Bring everything up and return when it is ready."""
    state.prepare()
    with locked(state.lock_file, lambda: tell("another command is changing this stack; waiting for it")):
        plan = make_plan(state, user)
        supervisor = Supervisor.connect(state)
        began_here = supervisor is None
        starts_before = len(state.children())
        try:
            if supervisor is None:
                heal(state, tell)
                check_ports(plan, plan.of("servers") if servers_only else plan.programs)
                write(state, plan)
                supervisor = Supervisor.launch(state)
            else:
                _adopt(state, plan, supervisor, tell)
            _start_servers(state, plan, supervisor, tell)
            if not servers_only:
                _start_application(state, plan, supervisor, tell)
        except BaseException:
            if began_here:
                _stop(state, tell)
            raise
        already_up = not began_here and len(state.children()) == starts_before
    return Up(plan.ports, plan.addresses, already_up)


def _adopt(state: State, plan: Plan, supervisor: Supervisor, tell: Tell) -> None:
    """Take over a running stack: servers stay as they are, changed workers are started anew."""
    before = state.plan()
    now = (plan.ports.base, plan.external, asdict(plan.copies))
    if (before.get("base"), before.get("external"), before.get("copies", now[2])) != now:
        copies = ", ".join(f"{count} {what}" for what, count in before.get("copies", {}).items())
        kind = "external servers" if before.get("external") else f"port base {before.get('base')} and {copies}"
        raise StackFailed(
            f"A stack with {kind} runs from {state.folder} already. "
            "Stop it first (make down), or give this one a folder of its own with --state."
        )
    try:
        environment = json.loads(state.environment_file.read_text())
    except (OSError, ValueError):
        environment = {}
    changed = {
        group
        for group in ("gateway", "workers")
        if {name: _settings(environment.get(name, {})) for name in _names(before, group)}
        != {program.name: _settings(plan.environment[program.name]) for program in plan.of(group)}
    }
    write(state, plan)
    for group in sorted(changed, reverse=True):
        running = [p for p in supervisor.processes() if p.group == group and p.state != "STOPPED"]
        if running:
            tell(f"settings changed: restarting the {group}")
        supervisor.replace_group(group)


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What a program behaves by; the rest of the environment differs from terminal to terminal."""
    return {name: value for name, value in environment.items() if name.startswith("FRESHET_")}


def _names(record: Mapping[str, Any], group: str) -> list[str]:
    return [name for name, entry in record.get("programs", {}).items() if entry["group"] == group]


def check_ports(plan: Plan, programs: list[Program]) -> None:
    """Refuse to start where a port is somebody else's."""
    for program in programs:
        for use, port in program.ports.items():
            if processes.port_taken(port):
                who = processes.who_listens(port)
                raise StackFailed(
                    f"Port {port}, which {program.name} needs ({use}), is in use{f' by {who}' if who else ''}. "
                    f"Stop that, or move all our ports: FRESHET_PORT_BASE={plan.ports.base + 1000}."
                )


def _start_servers(state: State, plan: Plan, supervisor: Supervisor, tell: Tell) -> None:
    servers = {program.name: program for program in plan.of("servers")}
    waiting = list(servers)
    if plan.parts is None:
        waiting = list(SERVERS)
    else:
        supervisor.start(program for program in servers.values() if "client" not in program.ports)
        format_kafka(state.folder, plan.parts, plan.cache, plan.copies.brokers)
        supervisor.start(servers.values())

    def check(name: str) -> str | None:
        if plan.external:
            return health.external_answer(name, plan.addresses)
        return health.server_answer(servers[name].ports)

    wait_for(state, waiting, check, _SERVERS_READY_S, tell, watch=not plan.external)


def _run_once(plan: Plan, *command: str) -> None:
    """One of our own commands, to its end, with the settings the workers will have."""
    done = subprocess.run(
        [*freshet_command(), *command], cwd=ROOT, env=plan.environment["gateway"], text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise StackFailed(f"`freshet {' '.join(command)}` failed:\n{last}")


def _start_application(state: State, plan: Plan, supervisor: Supervisor, tell: Tell) -> None:
    application = plan.of("workers", "gateway")
    states = {process.name: process.state for process in supervisor.processes()}
    if any(states.get(program.name) != "RUNNING" for program in application):
        tell("topics: creating or checking them")
        _run_once(plan, "topics", "apply", *([] if plan.external else ["--alter"]))
        tell("encoder: checking it (the first time it is exported and measured, about half a minute)")
        _run_once(plan, "model", "prepare")
        supervisor.start(application)
    by_name = {program.name: program for program in application}

    def check(name: str) -> str | None:
        if name == "gateway":
            return health.application_answer("gateway", by_name[name].ports)
        running = next((process.state for process in supervisor.processes() if process.name == name), "missing")
        return None if running == "RUNNING" else running.lower()

    wait_for(state, [program.name for program in application], check, _GATEWAY_READY_S, tell, watch=True)


def down(state: State, tell: Tell) -> bool:
    """Stop everything that was started from this folder; False when nothing was running."""
    if not state.folder.is_dir():
        return False
    with locked(state.lock_file, lambda: tell("another command is changing this stack; waiting for it")):
        return _stop(state, tell)


def _stop(state: State, tell: Tell) -> bool:
    supervisor = Supervisor.connect(state)
    if supervisor is None:
        return heal(state, tell)
    pid = supervisor.pid()
    children = {child: started for child, started, _ in state.children()}
    supervisor.shut_down()
    deadline = time.monotonic() + _DOWN_S
    shown = ""
    while time.monotonic() < deadline and (pid in processes.look([pid])):
        alive = set(processes.still_running(children))
        names = ", ".join(name for child, _, name in state.children() if child in alive)
        if names and names != shown:
            tell(f"stopping {names}")
            shown = names
        time.sleep(0.1)
    heal(state, tell)
    return True


def heal(state: State, tell: Tell) -> bool:
    """Clear what a killed run left: its supervisor, its children, its pid file and socket."""
    recorded = {pid: started for pid, started, _ in state.children()}
    names = {pid: name for pid, _, name in state.children()}
    ended = processes.end(_own_supervisor(state), patience_s=5)
    left = processes.end(recorded, patience_s=20)
    if left:
        tell(f"stopped what an earlier run left: {', '.join(names[seen.pid] for seen in left)}")
    for path in (state.pid_file, state.socket, state.journal):
        path.unlink(missing_ok=True)
    return bool(left or ended)


def _own_supervisor(state: State) -> dict[int, float]:
    """The supervisor that the pid file names, if that process really is this folder's."""
    try:
        pid = int(state.pid_file.read_text())
    except (OSError, ValueError):
        return {}
    seen = processes.look([pid]).get(pid)
    return {pid: seen.started} if seen and str(state.settings_file) in seen.command else {}
