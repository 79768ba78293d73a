"""Keyword search by Weaviate's BM25, in the objects of the vector store.

The collection must have been made with words (FRESHET_KEYWORD_ENGINE=weaviate when its generation began): the text's
words as :mod:`connectors.keywords.language` makes them.  A question is made into words by the same rules, so nothing
that is typed is syntax, and Weaviate compares words letter by letter.

Each physical tenant knows rarity by its own objects only; with several buckets their scores are merged all the same.
Titles and headings are not stored there and not searched.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from weaviate import WeaviateAsyncClient
from weaviate.classes.query import Filter as By
from weaviate.classes.query import MetadataQuery
from weaviate.collections.classes.filters import FilterReturn
from weaviate.exceptions import WeaviateBaseError

from connectors.errors import Transient
from connectors.keywords.language import analyser, words_of
from connectors.keywords.rarity import share_of
from connectors.ports import Hit
from connectors.search_ports import KeywordState
from connectors.stores.weaviate import WeaviateStore
from connectors.stores.weaviate_connection import all_of
from connectors.stores.weaviate_errors import is_absent_tenant
from connectors.stores.weaviate_filters import Nothing, compile_filter, wanted_properties
from topics.identity import DocumentRef
from topics.queries import Filter

COUNTED: Final = 32  # of a question's words, the longest: how many objects hold them
KEPT_SECONDS: Final = 300.0  # for which a count is good enough
KEPT: Final = 50_000  # counts


class WeaviateKeywords:
    """:class:`connectors.search_ports.KeywordIndex` over what the vector store holds; opened and closed with it."""

    name, stands_alone = "weaviate", False

    def __init__(self, store: WeaviateStore) -> None:
        self._store = store
        self._counts: dict[tuple[str, str], tuple[int, float]] = {}  # by bucket and word, and until when it is good

    async def open(self) -> None:
        """The store does."""

    async def close(self) -> None:
        """The store does."""

    def state(self) -> KeywordState:
        """What is visible is there before it becomes visible."""
        return KeywordState(whole=True)

    async def search(self, tenant: str, text: str, limit: int, principals: Sequence[str], where: Filter) -> list[Hit]:
        store = self._store
        if (language := store.collection.words) is None:
            raise Transient("the vector store has not been opened", reason="closed")
        spelled = analyser(language)
        words = list(dict.fromkeys(words_of(text, spelled)))
        if not words or limit < 1:
            return []
        try:
            by = compile_filter(principals, where, await store.collection.known(wanted_properties(where)))
        except Nothing:
            return []
        parts = await all_of(self._best(tenant, bucket, words, limit, by) for bucket in store.tenants.all(tenant))
        hits = sorted((hit for part in parts for hit in part), key=lambda hit: (-hit.score, hit.id))[:limit]
        if not hits:
            return []
        # Documents lie in buckets by their hashes, so one is a fair sample of all.
        counts = await self._held(store.tenants.of(hits[0].ref), words)
        return [replace(hit, words=share_of(words, set(words_of(hit.text, spelled)), counts)) for hit in hits]

    async def texts(self, ref: DocumentRef, version: str, chunks: Mapping[int, str]) -> dict[int, str]:
        del version  # an object never changes its text
        if not chunks:
            return {}
        ids = list(chunks.values())
        found = await self._call(
            "read texts",
            self._store.tenants.of(ref),
            lambda part: part.query.fetch_objects(
                filters=By.by_id().contains_any(ids), limit=len(ids), return_properties=["text"]
            ),
        )
        texts = {str(each.uuid): each.properties["text"] for page in found for each in page.objects}
        return {place: texts[chunk_id] for place, chunk_id in chunks.items() if chunk_id in texts}

    async def _best(self, tenant: str, bucket: str, words: Sequence[str], limit: int, by: FilterReturn) -> list[Hit]:
        found = await self._call(
            "search by words",
            bucket,
            lambda part: part.query.bm25(
                " ".join(words),
                query_properties=["words"],
                limit=limit,
                filters=by,
                return_properties=["doc_id", "text"],
                return_metadata=MetadataQuery(score=True),
            ),
        )
        hits = [
            Hit(
                str(each.uuid),
                DocumentRef(tenant, each.properties["doc_id"]),
                each.properties["text"],
                each.metadata.score,
            )
            for page in found
            for each in page.objects
        ]
        return list({hit.id: hit for hit in sorted(hits, key=lambda hit: hit.score)}.values())  # the best of each

    async def _held(self, bucket: str, words: Sequence[str]) -> dict[str, int]:
        """How many objects hold each of the longest words; of the empty word, how many there are."""
        wanted = ["", *sorted(words, key=len, reverse=True)[:COUNTED]]
        now = time.monotonic()
        missing = [word for word in wanted if self._counts.get((bucket, word), (0, 0.0))[1] <= now]
        if len(self._counts) + len(missing) > KEPT:
            self._counts.clear()
            missing = wanted
        counted = await all_of(self._count(bucket, word) for word in missing)
        self._counts |= {(bucket, w): (count, now + KEPT_SECONDS) for w, count in zip(missing, counted, strict=True)}
        return {word: self._counts[bucket, word][0] for word in wanted}

    async def _count(self, bucket: str, word: str) -> int:
        by = By.by_property("words").equal(word) if word else None
        found = await self._call(
            "count words", bucket, lambda part: part.aggregate.over_all(filters=by, total_count=True)
        )
        return max((int(each.total_count or 0) for each in found), default=0)

    async def _call(self, doing: str, bucket: str, ask: Any) -> list[Any]:
        """What nodes of Weaviate answer; nothing where nothing was ever stored."""

        async def call(client: WeaviateAsyncClient) -> Any:
            try:
                return await ask(self._store.collection.tenant(client, bucket))
            except WeaviateBaseError as error:
                if is_absent_tenant(error):
                    return None
                raise

        return [answer for answer in await self._store.nodes.ask(doing, call) if answer is not None]
