"""What a stage is given, what it gives back, and what a stage is.  No Faust here."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias

from runtime.tracing import NO_SPAN, Span
from topics.headers import TRACEPARENT
from topics.retry import Retry
from topics.spec import TopicSpec

RefusedStatus: TypeAlias = Literal["rejected", "dead-lettered"]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it lies in Kafka; ``timestamp`` is ms since 1970.

    One that comes from a retry topic is the original, place and timestamp included; ``retry`` says what happened since
    and ``copy`` where it lies in the retry topic.  ``span`` is the work on it, as traces tell.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    timestamp: int
    retry: Retry | None = None
    copy: tuple[str, int, int] | None = None
    span: Span = field(default=NO_SPAN, compare=False, repr=False)

    @property
    def place(self) -> tuple[str, int, int]:
        return self.topic, self.partition, self.offset

    @property
    def delivery(self) -> tuple[str, int, int]:
        """The place it was read from."""
        return self.copy or self.place

    @property
    def within_span(self) -> "Record":
        """As a stage gets it: what it passes on of the trace names the span that it is in."""
        trace = self.span.traceparent if self.span.ours else None
        return replace(self, headers={**self.headers, TRACEPARENT: trace.encode()}) if trace else self


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
    """Done; write these, then acknowledge.

    ``proof``: all that the stage's work needs was there and worked, so if others fail now, it is for a fault of theirs.
    """

    outputs: Sequence[Output] = ()
    proof: bool = False


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


@dataclass(frozen=True, slots=True)
class Defer:
    """Failed, and may pass later: write the news and a copy to the retry topic, then acknowledge.

    Made by the runner, never by a stage.
    """

    retry: Retry
    reason: str  # metric label
    news: Sequence[Output] = ()


Outcome: TypeAlias = Emit | Drop | Refuse | Defer
BatchStep: TypeAlias = Callable[[Sequence[Record]], Awaitable[Sequence[Outcome]]]
RecordStep: TypeAlias = Callable[[Record], Awaitable[Outcome]]
Publish: TypeAlias = Callable[[Sequence[Output]], Awaitable[None]]
OnRefused: TypeAlias = Callable[[Record, RefusedStatus, str], Awaitable[Sequence[Output]]]
Route: TypeAlias = Callable[[Sequence[Output]], Awaitable[Sequence[Output]]]
Hook: TypeAlias = Callable[[], Awaitable[None]]


class Deferrals(Protocol):
    """How a lane is told of records that wait for another try.  A stage that has none has no retry topic."""

    async def begin(self, record: Record, reason: str) -> Sequence[Output]:
        """The record leaves the lane: freshness tokens must stay open until :meth:`end`."""

    async def end(self, record: Record) -> Sequence[Output]:
        """All that came of the record is written; saying so of one that never left the lane is harmless."""

    async def overtaken(self, record: Record) -> bool:
        """Whether a newer version has passed meanwhile, so that writing this one would put the old behind the new."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage, ready to run.

    With ``batch_step`` records are taken in batches; with ``record_step`` up to ``in_flight`` run side by side and
    are acknowledged in order, up to ``unacked`` (at least as many) behind a slow one.  Both may raise ``Transient``
    (the stage pauses and tries again, for as long as it takes), ``Unclear`` (after a few tries the record is
    deferred, where there are ``deferrals``) and ``Permanent`` (the record is refused); anything else ends the process
    with nothing acknowledged.  ``on_refused`` tells the rest of the lane that a record will not come.  A step may run
    twice at once: for the lane, and for what comes to be retried.
    ``later`` are topics that it reads beside ``reads``, of later epochs; when ``until`` returns, the worker stops to be
    started anew, since there are others.
    ``topics``, which are not ours, are read in place of ``reads``, which stands for them.
    ``route`` says, each time that outputs are about to be written, where they go; it may raise ``Transient``.
    ``overlap`` batches may be in work at once; what comes of them is written in order all the same.
    Records that it ``skips``, by their headers, are passed by and cost nothing else.
    It can ``gather`` records for so many seconds before it gets any, where there are many and small ones.
    ``harmless``: no record can be to blame for the end of a worker, so none is set aside for it.
    A batch is closed when it has ``batch`` records, or ``room(waiting)`` bytes of values, given the bytes that wait.
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
    unacked: int = 0
    skips: Callable[[Mapping[str, bytes]], bool] | None = None
    gather: float = 0.0
    batch_in_flight: int = 0  # beside them, of what comes by the topic that `BATCH` names; 0 where there is none
    deferrals: Deferrals | None = None
    group: str = ""  # consumer group, as dead letters name it
    ports: Sequence["Port"] = ()
    later: Sequence[TopicSpec] = ()
    topics: Sequence[str] = ()
    route: Route | None = None
    partitions: int | None = None  # of the lane's own topics, where a later epoch has more
    until: Hook | None = None
    harmless: bool = False
    beside: Sequence[Hook] = ()  # run for the life of the worker; the end of one is the end of the process

    def wants(self, record: Record) -> bool:
        """Whether it takes the record, or skips it."""
        return self.skips is None or not self.skips(record.headers)

    def lane_partition(self, record: Record) -> int:
        """Where the record's document lies in the lane's own topics."""
        return record.partition % self.partitions if self.partitions else record.partition


@dataclass(frozen=True, slots=True)
class Port:
    """Something a stage needs open before the first record."""

    name: str
    open: Hook
    close: Hook
