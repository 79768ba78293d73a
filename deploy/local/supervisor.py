"""Talk to one stack's supervisord, and start it.

Comes in: the state folder and the programs.  Goes out: calls over supervisord's socket.
`Supervisor.connect` gives nothing when none answers, so every caller says what that means for it.
"""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deploy.local.environment import child_environment
from deploy.local.failures import StepFailed
from deploy.local.programs import ROOT, Program
from deploy.local.state import State

_PRIORITY = {"servers": 100, "gateway": 200, "workers": 300}  # stopped from the highest down
_PATIENCE_S = 20  # between asking a program to stop and killing it


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, _host: Any) -> http.client.HTTPConnection:
        return _Connection(self._path)


@dataclass(frozen=True, slots=True)
class Process:
    """One program as supervisord sees it."""

    name: str
    group: str
    state: str
    pid: int | None
    since: float | None  # when it was started, while it runs


def settings_text(state: State, programs: Iterable[Program]) -> str:
    """supervisord's settings: everything kept alive, nothing started by itself."""
    programs = list(programs)
    folder = str(state.folder).replace("%", "%%")
    text = f"""[supervisord]
nodaemon=true
logfile={folder}/logs/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile={folder}/supervisord.pid
directory={str(ROOT).replace("%", "%%")}
identifier=freshet
childlogdir={folder}/logs

[unix_http_server]
file={str(state.socket).replace("%", "%%")}
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
    for program in programs:
        command = " ".join('"' + word.replace("%", "%%") + '"' for word in program.command)
        text += f"""
[program:{program.name}]
command={command}
autostart=false
autorestart=true
startsecs=1
startretries=1000000
stopwaitsecs={_PATIENCE_S}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={folder}/logs/{program.name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=1
"""
    for group, priority in _PRIORITY.items():
        names = ",".join(program.name for program in programs if program.group == group)
        if names:
            text += f"\n[group:{group}]\nprograms={names}\npriority={priority}\n"
    return text


class Supervisor:
    """A supervisord that answers."""

    def __init__(self, state: State, proxy: xmlrpc.client.ServerProxy) -> None:
        """Use `connect` or `launch` instead."""
        self._state = state
        self._call: Any = proxy.supervisor

    @classmethod
    def connect(cls, state: State) -> "Supervisor | None":
        """The stack's supervisord, when it runs and is this folder's."""
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(str(state.socket)))
        found = cls(state, proxy)
        try:
            return found if str(found.pid()) == state.pid_file.read_text().strip() else None
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return None

    @classmethod
    def launch(cls, state: State) -> "Supervisor":
        """Start supervisord in the background and wait until it answers."""
        command = [sys.executable, "-m", "deploy.local.keeper", "-c", str(state.settings_file)]
        output = state.folder / "logs" / "supervisord.out"
        with output.open("wb") as log:
            child = subprocess.Popen(
                command, cwd=ROOT, env=child_environment(os.environ), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and child.poll() is None:
            if found := cls.connect(state):
                return found
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        said = output.read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
        raise StepFailed(f"The supervisor did not start ({said[-1]}); its output is {output}.")

    def pid(self) -> int:
        """supervisord's own pid."""
        return int(self._call.getPID())

    def processes(self) -> list[Process]:
        """Every program it knows."""
        return [
            Process(
                name=entry["name"],
                group=entry["group"],
                state=entry["statename"],
                pid=entry["pid"] or None,
                since=entry["start"] if entry["pid"] else None,
            )
            for entry in self._call.getAllProcessInfo()
        ]

    def start(self, programs: Iterable[Program]) -> None:
        """Start those that do not run yet; does not wait for them."""
        running = {process.name for process in self.processes() if process.state in ("STARTING", "RUNNING", "BACKOFF")}
        for program in programs:
            if program.name not in running:
                self._call.startProcess(f"{program.group}:{program.name}", False)

    def stop(self, name: str, *, wait: bool = True) -> None:
        """Stop one program and wait until it has ended, or only ask it to."""
        self._call.stopProcess(self._full_name(name), wait)

    def start_one(self, name: str) -> None:
        """Start one program; does not wait for it."""
        self._call.startProcess(self._full_name(name), False)

    def _full_name(self, name: str) -> str:
        group = next((process.group for process in self.processes() if process.name == name), None)
        if group is None:
            raise StepFailed(f"There is no program {name!r} in this stack.")
        return f"{group}:{name}"

    def replace_group(self, group: str) -> None:
        """Stop a group and take its programs from the settings file anew; they are not started."""
        if any(process.group == group for process in self.processes()):
            self._call.stopProcessGroup(group, True)
            self._call.removeProcessGroup(group)
        self._call.reloadConfig()
        with contextlib.suppress(xmlrpc.client.Fault):  # the settings may have no such group any more
            self._call.addProcessGroup(group)

    def shut_down(self) -> None:
        """Ask it to stop every program, workers first, and then itself; does not wait."""
        self._call.shutdown()
