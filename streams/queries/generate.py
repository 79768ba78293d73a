"""Write the answer from the passages.

Reads ``retrievals``, writes ``answers``.  Rejects what is not a retrieval.  Repeating is harmless: it is a new
attempt, and readers follow the attempt that began last.  A model that is away or busy is tried again while the deadline
allows; then the next one of the ladder answers, and the answer says so.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from connectors.errors import ConnectorError, Transient
from connectors.ports import Delta
from runtime import metrics, tracing
from runtime.clock import Clock
from runtime.settings import Queries
from streams.outcome import Emit, Outcome, Publish, Record, Refuse
from streams.queries.answers import Answers, pieces
from streams.queries.calls import model_call, used
from streams.queries.citations import Cited, citations_of
from streams.queries.events import Teller
from streams.queries.ladder import Climb, Rung, Try
from streams.queries.versions import UnknownVersion, Versions
from topics.codec import DecodeError, decode_one
from topics.headers import Hop
from topics.queries import Answer, Passage, Retrieval, Usage

COALESCE = 0.03  # seconds of tokens that share a record
COALESCE_MOST = 0.07  # where many answers are being written
RECORDS = 400.0  # of tokens a second, which a worker writes before more tokens share one
FIRST_TOKEN = "time_to_first_token_ms"  # passages to the first piece of text
NOT_FOUND = "Not found in the documents."


@dataclass(slots=True)
class Written:
    """What a model wrote, and what it saw for that."""

    text: str
    passages: list[Passage]
    rung: int = 0
    usage: Usage | None = None


class Generate:
    """The stage.  ``versions`` tells the ladder of each question."""

    def __init__(
        self, settings: Queries, versions: Versions, publish: Publish, clock: Clock, answers: Answers | None = None
    ) -> None:
        self._settings, self._versions, self._publish, self._clock = settings, versions, publish, clock
        self._cache = answers
        self._writing = 0  # answers

    async def step(self, record: Record) -> Outcome:
        """One retrieval."""
        try:
            hop = Hop.of(record.headers)
            retrieval = decode_one(record.value or b"", record.headers, Retrieval)
            rungs = self._versions.ladder(hop.job_id, retrieval.model)
        except (DecodeError, ValueError, msgspec.MsgspecError) as error:
            return Refuse(str(error), "undecodable")
        except UnknownVersion as error:
            metrics.answers_total.labels("failed").inc()
            return Emit([Teller(hop, "generate", self._clock).error("invalid", str(error))])
        metrics.queue_wait.labels("generate").observe(max(0.0, self._clock.now() - record.timestamp / 1000))
        passages = [p for p in retrieval.passages if self._answers(p)]
        if not passages:
            return await self._nothing(hop, retrieval, rungs[0].name)
        cache = self._cache
        if cache is None or not retrieval.cache or retrieval.degraded or len(rungs) == 1:
            return await self._write(hop, retrieval, passages, rungs, None)
        key = cache.key(retrieval, hop, passages, rungs[0].name)
        async with cache.turn(key, hop.remaining(self._clock.now()) / 2):
            if not hop.expired(self._clock.now()) and (text := await cache.find(key)) is not None:
                return await self._again(text, hop, retrieval, passages, rungs[0].name)
            return await self._write(hop, retrieval, passages, rungs, key)

    async def _nothing(self, hop: Hop, retrieval: Retrieval, model: str) -> Outcome:
        """There is nothing to ask a model about."""
        teller = Teller(hop, "generate", self._clock)
        if hop.expired(self._clock.now()):
            return _expired(teller)
        told = teller.event("generating", {"model": model}), teller.event("token", {"text": NOT_FOUND})
        await self._publish(told)
        retrieval.timings["generate"] = 0.0
        metrics.answers_total.labels("not-found").inc()
        answer = self._answer(Written(NOT_FOUND, []), retrieval, model, retrieval.degraded)
        return Emit([teller.event("answer", msgspec.to_builtins(answer))])

    async def _again(self, text: str, hop: Hop, retrieval: Retrieval, passages: list[Passage], model: str) -> Outcome:
        """A kept answer, streamed like one that is being written."""
        teller, cited = Teller(hop, "generate", self._clock), Cited(len(passages))
        await self._publish([teller.event("generating", {"model": model})])
        for shown in (*map(cited.add, pieces(text)), cited.end()):
            if shown:
                await self._publish([teller.event("token", {"text": shown})])
        metrics.answers_total.labels("answered").inc()
        answer = self._answer(Written(cited.text, passages), retrieval, model, [])
        answer.cached = True
        return Emit([teller.event("answer", msgspec.to_builtins(answer))])

    async def _write(
        self, hop: Hop, retrieval: Retrieval, passages: list[Passage], rungs: Sequence[Rung], key: str | None
    ) -> Outcome:
        """An answer by the first model of the ladder that can; kept under this key if all was well."""
        started = time.perf_counter()
        climb = Climb(rungs, hop, self._clock)
        async with aclosing(climb.tries()) as tries:
            async for attempt in tries:
                teller, model = Teller(hop, "generate", self._clock), attempt.model.name
                if hop.expired(self._clock.now()):
                    return _expired(teller)
                announced = asyncio.ensure_future(self._publish([teller.event("generating", {"model": model})]))
                self._writing += 1
                try:
                    with model_call(model, attempt.number, attempt.rung.provider):
                        written = await self._stream(attempt, teller, retrieval, passages, started, announced)
                except ConnectorError as error:
                    await announced  # an outage of the broker pauses the stage like any other
                    attempt.failed(error)
                    continue
                finally:
                    self._writing -= 1
                    await asyncio.gather(announced, return_exceptions=True)
                attempt.passed()
                retrieval.timings["generate"] = round((time.perf_counter() - started) * 1000, 2)
                metrics.generation_latency_ms.observe(retrieval.timings["generate"])
                metrics.answers_total.labels("answered").inc()
                degraded = [*retrieval.degraded, *climb.failed]
                if dropped := len(passages) - len(written.passages):
                    metrics.degraded_total.labels("passages-dropped").inc()
                    degraded.append(f"passages-dropped:{dropped}")
                answer = self._answer(written, retrieval, model, degraded)
                if self._cache is not None and key is not None and answer.found and not degraded:
                    await self._cache.keep(key, hop, written.passages, written.text)
                return Emit([teller.event("answer", msgspec.to_builtins(answer))])
        metrics.answers_total.labels("failed").inc()
        message = f"no model could answer ({', '.join(climb.failed)})"
        return Emit([Teller(hop, "generate", self._clock).error("unavailable", message)])

    @property
    def _shared(self) -> float:
        """Seconds of tokens that share a record: as a worker has more to write it writes less often, up to a limit."""
        return min(COALESCE_MOST, max(COALESCE, self._writing / RECORDS))

    def _answers(self, passage: Passage) -> bool:
        """Whether it has to do with the question, by what either search knows of it."""
        near = passage.cosine is not None and passage.cosine >= self._settings.min_score
        return near or (passage.words is not None and passage.words >= self._settings.min_words)

    async def _stream(
        self, attempt: Try, teller: Teller, retrieval: Retrieval, passages: list[Passage], started: float,
        announced: "asyncio.Future[None]",
    ) -> Written:  # fmt: skip
        """Pass tokens on as they come, several in a record when they come fast.

        The model is asked while ``announced`` is on its way, and nothing is passed on before that is there.
        """
        written = Written(NOT_FOUND, passages, attempt.place)
        asked, first, sent, pending = time.perf_counter(), 0.0, 0.0, ""
        cited = Cited(len(passages))
        seconds = attempt.ends - self._clock.now()
        async with aclosing(attempt.model.stream(retrieval.question, passages, seconds)) as deltas:
            while (delta := await _next(deltas, None if first else attempt.first_by - self._clock.now())) is not None:
                if delta.dropped:
                    written.passages = passages[: -delta.dropped]
                    cited.offered = len(written.passages)
                if delta.text and not first:
                    attempt.spoke, first = True, time.perf_counter()
                    retrieval.timings[FIRST_TOKEN] = round((first - started) * 1000, 2)
                written.usage = delta.usage or written.usage
                pending += cited.add(delta.text)
                if pending and time.monotonic() - sent >= self._shared:
                    await announced
                    await self._publish([teller.event("token", {"text": pending})])
                    pending, sent = "", time.monotonic()
        pending += cited.end()
        if not cited.text:
            pending = NOT_FOUND
        await announced
        if pending:
            await self._publish([teller.event("token", {"text": pending})])
        written.text = cited.text or NOT_FOUND
        silence = first - asked if first else None
        used(written.usage, silence)
        attempt.rung.figures.wrote(written.usage, silence, time.perf_counter() - asked, cited)
        return written

    def _answer(self, written: Written, retrieval: Retrieval, model: str, degraded: list[str]) -> Answer:
        now, passages, text = self._clock.now(), written.passages, written.text
        citations = citations_of(text, passages)
        told: tracing.Attributes = {
            "freshet.passages": len(passages),
            "freshet.citations": len(citations),
            "freshet.degraded": degraded,
        }
        tracing.current().set({"gen_ai.response.model": model, **told})
        return Answer(
            text=text,
            found=bool(passages) and text != NOT_FOUND,
            citations=citations,
            model=model,
            rung=written.rung,
            usage=written.usage,
            generation=retrieval.generation,
            documents={p.doc_id: p.version for p in passages},
            oldest_passage_seconds=max((now - p.published_at / 1000 for p in passages), default=None),
            degraded=degraded,
            lacking=retrieval.lacking,
            standalone=retrieval.standalone,
            timings=retrieval.timings | {"total": round(now * 1000 - retrieval.asked_at, 2)},
        )


def _expired(teller: Teller) -> Emit:
    """The end of a job that came too late."""
    metrics.not_begun.labels("model").inc()
    metrics.answers_total.labels("expired").inc()
    return Emit([teller.error("expired", "the deadline passed before an answer was there")])


async def _next(deltas: AsyncGenerator[Delta, None], seconds: float | None) -> Delta | None:
    """The next piece, None behind the last; for the first one there may be a limit.

    The limit ends the wait for a piece, and with it the model's own work: there is no reader that it could strike.
    """
    if seconds is None:
        return await anext(deltas, None)
    try:
        async with asyncio.timeout(seconds):
            return await anext(deltas, None)
    except TimeoutError:
        raise Transient(f"said nothing for {seconds:.1f} s", reason="timeout") from None
