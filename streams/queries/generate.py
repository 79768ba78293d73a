"""Write the answer from the passages.

Reads ``retrievals``, writes ``answers``.  Rejects what is not a retrieval.  Repeating is harmless: it is a new
attempt, and readers follow the attempt that began last.  When a model fails, the next one of the ladder answers, and
the answer says so.
"""

import re
import time
from collections.abc import Sequence

import msgspec

from connectors.errors import ConnectorError
from connectors.ports import AnswerModel
from runtime import metrics
from runtime.clock import Clock
from runtime.logs import logger
from runtime.settings import Queries
from streams.outcome import Emit, Outcome, Publish, Record, Refuse
from streams.queries.events import Teller
from topics.codec import DecodeError, decode_one
from topics.headers import Hop
from topics.queries import Answer, Citation, Passage, Retrieval

log = logger(__name__)
COALESCE = 0.03  # seconds of tokens that share a record
NOT_FOUND = "Not found in the documents."
_MARKER = re.compile(r"\s?\[(\d{1,3})\]")


class Generate:
    """The stage.  ``models`` is the ladder, best first; the last one should need nothing from outside."""

    def __init__(self, settings: Queries, models: Sequence[AnswerModel], publish: Publish, clock: Clock) -> None:
        self._settings, self._models, self._publish, self._clock = settings, models, publish, clock

    async def step(self, record: Record) -> Outcome:
        """One retrieval."""
        try:
            hop = Hop.of(record.headers)
            retrieval = decode_one(record.value or b"", record.headers, Retrieval)
        except (DecodeError, ValueError, msgspec.MsgspecError) as error:
            return Refuse(str(error), "undecodable")
        started = time.perf_counter()
        passages = [p for p in retrieval.passages if p.score >= self._settings.min_score]
        degraded = list(retrieval.degraded)
        for rung, model in enumerate(self._models):
            teller = Teller(hop, "generate", self._clock)
            if hop.expired(self._clock.now()):
                metrics.answers_total.labels("expired").inc()
                return Emit([teller.error("expired", "the deadline passed before generation began")])
            await self._publish([teller.event("generating", {"model": model.name})])
            try:
                text = await self._stream(model, teller, retrieval.question, passages, hop) if passages else NOT_FOUND
            except ConnectorError as error:
                log.warning("model failed", model=model.name, reason=error.reason, error=str(error)[:300])
                degraded.append(f"model-{rung}:{error.reason}")
                metrics.degraded_total.labels(f"model-{rung}").inc()
                continue
            retrieval.timings["generate"] = round((time.perf_counter() - started) * 1000, 2)
            metrics.generation_latency_ms.observe(retrieval.timings["generate"])
            metrics.answers_total.labels("answered" if passages else "not-found").inc()
            answer = self._answer(text, passages, retrieval, model.name, degraded)
            return Emit([teller.event("answer", msgspec.to_builtins(answer))])
        metrics.answers_total.labels("failed").inc()
        return Emit([Teller(hop, "generate", self._clock).error("unavailable", "no model could answer")])

    async def _stream(
        self, model: AnswerModel, teller: Teller, question: str, passages: Sequence[Passage], hop: Hop
    ) -> str:
        """Pass tokens on as they come, several in a record when they come fast; returns the whole text."""
        whole, pending, sent = "", "", 0.0
        async for delta in model.stream(question, passages, hop.remaining(self._clock.now())):
            whole, pending = whole + delta.text, pending + delta.text
            if pending and time.monotonic() - sent >= COALESCE:
                await self._publish([teller.event("token", {"text": pending})])
                pending, sent = "", time.monotonic()
        if pending:
            await self._publish([teller.event("token", {"text": pending})])
        return whole

    def _answer(
        self, text: str, passages: Sequence[Passage], retrieval: Retrieval, model: str, degraded: list[str]
    ) -> Answer:
        now = self._clock.now()
        text, citations = cite(text.strip() or NOT_FOUND, passages)
        return Answer(
            text=text,
            found=bool(passages) and text != NOT_FOUND,
            citations=citations,
            model=model,
            generation=retrieval.generation,
            documents={p.doc_id: p.version for p in retrieval.passages},
            oldest_passage_seconds=max((now - p.published_at / 1000 for p in passages), default=None),
            degraded=degraded,
            lacking=retrieval.lacking,
            timings=retrieval.timings | {"total": round(now * 1000 - retrieval.asked_at, 2)},
        )


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
