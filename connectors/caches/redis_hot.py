"""The hot tier in Redis (role *cache*: allkeys-lru, no AOF).

Keys, behind ``<prefix>:hot:<generation>``:

- ``:e:<key>``       the entry
- ``:last``          ZSET key -> when it was filled (ms), which bounds their number
- ``:d:<document>``  SET of the keys whose entries came of it: what an index event evicts
- ``:l:<key>``       somebody has claimed it, and fills it

All but ``:last`` end by themselves.
"""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.asyncio import Redis

from connectors.errors import Transient
from connectors.search_ports import HotState
from connectors.state.redis_connection import calling, connect, replies
from runtime.settings import Settings
from topics.identity import DocumentRef

_PAGE = 500
_CLAIM = """
local value = redis.call('GET', KEYS[1])
if value then return {value, 0} end
return {false, redis.call('SET', KEYS[2], '1', 'PX', ARGV[1], 'NX') and 1 or 0}
"""


class RedisHotCache:
    """:class:`connectors.search_ports.HotCache` of one generation."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._cache = settings.redis, settings.cache
        self._root = f"{settings.kafka.prefix}:hot:"
        self._own = f"{self._root}{settings.documents.generation}"
        self._client: Redis | None = None

    async def open(self) -> None:
        """Connect lazily: a cache that is away must not keep a worker from starting."""
        if self._client is None:
            self._client = connect("cache", self._settings, text=False)
            self._claim = self._client.register_script(_CLAIM)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def get(self, key: str) -> bytes | None:
        async with calling(self._settings, "read an entry"):
            value: Any = await self._redis.get(f"{self._own}:e:{key}")
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes, documents: Sequence[DocumentRef]) -> None:
        ttl, now = self._cache.ttl, int(time.time() * 1000)
        async with calling(self._settings, "write an entry"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(f"{self._own}:e:{key}", value, ex=ttl)
            pipe.unlink(f"{self._own}:l:{key}")
            pipe.zadd(f"{self._own}:last", {key: now})
            pipe.zremrangebyscore(f"{self._own}:last", 0, now - ttl * 1000)
            pipe.zrange(f"{self._own}:last", 0, -(self._cache.entries + 1))
            pipe.zremrangebyrank(f"{self._own}:last", 0, -(self._cache.entries + 1))
            for ref in documents:
                pipe.sadd(self._document(ref), key)
                pipe.expire(self._document(ref), ttl)
            surplus = (await replies(pipe))[4]
            if surplus:
                await self._redis.unlink(*(f"{self._own}:e:{old.decode()}" for old in surplus))

    async def drop(self, key: str) -> None:
        async with calling(self._settings, "drop an entry"):
            await self._redis.unlink(f"{self._own}:e:{key}")

    async def evict(self, documents: Sequence[DocumentRef]) -> int:
        async with calling(self._settings, "evict"):
            pipe = self._redis.pipeline(transaction=False)
            for ref in documents:
                pipe.smembers(self._document(ref))
                pipe.unlink(self._document(ref))
            keys = {key.decode() for found in (await replies(pipe))[::2] for key in found}
            if not keys:
                return 0
            pipe = self._redis.pipeline(transaction=False)
            pipe.unlink(*(f"{self._own}:e:{key}" for key in keys))
            pipe.zrem(f"{self._own}:last", *keys)
            return int((await replies(pipe))[0])

    async def purge(self, *, everywhere: bool = False) -> int:
        root, gone = self._root if everywhere else f"{self._own}:", 0
        async with calling(self._settings, "purge"):
            async for keys in self._pages(root):
                await self._redis.unlink(*keys)
                gone += sum(b":e:" in key for key in keys)
        return gone

    async def claim(self, key: str, seconds: float) -> tuple[bytes | None, bool]:
        async with calling(self._settings, "claim an entry"):
            keys = [f"{self._own}:e:{key}", f"{self._own}:l:{key}"]
            value, ours = await self._claim(keys=keys, args=[int(seconds * 1000)], client=self._redis)
        return value, bool(ours)

    async def release(self, key: str) -> None:
        async with calling(self._settings, "release"):
            await self._redis.unlink(f"{self._own}:l:{key}")

    async def state(self) -> HotState:
        async with calling(self._settings, "count"):
            entries = size = 0
            async for keys in self._pages(f"{self._own}:e:"):
                pipe = self._redis.pipeline(transaction=False)
                for key in keys:
                    pipe.strlen(key)
                entries, size = entries + len(keys), size + sum(await replies(pipe))
        return HotState(entries, size)

    async def _pages(self, root: str) -> AsyncIterator[list[bytes]]:
        page: list[bytes] = []
        async for key in self._redis.scan_iter(match=f"{_literal(root)}*", count=_PAGE):
            page.append(key)
            if len(page) == _PAGE:
                yield page
                page = []
        if page:
            yield page

    @property
    def _redis(self) -> Redis:
        if self._client is None:
            raise Transient("hot cache is not open", reason="closed")
        return self._client

    def _document(self, ref: DocumentRef) -> str:
        return f"{self._own}:d:{ref.path}"


def _literal(text: str) -> str:
    """For a pattern that means exactly this."""
    return "".join(f"\\{c}" if c in r"*?[]\^" else c for c in text)
