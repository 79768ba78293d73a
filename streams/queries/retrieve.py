"""Find passages for a question.

Reads ``queries``.  Writes ``retrievals``, or for a question that wants passages only, the answer.  Texts to be embedded
come the same way, since the encoder is here.  Rejects what is not a question.  Repeating is harmless: nothing is
stored, and readers follow the attempt that began last.
"""

import asyncio
import time

import msgspec

from connectors.errors import ConnectorError
from runtime import metrics, tracing
from runtime.clock import Clock
from runtime.settings import Queries
from streams.outcome import Emit, Outcome, Output, Publish, Record, Refuse
from streams.queries.condense import Condense
from streams.queries.deadline import Late, in_time
from streams.queries.events import Teller
from streams.queries.hot import Hot
from streams.queries.laps import Laps
from streams.queries.manifests import Manifests, Reading
from streams.queries.search import Found, Search
from streams.queries.vectors import Vectors
from topics import registry
from topics.codec import DecodeError, decode_one, encode, schema_header
from topics.documents import LastSeen
from topics.headers import Hop
from topics.identity import Token
from topics.queries import Lacking, Question, Retrieval

CACHED = "cached-passages"  # nothing can be searched: passages that still count, perhaps not as fresh as was asked for
POLL = 0.01  # seconds between looks at the watermarks while a question waits for freshness


class Retrieve:
    """The stage."""

    def __init__(
        self,
        settings: Queries,
        generation: str,
        search: Search,
        manifests: Manifests,
        publish: Publish,
        clock: Clock,
        hot: Hot | None = None,
        condense: Condense | None = None,
        vectors: Vectors | None = None,
    ) -> None:
        self._hot, self._vectors = hot, vectors
        self._condense = condense or Condense(settings, None, clock)
        self._settings, self._generation, self._search, self._manifests = settings, generation, search, manifests
        self._publish, self._clock = publish, clock
        self._waiting = 0  # questions, for what they ask for to be there

    async def step(self, record: Record) -> Outcome:
        """One question."""
        try:
            hop = Hop.of(record.headers)
            question = decode_one(record.value or b"", record.headers, Question)
            tokens = [Token.parse(text) for text in question.at_least]
        except (DecodeError, ValueError, msgspec.MsgspecError) as error:
            return Refuse(str(error), "undecodable")
        teller = Teller(hop, "retrieve", self._clock)
        timings = {"queued": self._clock.now() * 1000 - question.asked_at}
        metrics.queue_wait.labels("retrieve").observe(timings["queued"] / 1000)
        try:
            in_time(hop, self._clock, "retrieval")
            if question.mode == "embed":
                return Emit([await self._embed(question, hop, teller)])
            return Emit(await self._answer(question, hop, tokens, timings, teller, record.partition))
        except Late as late:
            metrics.answers_total.labels("expired").inc()
            return Emit([teller.error("expired", str(late))])

    async def _answer(
        self, question: Question, hop: Hop, tokens: list[Token], timings: dict[str, float], teller: Teller,
        partition: int,
    ) -> list[Output]:  # fmt: skip
        announced = asyncio.ensure_future(self._publish([teller.event("retrieving")]))
        try:
            started = time.perf_counter()
            retrieval = await self._retrieve(question, hop, tokens, timings)
            metrics.retrieval_latency_ms.observe((time.perf_counter() - started) * 1000)
        except ConnectorError as error:
            metrics.retrieval_errors.labels(error.reason).inc()
            await announced
            in_time(hop, self._clock, "an answer")  # then that is why
            return [teller.error("unavailable", f"retrieval is not possible right now: {error}")]
        finally:
            await asyncio.gather(announced, return_exceptions=True)
        tracing.current().set({"freshet.passages": len(retrieval.passages), "freshet.degraded": retrieval.degraded})
        await announced  # an outage of the broker pauses the stage like any other
        in_time(hop, self._clock, "generation" if question.mode == "answer" else "an answer")
        return self._outputs(question, hop, teller, retrieval, partition)

    def _outputs(
        self, question: Question, hop: Hop, teller: Teller, retrieval: Retrieval, partition: int
    ) -> list[Output]:
        if question.mode == "retrieve":
            metrics.answers_total.labels("retrieved").inc()
            return [teller.event("answer", {"retrieval": msgspec.to_builtins(retrieval)})]
        passages = teller.event("passages", {"passages": msgspec.to_builtins(retrieval.passages)})
        headers = {**hop.headers(), **schema_header(retrieval)}
        next_ = registry.RETRIEVALS_BATCH if hop.priority == "batch" else registry.RETRIEVALS
        return [passages, Output(next_, hop.job_id.encode(), encode(retrieval), partition, headers)]

    async def _retrieve(
        self, question: Question, hop: Hop, tokens: list[Token], timings: dict[str, float]
    ) -> Retrieval:
        laps, manifests = Laps(timings), self._manifests.reading()
        typed, unresolved = question, list[str]()
        if question.history:
            with laps.taking("condense"):
                question, unresolved = await self._condense(question, hop)
        lacking = await self._wait_for(tokens, hop, manifests)
        marks, distrust = await manifests.standing()  # before the search: what it finds is at least as new
        laps.lap("freshness")
        keep = marks if not lacking and distrust is None else None
        found = await self._find(question, hop, tokens, manifests, laps, keep)
        metrics.served_passages.inc(len(found.passages))
        return Retrieval(
            question=question.question,
            passages=found.passages,
            generation=self._generation,
            degraded=[
                *unresolved,
                *manifests.degraded,
                *(f"{each.status}:{each.token}" for each in lacking),
                *found.degraded,
                *["unaudited"] * (distrust is not None),
            ],
            lacking=lacking,
            timings=timings,
            cache=question.cache,
            model=question.model,
            standalone=question.question if question.question != typed.question else None,
            asked_at=question.asked_at,
        )

    async def _embed(self, question: Question, hop: Hop, teller: Teller) -> Output:
        if self._vectors is None:
            return teller.error("unavailable", "nothing is embedded here")
        await self._publish([teller.event("retrieving")])
        try:
            async for some in self._vectors.of(question.texts):
                in_time(hop, self._clock, "embedding")
                await self._publish([teller.event("vectors", msgspec.to_builtins(some))])
        except ConnectorError as error:
            metrics.retrieval_errors.labels(error.reason).inc()
            return teller.error("unavailable", f"nothing can be embedded right now: {error}")
        metrics.answers_total.labels("embedded").inc()
        return teller.event("answer", {"embedding": msgspec.to_builtins(self._vectors.receipt(question.texts))})

    async def _find(
        self,
        question: Question,
        hop: Hop,
        tokens: list[Token],
        manifests: Reading,
        laps: Laps,
        marks: dict[tuple[int, int], int] | None,
    ) -> Found:
        """From the cache, or by a search whose passages are then kept with these ``marks`` if all was well."""
        hot = self._hot
        if hot is None or not question.cache or marks is None:
            return await self._search.find(question, hop, manifests, laps)
        key = hot.key(question, hop)
        async with hot.turn(key, hop, tokens, manifests, hop.remaining(self._clock.now()) / 2) as passages:
            laps.lap("cache")
            if passages is not None:
                return Found(passages)
            try:
                found = await self._search.find(question, hop, manifests, laps)
            except ConnectorError:
                if (passages := await hot.find(key, hop, (), manifests)) is None:
                    raise
                return Found(passages, [CACHED])
            if not found.degraded and not manifests.degraded:
                await hot.keep(key, hop, found.passages, marks)
            return found

    async def _wait_for(self, tokens: list[Token], hop: Hop, manifests: Reading) -> list[Lacking]:
        """Wait until the index has passed each token, or refused its version; returns what the answer will lack.

        Half of the worker is for those who need not wait: where the other half waits already, the answer is there at
        once and says what it lacks.
        """
        patience = min(self._settings.freshness_wait, hop.remaining(self._clock.now()) / 2)
        if self._waiting >= max(1, self._settings.in_flight // 2):
            patience = 0.0
        self._waiting += 1
        try:
            return await self._late(tokens, time.monotonic() + patience, manifests)
        finally:
            self._waiting -= 1

    async def _late(self, tokens: list[Token], until: float, manifests: Reading) -> list[Lacking]:
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
