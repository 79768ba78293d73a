"""Endpoints and deliveries, in memory and in Redis."""

import secrets
from collections.abc import AsyncIterator

import pytest
import redis

from connectors.errors import Permanent, Transient
from connectors.memory.webhooks import MemoryWebhooks
from connectors.state.redis_webhooks import RedisWebhooks
from runtime.settings import Settings
from tests.connectors.contract.webhook_contract import (
    KEPT,
    LEASE,
    MOST,
    NOW,
    ONE,
    REF,
    WebhookContract,
    delivered,
    delivery,
)
from topics.identity import digest


class TestMemory(WebhookContract):
    """The contract."""

    @pytest.fixture
    def store(self) -> MemoryWebhooks:
        return MemoryWebhooks(max_waiting=MOST, log_entries=KEPT)


@pytest.fixture
def own(settings: Settings) -> Settings:
    """Settings with a prefix of the test's own and the bounds of the contract."""
    prefix = f"{settings.kafka.prefix}:{secrets.token_hex(4)}"
    bounds = {"max_waiting": MOST, "log_entries": KEPT}
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"prefix": prefix}),
            "webhook": settings.webhook.model_copy(update=bounds),
        }
    )


@pytest.fixture
async def store(own: Settings) -> AsyncIterator[RedisWebhooks]:
    """Open, and swept afterwards."""
    found = RedisWebhooks(own)
    await found.open()
    yield found
    await found.close()
    with redis.Redis.from_url(own.redis.state_url) as client:
        for key in client.scan_iter(f"{own.kafka.prefix}:*", count=1000):
            client.unlink(key)


@pytest.mark.servers
class TestRedis(WebhookContract):
    """The contract."""

    async def test_all_but_endpoints_and_key_is_forgotten(self, own: Settings, store: RedisWebhooks) -> None:
        """Deliveries and their lists have a time to live; what a tenant has set up, and the key, have none."""
        await store.put(ONE)
        await store.key()
        for n in range(MOST + 1):
            await store.enqueue(REF, delivery(str(n)), b"body")
        [claim] = await store.claim(REF, NOW, NOW + LEASE, 1)
        await store.settle(REF, claim, delivered(claim.delivery))
        with redis.Redis.from_url(own.redis.state_url, decode_responses=True) as client:
            lives = {
                str(key).partition("{webhooks}:")[2]: client.ttl(key)
                for key in client.scan_iter(f"{own.kafka.prefix}:*", count=1000)
            }
        assert {key for key, seconds in lives.items() if seconds == -1} == {"endpoints:acme", "key", "ready"}
        assert {key.partition(":")[0] for key, seconds in lives.items() if seconds > 0} == {
            "delivery", "due", "done", "all", "dropped",
        }  # fmt: skip

    async def test_secrets_are_not_kept(self, own: Settings, store: RedisWebhooks) -> None:
        """With a key in the settings nothing in Redis lets anybody sign."""
        key = digest(b"a test's own") * 2
        keyed = RedisWebhooks(
            Settings.from_env({"FRESHET_WEBHOOK_KEY": key, "FRESHET_REDIS_STATE_URL": own.redis.state_url})
        )
        assert await keyed.key() == key.encode()  # nothing is asked for: it is not even open
        await store.put(ONE)
        with redis.Redis.from_url(own.redis.state_url) as client:
            assert not client.exists(f"{own.kafka.prefix}:{{webhooks}}:key")

    async def test_a_delivery_that_ran_out_is_left_out(self, own: Settings, store: RedisWebhooks) -> None:
        """One whose time to live is over is neither claimed nor listed, and does not hold up others."""
        await store.enqueue(REF, delivery("gone"), b"")
        await store.enqueue(REF, delivery("here", NOW + 1), b"")
        with redis.Redis.from_url(own.redis.state_url) as client:
            client.delete(f"{own.kafka.prefix}:{{webhooks}}:delivery:we_1:msg_gone")
        assert [each.id for each in await store.deliveries(REF, 9)] == ["msg_here"]
        [claim] = await store.claim(REF, NOW + 1, NOW + LEASE, 9)
        assert claim.delivery.id == "msg_here"
        assert await store.backlog(REF) == (1, 0)

    async def test_what_is_damaged_is_told(self, own: Settings, store: RedisWebhooks) -> None:
        """What is no endpoint is permanent, not waited for."""
        with redis.Redis.from_url(own.redis.state_url) as client:
            client.hset(f"{own.kafka.prefix}:{{webhooks}}:endpoints:acme", "we_1", "{")
        with pytest.raises(Permanent, match="damaged"):
            await store.endpoint(REF)


async def test_away_is_transient() -> None:
    """Nobody listening is waited for, and so is a store that was never opened."""
    lost = RedisWebhooks(
        Settings.from_env({"FRESHET_REDIS_STATE_URL": "redis://127.0.0.1:1/0", "FRESHET_REDIS_TIMEOUT": "1"})
    )
    with pytest.raises(Transient):
        await lost.endpoints("acme")
    with pytest.raises(Transient):
        await lost.open()
    with pytest.raises(Transient):
        await lost.claim(REF, NOW, NOW + LEASE, 1)
    await lost.close()
