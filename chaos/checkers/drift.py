"""Latency: the last third of a run without faults is no slower than its first."""

from collections.abc import Sequence
from statistics import median

from chaos.checkers.bounds import Bounds
from chaos.history import History, Violation

LEAST = 30  # probes of a third: fewer have no median worth comparing


def drift(history: History, bounds: Bounds) -> list[Violation]:
    """Questions or freshness that became slower, where that is asked for."""
    if bounds.drift is None:
        return []
    probes = sorted(history.probes, key=lambda probe: probe.at)
    series = {
        "questions": [probe.took for probe in probes if probe.took is not None],
        "freshness": [probe.fresh for probe in probes if probe.fresh is not None],
    }
    found = []
    for name, values in series.items():
        before, after = thirds(values)
        if after > before * bounds.drift and after - before > bounds.noise:
            detail = f"median {before * 1000:.0f} ms at first, {after * 1000:.0f} ms at the end"
            found.append(Violation("slower", name, detail, history.ended))
    return found


def thirds(values: Sequence[float]) -> tuple[float, float]:
    """Medians of the first and of the last third."""
    third = len(values) // 3
    return (median(values[:third]), median(values[-third:])) if third >= LEAST else (0.0, 0.0)
