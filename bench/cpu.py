"""Processor time by process, so that a limit can be named."""

import time
from types import TracebackType

import psutil

from deploy.local.own_stack import OwnStack

LEAST = 0.02  # cores that are worth naming


class Cpu:
    """A context manager; ``cores`` holds, by program, processor seconds a second of the block."""

    def __init__(self, stack: OwnStack, asker: int) -> None:
        pids = {name: pid for name in stack.state.plan()["programs"] if (pid := stack.pid(name))}
        self._processes = {name: psutil.Process(pid) for name, pid in {**pids, "asker": asker}.items()}
        self.cores: dict[str, float] = {}

    def __enter__(self) -> "Cpu":
        self._began, self._before = time.perf_counter(), self._seconds()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        took = time.perf_counter() - self._began
        used = {name: (seconds - self._before[name]) / took for name, seconds in self._seconds().items()}
        shown = sorted(used.items(), key=lambda item: -item[1])
        self.cores = {name: round(cores, 2) for name, cores in shown if cores >= LEAST}

    def _seconds(self) -> dict[str, float]:
        found = {}
        for name, process in self._processes.items():
            times = process.cpu_times()
            found[name] = times.user + times.system
        return found
