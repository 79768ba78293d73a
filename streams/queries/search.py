"""Search for passages, and check that they count.

A hit counts if and only if its chunk is in its document's current manifest, whatever the store still holds.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.ports import Encoder, Hit, VectorStore, Visible
from runtime import metrics
from runtime.clock import Clock
from streams.queries.laps import Laps
from streams.queries.manifests import Reading
from topics.headers import Hop
from topics.queries import Passage, Question

TRIES = 10  # searches for one question while documents among its hits keep changing
OVERFETCH = 3  # hits asked for per passage wanted: some are garbage that clean-up has yet to delete
LOOKS = 4  # searches more for hits that do not count: garbage, or lost to flips, which may follow one another
CLOCK_STEP = 0.002  # seconds: flips are dated in whole milliseconds


@dataclass(frozen=True, slots=True)
class Found:
    """Passages, best first, and what they are less good by."""

    passages: list[Passage]
    degraded: Sequence[str] = ()


class Search:
    """Searches for all questions of a worker."""

    def __init__(self, stale_after: float, encoder: Encoder, store: VectorStore, clock: Clock) -> None:
        self._stale_after, self._encoder, self._store, self._clock = stale_after, encoder, store, clock

    async def find(self, question: Question, hop: Hop, manifests: Reading, laps: Laps) -> Found:
        """Search and check until no document among the hits changed meanwhile; tells whether some never stood still.

        A document that flipped after the search began shows what it kept, and not yet what is new: half a version.
        Hits that do not count are garbage that clean-up has yet to delete, or lost to flips: worth a few more searches.
        """
        vector = (await self._encoder.encode([question.question]))[0]
        laps.lap("encode")
        limit, looks = question.k * OVERFETCH, 0
        for _ in range(TRIES):
            began = time.monotonic()
            hits = await self._store.search(hop.tenant, vector, limit, hop.principals, question.filter)
            laps.lap("search")
            checked = await manifests.visible([(hit.ref, hit.id) for hit in hits])
            laps.lap("manifests")
            took = time.monotonic() - began + CLOCK_STEP
            found = [(hit, seen) for hit, seen in zip(hits, checked, strict=True) if seen is not None]
            moved = {hit.ref for hit, seen in found if seen.age <= took}
            garbage = len(found) < len(hits) and looks < LOOKS
            if not moved and not garbage:
                break
            if garbage:
                limit, looks = limit * (2 if looks == 0 else 1), looks + 1
            if hop.expired(self._clock.now()):
                break
            await asyncio.sleep(CLOCK_STEP)  # the next search must not begin within the step that a flip is dated to
        settled = [(hit, seen) for hit, seen in found if hit.ref not in moved]
        passages = [self._passage(hit, seen) for hit, seen in settled[: question.k]]
        return Found(passages, ["unsettled"] if moved else [])

    def _passage(self, hit: Hit, seen: Visible) -> Passage:
        if seen.stale_since is not None and self._clock.now() - seen.stale_since / 1000 > self._stale_after:
            metrics.stale_passages.inc()
        return Passage(
            doc_id=hit.ref.doc_id,
            version=seen.version,
            chunk_id=hit.id,
            text=hit.text,
            score=round(hit.score, 4),
            cosine=round(hit.score, 4),
            title=seen.head.title,
            uri=seen.head.uri,
            section=seen.section,
            metadata=seen.head.metadata,
            published_at=seen.head.published_at,
        )
