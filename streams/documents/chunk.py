"""Turn documents into clean text in chunks.

Reads ``documents`` of all epochs.  Writes ``chunks``, in parts where a version is long; a delete passes as one, and is
mirrored to earlier epochs.  Rejects keys that break the contract, records on the wrong partition, and what cannot be
read as text.
Repeating is harmless: the version is the record's place in the log, and the cut depends on the text alone.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from connectors.errors import ConnectorError, Transient
from connectors.ports import ManifestStore
from runtime.clock import millis
from runtime.logs import logger
from runtime.settings import Documents, Kafka
from streams.documents.changes import OVERTAKEN_KEY, part_output, published_at, refused_output
from streams.documents.earlier import Earlier
from streams.documents.formats.readers import Readers
from streams.documents.intake import SourceDocument, read_document
from streams.documents.parts import build_parts
from streams.documents.refused import Refused
from streams.documents.text.blocks import Parsed
from streams.documents.text.parse import parse
from streams.outcome import Emit, Outcome, Output, Record, Refuse, RefusedStatus
from topics import registry
from topics.codec import DecodeError
from topics.control import Epoch
from topics.documents import DocumentPart, LastSeen
from topics.epochs import Epochs
from topics.headers import PUBLISHED_AT, TOKEN, TRACEPARENT
from topics.identity import (
    DEFAULT_TENANT,
    DocumentRef,
    IdentityError,
    Token,
    parse_document_key,
    part_key,
    partition_of,
)

log = logger(__name__)
_NOBODY = DocumentRef(DEFAULT_TENANT, "freshet/nobody")  # need not exist: of a version without a document


@dataclass(frozen=True, slots=True)
class Cut:
    """One record, read: the parts of its version, none for a delete."""

    ref: DocumentRef
    token: Token
    parts: Sequence[DocumentPart]


@dataclass(frozen=True, slots=True)
class Opened:
    """One record that holds a document; ``parsed`` is its text once it was read."""

    ref: DocumentRef
    token: Token
    source: SourceDocument
    parsed: Parsed | None


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
        epochs: Epochs,
        readers: Readers,
    ) -> None:
        self._settings, self._kafka, self._tenants = settings, kafka, tenants
        self._count, self._manifests, self._vector_bytes = count, manifests, vector_bytes
        self._epochs, self._earlier = epochs, Earlier(epochs, manifests)
        self._readers = readers

    async def step(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Cut a batch in a thread, so that heartbeats never wait for a long text."""
        opened = await asyncio.to_thread(lambda: [self._open(record) for record in records])
        parsed = await asyncio.gather(*map(self._parse, opened))
        read = await asyncio.to_thread(lambda: list(map(self._cut, parsed)))
        cuts = [(record, one) for record, one in zip(records, read, strict=True) if isinstance(one, Cut)]
        await self._accept(cuts)
        overtaken = await self._earlier.overtaken({cut.token: cut.ref for _, cut in cuts})
        most: dict[DocumentRef, int] = {}
        for _, cut in cuts:
            if cut.token not in overtaken:
                most[cut.ref] = max(most.get(cut.ref, 1), len(cut.parts))
        before = await self._manifests.widen(most)
        outcomes: list[Outcome] = []
        for record, one in zip(records, read, strict=True):
            if isinstance(one, Refuse):
                outcomes.append(one)
            elif one.token in overtaken:
                lane, current = self._lane(record), overtaken[one.token]
                outcomes.append(Emit(self._earlier.passed_over(record, one.ref, one.token, current, lane)))
            else:
                record.span.set(
                    {"freshet.parts": len(one.parts), "freshet.chunks": sum(len(p.chunks) for p in one.parts)}
                )
                outcomes.append(Emit(self._outputs(record, one, max(before[one.ref], most[one.ref])), proof=True))
        self._earlier.count_late([(record, cut.token) for record, cut in cuts])
        return outcomes

    async def on_refused(self, record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        """Tell the lane that this version will not come; where its key does not say whose it was, its token ends."""
        token, lane = self._token(record), self._lane(record)
        try:
            ref = parse_document_key(record.key, self._tenants)
        except IdentityError:
            at = millis()
            seen = LastSeen(version=str(token.version), status=status, reason=reason[:1000], at=at)
            await self._manifests.refuse(token, seen)
            key = part_key(_NOBODY, OVERTAKEN_KEY)
            return [Output(registry.CHUNKS, key, None, lane, {TOKEN: str(token).encode()})]
        return [refused_output(registry.CHUNKS, ref, token, status, reason, lane)]

    def _epoch(self, record: Record) -> Epoch:
        epoch = self._epochs.of_topic(record.topic)
        if epoch is None:  # the worker is about to be started anew, for it
            raise Transient(f"{record.topic} is of no epoch that is known here yet", reason="epoch")
        return epoch

    def identify(self, record: Record) -> tuple[DocumentRef, str, Token]:
        """Document and token of a record of ``documents``, in one piece; raises :class:`DecodeError`."""
        try:
            return parse_document_key(record.key, self._tenants), "document", self._token(record)
        except IdentityError as error:
            raise DecodeError(str(error)) from error

    def _token(self, record: Record) -> Token:
        return Token(self._epoch(record).number, record.partition, record.offset)

    def _lane(self, record: Record) -> int:
        """Partition of the internal topics: the same for a document in every epoch (docs/adr/0011)."""
        return record.partition % self._kafka.partitions

    def _open(self, record: Record) -> Cut | Opened | Refuse:
        """What the record holds; bytes that need a reader are not read yet."""
        try:
            ref = parse_document_key(record.key, self._tenants)
        except IdentityError as error:
            return Refuse(str(error), "key")
        expected = partition_of(record.key or b"", self._epoch(record).partitions)
        if record.partition != expected:
            return Refuse(
                f"key belongs on partition {expected}, this is {record.partition}: "
                "set partitioner=murmur2_random in the producer",
                "partition",
            )
        token = self._token(record)
        if record.value is None:
            return Cut(ref, token, [])
        try:
            source = read_document(
                record.value,
                dict(record.headers),
                record.timestamp,
                max_metadata_keys=self._settings.max_metadata_keys,
            )
            parsed = parse(source.text, source.media_type) if source.body is None else None
        except Refused as error:
            return Refuse(str(error), "unreadable")
        return Opened(ref, token, source, parsed)

    async def _parse(self, opened: Cut | Opened | Refuse) -> Cut | Opened | Refuse:
        """Outside this process, what a library reads."""
        if not isinstance(opened, Opened) or opened.source.body is None:
            return opened
        try:
            parsed = await self._readers.read(opened.source.body, opened.source.media_type)
        except Refused as error:
            return Refuse(str(error), "unreadable")
        return replace(opened, parsed=parsed)

    def _cut(self, opened: Cut | Opened | Refuse) -> Cut | Refuse:
        if not isinstance(opened, Opened):
            return opened
        assert opened.parsed
        try:
            parts = build_parts(
                self._settings.generation,
                opened.ref,
                opened.token.version,
                opened.source,
                opened.parsed,
                self._count,
                self._settings,
                bytes_per_chunk_extra=self._vector_bytes,
            )
        except Refused as error:
            return Refuse(str(error), "unreadable")
        return Cut(opened.ref, opened.token, parts)

    def _outputs(self, record: Record, cut: Cut, most: int) -> list[Output]:
        headers = {TOKEN: str(cut.token).encode()}
        when = cut.parts[0].head.published_at if cut.parts else published_at(record)
        headers[PUBLISHED_AT] = str(when).encode()
        if TRACEPARENT in record.headers:
            headers[TRACEPARENT] = record.headers[TRACEPARENT]
        lane = self._lane(record)
        outputs = [part_output(registry.CHUNKS, part, lane, headers) for part in cut.parts]
        retired = [part_key(cut.ref, part) for part in range(len(cut.parts), most)]
        outputs += [Output(registry.CHUNKS, key, None, lane, headers) for key in retired]
        return outputs + self._earlier.mirrored(record, cut.token)

    async def _accept(self, cuts: Sequence[tuple[Record, Cut]]) -> None:
        """Note which versions are in the log; losing the note costs a metric, or, between epochs, order."""
        known: dict[DocumentRef, tuple[str, int]] = {}
        for record, cut in cuts:
            known[cut.ref] = max(known.get(cut.ref, ("", 0)), (str(cut.token.version), record.timestamp))
        try:
            await self._manifests.accepted(known)
        except ConnectorError as error:
            if self._epochs.newest is not self._epochs.first:
                raise
            log.debug("versions are not noted", error=str(error))
