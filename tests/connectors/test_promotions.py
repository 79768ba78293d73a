"""Redis and memory fulfil the contract of promotions."""

import secrets
from collections.abc import AsyncIterator

import pytest
import redis

from connectors.caches.redis_promotions import SAID, RedisPromotions
from connectors.memory.promotions import MemoryPromotions
from runtime.settings import Settings
from tests.connectors.contract.promotion_contract import PromotionContract

LEFT = [(0, SAID), (0, SAID), (86000, 86400)]  # seconds


class TestMemory(PromotionContract):
    """The contract."""

    @pytest.fixture
    def promotions(self) -> MemoryPromotions:
        return MemoryPromotions()

    async def test_a_word_is_forgotten(self) -> None:
        """A worker that died says nothing any more."""
        promotions = MemoryPromotions(held=0)
        await promotions.tell(purging=True)
        assert not (await promotions.count("a")).purging


@pytest.mark.servers
class TestRedis(PromotionContract):
    """The contract, and how long things are known."""

    @pytest.fixture
    def own(self, settings: Settings) -> Settings:
        kafka = settings.kafka.model_copy(update={"prefix": f"p{secrets.token_hex(4)}"})
        return settings.model_copy(update={"kafka": kafka})

    @pytest.fixture
    async def promotions(self, own: Settings) -> AsyncIterator[RedisPromotions]:
        promotions = RedisPromotions(own)
        await promotions.open()
        yield promotions
        await promotions.close()

    async def test_everything_ends(self, own: Settings, promotions: RedisPromotions) -> None:
        """Counts after a day, words of workers after seconds."""
        await promotions.count("a")
        await promotions.tell(purging=True)
        await promotions.tell(purging=False)
        with redis.Redis.from_url(own.redis.cache_url, decode_responses=True) as client:
            ends = {key: client.ttl(key) for key in client.scan_iter(f"{own.kafka.prefix}:edge:*")}
        assert [low < left <= high for left, (low, high) in zip(sorted(ends.values()), LEFT, strict=True)] == [True] * 3
