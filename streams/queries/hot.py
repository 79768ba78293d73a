"""Passages of questions that were asked a moment ago, as good as searched for anew.

An entry holds passages with their versions, and up to where the index had come when they were searched for.  It counts
if and only if every passage is still in its document's manifest at that very version, and no freshness is asked for
that it has not; all else is a miss, and the entry goes.  So nothing outlives a change; a new document reaches an old
question when the entry ends.  What is degraded, lacks something or is not audited is not kept.

Of equal questions at the same time one is searched for, here and in other workers.
"""

import asyncio
import contextlib
import time
import unicodedata
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

import msgspec

from connectors.search_ports import HotCache
from connectors.view_ports import Announced
from runtime import metrics
from runtime.logs import logger
from runtime.settings import Settings
from streams.queries.manifests import Reading
from streams.queries.spare import SpareCache
from topics.codec import DecodeError, decode, encode
from topics.headers import Hop
from topics.identity import DocumentRef, Token, digest
from topics.queries import Passage, Question

LEASE_SECONDS: Final = 1.0  # that others wait for who fills an entry
POLL: Final = 0.01
EVICT_SECONDS: Final = 0.1  # between rounds of housekeeping
TIER: Final = "passages"
RATIO_OVER: Final = 500  # look-ups that the ratio looks back, fading
log = logger(__name__)


class Entry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is kept; ``marks`` are (epoch, partition, offset) up to which the index had come before the search."""

    passages: list[Passage]
    marks: list[tuple[int, int, int]]


class Hot(SpareCache):
    """Of a worker.  ``made_by`` tells apart all settings that passages depend on."""

    def __init__(self, cache: HotCache, made_by: str, ttl: float) -> None:
        super().__init__("hot cache", cache)
        self._made_by, self._ttl = made_by, ttl
        self._filling: dict[str, asyncio.Event] = {}  # here
        self._claimed: set[str] = set()  # among workers
        self._changed: set[DocumentRef] = set()
        self._ratio = 0.0

    def key(self, question: Question, hop: Hop) -> str:
        """The same for questions that must get the same passages, and for no others."""
        asked = msgspec.json.encode(
            [question.k, question.search, question.rerank, question.explain, question.filter], order="deterministic"
        )
        who = msgspec.json.encode(sorted(set(hop.principals)))
        return digest(
            hop.tenant.encode(),
            who,
            normal(question.question).encode("utf-8", "surrogatepass"),
            asked,
            self._made_by.encode(),
        )

    async def find(self, key: str, hop: Hop, tokens: Sequence[Token], manifests: Reading) -> list[Passage] | None:
        """Passages that are as good as searched for now; None where there are none."""
        value = await self._try(lambda: self._cache.get(key))
        return None if value is None else await self._good(key, value, hop, tokens, manifests)

    @contextlib.asynccontextmanager
    async def turn(
        self, key: str, hop: Hop, tokens: Sequence[Token], manifests: Reading, seconds: float
    ) -> AsyncIterator[list[Passage] | None]:
        """The same, and where there are none a turn at searching and keeping them.

        While somebody else has the turn that is waited for, but not for long.
        """
        until = time.monotonic() + min(seconds, LEASE_SECONDS)
        if (other := self._filling.get(key)) is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until - time.monotonic()):
                    await other.wait()
            yield self._counted(await self.find(key, hop, tokens, manifests))
            return
        filled = self._filling[key] = asyncio.Event()
        try:
            yield self._counted(await self._claim(key, hop, tokens, manifests, until))
        finally:
            del self._filling[key]
            filled.set()
            if key in self._claimed:
                self._claimed.discard(key)
                await self._try(lambda: self._cache.release(key))

    async def _claim(
        self, key: str, hop: Hop, tokens: Sequence[Token], manifests: Reading, until: float
    ) -> list[Passage] | None:
        """The same among workers."""
        while (answer := await self._try(lambda: self._cache.claim(key, LEASE_SECONDS))) is not None:
            value, ours = answer
            if value is not None and (good := await self._good(key, value, hop, tokens, manifests)) is not None:
                return good
            if ours:
                self._claimed.add(key)
            if value is not None or ours or time.monotonic() > until:
                break
            await asyncio.sleep(POLL)
        return None

    async def _good(
        self, key: str, value: bytes, hop: Hop, tokens: Sequence[Token], manifests: Reading
    ) -> list[Passage] | None:
        reason, passages = await self._check(value, hop, tokens, manifests)
        if reason is None:
            return passages
        metrics.cache_refused.labels(reason).inc()
        if reason != "not-fresh":  # of use to others yet
            await self._try(lambda: self._cache.drop(key))
        return None

    async def keep(self, key: str, hop: Hop, passages: list[Passage], marks: dict[tuple[int, int], int]) -> None:
        """Remember passages that were found after the index had come up to these marks.

        That there were none is not kept: the first document that says something would go unheard.
        """
        if not passages:
            return
        entry = Entry(passages=passages, marks=[(*place, offset) for place, offset in marks.items()])
        refs = list({DocumentRef(hop.tenant, passage.doc_id): None for passage in passages})
        self._claimed.discard(key)  # it ends with this
        await self._try(lambda: self._cache.put(key, encode(entry), refs))

    def announced(self, events: Sequence[Announced]) -> None:
        """What the worker's tail has learnt: entries of what changed lately are of no use any more."""
        since = (time.time() - self._ttl) * 1000  # what changed before has no entry any more
        recent = [each.event for each in events if each.event.indexed_at >= since]
        self._changed |= {DocumentRef(event.tenant, event.doc_id) for event in recent}

    async def sweep(self) -> None:
        """Evict what came of changed documents, for ever."""
        while True:
            await asyncio.sleep(EVICT_SECONDS)
            changed, self._changed = list(self._changed), set()
            if changed:
                metrics.cache_evicted.inc(await self._try(partial(self._cache.evict, changed)) or 0)

    def _counted(self, passages: list[Passage] | None) -> list[Passage] | None:
        hit = passages is not None
        (metrics.cache_hits if hit else metrics.cache_misses).labels(TIER).inc()
        self._ratio += (hit - self._ratio) / RATIO_OVER
        metrics.cache_hit_ratio.set(self._ratio)
        return passages

    async def _check(
        self, value: bytes, hop: Hop, tokens: Sequence[Token], manifests: Reading
    ) -> tuple[str | None, list[Passage]]:
        try:
            entry = decode(value, Entry)
        except DecodeError as error:
            log.warning("not an entry of the hot cache", error=str(error)[:300])
            return "unreadable", []
        marks = {(epoch, partition): offset for epoch, partition, offset in entry.marks}
        if any(token.offset > marks.get((token.epoch, token.partition), -1) for token in tokens):
            return "not-fresh", []
        seen = await manifests.visible([(DocumentRef(hop.tenant, p.doc_id), p.chunk_id) for p in entry.passages])
        if any(now is None or now.version != p.version for p, now in zip(entry.passages, seen, strict=True)):
            return "changed", []
        return None, entry.passages


def normal(question: str) -> str:
    """The same for what differs in blanks and in how letters are encoded only."""
    return " ".join(unicodedata.normalize("NFKC", question).split())


def made_by(settings: Settings, encoder: str) -> str:
    """All that passages depend on beside the question and the documents."""
    queries = settings.queries
    parts = [encoder, queries.fusion, queries.keyword_weight, queries.vector_weight, queries.neighbours]
    parts += [settings.keyword.engine, settings.keyword.language, settings.rerank.model, settings.rerank.candidates]
    return msgspec.json.encode(parts).decode()
