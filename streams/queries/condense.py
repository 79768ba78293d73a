"""A follow-up question as one that stands alone: search and cache know nothing of a conversation.

A language model rewrites it where one is configured.  Where none is, or it fails or takes too long, the terms of the
question before are joined to one that leans on it; whichever it is, the answer's label says so.
"""

import re
import time
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from connectors.errors import ConnectorError
from connectors.search_ports import Rewriter
from runtime import metrics
from runtime.clock import Clock
from runtime.logs import logger
from runtime.settings import Queries
from streams.queries.breaker import Breaker
from topics.headers import Hop
from topics.queries import Question, Turn

JOINED: Final = "follow-up-joined"  # with the terms of the question before
AS_IT_IS: Final = "follow-up-unresolved"  # it seemed to stand alone, and no model has said so
SHARE: Final = 0.25  # of the time that is left, for rewriting: what comes after needs the rest
FEW: Final = 5  # words: a question so short leans on what was said before
_WORD: Final = re.compile(r"\w+")
_POINTS_BACK: Final = frozenset(
    _WORD.findall(
        "it its this that these those they them their theirs he him his she her hers one ones same other others "
        "another former latter there then also instead too else above previous"
    )
)
log = logger(__name__)


class Condense:
    """Of a worker.  Without a ``rewriter`` terms are joined."""

    def __init__(self, settings: Queries, rewriter: Rewriter | None, clock: Clock) -> None:
        self._settings, self._rewriter, self._clock = settings, rewriter, clock
        self.breaker = Breaker("question rewriter", rewriter.probe) if rewriter is not None else None

    async def __call__(self, question: Question, hop: Hop) -> tuple[Question, list[str]]:
        """The question that stands alone, without history; and what it is less good by."""
        if not any(turn.role == "user" for turn in question.history):
            return replace(question, history=[]), []
        text = await self._rewritten(question, hop)
        if text is not None:
            metrics.follow_ups.labels("model").inc()
            return replace(question, question=text, history=[]), []
        text = joined(question.question, question.history)[: self._settings.max_question_chars]
        label = AS_IT_IS if text == question.question else JOINED
        metrics.follow_ups.labels("terms").inc()
        metrics.degraded_total.labels(label).inc()
        return replace(question, question=text, history=[]), [label]

    async def _rewritten(self, question: Question, hop: Hop) -> str | None:
        rewriter, breaker = self._rewriter, self.breaker
        if rewriter is None or breaker is None:
            return None
        seconds = min(self._settings.rewrite_timeout, SHARE * hop.remaining(self._clock.now()))
        began = time.monotonic()
        try:
            text = await breaker.call(
                lambda: rewriter.rewrite(question.question, question.history, seconds), max(0.0, seconds)
            )
        except ConnectorError as error:
            seconds = round(time.monotonic() - began, 2)
            log.warning("a follow-up question was not rewritten", reason=error.reason, after=seconds)
            return None
        lines = [line.strip().strip('"“”').strip() for line in text.splitlines()]
        last = next((line for line in reversed(lines) if line), "")  # models may think aloud before
        return last if 0 < len(last) <= self._settings.max_question_chars else None


def joined(question: str, history: Sequence[Turn]) -> str:
    """With the terms of the latest question before that it lacks, if it seems to lean on one."""
    words = [word.lower() for word in _WORD.findall(question)]
    before = next((turn.content for turn in reversed(history) if turn.role == "user"), "")
    if len(words) > FEW and _POINTS_BACK.isdisjoint(words):
        return question
    missing = dict.fromkeys(word for word in _WORD.findall(before) if word.lower() not in words)
    return " ".join([question, *missing])
