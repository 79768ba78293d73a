"""What was done and what came back, in the order it was seen; written down first, judged afterwards.

Times are seconds of one monotonic clock.  A history that was saved can be loaded again and judged again.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from chaos.documents import Revision
from chaos.jobs import Job

Result: TypeAlias = Literal["ok", "failed", "unknown"]  # unknown: it may or may not have happened
Door: TypeAlias = Literal["http", "kafka", "rows"]


@dataclass
class Write:
    """One published revision.  ``visible`` is when its outcome was first known to be there, ``status`` what it was."""

    revision: Revision
    sent: float
    result: Result = "unknown"
    token: str | None = None
    acknowledged: float | None = None
    visible: float | None = None
    door: Door = "http"
    status: str | None = None


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

    @property
    def copied(self) -> bool:
        """Whether an edge answered from its copy."""
        return self.edge == "hit"


@dataclass
class Fault:
    """Something done to the system on purpose."""

    what: str
    at: float


@dataclass
class Window:
    """One fault of a schedule.  ``fault`` is KIND:TARGET; ``error`` is what inject or heal raised."""

    fault: str
    began: float  # before inject
    injected: float | None = None  # inject returned
    released: float | None = None  # before heal
    healed: float | None = None  # heal returned; None: never
    error: str | None = None
    sick: str | None = None  # what was wrong with the system before, if anything


@dataclass
class Sample:
    """Once a second, from outside.  ``lag`` by lane, empty when it could not be asked; the others by program."""

    at: float
    lag: dict[str, int] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)  # resident bytes
    pids: dict[str, int] = field(default_factory=dict)
    ready: bool | None = None  # None: no answer


@dataclass
class Probe:
    """Once a second: one document edited and asked for with its token, and one question."""

    at: float
    took: float | None = None  # seconds of the question; None: failed
    error: str | None = None
    degraded: list[str] = field(default_factory=list)
    fresh: float | None = None  # seconds from publishing to answerable; None: not within its limit


@dataclass
class Letter:
    """A dead letter that was there at the end."""

    topic: str
    partition: int
    offset: int
    reason: str
    key: str


@dataclass
class Poison:
    """A document sent on purpose that must become a dead letter: its key there, and a part of the reason."""

    key: str
    reason: str
    at: float


@dataclass
class Delivery:
    """What an endpoint for webhooks saw: which message about which job, and the status it answered, 0 for none."""

    job_id: str
    webhook_id: str
    at: float
    answered: int
    event: str
    body: str = ""  # digest
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, to whom, and when."""

    kind: str
    subject: str
    detail: str
    at: float


@dataclass
class History:
    """Everything of one run."""

    seed: int = 0
    began: float = 0.0
    ended: float = 0.0
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    poisons: list[Poison] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # faults that could not be done here, and why

    @staticmethod
    def now() -> float:
        """The clock of all entries."""
        return time.monotonic()

    def save(self, folder: Path) -> None:
        """One JSON line an entry, one file a kind, and one for the rest."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _TYPES:
            _save(folder / f"{name}.jsonl", getattr(self, name))
        rest = {name: getattr(self, name) for name in _REST}
        (folder / "run.json").write_bytes(msgspec.json.encode(rest))

    @classmethod
    def load(cls, folder: Path) -> "History":
        """What was saved there."""
        history = cls(**msgspec.json.decode((folder / "run.json").read_bytes()))
        for name, kind in _TYPES.items():
            lines = (folder / f"{name}.jsonl").read_bytes().splitlines()
            setattr(history, name, [msgspec.json.decode(line, type=kind) for line in lines])
        return history


_TYPES: dict[str, Any] = {
    "writes": Write,
    "reads": Read,
    "faults": Fault,
    "jobs": Job,
    "windows": Window,
    "samples": Sample,
    "probes": Probe,
    "letters": Letter,
    "poisons": Poison,
    "deliveries": Delivery,
}
_REST = [each.name for each in fields(History) if each.name not in _TYPES]


def _save(path: Path, entries: Iterable[object]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
