"""Delivery counts in Redis (role *state*): what a record that kills its worker leaves behind.

One HASH per lane, ``<prefix>:deliveries:<lane>``, field ``topic/partition/offset`` -> how often begun.  A field lives
from the first delivery until the record is finished, so the hash holds no more than what is in flight.

Stages work on without the counts, so a server that does not answer costs them a second now and then, not every call.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from connectors.errors import Transient
from connectors.state.redis_connection import calling, connect, replies
from runtime.settings import Settings

_PATIENCE = 1.0  # seconds
_REST = 5.0  # seconds after a failure in which nothing is tried


class RedisDeliveries:
    """:class:`connectors.ports.DeliveryLedger`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.redis
        self._prefix = settings.kafka.prefix
        self._client: Redis | None = None
        self._resting_until = 0.0

    async def open(self) -> None:
        """Connect; counting twice would blame an innocent record, so nothing is repeated behind the caller's back."""
        if self._client is None:
            self._client = connect("state", self._settings, text=True, retries=0)
        async with calling(self._settings, "open delivery counts"):
            await self._redis.ping()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def counts(self, lane: str, places: Sequence[tuple[str, int, int]]) -> list[int]:
        if not places:
            return []
        async with self._calling("read delivery counts"):
            found = await self._redis.hmget(self._key(lane), [_field(place) for place in places])
            return [int(count or 0) for count in found]

    async def begin(self, lane: str, places: Sequence[tuple[str, int, int]]) -> list[int]:
        async with self._calling("count deliveries"):
            pipe = self._redis.pipeline(transaction=False)
            for place in places:
                pipe.hincrby(self._key(lane), _field(place), 1)
            return [int(count) - 1 for count in await replies(pipe)]

    async def finish(self, lane: str, places: Sequence[tuple[str, int, int]]) -> None:
        if not places:
            return
        async with self._calling("forget deliveries"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.hdel(self._key(lane), *map(_field, places))
            await replies(pipe)

    @asynccontextmanager
    async def _calling(self, doing: str) -> AsyncIterator[None]:
        if time.monotonic() < self._resting_until:
            raise Transient(f"Redis, {doing}: it did not answer a moment ago", reason="away")
        try:
            async with calling(self._settings, doing), asyncio.timeout(_PATIENCE):
                yield
        except Transient:
            self._resting_until = time.monotonic() + _REST
            raise

    @property
    def _redis(self) -> Redis:
        if self._client is None:
            raise Transient("delivery counts are not open", reason="closed")
        return self._client

    def _key(self, lane: str) -> str:
        return f"{self._prefix}:deliveries:{lane}"


def _field(place: tuple[str, int, int]) -> str:
    topic, partition, offset = place
    return f"{topic}/{partition}/{offset}"
