"""Verdicts on a history.  Pure: the same history gets the same verdict."""

from collections.abc import Callable
from typing import TypeAlias

from chaos.checkers.bounds import SOAK, Bounds
from chaos.checkers.documents import cached, lost, mixed, resurrected, revoked
from chaos.checkers.drift import drift
from chaos.checkers.jobs import jobs
from chaos.checkers.lag import lag
from chaos.checkers.letters import letters
from chaos.checkers.memory import memory
from chaos.checkers.questions import questions
from chaos.checkers.recovery import recovery
from chaos.checkers.stale import stale
from chaos.checkers.vacuity import vacuity
from chaos.checkers.webhooks import webhooks
from chaos.history import History, Violation

__all__ = ["CHECKERS", "SOAK", "Bounds", "Checker", "judge"]

Checker: TypeAlias = Callable[[History, Bounds], list[Violation]]
CHECKERS: dict[str, Checker] = {
    "lost": lost,
    "resurrected": resurrected,
    "mixed": mixed,
    "revoked": revoked,
    "stale": stale,
    "cached": cached,
    "questions": questions,
    "jobs": jobs,
    "webhooks": webhooks,
    "letters": letters,
    "lag": lag,
    "recovery": recovery,
    "memory": memory,
    "drift": drift,
    "vacuity": vacuity,
}


def judge(history: History, bounds: Bounds) -> dict[str, list[Violation]]:
    """Violations by checker."""
    return {name: check(history, bounds) for name, check in CHECKERS.items()}
