"""Vectors in a dict, the longest unused going first.  Same contract as Redis."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence


class MemoryEmbeddings:
    """:class:`connectors.ports.EmbeddingCache`."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._vectors: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def get(self, model: str, hashes: Sequence[str]) -> list[bytes | None]:
        return [self._use((model, text_hash)) for text_hash in hashes]

    async def put(self, model: str, vectors: Mapping[str, bytes]) -> None:
        for text_hash, vector in vectors.items():
            self._vectors[model, text_hash] = vector
            self._vectors.move_to_end((model, text_hash))
        while len(self._vectors) > self._capacity:
            self._vectors.popitem(last=False)

    def _use(self, key: tuple[str, str]) -> bytes | None:
        if key in self._vectors:
            self._vectors.move_to_end(key)
        return self._vectors.get(key)
