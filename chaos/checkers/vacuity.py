"""Evidence: a verdict on what never happened is none.

For each checker, what must have been there for it to have seen anything.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from chaos.checkers.bounds import Bounds
from chaos.checkers.calm import calm_spans, recovery_times
from chaos.checkers.drift import LEAST
from chaos.checkers.memory import lives
from chaos.checks import NO_EDGE
from chaos.history import History, Read, Violation

Evidence: TypeAlias = Callable[[History, Bounds], bool]


def _shown(history: History) -> Iterator[Read]:
    return (read for read in history.reads if read.result == "ok" and read.passages)


def _probed(history: History, bounds: Bounds) -> bool:
    spans = calm_spans(history, bounds)
    return any(since < probe.at < until for probe in history.probes for since, until in spans)


def _deleted(history: History, _: Bounds) -> bool:
    return _asked_after(history, {w.revision.doc_id: w.visible for w in history.writes if w.revision.deletes})


def _restricted(history: History, _: Bounds) -> bool:
    return _asked_after(history, {w.revision.doc_id: w.visible for w in history.writes if w.revision.access})


def _asked_after(history: History, visible: dict[str, float | None]) -> bool:
    """Whether anybody asked about one of these documents once its change was visible."""
    moments = {doc_id: at for doc_id, at in visible.items() if at is not None}
    return any(read.result == "ok" and read.began > moments.get(read.doc_id, float("inf")) for read in history.reads)


def _cached(history: History, bounds: Bounds) -> bool:
    shown = list(_shown(history))
    copied = bounds.edge == NO_EDGE or any(read.copied for read in shown)
    return copied and any(read.cached for read in shown)


def _drifted(history: History, bounds: Bounds) -> bool:
    return bounds.drift is None or sum(probe.took is not None for probe in history.probes) >= 3 * LEAST


EVIDENCE: dict[str, tuple[str, Evidence]] = {
    "lost": ("no change was acknowledged", lambda h, _: any(w.result == "ok" for w in h.writes)),
    "resurrected": ("nobody asked for a document after it was deleted", _deleted),
    "mixed": ("no answer showed two passages", lambda h, _: any(len(read.passages) > 1 for read in _shown(h))),
    "revoked": ("nobody asked for a document after its access was changed", _restricted),
    "stale": ("no probe in calm", _probed),
    "cached": ("no answer came from a cache, or none from an edge's copy", _cached),
    "jobs": ("no job was answered", lambda h, _: any(job.final for job in h.jobs)),
    "webhooks": ("no job named a webhook", lambda h, _: any(job.webhook and job.id for job in h.jobs)),
    "letters": ("nothing was poisoned", lambda h, _: bool(h.poisons)),
    "lag": ("no sample shows lag", lambda h, _: any(sum(sample.lag.values()) for sample in h.samples)),
    "recovery": ("no fault whose recovery was seen", lambda h, b: bool(recovery_times(h, b))),
    "memory": ("no program lived long enough", lambda h, b: bool(lives(h, b.settle))),
    "drift": ("too few probes", _drifted),
}  # fmt: skip


def vacuity(history: History, bounds: Bounds) -> list[Violation]:
    """Checkers without evidence, and faults that did not happen."""
    found = [
        Violation("no-evidence", name, lacks, history.ended)
        for name, (lacks, seen) in EVIDENCE.items()
        if name not in bounds.optional and not seen(history, bounds)
    ]
    failed = [window for window in history.windows if window.injected is None]
    return found + [Violation("no-fault", w.fault, w.error or "not injected", w.began) for w in failed]
