"""The hot tier in a dict.  Same contract as Redis."""

import time
from collections import OrderedDict
from collections.abc import Sequence

from connectors.search_ports import HotState
from topics.identity import DocumentRef


class MemoryHotCache:
    """:class:`connectors.search_ports.HotCache`."""

    def __init__(self, entries: int = 10_000, ttl: float = 300.0) -> None:
        self._most, self._ttl = entries, ttl
        self._entries: OrderedDict[str, tuple[float, bytes, frozenset[DocumentRef]]] = OrderedDict()
        self._claims: dict[str, float] = {}

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do; what was stored stays, as it would in a server."""

    async def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        return entry[1] if entry is not None and entry[0] > time.monotonic() else None

    async def put(self, key: str, value: bytes, documents: Sequence[DocumentRef]) -> None:
        self._entries[key] = time.monotonic() + self._ttl, value, frozenset(documents)
        self._entries.move_to_end(key)
        self._claims.pop(key, None)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)

    async def drop(self, key: str) -> None:
        self._entries.pop(key, None)

    async def evict(self, documents: Sequence[DocumentRef]) -> int:
        keys = [key for key, (_, _, came_of) in self._entries.items() if not came_of.isdisjoint(documents)]
        for key in keys:
            del self._entries[key]
        return len(keys)

    async def purge(self, *, everywhere: bool = False) -> int:
        del everywhere  # there is one generation
        gone = len(self._entries)
        self._entries.clear()
        return gone

    async def claim(self, key: str, seconds: float) -> tuple[bytes | None, bool]:
        if (value := await self.get(key)) is not None:
            return value, False
        if self._claims.get(key, 0.0) > time.monotonic():
            return None, False
        self._claims[key] = time.monotonic() + seconds
        return None, True

    async def release(self, key: str) -> None:
        self._claims.pop(key, None)

    async def state(self) -> HotState:
        return HotState(len(self._entries), sum(len(value) for _, value, _ in self._entries.values()))
