"""How often questions are asked, and whether edges are purged, in Redis (role *cache*).

Keys, behind ``<prefix>:edge:<generation>``:

- ``:asked:<day>:<question>``  how often, on that day (UTC)
- ``:purging``, ``:failing``   a purge worker says so

All end by themselves.
"""

from datetime import UTC, datetime

from redis.asyncio import Redis

from connectors.errors import Transient
from connectors.search_ports import Standing
from connectors.state.redis_connection import calling, connect, replies
from runtime.settings import Settings

SAID = 6  # seconds that a word of a worker holds: it is said again long before
_DAY = 86400


class RedisPromotions:
    """:class:`connectors.search_ports.Promotions` of one generation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.redis
        self._own = f"{settings.kafka.prefix}:edge:{settings.documents.generation}"
        self._client: Redis | None = None

    async def open(self) -> None:
        """Connect lazily: nobody waits for it."""
        if self._client is None:
            self._client = connect("cache", self._settings, text=True)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def count(self, question: str) -> Standing:
        key = f"{self._own}:asked:{datetime.now(UTC):%Y-%m-%d}:{question}"
        async with calling(self._settings, "count a question"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.incr(key)
            pipe.expire(key, _DAY)
            pipe.mget(f"{self._own}:purging", f"{self._own}:failing")
            asked, _, (purging, failing) = await replies(pipe)
        return Standing(asked, purging is not None and failing is None)

    async def tell(self, *, purging: bool) -> None:
        async with calling(self._settings, "tell of purging"):
            await self._redis.set(f"{self._own}:{'purging' if purging else 'failing'}", "1", ex=SAID)

    @property
    def _redis(self) -> Redis:
        if self._client is None:
            raise Transient("promotions are not open", reason="closed")
        return self._client
