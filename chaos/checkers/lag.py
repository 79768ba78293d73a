"""Lag: back to nothing on every lane once faults are healed and nothing new is published."""

from chaos.checkers.bounds import Bounds
from chaos.history import History, Violation


def quiet_since(history: History) -> float:
    """From when nothing was done to the system any more."""
    healed = [window.healed for window in history.windows if window.healed is not None]
    changed = [*(write.sent for write in history.writes), *(probe.at for probe in history.probes)]
    return max([history.began, *healed, *changed, *(job.sent for job in history.jobs)])


def drained(history: History, lane: str) -> float | None:
    """Seconds from the last thing that was done to the first sample from which on this lane has no lag."""
    quiet = quiet_since(history)
    last = max((sample.at for sample in history.samples if sample.lag.get(lane)), default=quiet)
    return next((s.at - quiet for s in history.samples if s.at >= max(quiet, last) and s.lag.get(lane) == 0), None)


def lag(history: History, bounds: Bounds) -> list[Violation]:
    """Lanes that did not drain in time, or have lag at the end."""
    asked = [sample for sample in history.samples if sample.lag]
    found = []
    for lane in sorted({lane for sample in asked for lane in sample.lag}):
        seconds, last = drained(history, lane), asked[-1].lag.get(lane)
        if last != 0:
            detail = "not known" if last is None else f"{last} records behind"
            found.append(Violation("behind", lane, f"{detail} at the end", asked[-1].at))
        elif seconds is None or seconds > bounds.drain:
            took = "at no time" if seconds is None else f"after {seconds:.1f} s"
            found.append(Violation("slow", lane, f"no lag {took}, {bounds.drain:g} s allowed", quiet_since(history)))
    return found
