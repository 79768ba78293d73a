"""Search for passages, and check that they count.

A hit counts if and only if its chunk is in its document's current manifest, whatever store and index still hold, and a
hit of which the version is known, if that is the current one.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from connectors.ports import Hit, Visible
from runtime import metrics
from runtime.clock import Clock
from runtime.settings import Queries
from streams.queries.fold import fold
from streams.queries.fuse import Ranked, fuse
from streams.queries.laps import Laps
from streams.queries.legs import KEYWORD, VECTOR, Asked, Legs
from streams.queries.manifests import Reading
from streams.queries.neighbours import Neighbours
from streams.queries.rerank import RERANK, Rerank
from topics.headers import Hop
from topics.identity import DocumentRef
from topics.queries import Passage, Question

TRIES: Final = 10  # searches for one question while documents among its hits keep changing
OVERFETCH: Final = 3  # hits asked for per passage wanted: some are garbage that clean-up has yet to delete
LOOKS: Final = 4  # searches more for hits that do not count: garbage, or lost to flips, which may follow one another
RERANK_SHARE: Final = 0.5  # of the time that is left when passages are there; the rest is for the answer
CLOCK_STEP: Final = 0.002  # seconds: flips are dated in whole milliseconds


@dataclass(frozen=True, slots=True)
class Found:
    """Passages, best first, and what they are less good by."""

    passages: list[Passage]
    degraded: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Checked:
    """Hits by leg that count, and what is known of their documents.  ``again``: some that should count may lack."""

    legs: Mapping[str, list[Hit]]
    seen: Mapping[str, Visible]  # by chunk id
    moved: set[DocumentRef]
    again: bool


class Search:
    """Searches for all questions of a worker."""

    def __init__(
        self,
        settings: Queries,
        stale_after: float,
        legs: Legs,
        clock: Clock,
        rerank: Rerank | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._rerank, self._neighbours = rerank, neighbours
        self._settings, self._stale_after, self._legs, self._clock = settings, stale_after, legs, clock
        self._weights = (
            {VECTOR: settings.vector_weight, KEYWORD: settings.keyword_weight}
            if settings.fusion == "weighted"
            else None
        )

    async def find(self, question: Question, hop: Hop, manifests: Reading, laps: Laps) -> Found:
        """Search and check until no document among the hits changed meanwhile.

        A document that flipped after the search began shows what it kept, and not yet what is new: half a version.
        Hits that do not count are garbage that clean-up has yet to delete, or lost to flips: worth a few more searches.
        """
        asked = Asked(question, hop, self._settings.search_timeout, laps, self._clock)
        limit, looks = question.k * OVERFETCH, 0
        if self._rerank is not None and question.rerank:
            limit = max(limit, self._rerank.candidates)
        for _ in range(TRIES):
            checked = await self._look(asked, limit, manifests)
            again = checked.again and looks < LOOKS
            if not checked.moved and not again:
                break
            if again:
                limit, looks = limit * (2 if looks == 0 else 1), looks + 1
            if hop.expired(self._clock.now()):
                break
            await asyncio.sleep(CLOCK_STEP)  # the next search must not begin within the step that a flip is dated to
        settled = {leg: [h for h in hits if h.ref not in checked.moved] for leg, hits in checked.legs.items()}
        ranked = await self._rank(asked, settled)
        if checked.moved:
            asked.degraded["unsettled"] = None
        passages = [self._passage(each, checked.seen[each.hit.id], explain=question.explain) for each in ranked]
        if self._neighbours is not None:
            passages = await self._neighbours.widen(passages, hop.tenant, manifests)
        return Found(passages, list(asked.degraded))

    async def _rank(self, asked: Asked, legs: Mapping[str, Sequence[Hit]]) -> list[Ranked]:
        question, rerank = asked.question, self._rerank if asked.question.rerank else None
        ranked = fold(fuse(legs, self._weights), max(question.k, rerank.candidates if rerank else 0))
        if rerank is not None:
            with asked.laps.taking(RERANK):
                left = asked.hop.remaining(self._clock.now()) * RERANK_SHARE
                ranked, lacks = await rerank.order(question.question, ranked, left)
            if lacks:
                asked.degraded[lacks] = None
        return ranked[: question.k]

    async def _look(self, asked: Asked, limit: int, manifests: Reading) -> _Checked:
        began = time.monotonic()
        legs = await self._legs.search(asked, limit)
        if KEYWORD in legs:
            with asked.laps.taking("manifests"):
                legs[KEYWORD] = await _resolved(legs[KEYWORD], manifests)
        hits = list({(hit.ref, hit.id): None for hits in legs.values() for hit in hits})
        with asked.laps.taking("manifests"):
            visible = dict(zip(hits, await manifests.visible(hits), strict=True))
        took = time.monotonic() - began + CLOCK_STEP
        seen = {chunk_id: found for (_, chunk_id), found in visible.items() if found is not None}
        counted: dict[str, list[Hit]] = {}
        moved, again = set[DocumentRef](), False
        for leg, found in legs.items():
            counted[leg] = [hit for hit in found if _counts(hit, seen.get(hit.id))]
            moved |= {hit.ref for hit in counted[leg] if seen[hit.id].age <= took}
            again |= len(counted[leg]) < len(found)
        return _Checked(counted, seen, moved, again)

    def _passage(self, ranked: Ranked, seen: Visible, *, explain: bool) -> Passage:
        if seen.stale_since is not None and self._clock.now() - seen.stale_since / 1000 > self._stale_after:
            metrics.stale_passages.inc()
        hit, cosine = ranked.hit, ranked.scores.get(VECTOR)
        scores = {"fused": ranked.score, **ranked.scores, **{f"{leg}_rank": n for leg, n in ranked.ranks.items()}}
        return Passage(
            doc_id=hit.ref.doc_id,
            version=seen.version,
            chunk_id=hit.id,
            text=hit.text,
            score=round(ranked.score, 4),
            cosine=None if cosine is None else round(cosine, 4),
            words=None if ranked.words is None else round(ranked.words, 4),
            scores={name: round(score, 4) for name, score in scores.items()} if explain else {},
            title=seen.head.title,
            uri=seen.head.uri,
            section=seen.section,
            metadata=seen.head.metadata,
            published_at=seen.head.published_at,
        )


def _counts(hit: Hit, seen: Visible | None) -> bool:
    return seen is not None and hit.version in (None, seen.version)


async def _resolved(hits: Sequence[Hit], manifests: Reading) -> list[Hit]:
    """Keyword hits of versions that this worker's tail does not know as visible: those that are, with their ids.

    They were indexed before their flip, or became visible a moment ago; the manifests know which.
    """
    unsure = list(dict.fromkeys(hit.ref for hit in hits if hit.ordinal is not None))
    if not unsure:
        return list(hits)
    known = {ref: (m.version, list(m.chunks)) for ref, m in zip(unsure, await manifests.read(unsure), strict=True)}
    found = []
    for hit in hits:
        if hit.ordinal is None:
            found.append(hit)
            continue
        version, ids = known[hit.ref]
        if version == hit.version and hit.ordinal < len(ids):
            found.append(replace(hit, id=ids[hit.ordinal], ordinal=None))
    return found
