"""The state folder of one local stack: every path in it, and what is written down there.

`.freshet/` in the checkout unless `--state` says otherwise.  It holds the servers' data, logs, settings, the journal of
children and the plan of what was started.  Files are written aside and renamed, so a killed run leaves no half ones.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.programs import ROOT

_SOCKET_PATH_LIMIT = 100  # the system allows 104 bytes on macOS, 108 on Linux; the listener adds a few of its own


@dataclass(frozen=True, slots=True)
class State:
    """Paths and records of one state folder."""

    folder: Path

    @property
    def settings_file(self) -> Path:
        """supervisord's settings."""
        return self.folder / "supervisord.conf"

    @property
    def pid_file(self) -> Path:
        """Written by supervisord."""
        return self.folder / "supervisord.pid"

    @property
    def lock_file(self) -> Path:
        """Held while a command changes the stack."""
        return self.folder / "lock"

    @property
    def environment_file(self) -> Path:
        """The environment of each program; for the owner's eyes only, since it may hold keys."""
        return self.folder / "environment.json"

    @property
    def plan_file(self) -> Path:
        """What the running supervisor was started with."""
        return self.folder / "plan.json"

    @property
    def journal(self) -> Path:
        """One line per child that was started: pid, time, name."""
        return self.folder / "children"

    @property
    def socket(self) -> Path:
        """supervisord's socket, elsewhere when the folder's path is too long for one."""
        inside = self.folder / "supervisor.sock"
        if len(os.fsencode(inside)) <= _SOCKET_PATH_LIMIT - 20:  # supervisord first binds a longer, temporary name
            return inside
        short = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"freshet-{os.getuid()}-{short}" / "s"

    def log(self, name: str) -> Path:
        """The program's log."""
        return self.folder / "logs" / f"{name}.log"

    def prepare(self) -> None:
        """Make the folders; only the owner may look in, and git ignores what lies there."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "logs").mkdir(exist_ok=True)
        (self.folder / ".gitignore").write_text("*\n")
        socket_folder = self.socket.parent
        if socket_folder != self.folder:
            socket_folder.mkdir(mode=0o700, exist_ok=True)
            if socket_folder.stat().st_uid != os.getuid():
                raise PermissionError(f"{socket_folder} belongs to somebody else")

    def write(self, path: Path, text: str) -> None:
        """Replace a file in one step; readable by the owner only."""
        part = path.with_name(path.name + ".part")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        part.replace(path)

    def record_child(self, pid: int, name: str) -> None:
        """Note a start, in one write, so that a kill cannot leave half a line."""
        handle = os.open(self.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, f"{pid} {time.time():.1f} {name}\n".encode())
        finally:
            os.close(handle)

    def children(self) -> list[tuple[int, float, str]]:
        """Every start since the journal was begun: pid, time, name."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for line in self.journal.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    pid, started, name = line.split(" ", 2)
                    found.append((int(pid), float(started), name))
        return found

    def plan(self) -> dict[str, Any]:
        """What was started last; empty when nothing was."""
        try:
            plan: dict[str, Any] = json.loads(self.plan_file.read_text())
            return plan
        except (OSError, ValueError):
            return {}

    def tail(self, name: str, lines: int = 15) -> list[str]:
        """The last lines of a program's log."""
        try:
            with self.log(name).open("rb") as file:
                file.seek(max(0, self.log(name).stat().st_size - 64 * 1024))
                return file.read().decode(errors="replace").splitlines()[-lines:]
        except OSError:
            return []


def state_folder(path: Path | None = None) -> State:
    """The folder asked for, or the checkout's own."""
    return State((path or ROOT / ".freshet").absolute())
