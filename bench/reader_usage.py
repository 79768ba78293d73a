"""What the reader processes of a chunk worker take, seen from outside: processor seconds, most resident memory."""

import contextlib
import os
import threading
from pathlib import Path
from types import TracebackType

from deploy.local.own_stack import OwnStack

PERIOD = 0.25  # seconds between looks
_TICKS = os.sysconf("SC_CLK_TCK")


class ReaderUsage:
    """A context manager that watches the children of the chunk worker."""

    def __init__(self, stack: OwnStack) -> None:
        self._stack, self._stop = stack, threading.Event()
        self._seconds: dict[int, float] = {}
        self._peak: dict[int, int] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "ReaderUsage":
        self._worker = self._stack.pid("chunk")
        if not self._worker:
            raise RuntimeError("the chunk worker does not run")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def figures(self) -> dict[str, float]:
        """Of all readers that were seen; one that lived between two looks only is not."""
        return {
            "processes": len(self._seconds),
            "processor seconds, start included": round(sum(self._seconds.values()), 2),
            "peak MB of one": max(self._peak.values(), default=0),
        }

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD):
            for place in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
                    self._look(place)

    def _look(self, place: Path) -> None:
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        if int(fields[1]) != self._worker or b"formats.process" not in (place / "cmdline").read_bytes():
            return
        pid = int(place.name)
        self._seconds[pid] = (int(fields[11]) + int(fields[12])) / _TICKS
        for line in (place / "status").read_text().splitlines():
            if line.startswith(("VmHWM", "VmRSS")):  # not every kernel tells the highest
                self._peak[pid] = max(self._peak.get(pid, 0), int(line.split()[1]) // 1000)
