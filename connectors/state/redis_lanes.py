"""Which lanes stand still, in Redis (role *state*): ``<generation>:paused:<lane>`` -> who, since when, why.

A notice lives for seconds.  Of several workers of one lane that stand still the one that spoke last is told of.
"""

from collections.abc import Sequence

import msgspec

from connectors.errors import Permanent
from connectors.ports import PausedLane
from connectors.state.redis_connection import calling, replies
from connectors.state.redis_generation import RedisGeneration

TTL = 6  # seconds: a worker that died says nothing more


class RedisLanes(RedisGeneration):
    """:class:`connectors.ports.LaneBoard`."""

    async def pause(self, lane: str, paused: PausedLane) -> None:
        async with calling(self._settings, "tell of a pause"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(self._paused(lane), msgspec.json.encode(paused), ex=TTL)
            await replies(pipe)

    async def resume(self, lane: str, worker: str) -> None:
        if (told := (await self.paused([lane])).get(lane)) is None or told.worker != worker:
            return
        async with calling(self._settings, "tell of the end of a pause"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.delete(self._paused(lane))  # what another worker wrote in between, it writes again
            await replies(pipe)

    async def paused(self, lanes: Sequence[str]) -> dict[str, PausedLane]:
        if not lanes:
            return {}
        async with calling(self._settings, "read pauses"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.mget([self._paused(lane) for lane in lanes])
            [texts] = await replies(pipe)
        try:
            return {
                lane: msgspec.json.decode(text, type=PausedLane)
                for lane, text in zip(lanes, texts, strict=True)
                if text
            }
        except msgspec.MsgspecError as error:
            raise Permanent(f"a pause in Redis is damaged: {error}", reason="damaged") from error

    def _paused(self, lane: str) -> str:
        return self._key(f"paused:{lane}")
