"""Memory: a program that does the same work all the time needs no more and more for it."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import linear_regression, median

from chaos.checkers.bounds import Bounds
from chaos.history import History, Violation

MIB = 1024 * 1024
FEW = 3  # samples of which the median is taken: one may fall into a batch's peak


@dataclass(frozen=True, slots=True)
class Life:
    """One process, from when its memory counts; ``points`` are (seconds, bytes)."""

    program: str
    pid: int
    points: list[tuple[float, float]]

    @property
    def times(self) -> float:
        """Memory at the end, as times that at the begin."""
        sizes = [size for _, size in self.points]
        return median(sizes[-FEW:]) / max(1.0, median(sizes[:FEW]))

    def slope(self, since: float) -> float:
        """MiB an hour, from so many seconds of its life on."""
        begin = self.points[0][0]
        late = [(at, size) for at, size in self.points if at >= begin + since]
        return linear_regression(*zip(*late, strict=True)).slope * 3600 / MIB if len(late) > 1 else 0.0


def lives(history: History, settle: float) -> list[Life]:
    """Every process that lived long enough to be judged."""
    seen: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for sample in history.samples:
        for program, size in sample.memory.items():
            if program in sample.pids:
                seen[program, sample.pids[program]].append((sample.at, float(size)))
    counted = {who: [point for point in points if point[0] >= points[0][0] + settle] for who, points in seen.items()}
    return [Life(program, pid, points) for (program, pid), points in counted.items() if len(points) >= 2 * FEW]


def memory(history: History, bounds: Bounds) -> list[Violation]:
    """Processes that grew by too many times, or in a long run too fast."""
    found = []
    for life in lives(history, bounds.settle):
        began, ended = life.points[0][0], life.points[-1][0]
        if life.times > bounds.memory:
            detail = f"pid {life.pid} has {life.times:.2f} times what it had after {bounds.settle:g} s"
            found.append(Violation("grown", life.program, detail, ended))
        elif bounds.slope is not None and ended - began >= 2 * bounds.slope_after:
            slope = life.slope(bounds.slope_after)
            if slope > bounds.slope:
                found.append(Violation("grows", life.program, f"pid {life.pid} by {slope:.0f} MiB an hour", ended))
    return found
