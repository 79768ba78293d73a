"""Answers without a language model: the sentences nearest to the question, with their citations.

Needs nothing from outside but the encoder.  Delivery: the same question and passages give the same text.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from connectors.errors import Transient
from connectors.ports import Delta, Encoder
from topics.queries import Passage

_PARAGRAPH = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.)\s)|\n(?=[^\n]* \| )")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'(\[`]?[A-Z0-9])")
_MOST_QUOTES = 3
_MOST_CHARS = 500  # of one quote
_MOST_CANDIDATES = 32  # bounds the time of one answer: about 100 ms of encoding
_NEAR = 0.4  # cosine to the question below which a quote does not answer it; unrelated text stayed below 0.36
_MARGIN = 0.12  # a further quote must come this near to the best one


@dataclass(frozen=True, slots=True)
class Quote:
    """A place in a passage: what is shown, and what it is judged by (with the heading above it)."""

    marker: int
    text: str
    context: str


class Extractive:
    """Answer model that quotes."""

    name = "extractive"

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    async def open(self) -> None:
        """Nothing to open: the encoder is a port of its own."""

    async def close(self) -> None:
        """Nothing to close."""

    async def stream(self, question: str, passages: Sequence[Passage], seconds: float) -> AsyncGenerator[Delta, None]:
        """The best place of each of the best passages, in the passages' order; nothing when none is near enough."""
        candidates = [q for n, p in enumerate(passages, 1) for q in quotes(n, p.text)][:_MOST_CANDIDATES]
        if not candidates:
            return
        try:
            async with asyncio.timeout(seconds):
                vectors = await self._encoder.encode([question, *(quote.context for quote in candidates)])
        except TimeoutError as error:
            raise Transient("no time left to choose sentences", reason="timeout") from error
        best: dict[int, tuple[float, str]] = {}
        for quote, score in zip(candidates, (vectors[1:] @ vectors[0]).tolist(), strict=True):
            best[quote.marker] = max(best.get(quote.marker, (-1.0, "")), (score, quote.text))
        least = max(_NEAR, max(score for score, _ in best.values()) - _MARGIN)
        near = sorted((marker for marker in best if best[marker][0] >= least), key=lambda m: -best[m][0])
        told: set[str] = set()
        for marker in sorted(near[:_MOST_QUOTES]):
            text = best[marker][1]
            if text not in told:
                yield Delta(f"{' ' if told else ''}{text} [{marker}]")
                told.add(text)


def quotes(marker: int, text: str) -> list[Quote]:
    """Places of a passage: two sentences in a row, since the second often says of "it" what the first names."""
    found: list[Quote] = []
    heading = ""
    for paragraph in _PARAGRAPH.split(text):
        flat = " ".join(paragraph.split()).strip("-*| ")
        if not flat:
            continue
        if len(flat) < 80 and flat[-1] not in ".!?:;" and "|" not in flat:
            heading = flat.lstrip("# ")
            continue
        sentences = [s[:_MOST_CHARS] for s in _SENTENCE.split(flat)]
        for number, sentence in enumerate(sentences[:-1] or sentences):
            shown = " ".join([sentence, *sentences[number + 1 : number + 2]])[:_MOST_CHARS]
            found.append(Quote(marker, shown, f"{heading}: {shown}" if heading else shown))
    return found
