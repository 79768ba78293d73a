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
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Turn:
    """``waited``: somebody may have filled it meanwhile, so a look is worth it.  ``ours``: others wait for us now."""

    waited: bool
    ours: bool


class Hot(SpareCache):
    """Of a worker.  ``made_by`` tells apart all settings that passages depend on."""

    def __init__(self, cache: HotCache, made_by: str, ttl: float) -> None:
        super().__init__("hot cache", cache)
        self._made_by, self._ttl = made_by, ttl
        self._filling: dict[str, asyncio.Event] = {}
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
        if value is None:
            self._count(hit=False)
            return None
        reason, passages = await self._check(value, hop, tokens, manifests)
        self._count(hit=reason is None)
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
        await self._try(lambda: self._cache.put(key, encode(entry), refs))

    async def turn(self, key: str, seconds: float) -> "Turn":
        """Wait while somebody else fills this key, but not for long."""
        began = time.monotonic()
        if (other := self._filling.get(key)) is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, LEASE_SECONDS)):
                    await other.wait()
            return Turn(waited=True, ours=False)
        self._filling[key] = asyncio.Event()
        waited = False
        while await self._try(lambda: self._cache.lease(key, LEASE_SECONDS)) is False:
            waited = True
            if time.monotonic() - began > min(seconds, LEASE_SECONDS):
                break
            await asyncio.sleep(POLL)
        return Turn(waited, ours=True)

    async def done(self, key: str, turn: "Turn") -> None:
        """It is filled, or will not be."""
        if turn.ours:
            self._filling.pop(key).set()
            await self._try(lambda: self._cache.release(key))

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

    def _count(self, *, hit: bool) -> None:
        (metrics.cache_hits if hit else metrics.cache_misses).labels(TIER).inc()
        self._ratio += (hit - self._ratio) / RATIO_OVER
        metrics.cache_hit_ratio.set(self._ratio)

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
