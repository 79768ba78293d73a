"""A whole stack of one's own, for a benchmark, a campaign or a test: own folder, own ports, own topics.

What a user runs beside it is not touched, and nothing of the user's settings reaches it.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.local import stack
from deploy.local.environment import local_environment
from deploy.local.readiness import Tell
from deploy.local.state import State, state_folder
from deploy.local.status import report
from deploy.local.supervisor import Supervisor

_USERS = ("FRESHET_", "LLM_")  # settings that are the user's own affair


@dataclass(frozen=True, slots=True)
class OwnStack:
    """A running stack; ``environment`` holds the ``FRESHET_*`` variables of a process beside it."""

    state: State
    environment: Mapping[str, str]

    @property
    def door(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.environment['FRESHET_GATEWAY_PORT']}"

    def pid(self, name: str) -> int | None:
        """Process id of a program, None while it does not run."""
        found = (p["pid"] for p in report(self.state)["processes"] if p["name"] == name)
        return next(found, None)

    def send(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one of our own processes."""
        pid = self.pid(name)
        if not pid:
            raise RuntimeError(f"{name} does not run")
        os.kill(pid, number)

    def cut(self, name: str) -> None:
        """Kill -9, and leave it dead until it is started."""
        supervisor = self._supervisor
        pid = next((each.pid for each in supervisor.processes() if each.name == name), None)
        if pid is None:
            raise RuntimeError(f"{name} does not run")
        os.kill(pid, signal.SIGSTOP)  # it sees nothing of the supervisor's request to end
        supervisor.stop(name, wait=False)
        os.kill(pid, signal.SIGKILL)

    def metrics(self, worker: str) -> str:
        """Address of a worker's metrics."""
        return f"http://127.0.0.1:{self.state.plan()['programs'][worker]['ports']['metrics']}/metrics"

    def stop(self, *names: str) -> None:
        """Stop programs, gracefully; returns when they have ended."""
        for name in names:
            self._supervisor.stop(name)

    def start(self, *names: str) -> None:
        """Start programs that were stopped; returns at once."""
        for name in names:
            self._supervisor.start_one(name)

    @property
    def _supervisor(self) -> Supervisor:
        found = Supervisor.connect(self.state)
        if found is None:
            raise RuntimeError("the stack does not run")
        return found


def process_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Of a process that runs with these `FRESHET_*` settings and none of the user's own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")} | dict(settings)


@contextmanager
def own_stack(
    name: str, port_base: str, settings: Mapping[str, str] | None = None, tell: Tell = print
) -> Iterator[OwnStack]:
    """Bring it up, with these ``FRESHET_*`` settings, and take it down again."""
    state = state_folder(state_folder().folder / name)
    user = {key: value for key, value in os.environ.items() if not key.startswith(_USERS)}
    keywords = str(state.folder / "keywords")
    user |= {"FRESHET_PORT_BASE": port_base, "FRESHET_KEYWORD_DIR": keywords, **(settings or {})}
    up = stack.up(state, user, tell)
    try:
        yield OwnStack(state, local_environment(up.ports, user))
    finally:
        stack.down(state, tell)
