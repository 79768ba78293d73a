"""What a question asks of the manifests: of Redis, and while Redis is away of this worker's own tail of the log.

The tail is read only when it is as far as the log is at that moment, so nothing that was announced is missing in it.
An answer that comes from it says so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from connectors.errors import ConnectorError, Transient
from connectors.ports import Manifest, ManifestStore, Visible
from runtime import metrics
from runtime.logs import logger
from runtime.retry import Backoff
from topics.documents import LastSeen
from topics.identity import DEFAULT_TENANT, DocumentRef, Token

FROM_LOG = "manifests-from-log"
PATIENCE = 1.0  # seconds that a question waits for Redis when there is a tail, and then for the tail
_PROBE = DocumentRef(DEFAULT_TENANT, "freshet/probe")  # need not exist
_BACKOFF = Backoff(first=0.1, cap=2.0)
log = logger(__name__)
T = TypeVar("T")


class Tail(Protocol):
    """A view that somebody keeps, see :class:`streams.documents.view.View`."""

    async def caught_up(self) -> None:
        """Wait until it is whole and as far as the log is now, however long."""


class Manifests:
    """Shared by all questions of a worker.  After a failure nobody waits for Redis until it has answered a probe."""

    def __init__(self, store: ManifestStore, tail: Tail | None = None, tailed: ManifestStore | None = None) -> None:
        self._store, self._tail, self._tailed = store, tail, tailed
        self._away = asyncio.Event()

    async def open(self) -> None:
        """Connect; with a tail a worker starts without Redis."""
        try:
            await self._store.open()
        except Transient:
            if self._tail is None:
                raise
            self._away.set()

    async def close(self) -> None:
        await self._store.close()

    def reading(self) -> "Reading":
        """For one question."""
        return Reading(self)

    async def ask(self, call: Callable[[ManifestStore], Awaitable[T]]) -> tuple[T, bool]:
        """The answer, and whether it came from the log."""
        if self._tail is None or self._tailed is None:
            return await call(self._store), False
        if not self._away.is_set():
            try:
                async with asyncio.timeout(PATIENCE):
                    return await call(self._store), False
            except (ConnectorError, TimeoutError) as error:
                log.warning("manifests are read from the log", error=str(error)[:500] or "timeout")
                self._away.set()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._tail.caught_up()
                return await call(self._tailed), True
        except TimeoutError:
            raise Transient("Redis is away, and the log could not be read to its end", reason="manifests") from None

    async def probe(self) -> None:
        """Look after Redis while it is away, for ever."""
        while True:
            await self._away.wait()
            for delay in _BACKOFF.delays():
                await asyncio.sleep(delay)
                try:
                    async with asyncio.timeout(PATIENCE):
                        await self._store.open()
                        await self._store.status([_PROBE])
                        break
                except (ConnectorError, TimeoutError) as error:
                    log.debug("Redis is still away", error=str(error))
            log.info("manifests are read from Redis again")
            self._away.clear()


class Reading:
    """The manifests for one question; ``degraded`` names where they came from if not from Redis."""

    def __init__(self, manifests: Manifests) -> None:
        self._manifests = manifests
        self.degraded: list[str] = []

    async def visible(self, hits: Sequence[tuple[DocumentRef, str]]) -> list[Visible | None]:
        """As :meth:`connectors.ports.ManifestStore.visible`."""
        return await self._ask(lambda store: store.visible(hits))

    async def read(self, refs: Sequence[DocumentRef]) -> list[Manifest]:
        """As :meth:`connectors.ports.ManifestStore.read`."""
        return await self._ask(lambda store: store.read(refs))

    async def watermarks(self) -> dict[tuple[int, int], int]:
        """As :meth:`connectors.ports.ManifestStore.watermarks`."""
        return await self._ask(lambda store: store.watermarks())

    async def standing(self) -> tuple[dict[tuple[int, int], int], str | None]:
        """As :meth:`connectors.ports.ManifestStore.standing`; the log knows nothing of audits."""
        return await self._ask(lambda store: store.standing())

    async def refusals(self, tokens: Sequence[Token]) -> dict[Token, LastSeen]:
        """As :meth:`connectors.ports.ManifestStore.refusals`."""
        return await self._ask(lambda store: store.refusals(tokens))

    async def _ask(self, call: Callable[[ManifestStore], Awaitable[T]]) -> T:
        answer, from_log = await self._manifests.ask(call)
        if from_log and not self.degraded:
            self.degraded = [FROM_LOG]
            metrics.degraded_total.labels(FROM_LOG).inc()
        return answer
