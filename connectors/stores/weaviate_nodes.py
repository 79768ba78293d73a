"""The nodes of one store, each of which holds every object: calls that outlive a node, and answers that miss nothing.

A write is confirmed by a majority of the nodes.  Weaviate searches in one node's copy only, whatever consistency level
it is asked for, and a node that was away lacks for some seconds what was written meanwhile; so reads ask as many nodes
as it takes for one of them to have each object, and the caller joins what they say.  What only some still have is
harmless: manifests decide what counts (docs/adr/0034).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import weaviate

from connectors.errors import Transient, surest
from connectors.stores.weaviate_connection import Connection
from runtime import metrics
from runtime.settings import Weaviate as WeaviateSettings

T = TypeVar("T")
SOON: Final = 0.25  # seconds after which a read asks one node more
LATE: Final = 5.0  # seconds after which a write is tried at one node more: all of ours may be repeated
SHUNNED: Final = 5.0  # seconds for which a node that failed, or was late, is asked last


class Nodes:
    """Connections to all nodes.  With one address they are that one."""

    def __init__(self, settings: WeaviateSettings) -> None:
        self.settings = settings
        self._nodes = [Connection(each) for each in settings.each]
        self._enough = len(self._nodes) - len(self._nodes) // 2  # any so many share a node with every majority
        self._shunned: dict[Connection, float] = {}  # until when
        self._turn = 0
        self._open = False

    async def open(self) -> None:
        """Connect to enough of them; the others are connected to when their turn comes."""
        if self._open:
            return
        self._open = True
        try:
            await self._answers("connect", _nothing, self._enough, self._in_order(0), SOON, None)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        self._open = False
        await asyncio.gather(*(node.close() for node in self._nodes))

    async def ready(self) -> bool:
        """Whether enough nodes say that they are ready."""
        return sum(await asyncio.gather(*(node.ready() for node in self._nodes))) >= self._enough

    async def call(
        self, doing: str, begin: Callable[[weaviate.WeaviateAsyncClient], Awaitable[T]], seconds: float | None = None
    ) -> T:
        """What one node answers; another is tried when it cannot, so ``begin`` must be harmless when repeated."""
        (answer,) = await self._answers(doing, begin, 1, self._in_order(0), LATE, seconds)
        return answer

    async def ask(self, doing: str, begin: Callable[[weaviate.WeaviateAsyncClient], Awaitable[T]]) -> list[T]:
        """What so many nodes answer that nothing a majority has confirmed is missing."""
        self._turn += 1
        return await self._answers(doing, begin, self._enough, self._in_order(self._turn), SOON, None)

    async def _answers(
        self,
        doing: str,
        begin: Callable[[weaviate.WeaviateAsyncClient], Awaitable[T]],
        needed: int,
        waiting: list[Connection],
        patience: float,
        seconds: float | None,
    ) -> list[T]:
        if not self._open:
            raise Transient("vector store is not open", reason="closed")
        running: dict[asyncio.Future[T], Connection] = {}
        answers: list[T] = []
        errors: list[BaseException] = []
        late = 0
        try:
            while len(answers) < needed:
                while waiting and len(answers) + len(running) < needed + late:
                    node = waiting.pop(0)
                    running[asyncio.ensure_future(self._one(node, doing, begin, seconds))] = node
                if len(answers) + len(running) < needed:
                    raise surest(errors)
                done, _ = await asyncio.wait(
                    running, timeout=patience if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    late += 1
                    self._shun(*running.values())
                for task in done:
                    node, error = running.pop(task), task.exception()
                    if error is None:
                        answers.append(task.result())
                        metrics.store_answers.labels(node.name).inc()
                    elif isinstance(error, Transient):
                        errors.append(error)
                        self._shun(node)
                    else:
                        raise error
            return answers[:needed]
        finally:
            for task in running:
                task.cancel()

    async def _one(
        self,
        node: Connection,
        doing: str,
        begin: Callable[[weaviate.WeaviateAsyncClient], Awaitable[T]],
        seconds: float | None,
    ) -> T:
        await node.open()
        return await node.call(doing, begin, seconds)

    def _in_order(self, first: int) -> list[Connection]:
        """All nodes from this one on, those that are shunned last."""
        first %= len(self._nodes)
        now = time.monotonic()
        return sorted(self._nodes[first:] + self._nodes[:first], key=lambda node: self._shunned.get(node, now) > now)

    def _shun(self, *nodes: Connection) -> None:
        if len(self._nodes) > 1:
            self._shunned |= dict.fromkeys(nodes, time.monotonic() + SHUNNED)


async def _nothing(_client: weaviate.WeaviateAsyncClient) -> None:
    """What is done with a connection that is only to be there."""
