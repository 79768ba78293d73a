"""A generation's collection: made once, checked at every start, given a property for each new kind of metadata.

Safe when several workers start, or meet a new key, at the same moment: who comes second finds it done.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from weaviate import WeaviateAsyncClient
from weaviate.classes.config import (
    Configure,
    ConsistencyLevel,
    ReplicationDeletionStrategy,
    StopwordsPreset,
    VectorDistances,
)
from weaviate.collections.classes.config import CollectionConfig
from weaviate.collections.classes.config import _ReplicationConfigCreate as ReplicationConfigCreate
from weaviate.collections.collection import CollectionAsync
from weaviate.exceptions import UnexpectedStatusCodeError, WeaviateInvalidInputError

from connectors.errors import Permanent, Transient
from connectors.ports import StoredChunk
from connectors.stores import weaviate_schema as schema
from connectors.stores.weaviate_nodes import Nodes

_ALL_WORDS = Configure.inverted_index(
    stopwords_preset=StopwordsPreset.NONE
)  # our analyser leaves out what says nothing


def _replication(copies: int) -> ReplicationConfigCreate | None:
    """An id is never used again, so where nodes differ in whether an object is there, it was deleted."""
    deletes = ReplicationDeletionStrategy.DELETE_ON_CONFLICT
    return Configure.replication(factor=copies, deletion_strategy=deletes) if copies > 1 else None


class Collection:
    """The collection and what is known of its properties."""

    def __init__(self, nodes: Nodes, name: str, shape: schema.Shape, max_keys: int) -> None:
        self.name = name
        self._nodes = nodes
        self._shape = shape
        self._max_keys = max_keys
        self.words: str | None = None  # language of the words that its objects have, if they have them
        self._properties: frozenset[str] = frozenset()
        self._looks = 0  # at the schema, that were begun
        self._lock = asyncio.Lock()

    def tenant(self, client: WeaviateAsyncClient, name: str) -> CollectionAsync[Any, Any]:
        """The part of the collection that a physical tenant owns; a majority of its copies must confirm a write."""
        part = client.collections.use(self.name).with_tenant(name)
        return part.with_consistency_level(ConsistencyLevel.QUORUM)

    async def open(self) -> None:
        """Create it if it is missing; :class:`Permanent` if what is there was made for something else."""
        async with self._lock:
            config = await self._read()
            if config is None:
                await self._nodes.call("create the collection", self._create, self._nodes.settings.insert_timeout)
                config = await self._read()
            if config is None:
                raise Transient(f"collection {self.name} is not there yet", reason="schema")
            self._check(config)

    async def known(self, wanted: set[str]) -> frozenset[str]:
        """The properties; looked up again when one is wanted that was not there.

        A document that is visible must be found by its metadata, even by a key that nobody used before: the look has to
        begin after the call.  Those who come while one is under way share the next.
        """
        if wanted - self._properties:
            looks = self._looks
            async with self._lock:
                if self._looks == looks:
                    await self._read()
        return self._properties

    async def ensure(self, chunks: Sequence[StoredChunk]) -> None:
        """Add the properties that these chunks need."""
        if not self._missing(chunks):
            return
        async with self._lock:
            await self._read()
            for name, (kind, key, chunk) in self._missing(chunks).items():
                if schema.distinct_keys({*self._properties, name}) > self._max_keys:
                    raise Permanent(
                        f"chunk {chunk.id} of {chunk.ref.path}: metadata key {key[:80]!r} would be one more than the "
                        f"{self._max_keys} that a generation may have (FRESHET_MAX_FILTERABLE_KEYS)",
                        reason="metadata_keys",
                    )
                await self._nodes.call(f"add property {name}", partial(self._add, kind, key))
                self._properties |= {name}

    def forget(self) -> None:
        """The schema is not what we think: look again before the next write."""
        self._properties = frozenset()

    def _missing(self, chunks: Sequence[StoredChunk]) -> dict[str, tuple[str, str, StoredChunk]]:
        return {
            name: (kind, key, chunk)
            for chunk in reversed(chunks)  # of equal names the first chunk stays
            for kind, key, _ in schema.properties_of(chunk.metadata)
            if (name := schema.property_name(kind, key)) not in self._properties
        }

    async def _read(self) -> CollectionConfig | None:
        self._looks += 1
        config = await self._nodes.call("read the schema", self._config)
        self._properties = frozenset(p.name for p in config.properties) if config else frozenset()
        return config

    async def _config(self, client: WeaviateAsyncClient) -> CollectionConfig | None:
        try:
            return await client.collections.use(self.name).config.get()
        except UnexpectedStatusCodeError as error:
            if error.status_code == 404:
                return None
            raise

    async def _create(self, client: WeaviateAsyncClient) -> None:
        words = self._shape.words is not None
        try:
            await client.collections.create(
                self.name,
                description=str(self._shape),
                properties=schema.chunk_properties(words=words),
                inverted_index_config=_ALL_WORDS if words else None,
                vector_config=Configure.Vectors.self_provided(
                    vector_index_config=Configure.VectorIndex.hnsw(distance_metric=VectorDistances.COSINE)
                ),
                multi_tenancy_config=Configure.multi_tenancy(
                    enabled=True, auto_tenant_creation=True, auto_tenant_activation=True
                ),
                replication_config=_replication(self._nodes.settings.copies),
            )
        except UnexpectedStatusCodeError as error:
            if "already exists" not in str(error):
                raise

    async def _add(self, kind: str, key: str, client: WeaviateAsyncClient) -> None:
        try:
            await client.collections.use(self.name).config.add_property(schema.metadata_property(kind, key))
        except (UnexpectedStatusCodeError, WeaviateInvalidInputError) as error:
            if "already in use" not in str(error) and "already exists" not in str(error):
                raise

    def _check(self, config: CollectionConfig) -> None:
        tenancy, found = config.multi_tenancy_config, schema.Shape.read(config.description)
        if found is None or not tenancy.enabled or not tenancy.auto_tenant_creation:
            self._refuse("was not made by Freshet", "set back model and buckets")
        elif replace(found, words=None) != replace(self._shape, words=None):
            self._refuse(f"was made for {found}, this worker has {self._shape}", "set back model and buckets")
        elif self._shape.words not in (None, found.words):
            had = f"words in {found.words}" if found.words else "no words to search by"
            self._refuse(
                f"was made with {had}, and FRESHET_KEYWORD_ENGINE=weaviate wants them in {self._shape.words}",
                "set back FRESHET_KEYWORD_ENGINE or FRESHET_KEYWORD_LANGUAGE",
            )
        elif config.replication_config.factor < (copies := self._nodes.settings.copies):
            self._refuse(
                f"has {config.replication_config.factor} copies of each object, not {copies}",
                "set FRESHET_WEAVIATE_REPLICATION and the addresses back",
            )
        else:
            self.words = found.words

    def _refuse(self, why: str, instead: str) -> NoReturn:
        raise Permanent(
            f"collection {self.name} {why}: start a new generation (FRESHET_GENERATION), or {instead}", reason="shape"
        )
