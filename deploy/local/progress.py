"""Progress lines for steps that run side by side, and the children they start.

Each line carries the seconds since the start and the part's name, and is flushed, so it reads the same in a terminal
and in a log.  A part that works silently is mentioned every 15 seconds.  `stop` ends every child that is still running.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from deploy.local.failures import StepFailed, explain

_SILENCE_S = 15.0  # long enough not to scroll a log away, short enough to show that it is alive
_TAIL_LINES = 40  # what of a failed program's output is kept to be explained
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Progress:
    """Prints one line at a time, from any thread."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        """Start the clock."""
        self._write = write or _print
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, str]] = {}  # part -> last line at, what it is doing
        self._children: set[subprocess.Popen[str]] = set()
        self._stopped = threading.Event()

    @property
    def stopped(self) -> bool:
        """Whether the steps were told to end."""
        return self._stopped.is_set()

    def say(self, part: str, text: str) -> None:
        """Print a line about this part."""
        with self._lock:
            now = time.monotonic()
            if part in self._running:
                self._running[part] = (now, text)
            self._write(f"[{now - self._start:4.0f} s] {part:<10} {text}")

    def note(self, part: str, text: str) -> None:
        """Remember what the part is doing; it is printed when nothing else was for a while."""
        with self._lock:
            last, _ = self._running.get(part, (time.monotonic(), ""))
            self._running[part] = (last, text)

    @contextlib.contextmanager
    def following(self, part: str, text: str) -> Iterator[None]:
        """Mention the part while it works; say how long it took when it is done."""
        began = time.monotonic()
        with self._lock:
            self._running[part] = (began, text)
        self.say(part, text)
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(part, None)
        self.say(part, f"ready after {time.monotonic() - began:.0f} s")  # not reached when it failed

    def tick(self) -> None:
        """Mention every part that was silent for long."""
        now = time.monotonic()
        with self._lock:
            silent = [(part, text) for part, (last, text) in self._running.items() if now - last >= _SILENCE_S]
        for part, text in silent:
            self.say(part, text)

    def run(
        self,
        part: str,
        command: Sequence[str | os.PathLike[str]],
        *,
        environment: Mapping[str, str],
        folder: Path | None = None,
        lock: int | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> str:
        """Run a program to its end and return what it printed; raise `StepFailed` when it fails."""
        if self.stopped:
            raise StepFailed(f"{part}: stopped.")
        try:
            child = subprocess.Popen(
                command, env=dict(environment), cwd=folder, text=True, errors="replace", bufsize=1,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                pass_fds=() if lock is None else (lock,), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise StepFailed(f"{part}: {command[0]} could not be started ({error.strerror}).") from error
        with self._lock:
            self._children.add(child)
        tail: deque[str] = deque(maxlen=_TAIL_LINES)
        assert child.stdout is not None
        for raw in child.stdout:
            line = _COLOURS.sub("", raw).rstrip()
            tail.append(line)
            if on_line:
                on_line(line)
        code = child.wait()
        with self._lock:
            self._children.discard(child)
        output = "\n".join(tail)
        if self.stopped:
            raise StepFailed(f"{part}: stopped.", output)
        if code != 0:
            raise StepFailed(explain(part, output), output)
        return output

    def stop(self) -> None:
        """End the children that still run, with all that they started."""
        self._stopped.set()
        with self._lock:
            children = list(self._children)
        for child in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGTERM)
