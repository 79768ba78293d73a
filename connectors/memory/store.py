"""Chunk objects in a dict, searched one by one.  Same contract as Weaviate."""

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
import numpy as np

from connectors.errors import Permanent
from connectors.filters import matches
from connectors.ports import Hit, StoredChunk, StoredObject, Vectors
from runtime.clock import Clock, SystemClock, millis
from topics.documents import Metadata
from topics.identity import PUBLIC, DocumentRef, digest
from topics.queries import Filter

_PAGE = 500


class MemoryStore:
    """:class:`connectors.ports.VectorStore`."""

    def __init__(self, dimension: int, clock: Clock | None = None) -> None:
        self._dimension = dimension
        self._clock = clock or SystemClock()
        self._written: dict[tuple[str, str], int] = {}
        self._chunks: dict[tuple[str, str], StoredChunk] = {}  # by (tenant, id): tenants share nothing

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do; what was stored stays, as it would in a server."""

    async def upsert(self, chunks: Sequence[StoredChunk]) -> None:
        for chunk in chunks:
            vector = np.asarray(chunk.vector, np.float32)
            if vector.shape != (self._dimension,) or not np.isfinite(vector).all():
                raise Permanent(
                    f"chunk {chunk.id} of {chunk.ref.path}: not a vector of {self._dimension} finite numbers",
                    reason="vector",
                )
        new = {(chunk.ref.tenant, chunk.id): chunk for chunk in chunks}
        self._chunks |= new
        self._written |= dict.fromkeys(new, millis(self._clock.now()))

    async def delete(self, refs: Mapping[DocumentRef, Sequence[str]]) -> None:
        for ref, ids in refs.items():
            for chunk_id in ids:
                self._chunks.pop((ref.tenant, chunk_id), None)

    async def existing(self, refs: Mapping[DocumentRef, Sequence[str]]) -> set[str]:
        return {chunk_id for ref, ids in refs.items() for chunk_id in ids if (ref.tenant, chunk_id) in self._chunks}

    async def search(
        self, tenant: str, vector: Vectors, limit: int, principals: Sequence[str], where: Filter
    ) -> list[Hit]:
        allowed = {PUBLIC, *principals}
        hits = [
            Hit(chunk.id, chunk.ref, chunk.text, _cosine(vector, chunk.vector))
            for (owner, _), chunk in self._chunks.items()
            if owner == tenant and not allowed.isdisjoint(chunk.access) and matches(chunk.metadata, where)
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[: max(limit, 0)]

    def chunks(self, tenant: str) -> list[StoredChunk]:
        """All of a tenant, for who searches them otherwise."""
        return [chunk for (owner, _), chunk in self._chunks.items() if owner == tenant]

    async def walk(self, tenant: str, *, whole: bool) -> AsyncIterator[list[StoredObject]]:
        ids = sorted(chunk_id for owner, chunk_id in self._chunks if owner == tenant)
        for start in range(0, len(ids), _PAGE):
            yield [
                self._object(tenant, chunk_id, whole)
                for chunk_id in ids[start : start + _PAGE]
                if (tenant, chunk_id) in self._chunks
            ]

    async def objects(self, refs: Mapping[DocumentRef, Sequence[str]], *, whole: bool) -> list[StoredObject]:
        wanted = [(ref.tenant, chunk_id) for ref, ids in refs.items() for chunk_id in ids]
        return [self._object(*key, whole) for key in wanted if key in self._chunks]

    def imprint(self, access: Sequence[str], metadata: Metadata) -> str:
        return digest(msgspec.json.encode([sorted(set(access) or {PUBLIC}), metadata], order="deterministic"))

    def _object(self, tenant: str, chunk_id: str, whole: bool) -> StoredObject:
        chunk = self._chunks[tenant, chunk_id]
        written_at = self._written.get((tenant, chunk_id), 0)
        if not whole:
            return StoredObject(chunk_id, chunk.ref, written_at)
        imprint = self.imprint(chunk.access, chunk.metadata)
        vector = np.shape(chunk.vector) == (self._dimension,)
        return StoredObject(chunk_id, chunk.ref, written_at, chunk.text, imprint, vector)

    async def ready(self) -> bool:
        return True


def _cosine(one: Vectors, other: Sequence[float] | Vectors) -> float:
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0
