"""Whose process is it, and who has the port."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from deploy.local import processes

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
FAMILY = (
    "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    "print(c.pid, flush=True); time.sleep(60)"
)


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of this test, gone afterwards."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        child.kill()
        child.wait()


def python(children: list[subprocess.Popen[str]], code: str) -> subprocess.Popen[str]:
    """Start a process in a group of its own and wait until it says something."""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    children.append(child)
    return child


def gone(pid: int) -> bool:
    """Whether the process ended, within a moment."""
    deadline = time.monotonic() + 5
    while pid in processes.look([pid]):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_recorded_process_is_known_again(children: list[subprocess.Popen[str]]) -> None:
    """Pid and time of start together name a process, with its command line."""
    began = time.time()
    child = python(children, STUBBORN)
    seen = processes.still_running({child.pid: began})[child.pid]
    assert abs(seen.started - began) < 3
    assert seen.group == child.pid
    assert "SIG_IGN" in seen.command


def test_a_reused_pid_is_not_ours(children: list[subprocess.Popen[str]]) -> None:
    """A process that began at another time than we wrote down is left alone."""
    child = python(children, STUBBORN)
    assert processes.still_running({child.pid: time.time() - 3600}) == {}
    assert processes.end({child.pid: time.time() - 3600}, patience_s=0.1) == []
    assert child.poll() is None


def test_we_never_end_ourselves() -> None:
    """A journal that names this very process is not obeyed."""
    own = processes.look([os.getpid()])[os.getpid()]
    assert processes.still_running({own.pid: own.started}) == {}


def test_a_stubborn_process_is_made_to_end(children: list[subprocess.Popen[str]]) -> None:
    """What does not listen to SIGTERM is killed after the patience is over."""
    began = time.time()
    child = python(children, STUBBORN)
    assert child.stdout is not None
    child.stdout.readline()
    ended = processes.end({child.pid: began}, patience_s=0.3)
    assert [seen.pid for seen in ended] == [child.pid]
    assert child.wait(5) == -9


def test_what_it_started_ends_with_it(children: list[subprocess.Popen[str]]) -> None:
    """A leader of a process group takes its own children along."""
    began = time.time()
    child = python(children, FAMILY)
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    processes.end({child.pid: began}, patience_s=2)
    assert gone(grandchild)


def test_a_listening_port_is_taken() -> None:
    """Somebody on loopback, or on every interface, is noticed; a free port is free."""
    for address in ("127.0.0.1", "0.0.0.0"):
        with socket.socket() as listener:
            listener.bind((address, 0))
            port = listener.getsockname()[1]
            listener.listen()
            assert processes.port_taken(port), address
        assert not processes.port_taken(port)


def test_a_port_that_was_just_closed_is_free() -> None:
    """Connections that still linger after a stop do not keep the next start away."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = listener.accept()
            accepted.close()  # the server closes first, so the lingering end is on its port
    assert not processes.port_taken(port)
