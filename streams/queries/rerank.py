"""Put the best candidates in the order in which a re-ranker would, if there is time for it.

What it costs is learnt from its last runs.  A question that has not twice that left keeps the order of the fusion and
says so, as it does when the re-ranker is away.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from connectors.errors import ConnectorError
from connectors.search_ports import Reranker
from runtime import metrics
from runtime.logs import logger
from streams.queries.fuse import Ranked

RERANK: Final = "rerank"
SKIPPED, UNAVAILABLE = "rerank-skipped", "rerank-unavailable"
_MARGIN: Final = 2.0  # times what it usually takes
_WEIGHT: Final = 0.3  # of the last run in that
log = logger(__name__)


class Rerank:
    """Of a worker; ``candidates`` are judged, the others keep their places behind them."""

    def __init__(self, reranker: Reranker, candidates: int) -> None:
        self._reranker, self.candidates = reranker, candidates
        self._pair_seconds: float | None = None  # as it goes here and now

    async def order(self, question: str, ranked: Sequence[Ranked], seconds: float) -> tuple[list[Ranked], str | None]:
        """The candidates, best first, and what this is less good by."""
        judged, others = list(ranked[: self.candidates]), list(ranked[self.candidates :])
        usual = (self._pair_seconds or 0.0) * len(judged)
        if not judged or usual * _MARGIN > seconds:
            return list(ranked), SKIPPED if judged else None
        began = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                scores = await self._reranker.score(question, [each.hit.text for each in judged])
        except TimeoutError:
            self._learn((time.monotonic() - began) / len(judged))
            return list(ranked), SKIPPED
        except ConnectorError as error:
            log.debug("not re-ranked", error=str(error))
            metrics.retrieval_errors.labels(f"{RERANK}:{error.reason}").inc()
            return list(ranked), UNAVAILABLE
        self._learn((time.monotonic() - began) / len(judged))
        for each, score in zip(judged, scores, strict=True):
            each.scores[RERANK] = each.score = score
        return sorted(judged, key=lambda each: (-each.score, each.hit.id)) + others, None

    def _learn(self, seconds: float) -> None:
        known = self._pair_seconds
        self._pair_seconds = seconds if known is None else (1 - _WEIGHT) * known + _WEIGHT * seconds
