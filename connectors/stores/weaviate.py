"""Chunk objects in Weaviate (1.39 and later), through the asynchronous gRPC client.

Objects carry their ids and vectors, so writing twice writes the same.  What is stored where is said in
:mod:`connectors.stores.weaviate_schema`.  A physical tenant comes to be with its first object.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from tantivy import TextAnalyzer
from weaviate import WeaviateAsyncClient
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter as By
from weaviate.classes.query import MetadataQuery
from weaviate.collections.classes.filters import FilterReturn
from weaviate.exceptions import WeaviateBaseError, WeaviateInsertManyAllFailedError

from connectors.errors import ConnectorError, Permanent, Transient, Unclear, surest
from connectors.keywords.language import analyser, words_of
from connectors.ports import Hit, StoredChunk, StoredObject, Vectors
from connectors.stores import weaviate_schema as schema
from connectors.stores.weaviate_collection import Collection
from connectors.stores.weaviate_connection import all_of
from connectors.stores.weaviate_errors import is_absent_tenant, judge
from connectors.stores.weaviate_filters import Nothing, compile_filter, wanted_properties
from connectors.stores.weaviate_nodes import Nodes
from connectors.stores.weaviate_objects import WHOLE_PAGE, joined, read_page
from runtime.settings import Settings
from topics.documents import Metadata
from topics.identity import PUBLIC, DocumentRef
from topics.queries import Filter

_OBJECTS = 200  # in one insert: building the request holds the event loop
_CHARACTERS = 4_000_000  # in one insert; the server takes 100 MB
_IDS = 1000  # in one look-up or delete: far below QUERY_MAXIMUM_RESULTS
_PARALLEL = 4  # requests that write at once


class WeaviateStore:
    """:class:`connectors.ports.VectorStore` of one generation.

    Objects get their words as well where the collection was made with them, see :mod:`weaviate_keywords`.
    """

    def __init__(self, settings: Settings, *, model: str, dimension: int, generation: str | None = None) -> None:
        documents = settings.documents
        name = schema.collection_name(settings.kafka.prefix, generation or documents.generation)
        self._dimension = dimension
        self.tenants = schema.Tenants(documents.buckets)
        self.nodes = Nodes(settings.weaviate)
        words = settings.keyword.language if settings.keyword.engine == "weaviate" else None
        shape = schema.Shape(model, dimension, documents.buckets, words)
        self.collection = Collection(self.nodes, name, shape, documents.max_filterable_keys)
        self._writing = asyncio.Semaphore(_PARALLEL)

    async def open(self) -> None:
        await self.nodes.open()
        await self.collection.open()

    async def close(self) -> None:
        await self.nodes.close()

    async def ready(self) -> bool:
        return await self.nodes.ready()

    async def upsert(self, chunks: Sequence[StoredChunk]) -> None:
        for chunk in chunks:
            self._check_vector(chunk)
        await self.collection.ensure(chunks)
        by_tenant: dict[str, list[StoredChunk]] = {}
        for chunk in chunks:
            by_tenant.setdefault(self.tenants.of(chunk.ref), []).append(chunk)
        await all_of(self._insert(tenant, batch) for tenant, mine in by_tenant.items() for batch in _batches(mine))

    async def delete(self, refs: Mapping[DocumentRef, Sequence[str]]) -> None:
        await all_of(self._delete(tenant, ids) for tenant, ids in self._by_tenant(refs))

    async def existing(self, refs: Mapping[DocumentRef, Sequence[str]]) -> set[str]:
        found = await all_of(self._existing(tenant, ids) for tenant, ids in self._by_tenant(refs))
        return set().union(*found)

    async def search(
        self, tenant: str, vector: Vectors, limit: int, principals: Sequence[str], where: Filter
    ) -> list[Hit]:
        if limit < 1:
            return []
        try:
            by = compile_filter(principals, where, await self.collection.known(wanted_properties(where)))
        except Nothing:
            return []
        buckets = self.tenants.all(tenant)
        found = await all_of(self._nearest(tenant, bucket, vector, limit, by) for bucket in buckets)
        return sorted((hit for hits in found for hit in hits), key=lambda hit: (-hit.score, hit.id))[:limit]

    async def walk(self, tenant: str, *, whole: bool) -> AsyncIterator[list[StoredObject]]:
        for bucket in self.tenants.all(tenant):
            after: str | None = None
            while page := await self._page(tenant, bucket, whole, WHOLE_PAGE if whole else _IDS, after=after):
                yield page
                after = page[-1].id

    async def objects(self, refs: Mapping[DocumentRef, Sequence[str]], *, whole: bool) -> list[StoredObject]:
        tenants = {self.tenants.of(ref): ref.tenant for ref in refs}
        size = WHOLE_PAGE if whole else _IDS
        pages = [
            await self._page(tenants[bucket], bucket, whole, size, ids=ids[start : start + size])
            for bucket, ids in self._by_tenant(refs)
            for start in range(0, len(ids), size)
        ]
        return [found for page in pages for found in page]

    def imprint(self, access: Sequence[str], metadata: Metadata) -> str:
        return schema.imprint(schema.shared_properties(tuple(access) or (PUBLIC,), metadata))

    async def _page(
        self, tenant: str, bucket: str, whole: bool, size: int, after: str | None = None, ids: Sequence[str] = ()
    ) -> list[StoredObject]:
        part, dimension = partial(self.collection.tenant, name=bucket), self._dimension if whole else None
        pages = await self.nodes.ask("walk", lambda c: read_page(part(c), tenant, dimension, size, after, ids))
        return joined(pages, None if ids else size)

    def _by_tenant(self, refs: Mapping[DocumentRef, Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
        """Ids by physical tenant, no more at once than one request may hold."""
        by_tenant: dict[str, list[str]] = {}
        for ref, ids in refs.items():
            by_tenant.setdefault(self.tenants.of(ref), []).extend(ids)
        for tenant, ids in by_tenant.items():
            for start in range(0, len(ids), _IDS):
                yield tenant, ids[start : start + _IDS]

    def _check_vector(self, chunk: StoredChunk) -> None:
        """The first vector of a tenant would set the length of all others, and a NaN would spoil the index."""
        vector = np.asarray(chunk.vector)
        if vector.shape != (self._dimension,) or not np.isfinite(vector).all():
            raise Permanent(
                f"chunk {chunk.id} of {chunk.ref.path}: not a vector of {self._dimension} finite numbers",
                reason="vector",
            )

    async def _insert(self, tenant: str, chunks: Sequence[StoredChunk]) -> None:
        words = self.collection.words
        by = analyser(words) if words else None
        objects = [_object(chunk, by) for chunk in chunks]

        async def insert(client: WeaviateAsyncClient) -> None:
            try:
                result = await self.collection.tenant(client, tenant).data.insert_many(objects)
            except WeaviateInsertManyAllFailedError as error:
                # The client keeps the set of messages, but not whose they are.
                raise self._failure(chunks[0], str(error)) from error
            if result is not None and result.errors:
                raise surest(self._failure(chunks[n], error.message) for n, error in sorted(result.errors.items()))

        async with self._writing:
            await self.nodes.call("upsert", insert, self.nodes.settings.insert_timeout)

    def _failure(self, chunk: StoredChunk, message: str) -> ConnectorError:
        if "no such prop" in message or "could not find class" in message:
            self.collection.forget()  # somebody made the collection anew
            return Transient(f"Weaviate, chunk {chunk.id} of {chunk.ref.path}: {message}", reason="schema")
        return judge(message, f"chunk {chunk.id} of {chunk.ref.path}")

    async def _delete(self, tenant: str, ids: Sequence[str]) -> None:
        async def delete(client: WeaviateAsyncClient) -> tuple[int, int]:
            try:
                result = await self.collection.tenant(client, tenant).data.delete_many(By.by_id().contains_any(ids))
            except WeaviateBaseError as error:
                if is_absent_tenant(error):
                    return 0, 0
                raise
            return result.matches, result.failed

        while True:
            async with self._writing:
                matches, failed = await self.nodes.call("delete", delete, self.nodes.settings.insert_timeout)
            if failed:
                raise Unclear(f"Weaviate, delete: {failed} of {matches} objects were not deleted", reason="store")
            # A server may be set to match fewer than we name at once: then there is more to do.
            if matches in (0, len(ids)):
                return

    async def _existing(self, tenant: str, ids: Sequence[str]) -> set[str]:
        async def fetch(client: WeaviateAsyncClient) -> set[str]:
            try:
                result = await self.collection.tenant(client, tenant).query.fetch_objects(
                    filters=By.by_id().contains_any(ids), limit=len(ids), return_properties=[]
                )
            except WeaviateBaseError as error:
                if is_absent_tenant(error):
                    return set()
                raise
            return {str(found.uuid) for found in result.objects}

        return set().union(*await self.nodes.ask("look up chunks", fetch))

    async def _nearest(self, tenant: str, bucket: str, vector: Vectors, limit: int, by: FilterReturn) -> list[Hit]:
        async def search(client: WeaviateAsyncClient) -> list[Hit]:
            try:
                result = await self.collection.tenant(client, bucket).query.near_vector(
                    vector.tolist(),
                    limit=limit,
                    filters=by,
                    return_properties=["doc_id", "text"],
                    return_metadata=MetadataQuery(distance=True),
                )
            except WeaviateBaseError as error:
                if is_absent_tenant(error):
                    return []
                raise
            return [_hit(tenant, found) for found in result.objects]

        return list({hit.id: hit for hits in await self.nodes.ask("search", search) for hit in hits}.values())


def _batches(chunks: Sequence[StoredChunk]) -> Iterator[list[StoredChunk]]:
    batch: list[StoredChunk] = []
    size = 0
    for chunk in chunks:
        characters = len(chunk.text) + sum(_length(value) for value in chunk.metadata.values())
        if batch and (len(batch) == _OBJECTS or size + characters > _CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(chunk)
        size += characters
    if batch:
        yield batch


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else sum(map(len, value)) if isinstance(value, list) else 8


def _object(chunk: StoredChunk, by: TextAnalyzer | None) -> DataObject[dict[str, Any], None]:
    properties: dict[str, Any] = {
        "doc_id": chunk.ref.doc_id,
        "ordinal": chunk.ordinal,
        "text": chunk.text,
        **schema.shared_properties(chunk.access, chunk.metadata),
    }
    if by is not None:
        properties["words"] = " ".join(words_of(chunk.text, by))
    return DataObject(properties=properties, uuid=chunk.id, vector=chunk.vector)  # type: ignore[arg-type]


def _hit(tenant: str, found: Any) -> Hit:
    doc_id, text = found.properties["doc_id"], found.properties["text"]
    return Hit(str(found.uuid), DocumentRef(tenant, doc_id), text, 1.0 - float(found.metadata.distance))
