"""Find passages for a question.

Reads ``queries``.  Writes ``retrievals``, or for a question that wants passages only, the answer.  Rejects what is
not a question.  Repeating is harmless: nothing is stored, and readers follow the attempt that began last.

A hit counts if and only if its chunk is in its document's current manifest, whatever the store still holds.
"""

import asyncio
import time

import msgspec

from connectors.errors import ConnectorError
from connectors.ports import Encoder, Hit, Vectors, VectorStore, Visible
from runtime import metrics
from runtime.clock import Clock
from runtime.settings import Queries
from streams.outcome import Emit, Outcome, Output, Publish, Record, Refuse
from streams.queries.events import Teller
from streams.queries.manifests import Manifests, Reading
from topics import registry
from topics.codec import DecodeError, decode_one, encode, schema_header
from topics.documents import LastSeen
from topics.headers import Hop
from topics.identity import Token
from topics.queries import Lacking, Passage, Question, Retrieval

TRIES = 10  # searches for one question while documents among its hits keep changing
OVERFETCH = 3  # hits asked for per passage wanted: some are garbage that clean-up has yet to delete
LOOKS = 4  # searches more for hits that do not count: garbage, or lost to flips, which may follow one another
CLOCK_STEP = 0.002  # seconds: flips are dated in whole milliseconds
POLL = 0.01  # seconds between looks at the watermarks while a question waits for freshness


class Retrieve:
    """The stage."""

    def __init__(
        self,
        settings: Queries,
        generation: str,
        stale_after: float,
        encoder: Encoder,
        store: VectorStore,
        manifests: Manifests,
        publish: Publish,
        clock: Clock,
    ) -> None:
        self._settings, self._generation, self._stale_after = settings, generation, stale_after
        self._encoder, self._store, self._manifests = encoder, store, manifests
        self._publish, self._clock = publish, clock

    async def step(self, record: Record) -> Outcome:
        """One question."""
        try:
            hop = Hop.of(record.headers)
            question = decode_one(record.value or b"", record.headers, Question)
            tokens = [Token.parse(text) for text in question.at_least]
        except (DecodeError, ValueError, msgspec.MsgspecError) as error:
            return Refuse(str(error), "undecodable")
        teller = Teller(hop, "retrieve", self._clock)
        if hop.expired(self._clock.now()):
            metrics.answers_total.labels("expired").inc()
            return Emit([teller.error("expired", "the deadline passed before retrieval began")])
        timings = {"queued": self._clock.now() * 1000 - question.asked_at}
        announced = asyncio.ensure_future(self._publish([teller.event("retrieving")]))
        try:
            started = time.perf_counter()
            retrieval = await self._retrieve(question, hop, tokens, timings)
            metrics.retrieval_latency_ms.observe((time.perf_counter() - started) * 1000)
        except ConnectorError as error:
            metrics.retrieval_errors.labels(error.reason).inc()
            await announced
            return Emit([teller.error("unavailable", f"retrieval is not possible right now: {error}")])
        finally:
            await asyncio.gather(announced, return_exceptions=True)
        await announced  # an outage of the broker pauses the stage like any other
        return Emit(self._outputs(question, hop, teller, retrieval, record.partition))

    def _outputs(
        self, question: Question, hop: Hop, teller: Teller, retrieval: Retrieval, partition: int
    ) -> list[Output]:
        if question.mode == "retrieve":
            metrics.answers_total.labels("retrieved").inc()
            return [teller.event("answer", {"retrieval": msgspec.to_builtins(retrieval)})]
        passages = teller.event("passages", {"passages": msgspec.to_builtins(retrieval.passages)})
        headers = {**hop.headers(), **schema_header(retrieval)}
        return [passages, Output(registry.RETRIEVALS, hop.job_id.encode(), encode(retrieval), partition, headers)]

    async def _retrieve(
        self, question: Question, hop: Hop, tokens: list[Token], timings: dict[str, float]
    ) -> Retrieval:
        clock, manifests = _Laps(timings), self._manifests.reading()
        lacking = await self._wait_for(tokens, hop, manifests)
        clock.lap("freshness")
        vectors, distrust = await asyncio.gather(self._encoder.encode([question.question]), manifests.distrusted())
        clock.lap("encode")
        passages, unsettled = await self._search(question, hop, vectors[0], manifests, clock)
        metrics.served_passages.inc(len(passages))
        return Retrieval(
            question=question.question,
            passages=passages,
            generation=self._generation,
            degraded=[
                *manifests.degraded,
                *(f"{each.status}:{each.token}" for each in lacking),
                *["unsettled"] * unsettled,
                *["unaudited"] * (distrust is not None),
            ],
            lacking=lacking,
            timings=timings,
            asked_at=question.asked_at,
        )

    async def _search(
        self, question: Question, hop: Hop, vector: Vectors, manifests: Reading, clock: "_Laps"
    ) -> tuple[list[Passage], bool]:
        """Search and check until no document among the hits changed meanwhile; tells whether some never stood still.

        A document that flipped after the search began shows what it kept, and not yet what is new: half a version.
        Hits that do not count are garbage that clean-up has yet to delete, or lost to flips: worth a few more searches.
        """
        limit, looks = question.k * OVERFETCH, 0
        for _ in range(TRIES):
            began = time.monotonic()
            hits = await self._store.search(hop.tenant, vector, limit, hop.principals, question.filter)
            clock.lap("search")
            checked = await manifests.visible([(hit.ref, hit.id) for hit in hits])
            clock.lap("manifests")
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
        return [self._passage(hit, seen) for hit, seen in settled[: question.k]], bool(moved)

    def _passage(self, hit: Hit, seen: Visible) -> Passage:
        if seen.stale_since is not None and self._clock.now() - seen.stale_since / 1000 > self._stale_after:
            metrics.stale_passages.inc()
        return Passage(
            doc_id=hit.ref.doc_id,
            version=seen.version,
            chunk_id=hit.id,
            text=hit.text,
            score=round(hit.score, 4),
            title=seen.head.title,
            uri=seen.head.uri,
            section=seen.section,
            metadata=seen.head.metadata,
            published_at=seen.head.published_at,
        )

    async def _wait_for(self, tokens: list[Token], hop: Hop, manifests: Reading) -> list[Lacking]:
        """Wait until the index has passed each token, or refused its version; returns what the answer will lack."""
        until = time.monotonic() + min(self._settings.freshness_wait, hop.remaining(self._clock.now()) / 2)
        refused: dict[Token, LastSeen] = {}
        late = tokens
        while late:
            refused |= await manifests.refusals(late)
            marks = await manifests.watermarks()
            late = [t for t in late if t not in refused and t.offset > marks.get((t.epoch, t.partition), -1)]
            if not late or time.monotonic() > until:
                break
            await asyncio.sleep(POLL)
        refused |= await manifests.refusals(tokens)  # a watermark may pass a version in the moment it is refused
        return [
            Lacking(token=str(t), status=refused[t].status, reason=refused[t].reason)
            if t in refused
            else Lacking(token=str(t), status="not-fresh")
            for t in tokens
            if t in refused or t in late
        ]


class _Laps:
    """Adds up milliseconds by step."""

    def __init__(self, timings: dict[str, float]) -> None:
        self._timings, self._last = timings, time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self._timings[step] = round(self._timings.get(step, 0.0) + (now - self._last) * 1000, 2)
        self._last = now
