"""A log in memory, with the same promises as the Kafka log: for tests and for trying the door without a broker.

Whoever plays the workers reads :attr:`published` (or awaits :meth:`next`) and calls :meth:`answer`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from connectors.errors import ConnectorError
from gateway.log_time import millis
from gateway.ports import Asked, CaughtUp, Deliver, Expunged, LoggedEvent, Place, RecordTooLarge, Wanted, Written
from topics.codec import decode
from topics.epochs import Epochs, first_epoch
from topics.headers import Hop
from topics.identity import job_place, partition_of
from topics.queries import AnswerEvent, Question
from topics.registry import ANSWERS, QUERIES, QUERIES_BATCH, documents_of
from topics.spec import TopicSpec


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was published."""

    topic: TopicSpec
    key: bytes
    value: bytes | None
    headers: Mapping[str, bytes]
    place: Place


@dataclass(slots=True)
class Storage:
    """What is in the log; several :class:`MemoryLog` may share one, as gateways share a broker."""

    partitions: int = 4
    epochs: Epochs = Epochs([first_epoch("freshet", 4)])
    records: list[Record] = field(default_factory=list)
    answers: dict[int, list[LoggedEvent]] = field(default_factory=dict)
    readers: list["MemoryLog"] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    first_ms: int = 0  # job starts before this are past retention
    max_bytes: int = 8 * 1024 * 1024

    def wake(self) -> None:
        """Tell everybody who waits."""
        self.grown.set()
        self.grown = asyncio.Event()


class MemoryLog:
    """See :class:`gateway.ports.Log`.  Set :attr:`failure` to make the broker fail."""

    def __init__(self, storage: Storage | None = None, reply_partitions: Sequence[int] = (0, 1, 2, 3)) -> None:
        self.storage = storage or Storage()
        self.failure: ConnectorError | None = None
        self.broken: dict[str, str] = {}  # readiness checks that fail, with the reason
        self.compacted: set[Place] = set()  # of `documents`
        self._partitions, self._read = tuple(reply_partitions), 0
        self._deliver: Deliver | None = None
        self._wanted: Wanted = lambda _: False

    @property
    def published(self) -> list[Record]:
        """All records so far."""
        return self.storage.records

    async def open(self, deliver: Deliver, wanted: Wanted) -> None:
        """Begin to follow."""
        self._deliver, self._wanted = deliver, wanted
        self.storage.readers.append(self)

    async def close(self) -> None:
        """Stop following."""
        self._deliver = None
        if self in self.storage.readers:
            self.storage.readers.remove(self)

    async def publish(
        self, topic: TopicSpec, key: bytes, value: bytes | None, headers: Mapping[str, bytes], timeout: float,
        partition: int | None = None,
    ) -> Place:  # fmt: skip
        """Append; a broken broker says so at once, whatever the timeout."""
        del timeout
        if self.failure:
            raise self.failure
        if value is not None and len(value) > self.storage.max_bytes:
            raise RecordTooLarge("the broker takes no record of this size")
        if topic is ANSWERS:
            event = decode(value or b"", AnswerEvent)
            return Place(job_place(event.job_id)[0], self.answer(event))
        written = (e for e in self.storage.epochs.known if documents_of(e.number) is topic)
        if partition is None:
            partition = partition_of(key, next((e.partitions for e in written), self.storage.partitions))
        offset = sum(1 for r in self.published if r.topic is topic and r.place.partition == partition)
        place = Place(partition, offset)
        self.published.append(Record(topic, key, value, dict(headers), place))
        self.storage.wake()
        await asyncio.sleep(0)
        return place

    async def next(self, topic: TopicSpec = QUERIES) -> Record:
        """Wait for the next record of a topic that :meth:`next` has not given yet."""
        while True:
            while self._read < len(self.published):
                record = self.published[self._read]
                self._read += 1
                if record.topic is topic:
                    return record
            await self.storage.grown.wait()

    def answer(self, event: AnswerEvent, traceparent: str | None = None) -> int:
        """Append an event as a worker does; gives its offset."""
        partition, _ = job_place(event.job_id)
        lane = self.storage.answers.setdefault(partition, [])
        logged = LoggedEvent(len(lane), event, len(msgspec.json.encode(event)), traceparent)
        lane.append(logged)
        for reader in self.storage.readers:
            if partition in reader._partitions and reader._deliver and reader._wanted(event.job_id):
                reader._deliver([logged])
        self.storage.wake()
        return logged.offset

    def reply_partitions(self) -> Sequence[int]:
        """Ours, unless the broker is away."""
        return () if self.failure else self._partitions

    async def replay(self, job_id: str, until: float) -> AsyncIterator[LoggedEvent | CaughtUp]:
        """From the beginning, then onwards."""
        if self.failure:
            raise self.failure
        partition, started = job_place(job_id)
        lane, position = self.storage.answers.setdefault(partition, []), 0
        caught_up = False
        while True:
            grown = self.storage.grown
            while position < len(lane):
                logged = lane[position]
                position += 1
                if logged.event.job_id == job_id and started >= self.storage.first_ms:
                    yield logged
            if not caught_up:
                caught_up = True
                yield CaughtUp()
            left = until - millis() / 1000
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await grown.wait()
            except TimeoutError:
                return

    async def find_question(self, job_id: str) -> Asked | None:
        """Look it up."""
        if self.failure:
            raise self.failure
        if job_place(job_id)[1] < self.storage.first_ms:
            raise Expunged("the log no longer keeps this question")
        for record in self.published:
            if record.topic in (QUERIES, QUERIES_BATCH) and record.key == job_id.encode() and record.value is not None:
                return Asked(Hop.of(record.headers), decode(record.value, Question))
        return None

    async def written(self, topic: TopicSpec, partition: int, offset: int) -> Written | None:
        """The record, unless :attr:`compacted` names its place."""
        if self.failure:
            raise self.failure
        for record in self.published:
            if (
                record.topic is topic
                and record.place == Place(partition, offset)
                and record.place not in self.compacted
            ):
                return Written(record.key, record.value, record.headers)
        return None

    async def epochs(self) -> Epochs:
        """Those of the storage, unless the broker is away."""
        if self.failure:
            raise self.failure
        return self.storage.epochs

    async def queue_lengths(self) -> dict[str, int]:
        """Everything published, as nobody commits here."""
        return {
            spec.readers[0]: sum(1 for record in self.published if record.topic is spec)
            for spec in (QUERIES, documents_of(self.storage.epochs.known[-1].number))
        }

    async def checks(self) -> dict[str, str | None]:
        """Well, unless told otherwise."""
        return {"broker": str(self.failure) if self.failure else None, **self.broken}
