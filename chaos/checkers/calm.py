"""When a run was undisturbed, and how long each fault was felt.

A fault is felt from before it was injected until all was normal again after it was healed: until the first of so many
normal probes in a row came to its end.  Its recovery counts from when it was let go, so that what a program needs to
start again is part of it.  What must hold always is judged always; what may fail under a fault is judged
in calm only.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chaos.checkers.bounds import Bounds
from chaos.history import History, Probe, Window

FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Recovery:
    """Of one fault.  ``seconds`` None: never, or not before another fault began (``disturbed``)."""

    window: Window
    seconds: float | None
    disturbed: bool


def normal(probe: Probe, bounds: Bounds) -> bool:
    """Answered in time, with nothing left out, and what was written is there."""
    answered = probe.took is not None and probe.took <= bounds.question and probe.error is None
    return answered and not probe.degraded and probe.fresh is not None and probe.fresh <= bounds.freshness


def recoveries(history: History, bounds: Bounds) -> list[Recovery]:
    """Of every fault that was healed, from then to the end of the first of so many normal probes in a row."""
    return [_recovery(window, history, bounds) for window in history.windows if window.healed is not None]


def released_at(window: Window) -> float:
    """When a fault was over, and what it struck could begin to come back."""
    moments = [moment for moment in (window.released, window.healed) if moment is not None]
    return moments[0] if moments else FOREVER


def recovery_times(history: History, bounds: Bounds) -> dict[str, list[float]]:
    """Seconds by fault, of those that could be measured."""
    found = defaultdict(list)
    for each in recoveries(history, bounds):
        if each.seconds is not None:
            found[each.window.fault].append(each.seconds)
    return dict(found)


def _recovery(window: Window, history: History, bounds: Bounds) -> Recovery:
    healed = window.healed if window.healed is not None else FOREVER
    released = released_at(window)
    others = [w for w in history.windows if w is not window]
    in_it = any(w.began < healed and (w.healed is None or w.healed > healed) for w in others)
    until = healed if in_it else min((w.began for w in others if w.began >= healed), default=FOREVER)
    after = sorted((p for p in history.probes if healed <= p.at < until), key=lambda probe: probe.at)
    good = [normal(probe, bounds) for probe in after]
    for place, probe in enumerate(after):
        if len(run := good[place : place + bounds.normal]) == bounds.normal and all(run):
            return Recovery(window, probe.at + max(probe.took or 0.0, probe.fresh or 0.0) - released, disturbed=False)
    return Recovery(window, None, until < FOREVER and until - released < bounds.back(window.fault) + bounds.normal)


def felt(history: History, bounds: Bounds) -> Iterator[tuple[float, float]]:
    """From when to when faults were felt; one that took too long, or never ended, is told by its own checker."""
    for each in recoveries(history, bounds):
        assert each.window.healed is not None
        unknown = bounds.back(each.window.fault) if each.disturbed else FOREVER
        over = released_at(each.window) + (unknown if each.seconds is None else each.seconds)
        yield each.window.began, max(each.window.healed, over)
    for window in history.windows:
        if window.healed is None:
            yield window.began, FOREVER


def calm(history: History, bounds: Bounds) -> Callable[[float, float], bool]:
    """Whether no fault was felt at any moment of a time."""
    shaken = list(felt(history, bounds))
    return lambda since, until: not any(began <= until and since <= over for began, over in shaken)


def calm_spans(history: History, bounds: Bounds) -> list[tuple[float, float]]:
    """The times between those in which faults were felt."""
    shaken = sorted(felt(history, bounds))
    over = list(itertools.accumulate((end for _, end in shaken), max, initial=history.began))
    begins = [*(begin for begin, _ in shaken), history.ended]
    return [(since, until) for since, until in zip(over, begins, strict=True) if since < until]
