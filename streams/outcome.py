"""What a stage is given, what it gives back, and what a stage is.  No Faust here."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from topics.spec import TopicSpec

RefusedStatus: TypeAlias = Literal["rejected", "dead-lettered"]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it lies in Kafka; ``timestamp`` is ms since 1970."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    timestamp: int

    @property
    def place(self) -> tuple[str, int, int]:
        return self.topic, self.partition, self.offset


@dataclass(frozen=True, slots=True)
class Output:
    """A record to be written.  Stages name specs; the runner knows prefix and generation."""

    spec: TopicSpec
    key: bytes
    value: bytes | None
    partition: int
    headers: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Emit:
    """Done; write these, then acknowledge."""

    outputs: Sequence[Output] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing to do; acknowledge.  ``reason`` is a metric label."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The record itself is at fault: dead-letter it with this sentence, then acknowledge.

    ``rejected`` says that it cannot be read as what it should be, ``dead-lettered`` that work on it failed for good.
    """

    message: str
    reason: str = "rejected"  # metric label
    status: RefusedStatus = "rejected"
    omit_value: bool = False  # the letter names where the record lies and leaves its value out


Outcome: TypeAlias = Emit | Drop | Refuse
BatchStep: TypeAlias = Callable[[Sequence[Record]], Awaitable[Sequence[Outcome]]]
RecordStep: TypeAlias = Callable[[Record], Awaitable[Outcome]]
Publish: TypeAlias = Callable[[Sequence[Output]], Awaitable[None]]
OnRefused: TypeAlias = Callable[[Record, RefusedStatus, str], Awaitable[Sequence[Output]]]
Hook: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage, ready to run.

    With ``batch_step`` records are taken in batches; with ``record_step`` up to ``in_flight`` run side by side and
    are acknowledged in order.  Both may raise ``Transient`` (the stage pauses and tries again, for as long as it
    takes) and ``Permanent`` (the record is refused); anything else ends the process with nothing acknowledged.
    ``later`` are topics that it reads beside ``reads``, of later epochs; when ``until`` returns, the worker stops to be
    started anew, since there are others.
    ``overlap`` batches may be in work at once; what comes of them is written in order all the same.
    A batch is closed when it has ``batch`` records, or ``room(waiting)`` bytes of values, given the bytes that wait.
    ``on_refused`` tells the rest of the lane that a record will not come.
    """

    name: str
    reads: TopicSpec
    on_refused: OnRefused
    batch_step: BatchStep | None = None
    record_step: RecordStep | None = None
    batch: int = 1
    linger: float = 0.0
    room: Callable[[int], int] | None = None
    overlap: int = 1
    in_flight: int = 1
    ports: Sequence["Port"] = ()
    later: Sequence[TopicSpec] = ()
    partitions: int | None = None  # of the lane's own topics, where a later epoch has more
    until: Hook | None = None

    def lane_partition(self, record: Record) -> int:
        """Where the record's document lies in the lane's own topics."""
        return record.partition % self.partitions if self.partitions else record.partition


@dataclass(frozen=True, slots=True)
class Port:
    """Something a stage needs open before the first record."""

    name: str
    open: Hook
    close: Hook
