"""Turn documents into clean text in chunks.

Reads ``documents``.  Writes ``chunks``, in parts where a version is long; a delete passes as one.  Rejects keys that
break the contract, records on the wrong partition, and what cannot be read as text.
Repeating is harmless: the version is the record's place in the log, and the cut depends on the text alone.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from connectors.errors import ConnectorError
from connectors.ports import ManifestStore
from runtime.logs import logger
from runtime.settings import Documents, Kafka
from streams.documents.changes import part_output, published_at, refused_output
from streams.documents.intake import read_document
from streams.documents.parts import build_parts
from streams.documents.refused import Refused
from streams.outcome import Emit, Outcome, Output, Record, Refuse, RefusedStatus
from topics import registry
from topics.documents import DocumentPart
from topics.headers import PUBLISHED_AT, TOKEN, TRACEPARENT
from topics.identity import DocumentRef, IdentityError, Token, parse_document_key, part_key, partition_of

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Cut:
    """One record, read: the parts of its version, none for a delete."""

    ref: DocumentRef
    token: Token
    parts: Sequence[DocumentPart]


class Chunk:
    """The stage.  ``count`` gives token counts of texts."""

    def __init__(
        self,
        settings: Documents,
        kafka: Kafka,
        tenants: Collection[str],
        count: Callable[[Sequence[str]], list[int]],
        manifests: ManifestStore,
        vector_bytes: int,
    ) -> None:
        self._settings, self._kafka, self._tenants = settings, kafka, tenants
        self._count, self._manifests, self._vector_bytes = count, manifests, vector_bytes
        self._retries = registry.RETRIES[registry.DOCUMENTS.name].full_name(kafka.prefix, settings.generation)

    async def step(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Cut a batch in a thread, so that heartbeats never wait for a long text."""
        read = await asyncio.to_thread(lambda: [self._read(record) for record in records])
        cuts = [cut for cut in read if isinstance(cut, Cut)]
        await self._accept(records, read)
        most: dict[DocumentRef, int] = {}
        for cut in cuts:
            most[cut.ref] = max(most.get(cut.ref, 1), len(cut.parts))
        before = await self._manifests.widen(most)
        return [
            Emit(self._outputs(record, cut, max(before[cut.ref], most[cut.ref]))) if isinstance(cut, Cut) else cut
            for record, cut in zip(records, read, strict=True)
        ]

    async def on_refused(self, record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        """Tell the lane that this version will not come, if its key says whose it was."""
        try:
            ref, token = parse_document_key(record.key, self._tenants), self._token(record)
        except IdentityError:
            return []
        return [refused_output(registry.CHUNKS, ref, token, status, reason, record.partition)]

    def _token(self, record: Record) -> Token:
        """The record's place in ``documents``; the header counts in the retry topic only, where producers do not write.

        What it says there is a place, or the record is not ours: :class:`IdentityError`.
        """
        if record.topic == self._retries:
            return Token.parse(record.headers.get(TOKEN, b"").decode("utf-8", "replace"))
        return Token(self._kafka.epoch, record.partition, record.offset)

    def _read(self, record: Record) -> Cut | Refuse:
        try:
            ref, token = parse_document_key(record.key, self._tenants), self._token(record)
        except IdentityError as error:
            return Refuse(str(error), "key")
        expected = partition_of(record.key or b"", self._kafka.partitions)
        if record.partition != expected:
            return Refuse(
                f"key belongs on partition {expected}, this is {record.partition}: "
                "set partitioner=murmur2_random in the producer",
                "partition",
            )
        if record.value is None:
            return Cut(ref, token, [])
        try:
            source = read_document(
                record.value,
                dict(record.headers),
                record.timestamp,
                max_metadata_keys=self._settings.max_metadata_keys,
            )
            parts = build_parts(
                self._settings.generation,
                ref,
                token.version,
                source,
                self._count,
                self._settings,
                bytes_per_chunk_extra=self._vector_bytes,
            )
        except Refused as error:
            return Refuse(str(error), "unreadable")
        return Cut(ref, token, parts)

    def _outputs(self, record: Record, cut: Cut, most: int) -> list[Output]:
        headers = {TOKEN: str(cut.token).encode()}
        when = cut.parts[0].head.published_at if cut.parts else published_at(record)
        headers[PUBLISHED_AT] = str(when).encode()
        if TRACEPARENT in record.headers:
            headers[TRACEPARENT] = record.headers[TRACEPARENT]
        outputs = [part_output(registry.CHUNKS, part, record.partition, headers) for part in cut.parts]
        retired = [part_key(cut.ref, part) for part in range(len(cut.parts), most)]
        return outputs + [Output(registry.CHUNKS, key, None, record.partition, headers) for key in retired]

    async def _accept(self, records: Sequence[Record], read: Sequence[Cut | Refuse]) -> None:
        """Note which versions are in the log; losing the note costs a metric, never a document."""
        known = {
            cut.ref: (str(cut.token.version), record.timestamp)
            for record, cut in zip(records, read, strict=True)
            if isinstance(cut, Cut)
        }
        try:
            await self._manifests.accepted(known)
        except ConnectorError as error:
            log.debug("versions are not noted", error=str(error))
