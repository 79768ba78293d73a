"""What is told about versions of the language model, in Redis (role *state*).

``<generation>:llm:workers`` is a hash of worker to what it knows and until when that counts, and
``<generation>:llm:<since>`` a hash of figures, ``version figure`` to number, kept for a month.
"""

import time
from collections.abc import Mapping

import msgspec

from connectors.errors import Permanent
from connectors.llm_ports import WorkerVersions
from connectors.state.redis_connection import calling, replies
from connectors.state.redis_generation import RedisGeneration

TTL = 6  # seconds: a worker that died says nothing more
KEPT = 30 * 86400  # seconds


class _Told(msgspec.Struct, frozen=True):
    versions: WorkerVersions
    until: float


class RedisLlmBoard(RedisGeneration):
    """:class:`connectors.llm_ports.LlmBoard`."""

    async def tell(self, worker: str, versions: WorkerVersions) -> None:
        async with calling(self._settings, "tell of models"):
            pipe = self._redis.pipeline(transaction=False)
            told = msgspec.json.encode(_Told(versions, time.time() + TTL))
            pipe.hset(self._key("llm:workers"), worker, told)
            pipe.expire(self._key("llm:workers"), KEPT)
            await replies(pipe)

    async def workers(self) -> dict[str, WorkerVersions]:
        async with calling(self._settings, "read who knows which models"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(self._key("llm:workers"))
            [found] = await replies(pipe)
        try:
            told = {worker: msgspec.json.decode(text, type=_Told) for worker, text in found.items()}
        except msgspec.MsgspecError as error:
            raise Permanent(f"what a worker told of models is damaged in Redis: {error}", reason="damaged") from error
        return {worker: each.versions for worker, each in told.items() if each.until > time.time()}

    async def count(self, since: int, version: str, figures: Mapping[str, float]) -> None:
        key = self._key(f"llm:{since}")
        async with calling(self._settings, "count answers of models"):
            pipe = self._redis.pipeline(transaction=True)  # all or nothing: what failed is counted again
            for name, amount in figures.items():
                pipe.hincrbyfloat(key, f"{version} {name}", amount)
            pipe.expire(key, KEPT)
            await replies(pipe)

    async def figures(self, since: int) -> dict[str, dict[str, float]]:
        async with calling(self._settings, "read figures of models"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(self._key(f"llm:{since}"))
            [found] = await replies(pipe)
        by_version: dict[str, dict[str, float]] = {}
        for field, amount in found.items():
            version, _, name = field.partition(" ")
            by_version.setdefault(version, {})[name] = float(amount)
        return by_version
