"""Documents as readers saw them: which of the verdicts in :mod:`chaos.checks` belongs to whom.

They hold whatever fault is felt: a system that is unwell may say less, or say that it does, and never anything wrong.
"""

from chaos.checkers.bounds import Bounds
from chaos.checks import judge
from chaos.history import History, Violation


def lost(history: History, bounds: Bounds) -> list[Violation]:
    """Acknowledged and never come to an outcome, or there and not shown to who may see it."""
    return _of(history, bounds, "lost", "vanished")


def resurrected(history: History, bounds: Bounds) -> list[Violation]:
    """Shown after it was deleted."""
    return _of(history, bounds, "deleted")


def mixed(history: History, bounds: Bounds) -> list[Violation]:
    """Two versions in one answer, a part of one, or what nobody wrote."""
    return _of(history, bounds, "mixed", "half", "invented")


def revoked(history: History, bounds: Bounds) -> list[Violation]:
    """Shown to who may not see it."""
    return _of(history, bounds, "revoked")


def outdated(history: History, bounds: Bounds, *, cached: bool) -> list[Violation]:
    """Older than what was visible before the question, or than the token that it asked for."""
    from_caches = {(read.doc_id, read.began) for read in history.reads if read.cached or read.copied}
    found = _of(history, bounds, "stale", "behind")
    return [each for each in found if ((each.subject, each.at) in from_caches) is cached]


def cached(history: History, bounds: Bounds) -> list[Violation]:
    """What a cache kept past a change."""
    return outdated(history, bounds, cached=True)


def _of(history: History, bounds: Bounds, *kinds: str) -> list[Violation]:
    return [violation for violation in judge(history, bounds.ttl, bounds.edge) if violation.kind in kinds]
