"""Reading dead letters, sending them on their way again, and noting which are dealt with.

A dead-letter topic only grows.  What was redriven or discarded is said by a note behind it: a record in the same
partition, with the letter's key, no value, and a header that names the letter's offset.  A note is younger than its
letter, so it is kept at least as long.
"""

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from connectors.ports import LoggedRecord, TopicLog
from streams.deadletters.letter import PREFIX
from streams.outcome import Output
from topics.identity import IdentityError, parse_document_key, parse_part_key
from topics.registry import DOCUMENTS, RETRIES, SOURCES
from topics.retry import Retry
from topics.spec import TopicSpec, dead_letters_of

HANDLED = "freshet-dlq-handled"  # offset of the letter that the note is about
HOW = "freshet-dlq-how"
_POLL = 1.0  # seconds

How: TypeAlias = Literal["redriven", "discarded"]
Place: TypeAlias = tuple[int, int]  # partition and offset of a letter


class NotRedrivable(ValueError):
    """A letter that cannot go back to its lane; the message says why."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, as its headers tell.  Times are ms since 1970."""

    partition: int
    offset: int
    document: str  # what can be told of it from the key
    reason: str
    status: str
    message: str
    origin: str
    at: int
    group: str
    omitted: bool

    @property
    def place(self) -> Place:
        return self.partition, self.offset


def letter_of(record: LoggedRecord, reads: TopicSpec, tenants: frozenset[str]) -> Letter:
    """What a record of the dead-letter topic of ``reads`` says; tolerates whatever others wrote there."""
    told = {name: _text(record.headers.get(PREFIX + name)) for name in _NAMES}
    return Letter(
        partition=record.partition,
        offset=record.offset,
        document=_document(record.key, reads, tenants),
        reason=told["exception.class.name"] or "unknown",
        status=told["status"],
        message=told["exception.message"],
        origin="/".join(told[name] or "?" for name in ("topic", "partition", "offset")),
        at=int(told["at"]) if told["at"].isdecimal() else record.timestamp,
        group=told["connector.name"],
        omitted=told["value.omitted"] == "true",
    )


async def records_of(log: TopicLog, ends: Mapping[int, int] | None = None) -> AsyncIterator[LoggedRecord]:
    """Everything up to ``ends``; by default up to where the topic ends now."""
    places = await log.starts()
    ends = ends or await log.ends()
    while places := {partition: at for partition, at in places.items() if at < ends.get(partition, 0)}:
        records, places = await log.read(places, _POLL)
        for record in records:
            if record.offset < ends.get(record.partition, 0):
                yield record


async def open_letters(log: TopicLog, reads: TopicSpec, tenants: frozenset[str], group: str) -> dict[Place, Letter]:
    """Letters of a group that nobody has dealt with, the oldest of each partition first."""
    found: dict[Place, Letter] = {}
    async for record in records_of(log):
        if HANDLED in record.headers:
            found.pop((record.partition, int(record.headers[HANDLED])), None)
            continue
        letter = letter_of(record, reads, tenants)
        if letter.group in ("", group):
            found[letter.place] = letter
    return found


def redriven(record: LoggedRecord, reads: TopicSpec, wait: float = 0.0) -> Output:
    """A letter as the retry topic takes it: due in ``wait`` seconds, nothing counted against it, its original place.

    So it keeps its version, and passes the fence like anything else.
    """
    if reads is SOURCES:
        raise NotRedrivable("its topic may hold something newer: write the row at its source again")
    if reads.name not in RETRIES:
        raise NotRedrivable("a question is not asked again: whoever asked was told that it failed")
    if _text(record.headers.get(f"{PREFIX}value.omitted")) == "true":
        raise NotRedrivable("its value was left out because it is too large: publish the document again")
    if _text(record.headers.get(f"{PREFIX}topic")).endswith(".retry"):
        raise NotRedrivable("it was put into the retry topic from outside, so it is no version of anything")
    now = int(time.time() * 1000)
    try:
        retry = Retry(
            topic=record.headers[f"{PREFIX}topic"].decode(),
            partition=int(record.headers[f"{PREFIX}partition"]),
            offset=int(record.headers[f"{PREFIX}offset"]),
            timestamp=int(record.headers[f"{PREFIX}timestamp"]),
            attempts=0,
            not_before=now + int(wait * 1000),
            first_failed=now,
            last_failed=now,
            reason="redriven",
        )
    except (KeyError, ValueError) as error:
        raise NotRedrivable(f"its headers do not say where it came from: {error}") from None
    own = {name: value for name, value in record.headers.items() if not name.startswith(PREFIX)}
    return Output(RETRIES[reads.name], record.key or b"", record.value, record.partition, {**own, **retry.headers()})


def note(record: LoggedRecord, reads: TopicSpec, how: How) -> Output:
    """Says that a letter is dealt with."""
    headers = {HANDLED: str(record.offset).encode(), HOW: how.encode()}
    return Output(dead_letters_of(reads), record.key or b"", None, record.partition, headers)


_NAMES = (
    "topic", "partition", "offset", "exception.class.name", "exception.message", "status", "at", "connector.name",
    "value.omitted",
)  # fmt: skip


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _document(key: bytes | None, reads: TopicSpec, tenants: frozenset[str]) -> str:
    """``tenant/doc_id`` where the key tells, else the key."""
    try:
        if reads is DOCUMENTS:
            return parse_document_key(key, tenants).path
        if reads.name in RETRIES:
            return parse_part_key(key or b"")[0].path
    except (IdentityError, UnicodeDecodeError):
        pass
    return _text(key)
