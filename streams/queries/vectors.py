"""Vectors of texts that a caller wants embedded, by the encoder that questions go through.

A few texts at a time, each few an event: no question waits long behind them, and any number fits the log.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from connectors.ports import Encoder
from runtime import metrics
from topics.queries import Embedded, Embedding

AT_ONCE: Final = 4  # texts that go through the model together

Count = Callable[[Sequence[str]], list[int]]


class Vectors:
    """Of a worker.  ``count`` gives the tokens of texts."""

    def __init__(self, encoder: Encoder, count: Count) -> None:
        self._encoder, self._count = encoder, count

    async def of(self, texts: Sequence[str]) -> AsyncIterator[Embedded]:
        """All vectors, in order, some at a time."""
        for first in range(0, len(texts), AT_ONCE):
            vectors = await self._encoder.encode(texts[first : first + AT_ONCE])
            metrics.texts_embedded.inc(len(vectors))
            yield Embedded(first=first, vectors=[vector.astype("<f4").tobytes() for vector in vectors])

    def receipt(self, texts: Sequence[str]) -> Embedding:
        """What is said when all are there."""
        encoder = self._encoder
        return Embedding(
            model=encoder.model, dimension=encoder.dimension, count=len(texts), tokens=sum(self._count(texts))
        )
