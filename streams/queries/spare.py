"""A cache that one can do without: while it is away that costs nobody more than a moment, and it is probed beside."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from connectors.errors import ConnectorError
from connectors.search_ports import HotCache
from streams.queries.breaker import Breaker

SECONDS: Final = 0.1  # that a look into the cache may take; then it is done without
T = TypeVar("T")


class SpareCache:
    """Of a worker; ``name`` is that of the breaker."""

    def __init__(self, name: str, cache: HotCache) -> None:
        self._cache = cache
        self.breaker = Breaker(name, lambda: cache.get("probe"))

    async def open(self) -> None:
        """Connect, or try again beside the questions."""
        try:
            await self._cache.open()
        except ConnectorError as error:
            self.breaker.failed(str(error), surely=True)

    async def close(self) -> None:
        await self._cache.close()

    async def _try(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """What the cache says; None where it is away."""
        try:
            return await self.breaker.call(call, SECONDS)
        except ConnectorError:
            return None
