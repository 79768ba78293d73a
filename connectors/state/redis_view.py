"""Redis as a view of ``index-events`` (role *state*).

- ``<generation>:view``       HASH, see :mod:`connectors.state.view_scripts`
- ``<generation>:overtaken``  HASH tenant/doc_id -> partition, of documents whose last event is older than their version

An event and its offset are applied in one step, and whatever a server loses it loses from the end: what a rolled back
Redis says it has applied it has applied.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.state import view_scripts as scripts
from connectors.state.manifest_fields import apply_arguments
from connectors.state.redis_connection import calling, replies
from connectors.state.redis_generation import RedisGeneration, server_of
from connectors.state.redis_progress import DAY
from connectors.view_ports import Announced, ViewState
from topics.identity import DocumentRef, Token, Version

_CLOSED_SECONDS = 30.0  # longer than any step of a reset takes
_SCAN = 1000  # keys in a step


class RedisView(RedisGeneration):
    """:class:`connectors.view_ports.ManifestView` of one generation."""

    async def state(self) -> ViewState:
        async with calling(self._settings, "look at the view"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(self._view)
            pipe.info("replication")
            pipe.hgetall(self._overtaken)
            fields, info, overtaken = await replies(pipe)
        server = server_of(info)
        return ViewState(
            server=server,
            whole=server != "" and fields.get("whole", "").partition(" ")[0] == server,
            offsets={int(name): int(offset) for name, offset in fields.items() if name.isdecimal()},
            overtaken={_ref(path): int(partition) for path, partition in overtaken.items()},
        )

    async def apply(self, events: Sequence[Announced]) -> bool:
        calls = [self._call(announced) for announced in events]
        async with calling(self._settings, "apply index events"):
            return -1 not in await self._run(scripts.APPLY, calls)

    async def declare_whole(self, server: str, offsets: Mapping[int, int]) -> bool:
        places = [value for place in offsets.items() for value in place]
        async with calling(self._settings, "declare the view whole"):
            call: tuple[list[str], list[Any]] = ([self._view], [server, secrets.token_hex(8), *places])
            return await self._run(scripts.DECLARE, [call]) == [1]

    async def reset(self) -> None:
        """Forget in steps, each closed to others; manifests, lists of ids and offsets go, progress of lanes stays."""
        await self._close()
        for pattern in (self._key("doc:*"), self._key("ids:*"), self._overtaken):
            cursor = 0
            while True:
                async with calling(self._settings, "reset the view"):
                    cursor, keys = await self._redis.scan(cursor, pattern, _SCAN)
                    if keys:
                        await self._redis.unlink(*keys)
                await self._close()
                if cursor == 0:
                    break
        async with calling(self._settings, "reset the view"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.hdel(self._view, "closed")
            await replies(pipe)

    async def _close(self) -> None:
        async with calling(self._settings, "reset the view"):
            await self._run(scripts.CLOSE, [([self._view], [int(_CLOSED_SECONDS * 1000)])])

    def _call(self, announced: Announced) -> tuple[list[str], list[Any]]:
        event = announced.event
        ref, seen = DocumentRef(event.tenant, event.doc_id), event.last_seen
        version = Version.parse(seen.version)
        token = Token(version.epoch, announced.partition, version.offset)
        refused = seen.status in ("rejected", "dead-lettered")
        ttl = int(DAY - (time.time() - seen.at / 1000)) if refused else 0
        keys = [self._view, self._document(ref), self._ids(ref.tenant), self._overtaken, self._key("watermarks")]
        return [*keys, self._refused(token)], apply_arguments(announced, min(ttl, DAY))

    @property
    def _overtaken(self) -> str:
        return self._key("overtaken")


def _ref(path: str) -> DocumentRef:
    tenant, _, doc_id = path.partition("/")
    return DocumentRef(tenant, doc_id)
