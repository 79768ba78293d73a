"""Vectors by (model, text hash) in Redis (role *cache*: allkeys-lru, no AOF).

One key per vector, ``<prefix>:emb:<model>:<hash>``, little-endian float32.  A hash names one text for ever, so writing
twice writes the same.  Reading renews the time to live: what is in use stays.
"""

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

from connectors.errors import Transient
from connectors.state.redis_connection import calling, connect, replies
from runtime.settings import Settings


class RedisEmbeddings:
    """:class:`connectors.ports.EmbeddingCache`; when it is away it says so, and the embed stage decides."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.redis
        self._prefix = settings.kafka.prefix
        self._client: Redis | None = None

    async def open(self) -> None:
        """Connect lazily: a cache that is away at start must not keep a worker from starting."""
        if self._client is None:
            self._client = connect("cache", self._settings, text=False)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def get(self, model: str, hashes: Sequence[str]) -> list[bytes | None]:
        async with calling(self._settings, "read vectors"):
            pipe = self._redis.pipeline(transaction=False)
            for text_hash in hashes:
                pipe.getex(self._key(model, text_hash), ex=self._settings.embedding_ttl)
            return await replies(pipe)

    async def put(self, model: str, vectors: Mapping[str, bytes]) -> None:
        async with calling(self._settings, "write vectors"):
            pipe = self._redis.pipeline(transaction=False)
            for text_hash, vector in vectors.items():
                pipe.set(self._key(model, text_hash), vector, ex=self._settings.embedding_ttl)
            await replies(pipe)

    @property
    def _redis(self) -> Redis:
        if self._client is None:
            raise Transient("embedding cache is not open", reason="closed")
        return self._client

    def _key(self, model: str, text_hash: str) -> str:
        return f"{self._prefix}:emb:{model}:{text_hash}"
