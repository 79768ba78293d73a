"""Manifests in Redis (role *state*: noeviction, AOF), version 6.2 or later.

Keys, behind the prefix; the braces are part of the key, so that a cluster keeps a tenant's keys on one slot:

- ``<generation>:doc:{tenant}/doc_id``  HASH, see :mod:`connectors.state.manifest_scripts`
- ``<generation>:ids:{tenant}``         ZSET of visible documents, all of score 0: ordered by the bytes of the id
- ``<generation>:parts:{tenant}``       HASH doc_id -> most parts it ever had, where that is more than one
- and what :mod:`connectors.state.redis_progress` keeps

Repeating is harmless: a flip that went through is refused the second time, everything else only goes up.
"""

from collections.abc import Mapping, Sequence

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
from connectors.state.redis_connection import calling, replies
from connectors.state.redis_progress import RedisProgress
from topics.documents import LastSeen
from topics.identity import DocumentRef

_SHOWN = ("version", "deleted", "head", "flipped")


class RedisManifests(RedisProgress):
    """:class:`connectors.ports.ManifestStore` of one generation."""

    async def read(self, refs: Sequence[DocumentRef]) -> list[Manifest]:
        async with calling(self._settings, "read manifests"):
            pipe = self._redis.pipeline(transaction=False)
            for ref in refs:
                pipe.hgetall(self._document(ref))
            return [manifest_of(fields) for fields in await replies(pipe)]

    async def status(self, refs: Sequence[DocumentRef]) -> list[Manifest]:
        async with calling(self._settings, "read states"):
            pipe = self._redis.pipeline(transaction=False)
            for ref in refs:
                pipe.hmget(self._document(ref), STATUS_FIELDS)
            return [manifest_of(dict(zip(STATUS_FIELDS, values, strict=True))) for values in await replies(pipe)]

    async def flip(self, flips: Sequence[Flip]) -> list[bool]:
        calls = [([self._document(flip.ref), self._ids(flip.ref.tenant)], flip_arguments(flip)) for flip in flips]
        async with calling(self._settings, "flip"):
            return [answer == 1 for answer in await self._run(scripts.FLIP, calls)]

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
        async with calling(self._settings, "check hits"):
            pipe = self._redis.pipeline(transaction=False)
            for ref, chunk_ids in wanted.items():
                pipe.hmget(self._document(ref), [*_SHOWN, *(CHUNK + i for i in chunk_ids)])
            pipe.mget([self._waiting(ref) for ref in wanted])
            pipe.time()
            *documents, waiting, (seconds, micros) = await replies(pipe)
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
            pipe = self._redis.pipeline(transaction=False)
            pipe.zrangebylex(self._ids(tenant), start, "+", start=0, num=limit)
            [ids] = await replies(pipe)
            return list(ids)

    def _ids(self, tenant: str) -> str:
        return self._key(f"ids:{{{tenant}}}")

    def _parts(self, tenant: str) -> str:
        return self._key(f"parts:{{{tenant}}}")
