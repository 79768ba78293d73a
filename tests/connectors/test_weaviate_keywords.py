"""Weaviate's BM25 fulfils the contract of keyword search, and says so where a collection was made without."""

import uuid
from collections.abc import AsyncIterator

import pytest

from connectors.errors import Permanent, Transient
from connectors.stores.weaviate import WeaviateStore
from connectors.stores.weaviate_keywords import WeaviateKeywords
from runtime.settings import Settings
from tests.connectors.contract.keyword_contract import InStore, KeywordContract, Text
from tests.connectors.contract.store_contract import DIMENSION
from topics.identity import DocumentRef

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("collections_swept")]


def made_with(settings: Settings, generation: str, engine: str = "weaviate", **more: object) -> WeaviateStore:
    keyword = settings.keyword.model_copy(update={"engine": engine, **more})
    found = settings.model_copy(update={"keyword": keyword})
    return WeaviateStore(found, model="m", dimension=DIMENSION, generation=generation)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[WeaviateStore]:
    store = made_with(settings, "words")
    await store.open()
    yield store
    await store.close()


class TestWeaviate(KeywordContract):
    """The contract."""

    @pytest.fixture
    def keywords(self, store: WeaviateStore) -> InStore:
        return InStore(store, WeaviateKeywords(store), DIMENSION)

    async def test_buckets_are_merged(self, settings: Settings) -> None:
        """A tenant's documents lie in several physical ones, and all are found."""
        documents = settings.documents.model_copy(update={"buckets": 3})
        store = made_with(settings.model_copy(update={"documents": documents}), "wordbuckets")
        await store.open()
        keywords = InStore(store, WeaviateKeywords(store), DIMENSION)
        await keywords.put([Text(f"d{n}", f"pump number {n}") for n in range(30)])
        found = await keywords.search("pump 7")
        assert found[0].doc_id == "d7" and found[0].words > 0.9 and len(found) == 30
        assert len(await keywords.search("pump", limit=10)) == 10
        assert await keywords.texts("d9", [0]) == {0: "pump number 9"}
        await store.close()


@pytest.fixture
def generation() -> str:
    return f"g{uuid.uuid4().hex[:12]}"


@pytest.mark.parametrize("before", [{"engine": "tantivy"}, {"engine": "none"}, {"language": "german"}])
async def test_a_collection_made_without_is_refused(
    settings: Settings, generation: str, before: dict[str, str]
) -> None:
    """And what to do is said; a collection that has words is taken by whoever does not need them."""
    old = made_with(settings, generation, **{"engine": "weaviate", **before})
    await old.open()
    new = made_with(settings, generation)
    with pytest.raises(Permanent, match=r"FRESHET_KEYWORD_ENGINE=weaviate.*start a new generation"):
        await new.open()
    for each in (old, new):
        await each.close()


async def test_words_are_kept_by_whoever_writes(settings: Settings, generation: str) -> None:
    """What a worker with another setting writes into a collection with words is found by them."""
    first, writer = made_with(settings, generation), made_with(settings, generation, "tantivy")
    await first.open()
    await writer.open()
    keywords = InStore(writer, WeaviateKeywords(first), DIMENSION)
    await keywords.put([Text("a", "The pumps are red.")])
    assert [hit.doc_id for hit in await keywords.search("pumping")] == ["a"]  # by its stem
    for each in (first, writer):
        await each.close()


async def test_a_store_that_is_closed_is_transient(settings: Settings, generation: str) -> None:
    """Before it was opened, and after it was closed."""
    store = made_with(settings, generation)
    keywords = WeaviateKeywords(store)
    with pytest.raises(Transient):
        await keywords.search("acme", "pump", 5, (), {})
    await store.open()
    await store.close()
    with pytest.raises(Transient):
        await keywords.search("acme", "pump", 5, (), {})
    with pytest.raises(Transient):
        await keywords.texts(DocumentRef("acme", "a"), "1", {0: str(uuid.uuid4())})
