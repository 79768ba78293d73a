"""Manifests in Redis (role *state*: noeviction, AOF), version 6.2 or later.

Keys, behind the prefix; the braces are part of the key, so that a cluster keeps a tenant's keys on one slot:

- ``<generation>:doc:{tenant}/doc_id``  HASH, see :mod:`connectors.state.manifest_scripts`
- ``<generation>:ids:{tenant}``         ZSET of visible documents, all of score 0: ordered by the bytes of the id
- ``<generation>:parts:{tenant}``       HASH doc_id -> most parts it ever had, where that is more than one
- and what :mod:`connectors.state.redis_progress` and :mod:`connectors.state.redis_view` keep

Repeating is harmless: a flip that went through is refused the second time, everything else only goes up.
"""

from collections.abc import Mapping, Sequence

from redis.asyncio.client import Pipeline

from connectors.ports import Flip, Manifest, Visible
from connectors.state import manifest_scripts as scripts
from connectors.state.manifest_fields import (
    CHUNK,
    STATUS_FIELDS,
    chunk_of,
    encode,
    flip_arguments,
    head_of,
    manifest_of,
    waiting_of,
)
from connectors.state.redis_connection import calling
from connectors.state.redis_generation import lost
from connectors.state.redis_progress import RedisProgress
from topics.documents import LastSeen
from topics.identity import DocumentRef

_SHOWN = ("version", "deleted", "head", "flipped")


class RedisManifests(RedisProgress):
    """:class:`connectors.ports.ManifestStore` of one generation."""

    async def read(self, refs: Sequence[DocumentRef]) -> list[Manifest]:
        async with calling(self._settings, "read manifests"):
            answers, view = await self._from_whole_view(lambda pipe: [pipe.hgetall(self._document(r)) for r in refs])
            return [manifest_of(fields, view) for fields in answers]

    async def status(self, refs: Sequence[DocumentRef]) -> list[Manifest]:
        async with calling(self._settings, "read states"):
            answers, view = await self._from_whole_view(
                lambda pipe: [pipe.hmget(self._document(ref), STATUS_FIELDS) for ref in refs]
            )
            return [manifest_of(dict(zip(STATUS_FIELDS, values, strict=True)), view) for values in answers]

    async def flip(self, flips: Sequence[Flip]) -> list[bool]:
        calls = [([self._document(f.ref), self._ids(f.ref.tenant), self._view], flip_arguments(f)) for f in flips]
        async with calling(self._settings, "flip"):
            answers = await self._run(scripts.FLIP, calls)
        if -1 in answers:
            raise lost()
        return [answer == 1 for answer in answers]

    async def finish(self, refs: Mapping[DocumentRef, str]) -> None:
        calls = [([self._document(ref)], [version]) for ref, version in refs.items()]
        async with calling(self._settings, "finish"):
            await self._run(scripts.FINISH, calls)

    async def see(self, ref: DocumentRef, seen: LastSeen) -> None:
        async with calling(self._settings, "see"):
            await self._run(scripts.SEE, [([self._document(ref)], [seen.version, encode(seen)])])

    async def visible(self, hits: Sequence[tuple[DocumentRef, str]]) -> list[Visible | None]:
        if not hits:
            return []
        wanted: dict[DocumentRef, list[str]] = {}
        for ref, chunk_id in hits:
            wanted.setdefault(ref, []).append(chunk_id)

        def ask(pipe: Pipeline) -> None:
            for ref, chunk_ids in wanted.items():
                pipe.hmget(self._document(ref), [*_SHOWN, *(CHUNK + i for i in chunk_ids)])
            pipe.mget([self._waiting(ref) for ref in wanted])
            pipe.time()

        async with calling(self._settings, "check hits"):
            (*documents, waiting, (seconds, micros)), _ = await self._from_whole_view(ask)
        found: dict[tuple[DocumentRef, str], Visible] = {}
        for (ref, chunk_ids), (version, deleted, head, flipped, *lines), text in zip(
            wanted.items(), documents, waiting, strict=True
        ):
            if version is None or deleted == "1" or not head:
                continue
            decoded, age = head_of(head), seconds + micros / 1e6 - int(flipped or 0) / 1000
            since = next((at for later, at in waiting_of(text) if later > version), None)
            for chunk_id, line in zip(chunk_ids, lines, strict=True):
                if line is not None:
                    found[ref, chunk_id] = Visible(version, decoded, chunk_of(line)[1].section, age, since)
        return [found.get(hit) for hit in hits]

    async def doubt(self, refs: Mapping[DocumentRef, str]) -> None:
        calls = [([self._document(ref)], [version]) for ref, version in refs.items()]
        async with calling(self._settings, "doubt"):
            await self._run(scripts.DOUBT, calls)

    async def widen(self, parts: Mapping[DocumentRef, int]) -> dict[DocumentRef, int]:
        calls = [([self._parts(ref.tenant)], [ref.doc_id, count]) for ref, count in parts.items()]
        async with calling(self._settings, "widen"):
            return dict(zip(parts, await self._run(scripts.WIDEN, calls), strict=True))

    async def page(self, tenant: str, after: str | None, limit: int) -> list[str]:
        if limit < 1:
            return []
        start = "-" if after is None else f"({after}"
        async with calling(self._settings, "list documents"):
            [ids], _ = await self._from_whole_view(
                lambda pipe: pipe.zrangebylex(self._ids(tenant), start, "+", start=0, num=limit)
            )
            return list(ids)

    def _parts(self, tenant: str) -> str:
        return self._key(f"parts:{{{tenant}}}")
