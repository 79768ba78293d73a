"""The kept supervisor with tiny programs: restarts, healing, and only what is ours."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import processes, stack
from deploy.local.own_stack import OwnStack
from deploy.local.plan import Plan, write
from deploy.local.ports import Ports
from deploy.local.programs import Program
from deploy.local.readiness import StackFailed, wait_for
from deploy.local.state import State
from deploy.local.status import report
from deploy.local.supervisor import Supervisor, settings_text

SLEEP = (sys.executable, "-c", "import os, time; print('mark', os.environ['MARK'], flush=True); time.sleep(300)")
CRASH = (sys.executable, "-c", "import sys; print('no such setting', flush=True); sys.exit(3)")


def plan_of(state: State, *programs: Program, mark: str = "1") -> Plan:
    """A plan of tiny programs."""
    environment = {program.name: {"MARK": mark, "PATH": os.environ["PATH"]} for program in programs}
    environment["gateway"] = dict.fromkeys(
        ("FRESHET_BROKERS", "FRESHET_WEAVIATE_URL", "FRESHET_WEAVIATE_GRPC"), "127.0.0.1:1"
    ) | dict.fromkeys(("FRESHET_REDIS_STATE_URL", "FRESHET_REDIS_CACHE_URL"), "redis://127.0.0.1:1")
    return Plan(Ports(), None, state.folder, list(programs), settings_text(state, programs), environment)


def told(_line: str) -> None:
    """Somebody to tell who does not listen."""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """A state folder with two sleeping programs in its plan; whatever runs is stopped afterwards."""
    found = State(tmp_path / "state")
    found.prepare()
    write(found, plan_of(found, Program("first", "workers", SLEEP), Program("second", "servers", SLEEP)))
    yield found
    stack.down(found, told)


def start(state: State) -> Supervisor:
    """The supervisor with both programs running."""
    supervisor = Supervisor.launch(state)
    supervisor.start([Program("first", "workers", SLEEP), Program("second", "servers", SLEEP)])
    until(lambda: all(process.state == "RUNNING" for process in supervisor.processes()))
    return supervisor


def until(true: Callable[[], bool], patience_s: float = 10) -> float:
    """Wait for something to become true; return how long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < patience_s, "waited in vain"
        time.sleep(0.01)
    return time.monotonic() - began


def pid_of(supervisor: Supervisor, name: str) -> int | None:
    """The program's pid, None while it does not run."""
    return next(process.pid for process in supervisor.processes() if process.name == name)


def last_pid(state: State, name: str) -> int:
    """The pid of the program's latest start."""
    return [pid for pid, _, started in state.children() if started == name][-1]


def test_a_killed_worker_is_started_again_at_once(state: State) -> None:
    """After kill -9 the program runs again within half a second, with the environment that was written for it."""
    start(state)
    took = []
    for kills in range(1, 4):
        time.sleep(1.2)  # until it counts as started; dying sooner means a wait of a second
        starts = len(state.children())
        os.kill(last_pid(state, "first"), signal.SIGKILL)
        # The journal tells it: to ask the supervisor would wake it.
        took.append(until(lambda: len(state.children()) > starts))  # noqa: B023 -- used within the round
        until(lambda: state.tail("first") == ["mark 1"] * (kills + 1))  # noqa: B023
    assert sorted(took)[1] < 0.5


def test_what_is_cut_stays_dead(state: State) -> None:
    """A program killed for good sees no signal that it could handle, is not started again, and starts when told to."""
    supervisor, own, starts = start(state), OwnStack(state, {}), len(state.children())
    last = processes.look([last_pid(state, "first")])
    own.cut("first")
    until(lambda: not processes.still_running({pid: seen.started for pid, seen in last.items()}))
    until(
        lambda: {each.name: each.state for each in supervisor.processes()} == {"first": "STOPPED", "second": "RUNNING"}
    )
    assert len(state.children()) == starts
    own.start("first")
    until(lambda: pid_of(supervisor, "first") is not None)


def test_a_restart_reads_the_environment_anew(state: State) -> None:
    """What was written to the environment file after the start holds for the next start."""
    supervisor = start(state)
    state.write(state.environment_file, json.dumps({"first": {"MARK": "2"}, "second": {"MARK": "2"}}))
    before = pid_of(supervisor, "first")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: state.tail("first", 1) == ["mark 2"])


def test_secrets_are_for_the_owner_only(state: State) -> None:
    """Nobody else can read the environment of the programs."""
    assert state.environment_file.stat().st_mode & 0o077 == 0
    assert state.folder.stat().st_mode & 0o077 == 0


def test_down_stops_everything_and_may_be_repeated(state: State) -> None:
    """After down neither a program nor the supervisor runs, nor do pid file and socket exist; again does nothing."""
    supervisor = start(state)
    pids = [supervisor.pid(), *(process.pid or 0 for process in supervisor.processes())]
    assert stack.down(state, told)
    assert processes.look(pids) == {}
    assert not state.pid_file.exists()
    assert not state.socket.exists()
    assert not stack.down(state, told)


def test_children_of_a_killed_supervisor_are_found(state: State) -> None:
    """When the supervisor is killed -9 its programs live on, and the next command stops exactly those."""
    supervisor = start(state)
    pids = [process.pid or 0 for process in supervisor.processes()]
    os.kill(supervisor.pid(), signal.SIGKILL)
    until(lambda: Supervisor.connect(state) is None)
    assert len(processes.look(pids)) == 2
    said: list[str] = []
    assert stack.down(state, said.append)
    assert processes.look(pids) == {}
    assert any("first" in line and "second" in line for line in said)


def test_a_stale_pid_file_harms_nobody(state: State) -> None:
    """A pid file that names a living stranger is removed, and the stranger goes on."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as stranger:
        state.pid_file.write_text(str(stranger.pid))
        assert Supervisor.connect(state) is None
        assert not stack.heal(state, told)
        assert not state.pid_file.exists()
        assert stranger.poll() is None
        stranger.kill()


def test_a_stale_socket_does_not_hinder_a_start(state: State) -> None:
    """A socket that nobody listens on any more is replaced."""
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(state.socket))
    assert Supervisor.connect(state) is None
    stack.heal(state, told)
    assert start(state).pid()


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """A state folder deeper than a socket's path may be still works."""
    deep = State(tmp_path / ("d" * 60) / ("e" * 60))
    deep.prepare()
    assert len(str(deep.socket)) < 90
    write(deep, plan_of(deep, Program("first", "workers", SLEEP)))
    try:
        assert Supervisor.launch(deep).pid()
    finally:
        stack.down(deep, told)
        deep.socket.parent.rmdir()


def test_a_port_of_somebody_else_is_reported(state: State) -> None:
    """The message names the port, who wanted it and how to move ours."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        program = Program("kafka", "servers", SLEEP, {"client": port})
        with pytest.raises(StackFailed, match=rf"Port {port}, which kafka needs.*FRESHET_PORT_BASE=\d+"):
            stack.check_ports(plan_of(state, program), [program])


def test_a_program_that_keeps_dying_is_shown(state: State) -> None:
    """Waiting ends early with the name and the end of the log, and the supervisor goes on trying."""
    program = Program("first", "workers", CRASH)
    write(state, plan_of(state, program))
    supervisor = Supervisor.launch(state)
    supervisor.start([program])
    with pytest.raises(StackFailed, match=r"first keeps ending(.|\n)*no such setting"):
        wait_for(state, ["first"], lambda _: "starting", 30, told, watch=True)
    starts = len(state.children())
    until(lambda: len(state.children()) > starts, patience_s=4)


def test_what_is_never_ready_is_shown(state: State) -> None:
    """A wait has an end, which says what was still wrong."""
    start(state)
    with pytest.raises(StackFailed, match=r"first was not ready within 0 s \(still loading\)(.|\n)*mark 1"):
        until(lambda: bool(state.tail("first")))
        wait_for(state, ["first"], lambda _: "still loading", 0.2, told, watch=True)


def test_status_names_every_process(state: State) -> None:
    """Each program has state, pid, ports, log, health and uptime; a stopped stack is not ok."""
    worker = Program("first", "workers", SLEEP, {"metrics": 1})
    write(state, plan_of(state, worker))
    supervisor = Supervisor.launch(state)
    supervisor.start([worker])
    until(lambda: report(state)["processes"][0]["state"] == "RUNNING")
    entry = report(state)["processes"][0]
    assert entry["pid"] == pid_of(supervisor, "first")
    assert entry["ports"] == {"metrics": 1}
    assert entry["log"] == str(state.log("first"))
    assert "no answer" in entry["health"]
    assert entry["uptime_s"] >= 0
    stack.down(state, told)
    after = report(state)
    assert not after["ok"]
    assert after["processes"][0]["state"] == "STOPPED"
