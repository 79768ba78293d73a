"""Redis and memory fulfil the contract of a hot cache."""

from collections.abc import AsyncIterator

import pytest

from connectors.caches.redis_hot import RedisHotCache
from connectors.memory.hot import MemoryHotCache
from runtime.settings import Cache, Settings
from tests.connectors.contract.hot_contract import A, HotContract

SMALL = Cache(entries=3, ttl=2)


class TestMemory(HotContract):
    """The contract."""

    @pytest.fixture
    def cache(self) -> MemoryHotCache:
        return MemoryHotCache(SMALL.entries, SMALL.ttl)


@pytest.mark.servers
class TestRedis(HotContract):
    """The contract, and what generations share."""

    @pytest.fixture
    async def cache(self, settings: Settings) -> AsyncIterator[RedisHotCache]:
        cache = RedisHotCache(settings.model_copy(update={"cache": SMALL}))
        await cache.open()
        await cache.purge(everywhere=True)
        yield cache
        await cache.close()

    async def test_generations_are_apart(self, cache: RedisHotCache, settings: Settings) -> None:
        """Each is purged alone, or all at once; what looks like a pattern is none."""
        documents = settings.documents.model_copy(update={"generation": "g2"})
        other = RedisHotCache(settings.model_copy(update={"cache": SMALL, "documents": documents}))
        await other.open()
        await cache.put("k", b"1", [A])
        await other.put("k", b"2", [A])
        assert await cache.purge() == 1 and await other.get("k") == b"2"
        assert await cache.purge(everywhere=True) == 1 and await other.get("k") is None
        await other.close()
