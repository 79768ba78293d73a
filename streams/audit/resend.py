"""Records for the retry topic of ``documents``: what the log has of a document, once more through the lane.

Each keeps its version, and with it its place behind the fence; nothing is written to ``documents``.
"""

from collections.abc import AsyncIterator, Sequence

from connectors.ports import LoggedRecord, TopicLog
from streams.outcome import Output
from topics import registry
from topics.headers import PUBLISHED_AT, TOKEN
from topics.identity import DocumentRef, Token, document_key

RETRIES = registry.RETRIES[registry.DOCUMENTS.name]
_WAIT = 5.0  # seconds for a broker to give one record


def again(record: LoggedRecord, epoch: int) -> Output:
    """A record as it was.  Its timestamp may be its document's date, and the topic would delete it by that."""
    headers = {PUBLISHED_AT: str(max(record.timestamp, 0)).encode(), **record.headers}
    headers[TOKEN] = str(Token(epoch, record.partition, record.offset)).encode()
    return Output(RETRIES, record.key or b"", record.value, record.partition, headers)


def tombstone(ref: DocumentRef, token: Token) -> Output:
    """A delete of that version, for what the log does not know: whatever is published later is newer."""
    return Output(RETRIES, document_key(ref), None, token.partition, {TOKEN: str(token).encode()})


async def records_at(log: TopicLog, places: Sequence[tuple[int, int]]) -> AsyncIterator[LoggedRecord | None]:
    """The records at these (partition, offset) in their order, None for one that is no longer there.

    Fast when the places are sorted: what a broker gives at once serves as many as it holds.
    """
    held: dict[int, LoggedRecord] = {}
    began = ahead = -1
    partition = -1
    for place in places:
        if place[0] != partition or not began <= place[1] < ahead:
            partition, began = place
            held, ahead = {}, began
            end = (await log.ends()).get(partition, 0)
            while ahead < end and not held:
                records, behind = await log.read({partition: ahead}, _WAIT)
                held, ahead = {record.offset: record for record in records}, behind[partition]
        yield held.get(place[1])
