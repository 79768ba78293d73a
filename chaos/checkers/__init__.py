"""Verdicts on a history.  Pure: the same history gets the same verdict."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from chaos.history import History, Violation


@dataclass(frozen=True, slots=True)
class Bounds:
    """All limits of a run, in seconds where nothing else is said."""

    freshness: float = 10.0
    recovery: Mapping[str, float] = field(default_factory=dict)  # by kind of fault
    memory: float = 1.5  # largest resident size to that of the begin
    ttl: float = 0.0


Checker: TypeAlias = Callable[[History, Bounds], list[Violation]]
CHECKERS: dict[str, Checker] = {}


def judge(history: History, bounds: Bounds) -> dict[str, list[Violation]]:
    """Violations by checker."""
    return {name: check(history, bounds) for name, check in CHECKERS.items()}
