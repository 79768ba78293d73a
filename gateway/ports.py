"""What the gateway needs of the log.  The Kafka log (``kafka_log.py``) and the in-memory one pass the same tests.

Every method may raise :class:`connectors.errors.ConnectorError` and, where it says so, :class:`Expunged`.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from connectors.errors import Permanent
from topics.epochs import Epochs
from topics.headers import Hop
from topics.queries import AnswerEvent, Question
from topics.spec import TopicSpec


class Expunged(Exception):  # not an error of the log: it did what its retention says
    """The place lies before the first record that the log still has."""


class RecordTooLarge(Permanent):
    """The broker takes no record of this size in this topic."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the broker put a record."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of a job and where it lies; ``size`` is what it weighs in bytes, ``traceparent`` told where we trace."""

    offset: int
    event: AnswerEvent
    size: int
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """A replay has read all that was there when it began; what follows is new."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it lies in ``queries``."""

    hop: Hop
    question: Question


@dataclass(frozen=True, slots=True)
class Written:
    """A record as it was published."""

    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


Deliver: TypeAlias = Callable[[Sequence[LoggedEvent]], None]
Wanted: TypeAlias = Callable[[str], bool]


class Log(Protocol):
    """Publish records, follow the answers of jobs, and know how the lanes are."""

    async def open(self, deliver: Deliver, wanted: Wanted) -> None:
        """Start; never waits for the broker.

        New events of our reply partitions whose job ``wanted`` (asked from any thread) go to ``deliver`` (called on
        the loop).  Reading begins at the end of each partition, before :meth:`reply_partitions` names it.
        """

    async def close(self) -> None:
        """Send what is queued, for a few seconds at most, and stop."""

    async def publish(
        self, topic: TopicSpec, key: bytes, value: bytes | None, headers: Mapping[str, bytes], timeout: float,
        partition: int | None = None,
    ) -> Place:  # fmt: skip
        """Append one record, where its key belongs unless told; returns when the broker has acknowledged it.

        Raises ``Overloaded`` when too much is queued, :class:`RecordTooLarge`, and ``Transient`` otherwise: the
        record may then still arrive.
        """

    def reply_partitions(self) -> Sequence[int]:
        """Partitions of ``answers`` that are ours and are being read right now."""

    def replay(self, job_id: str, until: float) -> AsyncIterator[LoggedEvent | CaughtUp]:
        """A job's events from its beginning, :class:`CaughtUp` once, then new ones up to the wall time ``until``."""

    async def find_question(self, job_id: str) -> Asked | None:
        """The question of a job; None if there never was one, :class:`Expunged` if that can no longer be told."""

    async def written(self, topic: TopicSpec, partition: int, offset: int) -> Written | None:
        """The record at this place; None where the log has it no more, or not yet."""

    async def epochs(self) -> Epochs:
        """All epochs of ``documents`` that were announced before this was called."""

    async def queue_lengths(self) -> dict[str, int]:
        """Records that wait, by lane."""

    async def checks(self) -> dict[str, str | None]:
        """What readiness depends on: name -> what is wrong with it, or None."""
