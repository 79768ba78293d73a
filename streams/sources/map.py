"""Turn records of the user's own topics into documents.

Reads the topics that FRESHET_SOURCES names.  Writes ``documents``, of the epoch that takes writes.  Rejects records
that lack what their mapping asks for, with the path.
Repeating is harmless: the same record gives the same document, and an equal version changes nothing in the index.
Of several records of one document in a batch the last is written: what came before it would be replaced at once, and
after a crash readers would see it come back.
"""

import asyncio
from collections.abc import Collection, Sequence

from runtime.sources import Source
from streams.documents.refused import Refused
from streams.outcome import Drop, Emit, Outcome, Output, Record, Refuse, RefusedStatus
from streams.sources.parts import document, is_deleted, reference
from streams.sources.rows import read_row
from topics.codec import encode, schema_header
from topics.headers import PUBLISHED_AT, SOURCE
from topics.identity import document_key
from topics.registry import DOCUMENTS


class Map:
    """The stage.  To which partition of which topic its outputs go is for :mod:`streams.sources.route` to say."""

    def __init__(self, sources: Sequence[Source], tenants: Collection[str], max_metadata_keys: int) -> None:
        self._sources = {source.topic: source for source in sources}
        self._tenants, self._max_keys = tenants, max_metadata_keys

    async def step(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Map a batch in a thread, so that heartbeats never wait for a long record."""
        outcomes = await asyncio.to_thread(lambda: [self.outcome(record) for record in records])
        last = {outcome.outputs[0].key: outcome for outcome in outcomes if isinstance(outcome, Emit)}
        return [
            Drop("superseded") if isinstance(outcome, Emit) and last[outcome.outputs[0].key] is not outcome else outcome
            for outcome in outcomes
        ]

    async def on_refused(self, record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        """Nobody waits for it: it has no version yet."""
        del record, status, reason
        return []

    def outcome(self, record: Record) -> Outcome:
        """What comes of one record."""
        source = self._sources[record.topic]
        try:
            row = read_row(record, source.envelope)
            if row is None:
                return Drop("no-row")
            if row.tombstone and (source.id.asks("value") or (source.tenant and source.tenant.asks("value"))):
                return Drop("tombstone")  # the delete in front of it said which
            key = document_key(reference(source, row, self._tenants))
            headers = {SOURCE: "/".join(map(str, record.place)).encode()}
            if record.timestamp >= 0:
                headers[PUBLISHED_AT] = str(record.timestamp).encode()
            if is_deleted(source, row):
                return Emit([Output(DOCUMENTS, key, None, 0, headers)])
            found = document(source, row, self._max_keys)
        except Refused as refused:
            return Refuse(refused.reason, "mapping")
        return Emit([Output(DOCUMENTS, key, encode(found), 0, {**headers, **schema_header(found)})])
