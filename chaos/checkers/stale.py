"""Freshness: nothing older than what is known to be visible, ever; and in calm, what is new is there in time."""

from chaos.checkers.bounds import Bounds
from chaos.checkers.calm import calm
from chaos.checkers.documents import outdated
from chaos.history import History, Violation


def stale(history: History, bounds: Bounds) -> list[Violation]:
    """Reads that showed something older, from no cache; probes whose change came late or not at all."""
    found, undisturbed = outdated(history, bounds, cached=False), calm(history, bounds)
    for probe in history.probes:
        if probe.fresh is not None and probe.fresh <= bounds.freshness:
            continue
        waited = bounds.freshness if probe.fresh is None else probe.fresh
        if undisturbed(probe.at, probe.at + waited):
            what = "not seen" if probe.fresh is None else f"answerable after {probe.fresh:.1f} s"
            detail = f"{what}, at most {bounds.freshness:g} s are allowed and no fault was felt"
            found.append(Violation("late", "probe", detail, probe.at))
    return found
