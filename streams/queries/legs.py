"""The two searches of a question, side by side under one deadline.

When one is slow, away or incomplete the other answers, and the answer says so.  Each gives its hits best first; whether
they count is not known here.
"""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from connectors.errors import ConnectorError, Transient
from connectors.ports import Encoder, Hit, Vectors, VectorStore
from connectors.search_ports import KeywordIndex
from runtime import metrics
from runtime.clock import Clock
from streams.queries.breaker import Breaker
from streams.queries.deadline import in_time
from streams.queries.laps import Laps
from topics.headers import Hop
from topics.identity import DEFAULT_TENANT
from topics.queries import Question

VECTOR, KEYWORD = "vector", "keyword"


@dataclass(slots=True)
class Asked:
    """One question on its way through the legs; its vector is made once, however often it is searched for."""

    question: Question
    hop: Hop
    most: float  # seconds that each search may take
    laps: Laps
    clock: Clock
    vector: Vectors | None = None
    degraded: dict[str, None] = field(default_factory=dict)  # in the order in which it happened

    def begin(self, step: str) -> float:
        """Seconds that a step may take; raises :class:`~streams.queries.deadline.Late` where there are none left."""
        in_time(self.hop, self.clock, step)
        return min(self.most, self.hop.remaining(self.clock.now()))

    @property
    def legs(self) -> tuple[str, ...]:
        """Those that the question wants."""
        return (VECTOR, KEYWORD) if self.question.search == "hybrid" else (self.question.search,)


class Legs:
    """Of a worker.  Without ``keywords`` there is one leg, and a question that wants both gets that."""

    def __init__(self, encoder: Encoder, store: VectorStore, keywords: KeywordIndex | None) -> None:
        self._encoder, self._store, self._keywords = encoder, store, keywords
        self.breaker = Breaker("vector store", self._probe)

    async def open(self) -> None:
        """Connect; a store that is not there is probed, and the other leg answers meanwhile."""
        try:
            await self._store.open()
        except Transient as error:
            self.breaker.failed(str(error), surely=True)

    async def close(self) -> None:
        await self._store.close()

    async def search(self, asked: Asked, limit: int) -> dict[str, list[Hit]]:
        """Hits by leg; a leg that failed is missing.  Raises :class:`Transient` when none is left."""
        wanted = [leg for leg in asked.legs if leg == VECTOR or self._keywords is not None]
        if not wanted:
            raise Transient("there is no keyword search here (FRESHET_KEYWORD_ENGINE=none)", reason="keyword")
        searches = {VECTOR: self._by_vector, KEYWORD: self._by_keyword}
        results = await asyncio.gather(*(searches[leg](asked, limit) for leg in wanted), return_exceptions=True)
        found: dict[str, list[Hit]] = {}
        errors: list[ConnectorError] = []
        for leg, result in zip(wanted, results, strict=True):
            if isinstance(result, ConnectorError):
                metrics.retrieval_errors.labels(f"{leg}:{result.reason}").inc()
                asked.degraded[f"{leg}-{'timeout' if result.reason == 'timeout' else 'unavailable'}"] = None
                errors.append(result)
            elif isinstance(result, BaseException):
                raise result
            else:
                found[leg] = result
        if not found:
            raise errors[0]
        return found

    async def _by_vector(self, asked: Asked, limit: int) -> list[Hit]:
        question, hop = asked.question, asked.hop
        vector = await self._vector(asked)

        async def search() -> list[Hit]:
            return await self._store.search(hop.tenant, vector, limit, hop.principals, question.filter)

        seconds = asked.begin("search")
        with asked.laps.taking("search"):
            return await self.breaker.call(search, seconds)

    async def _vector(self, asked: Asked) -> Vectors:
        if asked.vector is None:
            if self.breaker.open:
                raise Transient("vector store is away", reason="unavailable")  # no need to encode
            seconds = asked.begin("encode")
            with asked.laps.taking("encode"):
                try:
                    async with asyncio.timeout(seconds):
                        asked.vector = (await self._encoder.encode([asked.question.question]))[0]
                except TimeoutError:
                    raise Transient(f"no vector within {seconds:g} s", reason="timeout") from None
        return asked.vector

    async def _by_keyword(self, asked: Asked, limit: int) -> list[Hit]:
        assert self._keywords is not None
        question, hop = asked.question, asked.hop
        if not self._keywords.state().whole:
            asked.degraded["keyword-catching-up"] = None
        keywords, seconds = self._keywords, asked.begin("keyword")

        async def search() -> list[Hit]:
            return await keywords.search(hop.tenant, question.question, limit, hop.principals, question.filter)

        with asked.laps.taking("keyword"):
            if not keywords.stands_alone:
                return await self.breaker.call(search, seconds)
            try:
                async with asyncio.timeout(seconds):
                    return await search()
            except TimeoutError:
                raise Transient(f"no hits by keyword within {seconds:g} s", reason="timeout") from None

    async def _probe(self) -> None:
        await self._store.open()
        await self._store.search(DEFAULT_TENANT, np.ones(self._encoder.dimension, np.float32), 1, (), {})
