"""What was done and what came back, in the order it was seen; written down first, judged afterwards.

Times are seconds of one monotonic clock.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from chaos.documents import Revision

Result: TypeAlias = Literal["ok", "failed", "unknown"]  # unknown: it may or may not have happened


@dataclass
class Write:
    """One published revision.  ``visible`` is when its outcome was first known to be there."""

    revision: Revision
    sent: float
    result: Result = "unknown"
    token: str | None = None
    acknowledged: float | None = None
    visible: float | None = None


@dataclass
class Read:
    """What one retrieval said about one document.  ``passages`` are (title, text) of those about it.

    ``at_least`` is a token of this document that was asked for; ``cached`` tells that a cache answered; ``edge``, where
    the question went through one, whether it was its copy (``hit``) or not (``miss``).
    """

    doc_id: str
    principal: str
    began: float
    ended: float | None = None
    result: Result = "unknown"
    passages: list[tuple[str, str]] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    error: str | None = None
    at_least: str | None = None
    cached: bool = False
    edge: str = ""


@dataclass
class Fault:
    """Something done to the system on purpose."""

    what: str
    at: float


@dataclass
class History:
    """Everything of one run."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @staticmethod
    def now() -> float:
        """The clock of all entries."""
        return time.monotonic()

    def save(self, folder: Path) -> None:
        """One JSON line an entry."""
        folder.mkdir(parents=True, exist_ok=True)
        _save(folder / "writes.jsonl", self.writes)
        _save(folder / "reads.jsonl", self.reads)
        _save(folder / "faults.jsonl", self.faults)


def _save(path: Path, entries: Iterable[Write | Read | Fault]) -> None:
    with path.open("w") as file:
        for entry in entries:
            file.write(json.dumps(asdict(entry)) + "\n")
