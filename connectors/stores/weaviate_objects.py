"""Chunk objects of Weaviate read back, for who checks them: by cursor or by id, a page of each node at a time."""

from collections.abc import Sequence
from typing import Any

from weaviate.classes.query import Filter as By
from weaviate.classes.query import MetadataQuery
from weaviate.collections.collection import CollectionAsync
from weaviate.exceptions import WeaviateBaseError

from connectors.ports import StoredObject
from connectors.stores import weaviate_schema as schema
from connectors.stores.weaviate_errors import is_absent_tenant
from topics.identity import DocumentRef

WHOLE_PAGE = 200  # objects with text, vector and metadata in one answer: far below gRPC's 100 MB


async def read_page(
    part: CollectionAsync[Any, Any],
    tenant: str,
    dimension: int | None,
    size: int,
    after: str | None,
    ids: Sequence[str],
) -> list[StoredObject]:
    """Up to ``size`` objects behind ``after``, or those of the ids.  ``dimension`` None asks for ids alone."""
    try:
        result = await part.query.fetch_objects(
            limit=size,
            after=after,
            filters=By.by_id().contains_any(list(ids)) if ids else None,
            include_vector=dimension is not None,
            return_properties=None if dimension is not None else ["doc_id"],  # None is all
            return_metadata=MetadataQuery(last_update_time=True),
        )
    except WeaviateBaseError as error:
        if is_absent_tenant(error):
            return []
        raise
    return [_read(tenant, found, dimension) for found in result.objects]


def joined(pages: Sequence[Sequence[StoredObject]], size: int | None) -> list[StoredObject]:
    """One page of what several nodes have, of each object the copy that was written last, in the order of the ids.

    Of a cursor's pages one that is full, with ``size`` objects, says nothing about ids behind its last.
    """
    found: dict[str, StoredObject] = {}
    for each in (each for page in pages for each in page):
        if each.id not in found or found[each.id].written_at < each.written_at:
            found[each.id] = each
    ends = [page[-1].id for page in pages if len(page) == size]
    return [found[id_] for id_ in sorted(found) if not ends or id_ <= min(ends)]


def _read(tenant: str, found: Any, dimension: int | None) -> StoredObject:
    ref = DocumentRef(tenant, found.properties.get("doc_id") or "")
    updated = found.metadata.last_update_time
    written_at = int(updated.timestamp() * 1000) if updated else 0
    if dimension is None:
        return StoredObject(str(found.uuid), ref, written_at)
    vector: list[float] = next(iter(found.vector.values()), [])
    return StoredObject(
        str(found.uuid),
        ref,
        written_at,
        text=found.properties.get("text") or "",
        imprint=schema.imprint(found.properties),
        vector=len(vector) == dimension,
    )
