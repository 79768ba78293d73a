"""Give every chunk its vector.

Reads ``chunks``, writes ``vectors``, part by part.  Rejects what is not a document part.
Repeating is harmless: a vector is named by model and text, and a known one is taken from the embedding cache.
"""

import time
from collections.abc import Sequence

from connectors.errors import ConnectorError
from connectors.ports import EmbeddingCache, Encoder
from runtime import metrics
from runtime.logs import logger
from streams.documents.changes import identify, part_output, passed_on, read_change, refused_output
from streams.documents.diff import Change
from streams.outcome import Emit, Outcome, Output, Record, Refuse, RefusedStatus
from topics import registry
from topics.codec import DecodeError
from topics.documents import DocumentPart

log = logger(__name__)


BATCH_SECONDS = 0.35  # an edit that comes in now waits no longer than two of these for what is being encoded
BACKLOG_SHARE = 4  # of a backlog a fourth may make one batch: whoever waits behind it waits a fourth longer at most
_FIRST_ROOM = 64 * 1024  # bytes, before the first measurement
_LEAST_ROOM = 16 * 1024


class Embed:
    """The stage: micro-batches across documents, one call of the model for all that is not known."""

    def __init__(self, encoder: Encoder, cache: EmbeddingCache) -> None:
        self._encoder, self._cache = encoder, cache
        self._pace: float | None = None  # bytes of text a second, as the encoder goes here and now

    def room(self, waiting: int) -> int:
        """Bytes that a batch may hold: what is encoded in about :data:`BATCH_SECONDS`, more when much is waiting.

        Large batches are faster, texts of like length being encoded together, and small ones keep an edit fresh.
        """
        soon = _FIRST_ROOM if self._pace is None else int(self._pace * BATCH_SECONDS)
        return max(_LEAST_ROOM, soon, waiting // BACKLOG_SHARE)

    async def step(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Add vectors; everything else of a record passes through."""
        parts: dict[int, DocumentPart] = {}
        outcomes: list[Outcome] = [Emit()] * len(records)
        for number, record in enumerate(records):
            try:
                change = read_change(record)
            except DecodeError as error:
                outcomes[number] = Refuse(str(error), "undecodable")
                continue
            if isinstance(change, Change) and change.part is not None:
                parts[number] = change.part
            else:  # a delete, a retired part, a refusal, a deferral: nothing to embed
                assert record.key is not None
                outcomes[number] = Emit(
                    [Output(registry.VECTORS, record.key, record.value, record.partition, record.headers)]
                )
        vectors, known = await self.vectors({c.text_hash: c.text for part in parts.values() for c in part.chunks})
        for number, part in parts.items():
            for chunk in part.chunks:
                chunk.vector = vectors[chunk.text_hash]
            record, hashes = records[number], {c.text_hash for c in part.chunks}
            record.span.set({"freshet.chunks": len(part.chunks), "freshet.encoded": len(hashes - known)})
            output = part_output(registry.VECTORS, part, record.partition, passed_on(record))
            outcomes[number] = Emit([output], proof=not known.issuperset(hashes))
        return outcomes

    async def vectors(self, texts: dict[str, str]) -> tuple[dict[str, bytes], set[str]]:
        """Vectors by text hash, for texts by text hash; and which of them were known without the encoder."""
        known = await self._known(list(texts))
        cached = set(known)
        missing = {hash_: text for hash_, text in texts.items() if hash_ not in known}
        if missing:
            began = time.perf_counter()
            encoded = await self._encoder.encode(list(missing.values()))
            self._measure(sum(map(len, missing.values())), time.perf_counter() - began)
            fresh = {hash_: row.astype("<f4").tobytes() for hash_, row in zip(missing, encoded, strict=True)}
            metrics.chunks_encoded.inc(len(fresh))
            await self._remember(fresh)
            known |= fresh
        return known, cached

    async def on_refused(self, record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        """Pass the bad news on."""
        try:
            ref, _, token = identify(record)
        except DecodeError:
            return []
        return [refused_output(registry.VECTORS, ref, token, status, reason, record.partition)]

    def _measure(self, size: int, seconds: float) -> None:
        metrics.encode_seconds.observe(seconds)
        pace = size / max(seconds, 1e-6)
        self._pace = pace if self._pace is None else 0.7 * self._pace + 0.3 * pace

    async def _known(self, hashes: Sequence[str]) -> dict[str, bytes]:
        try:
            cached = await self._cache.get(self._encoder.model, hashes)
        except ConnectorError as error:  # a cache that is away costs time, never a record
            log.debug("embedding cache is away", error=str(error))
            return {}
        known = {hash_: vector for hash_, vector in zip(hashes, cached, strict=True) if vector is not None}
        metrics.chunks_reused.labels("cache").inc(len(known))
        metrics.cache_hits.labels("embeddings").inc(len(known))
        metrics.cache_misses.labels("embeddings").inc(len(hashes) - len(known))
        return known

    async def _remember(self, vectors: dict[str, bytes]) -> None:
        try:
            await self._cache.put(self._encoder.model, vectors)
        except ConnectorError as error:
            log.debug("embedding cache is away", error=str(error))
