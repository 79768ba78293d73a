"""Finding dead letters by what the command line says, and dealing with them in bulk."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from confluent_kafka import KafkaError, KafkaException, Producer

from connectors import build
from connectors.ports import LoggedRecord, TopicLog
from runtime.brokers import librdkafka_options
from runtime.settings import Settings
from streams.deadletters.shelf import How, Letter, NotRedrivable, Place, note, open_letters, records_of, redriven
from streams.outcome import Output
from topics.registry import LANES, SOURCES, group_of
from topics.spec import dead_letters_of

READS = {stage: spec for spec in (SOURCES, *LANES) for stage in spec.readers}
BATCH = 100  # letters whose copies are confirmed before they are noted as dealt with
BATCH_BYTES = 16 * 1024 * 1024
_AGE = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which letters are meant; what is not said does not matter.  ``since`` and ``before`` are ms since 1970."""

    lane: str | None = None
    reason: str | None = None
    doc: str | None = None
    since: int | None = None
    before: int | None = None
    places: frozenset[tuple[str, int, int]] = frozenset()

    @property
    def lanes(self) -> list[str]:
        named = {self.lane} if self.lane else {lane for lane, _, _ in self.places}
        return [lane for lane in READS if not named or lane in named]

    def match(self, lane: str, letter: Letter) -> bool:
        return (
            (not self.places or (lane, *letter.place) in self.places)
            and self.reason in (None, letter.reason)
            and self.doc in (None, letter.document, letter.document.partition("/")[2])
            and (self.since is None or letter.at >= self.since)
            and (self.before is None or letter.at < self.before)
        )


@dataclass(slots=True)
class Dealt:
    """What became of the letters."""

    done: int = 0
    kept: dict[str, int] = field(default_factory=dict)  # why -> how many could not be redriven


def moment(text: str | None, now: datetime | None = None) -> int | None:
    """``2h`` ago, or a time as ISO 8601 writes it (UTC where it does not say); ms since 1970."""
    if text is None:
        return None
    if age := _AGE.fullmatch(text):
        when = (now or datetime.now(UTC)) - timedelta(**{_UNITS[age[2]]: int(age[1])})
    else:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text!r} is no time: write 30m, 2h, 3d or 2026-01-31T12:00") from None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(when.timestamp() * 1000)


def place_of(text: str) -> tuple[str, int, int]:
    """``LANE/PARTITION/OFFSET``."""
    lane, _, rest = text.partition("/")
    partition, _, offset = rest.partition("/")
    if lane not in READS or not (partition.isdecimal() and offset.isdecimal()):
        raise ValueError(f"{text!r} is no letter: write LANE/PARTITION/OFFSET, as `freshet dlq list` shows them")
    return lane, int(partition), int(offset)


@asynccontextmanager
async def opened(settings: Settings, lane: str) -> AsyncIterator[TopicLog]:
    """The dead-letter topic of a lane."""
    log = build.topic_log(settings, dead_letters_of(READS[lane]))
    await log.open()
    try:
        yield log
    finally:
        await log.close()


async def find(settings: Settings, filters: Filters) -> dict[str, dict[Place, Letter]]:
    """Open letters by lane."""
    found = {}
    for lane in filters.lanes:
        group = group_of(settings.kafka.prefix, lane, settings.documents.generation)
        async with opened(settings, lane) as log:
            letters = await open_letters(log, READS[lane], settings.tenants, group)
        found[lane] = {place: letter for place, letter in letters.items() if filters.match(lane, letter)}
    return found


async def read(settings: Settings, lane: str, place: Place) -> LoggedRecord | None:
    """One record of a dead-letter topic."""
    partition, offset = place
    async with opened(settings, lane) as log:
        ends = {partition: min(offset + 1, (await log.ends()).get(partition, 0))}
        places: Mapping[int, int] = {partition: offset}
        while places[partition] < ends[partition]:
            records, places = await log.read(places, 1.0)
            for record in records:
                if record.offset == offset:
                    return record
    return None


async def deal(
    settings: Settings, lane: str, wanted: Iterable[Place], how: How, progress: Callable[[int], None], wait: float = 0.0
) -> Dealt:
    """Redrive (due in ``wait`` seconds) or discard; a letter is noted as dealt with after its copy was confirmed."""
    reads, left, dealt = READS[lane], set(wanted), Dealt()
    sender = Sender(settings)
    batch: list[LoggedRecord] = []

    def settle() -> None:
        if how == "redriven":
            sender.send([redriven(record, reads, wait) for record in batch])
        sender.send([note(record, reads, how) for record in batch])
        dealt.done += len(batch)
        progress(len(batch))
        batch.clear()

    async with opened(settings, lane) as log:
        async for record in records_of(log):
            if (record.partition, record.offset) not in left:
                continue
            try:
                if how == "redriven":
                    redriven(record, reads)
            except NotRedrivable as error:
                dealt.kept[str(error)] = dealt.kept.get(str(error), 0) + 1
                progress(1)
                continue
            batch.append(record)
            if len(batch) == BATCH or sum(len(each.value or b"") for each in batch) > BATCH_BYTES:
                settle()
    settle()
    return dealt


class Sender:
    """Writes records and waits for the broker's confirmation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = Producer(
            {
                **librdkafka_options(settings.kafka),
                "log_level": 2,  # errors come with the records
                "message.max.bytes": settings.documents.max_document_bytes + 1024 * 1024,
                "message.timeout.ms": int(settings.kafka.request_timeout * 1000),
                "linger.ms": 5,
            }
        )

    def send(self, outputs: Sequence[Output]) -> None:
        """Raises :class:`KafkaException` unless all are confirmed."""
        errors: list[object] = []
        for output in outputs:
            name = output.spec.full_name(self._settings.kafka.prefix, self._settings.documents.generation)
            headers: list[tuple[str, str | bytes | None]] = [*output.headers.items()]
            while True:
                try:
                    self._producer.produce(
                        name, output.value, output.key, output.partition, headers=headers,
                        on_delivery=lambda error, _: errors.append(error) if error else None,
                    )  # fmt: skip
                    break
                except BufferError:  # the queue is full: wait for the broker
                    self._producer.poll(0.1)
        if self._producer.flush(self._settings.kafka.request_timeout + 1):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        if errors:
            raise KafkaException(errors[0])


def by_reason(letters: Iterable[Letter]) -> Iterator[tuple[str, int, list[Letter]]]:
    """(reason, partition, letters), in order."""
    groups: dict[tuple[str, int], list[Letter]] = {}
    for letter in letters:
        groups.setdefault((letter.reason, letter.partition), []).append(letter)
    for (reason, partition), members in sorted(groups.items()):
        yield reason, partition, members
