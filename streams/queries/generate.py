"""Write the answer from the passages.

Reads ``retrievals``, writes ``answers``.  Rejects what is not a retrieval.  Repeating is harmless: it is a new
attempt, and readers follow the attempt that began last.  A model that is away or busy is tried again while the deadline
allows; then the next one of the ladder answers, and the answer says so.
"""

import re
import time
from collections.abc import Sequence
from contextlib import aclosing

import msgspec

from connectors.errors import ConnectorError, Overloaded, Transient
from connectors.ports import AnswerModel
from runtime import metrics, tracing
from runtime.clock import Clock
from runtime.logs import logger
from runtime.settings import Queries
from streams.outcome import Emit, Outcome, Publish, Record, Refuse
from streams.queries.answers import Answers, pieces
from streams.queries.calls import model_call
from streams.queries.events import Teller
from topics.codec import DecodeError, decode_one
from topics.headers import Hop
from topics.queries import Answer, Citation, Passage, Retrieval

log = logger(__name__)
COALESCE = 0.03  # seconds of tokens that share a record
TRIES = 3  # of one model, for one answer
PAUSE = 0.25  # seconds before the second try, twice that before the third; an endpoint may ask for more
RESERVE = 2.0  # seconds kept for the models further down the ladder, or a quarter of what is left
NOT_FOUND = "Not found in the documents."
_MARKER = re.compile(r"\s?\[(\d{1,3})\]")


class Generate:
    """The stage.  ``models`` is the ladder, best first; the last one should need nothing from outside."""

    def __init__(
        self, settings: Queries, models: Sequence[AnswerModel], publish: Publish, clock: Clock,
        answers: Answers | None = None,
    ) -> None:  # fmt: skip
        self._cache = answers
        self._settings, self._models, self._publish, self._clock = settings, models, publish, clock

    async def step(self, record: Record) -> Outcome:
        """One retrieval."""
        try:
            hop = Hop.of(record.headers)
            retrieval = decode_one(record.value or b"", record.headers, Retrieval)
        except (DecodeError, ValueError, msgspec.MsgspecError) as error:
            return Refuse(str(error), "undecodable")
        metrics.queue_wait.labels("generate").observe(max(0.0, self._clock.now() - record.timestamp / 1000))
        passages = [p for p in retrieval.passages if self._answers(p)]
        cache = self._cache
        if cache is None or not (retrieval.cache and passages) or retrieval.degraded:
            return await self._write(hop, retrieval, passages, None)
        key = cache.key(retrieval, hop, passages, self._models[0].name)
        async with cache.turn(key, hop.remaining(self._clock.now()) / 2):
            if not hop.expired(self._clock.now()) and (text := await cache.find(key)) is not None:
                return await self._again(text, hop, retrieval, passages)
            return await self._write(hop, retrieval, passages, key)

    async def _again(self, text: str, hop: Hop, retrieval: Retrieval, passages: list[Passage]) -> Outcome:
        """A kept answer, streamed like one that is being written."""
        teller, model = Teller(hop, "generate", self._clock), self._models[0].name
        await self._publish([teller.event("generating", {"model": model})])
        for piece in pieces(text):
            await self._publish([teller.event("token", {"text": piece})])
        metrics.answers_total.labels("answered").inc()
        answer = self._answer(text, passages, retrieval, model, [])
        answer.cached = True
        return Emit([teller.event("answer", msgspec.to_builtins(answer))])

    async def _write(self, hop: Hop, retrieval: Retrieval, passages: list[Passage], key: str | None) -> Outcome:
        """An answer by the first model of the ladder that can; kept under this key if all was well."""
        started = time.perf_counter()
        failed: list[str] = []
        for rung, model in enumerate(self._models):
            ends = self._ends(rung, hop)
            for attempt in range(1, TRIES + 1):
                teller = Teller(hop, "generate", self._clock)
                if hop.expired(self._clock.now()):
                    metrics.not_begun.labels("model").inc()
                    metrics.answers_total.labels("expired").inc()
                    return Emit([teller.error("expired", "the deadline passed before an answer was there")])
                await self._publish([teller.event("generating", {"model": model.name})])
                try:
                    with model_call(model.name, attempt):
                        text, kept = await self._stream(model, teller, retrieval.question, passages, ends)
                except ConnectorError as error:
                    log.warning(
                        "model failed", model=model.name, attempt=attempt, reason=error.reason, error=str(error)[:300]
                    )
                    pause = _pause(error, attempt)
                    if pause is not None and self._clock.now() + pause < ends:
                        metrics.generation_retries.labels(error.reason).inc()
                        await self._clock.sleep(pause)
                        continue
                    failed.append(f"model-{rung}:{error.reason}")
                    metrics.degraded_total.labels(f"model-{rung}").inc()
                    break
                retrieval.timings["generate"] = round((time.perf_counter() - started) * 1000, 2)
                metrics.generation_latency_ms.observe(retrieval.timings["generate"])
                metrics.answers_total.labels("answered" if passages else "not-found").inc()
                degraded = [*retrieval.degraded, *failed]
                if dropped := len(passages) - len(kept):
                    metrics.degraded_total.labels("passages-dropped").inc()
                    degraded.append(f"passages-dropped:{dropped}")
                answer = self._answer(text, kept, retrieval, model.name, degraded)
                if self._cache is not None and key is not None and answer.found and not degraded:
                    await self._cache.keep(key, hop, kept, text)
                return Emit([teller.event("answer", msgspec.to_builtins(answer))])
        metrics.answers_total.labels("failed").inc()
        message = f"no model could answer ({', '.join(failed)})"
        return Emit([Teller(hop, "generate", self._clock).error("unavailable", message)])

    def _answers(self, passage: Passage) -> bool:
        """Whether it has to do with the question, by what either search knows of it."""
        near = passage.cosine is not None and passage.cosine >= self._settings.min_score
        return near or (passage.words is not None and passage.words >= self._settings.min_words)

    def _ends(self, rung: int, hop: Hop) -> float:
        """When a model must be done, so that those further down can still answer before the deadline."""
        now = self._clock.now()
        left = hop.remaining(now)
        return now + (left if rung == len(self._models) - 1 else left - min(RESERVE, left / 4))

    async def _stream(
        self, model: AnswerModel, teller: Teller, question: str, passages: list[Passage], ends: float
    ) -> tuple[str, list[Passage]]:
        """Pass tokens on as they come, several in a record when they come fast.

        Returns the whole text, and the passages that the model saw.
        """
        if not passages:
            return NOT_FOUND, passages
        whole, pending, sent = "", "", 0.0
        async with aclosing(model.stream(question, passages, ends - self._clock.now())) as deltas:
            async for delta in deltas:
                if delta.dropped:
                    passages = passages[: -delta.dropped]
                whole, pending = whole + delta.text, pending + delta.text
                if pending and time.monotonic() - sent >= COALESCE:
                    await self._publish([teller.event("token", {"text": pending})])
                    pending, sent = "", time.monotonic()
        if pending:
            await self._publish([teller.event("token", {"text": pending})])
        return whole, passages

    def _answer(
        self, text: str, passages: Sequence[Passage], retrieval: Retrieval, model: str, degraded: list[str]
    ) -> Answer:
        now = self._clock.now()
        text, citations = cite(text.strip() or NOT_FOUND, passages)
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
            generation=retrieval.generation,
            documents={p.doc_id: p.version for p in passages},
            oldest_passage_seconds=max((now - p.published_at / 1000 for p in passages), default=None),
            degraded=degraded,
            lacking=retrieval.lacking,
            standalone=retrieval.standalone,
            timings=retrieval.timings | {"total": round(now * 1000 - retrieval.asked_at, 2)},
        )


def _pause(error: ConnectorError, attempt: int) -> float | None:
    """Seconds until the same model is worth another try; None where it is not.

    Silence is not: it has cost the most already, and an endpoint that hangs goes on hanging.
    """
    if attempt == TRIES or not isinstance(error, Transient) or error.reason == "timeout":
        return None
    return error.retry_after if isinstance(error, Overloaded) else PAUSE * 2 ** (attempt - 1)


def cite(text: str, passages: Sequence[Passage]) -> tuple[str, list[Citation]]:
    """Citations of a text by their markers; a marker of a passage that was not offered is removed."""
    used: dict[int, Citation] = {}

    def check(match: re.Match[str]) -> str:
        number = int(match[1])
        if not 1 <= number <= len(passages):
            return ""
        p = passages[number - 1]
        used[number] = Citation(
            marker=number, doc_id=p.doc_id, version=p.version, chunk_id=p.chunk_id, title=p.title, uri=p.uri,
            section=p.section, text=p.text,
        )  # fmt: skip
        return match[0]

    return _MARKER.sub(check, text), [used[number] for number in sorted(used)]
