"""How far the document lane of a generation is, in Redis (role *state*).

- ``<generation>:waiting:{tenant}/doc_id``  versions known to be in the log and not yet visible, for a day
- ``<generation>:watermarks``               HASH ``epoch.partition`` -> offset
- ``<generation>:deferred``                 HASH ``token work`` -> 1, for what waits for another try
- ``<generation>:unaudited``               why nothing counts as current until an audit has found it so
- ``<generation>:refused:<token>``          why a version was refused, for a day
"""

from collections.abc import Iterable, Mapping, Sequence

from redis.asyncio.client import Pipeline

from connectors.state import manifest_scripts as scripts
from connectors.state.manifest_fields import encode, seen_of, waiting_of
from connectors.state.redis_connection import calling, replies
from connectors.state.redis_generation import RedisGeneration
from connectors.state.watermarks import below
from topics.documents import LastSeen
from topics.identity import DocumentRef, Token

DAY = 86400  # seconds


class RedisProgress(RedisGeneration):
    """The part of :class:`connectors.ports.ManifestStore` that speaks of versions not yet, or never, visible."""

    async def accepted(self, versions: Mapping[DocumentRef, tuple[str, int]]) -> None:
        calls = [
            ([self._waiting(ref), self._document(ref)], [version, at, DAY]) for ref, (version, at) in versions.items()
        ]
        async with calling(self._settings, "remember acceptance"):
            await self._run(scripts.ACCEPT, calls)

    async def pending(self, refs: Sequence[DocumentRef]) -> list[tuple[str, int] | None]:
        if not refs:
            return []
        async with calling(self._settings, "read acceptances"):
            [texts], _ = await self._from_whole_view(lambda pipe: pipe.mget([self._waiting(ref) for ref in refs]))
            return [waiting_of(text)[-1] if text else None for text in texts]

    async def advance(self, tokens: Sequence[Token]) -> None:
        calls = [([self._key("watermarks")], [f"{t.epoch}.{t.partition}", t.offset]) for t in tokens]
        async with calling(self._settings, "advance"):
            await self._run(scripts.ADVANCE, calls)

    async def defer(self, token: Token, work: str) -> None:
        async with calling(self._settings, "defer"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.hset(self._key("deferred"), f"{token} {work}", "1")
            await replies(pipe)

    async def settle(self, token: Token, work: str) -> None:
        async with calling(self._settings, "settle"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.hdel(self._key("deferred"), f"{token} {work}")
            await replies(pipe)

    async def deferred(self, token: Token) -> set[str]:
        async with calling(self._settings, "read deferrals"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.hkeys(self._key("deferred"))
            [entries] = await replies(pipe)
        return {work for mark, _, work in (entry.partition(" ") for entry in entries) if mark == str(token)}

    async def watermarks(self) -> dict[tuple[int, int], int]:
        async with calling(self._settings, "read watermarks"):
            (passed, deferred), _ = await self._from_whole_view(self._ask_watermarks)
        return _watermarks(passed, deferred)

    def _ask_watermarks(self, pipe: Pipeline) -> None:
        pipe.hgetall(self._key("watermarks"))
        pipe.hkeys(self._key("deferred"))

    async def distrust(self, why: str) -> None:
        async with calling(self._settings, "demand an audit"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(self._key("unaudited"), why)
            await replies(pipe)

    async def distrusted(self) -> str | None:
        async with calling(self._settings, "ask for the last audit"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.get(self._key("unaudited"))
            [why] = await replies(pipe)
            return str(why) if why else None

    async def standing(self) -> tuple[dict[tuple[int, int], int], str | None]:
        def ask(pipe: Pipeline) -> None:
            self._ask_watermarks(pipe)
            pipe.get(self._key("unaudited"))

        async with calling(self._settings, "read watermarks and the last audit"):
            (passed, deferred, why), _ = await self._from_whole_view(ask)
        return _watermarks(passed, deferred), str(why) if why else None

    async def trust(self, why: str) -> None:
        async with calling(self._settings, "record an audit"):
            await self._run(scripts.TRUST, [([self._key("unaudited")], [why])])

    async def refuse(self, token: Token, seen: LastSeen) -> None:
        async with calling(self._settings, "remember a refusal"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(self._refused(token), encode(seen), ex=DAY)
            await replies(pipe)

    async def refusals(self, tokens: Sequence[Token]) -> dict[Token, LastSeen]:
        if not tokens:
            return {}
        async with calling(self._settings, "read refusals"):
            [texts], _ = await self._from_whole_view(lambda pipe: pipe.mget([self._refused(t) for t in tokens]))
        return {token: seen_of(text) for token, text in zip(tokens, texts, strict=True) if text}


def _watermarks(passed: Mapping[str, str], deferred: Iterable[str]) -> dict[tuple[int, int], int]:
    marks = {}
    for place, offset in passed.items():
        epoch, _, partition = place.partition(".")
        marks[int(epoch), int(partition)] = int(offset)
    return below(marks, (Token.parse(entry.partition(" ")[0]) for entry in deferred))
