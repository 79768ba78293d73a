"""Records for the retry topic of ``documents``: what the log has of a document, once more through the lane.

Each keeps its version, and with it its place behind the fence; nothing is written to ``documents``.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from connectors.ports import LoggedRecord, TopicLog
from streams.outcome import Output
from topics import registry
from topics.control import Epoch
from topics.identity import DocumentRef, Token, document_key
from topics.retry import Retry

RETRIES = registry.RETRIES[registry.DOCUMENTS.name]
_WAIT = 5.0  # seconds for a broker to give one record


def again(record: LoggedRecord, epoch: Epoch, lane: int, now: int) -> Output:
    """A record as it was; ``lane`` is how many partitions the internal topics have, ``now`` ms since 1970."""
    token = Token(epoch.number, record.partition, record.offset)
    headers = {**record.headers, **_copy_of(token, epoch, record.timestamp, now)}
    return Output(RETRIES, record.key or b"", record.value, record.partition % lane, headers)


def tombstone(ref: DocumentRef, token: Token, epoch: Epoch, lane: int, now: int) -> Output:
    """A delete of that version, for what the log does not know: whatever is published later is newer."""
    return Output(RETRIES, document_key(ref), None, token.partition % lane, _copy_of(token, epoch, now, now))


def _copy_of(token: Token, epoch: Epoch, timestamp: int, now: int) -> dict[str, bytes]:
    """Headers by which a worker knows the original; nothing failed, and there is nothing to wait for."""
    return Retry(
        topic=epoch.topic,
        partition=token.partition,
        offset=token.offset,
        timestamp=timestamp,
        attempts=0,
        not_before=0,
        first_failed=now,
        last_failed=now,
        reason="sent again by an audit",
    ).headers()


async def records_at(logs: Mapping[int, TopicLog], places: Sequence[Token]) -> AsyncIterator[LoggedRecord | None]:
    """The records at these places in their order, None for one that is no longer there.

    Fast when the places are sorted: what a broker gives at once serves as many as it holds.
    """
    held: dict[int, LoggedRecord] = {}
    began = ahead = -1
    part = (-1, -1)
    for place in places:
        if (place.epoch, place.partition) != part or not began <= place.offset < ahead:
            part, began = (place.epoch, place.partition), place.offset
            held, ahead, log = {}, began, logs[place.epoch]
            end = (await log.ends()).get(place.partition, 0)
            while ahead < end and not held:
                records, behind = await log.read({place.partition: ahead}, _WAIT)
                held, ahead = {record.offset: record for record in records}, behind[place.partition]
        yield held.get(place.offset)
