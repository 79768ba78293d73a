"""Keyword search in the vector store itself: one engine for both legs, and the same rule of what counts."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import convert

from connectors.errors import Transient
from connectors.memory.keywords import MemoryKeywords
from connectors.ports import VectorStore
from connectors.search_ports import KeywordIndex
from connectors.stores.weaviate import WeaviateStore
from connectors.stores.weaviate_keywords import WeaviateKeywords
from runtime.settings import Settings
from streams.documents.index import Index
from streams.queries import breaker as breakers
from streams.queries.legs import Legs
from streams.queries.neighbours import Neighbours
from streams.queries.search import Search
from tests.flow.inline import Lanes
from tests.flow.test_neighbours import WORDS, marks, text_of
from topics.queries import Condition, Retrieval
from topics.queries import Search as Mode

FEW = ("pump", "valve", "oil", "oslo", "night", "cat", "steam", "bolt")


def lanes_with(store: VectorStore, keywords: KeywordIndex, lanes: Lanes) -> Lanes:
    """The lanes over this store, each passage with its neighbours."""
    lanes.store = store  # type: ignore[assignment]
    lanes.index = Index(lanes.settings.documents.generation, lanes.manifests, store, lanes.publish, lanes.clock)
    lanes.legs = Legs(lanes.encoder, store, keywords)
    queries, stale_after = lanes.settings.queries, lanes.settings.documents.stale_after
    neighbours = Neighbours(keywords, queries.neighbours) if queries.neighbours else None
    lanes.retrieve._search = Search(queries, stale_after, lanes.legs, lanes.clock, neighbours=neighbours)
    return lanes


def in_memory(**queries: Any) -> Lanes:
    settings = Settings()
    lanes = Lanes(settings.model_copy(update={"queries": settings.queries.model_copy(update=queries)}))
    return lanes_with(lanes.store, MemoryKeywords(lanes.store), lanes)


@pytest.fixture(params=["memory", pytest.param("weaviate", marks=pytest.mark.servers)])
async def lanes(request: pytest.FixtureRequest) -> AsyncIterator[Lanes]:
    """In memory, and in the real server."""
    if request.param == "memory":
        yield in_memory()
        return
    settings: Settings = request.getfixturevalue("settings")
    keyword = settings.keyword.model_copy(update={"engine": "weaviate"})
    found = Lanes(settings.model_copy(update={"keyword": keyword}))
    store = WeaviateStore(found.settings, model="hashing", dimension=found.encoder.dimension, generation="bywords")
    await store.open()
    yield lanes_with(store, WeaviateKeywords(store), found)
    await store.nodes.call("delete", lambda client: client.collections.delete(store.collection.name))
    await store.close()


async def retrieve(lanes: Lanes, question: str, search: Mode = "keyword", **more: Any) -> Retrieval:
    """Ask for passages."""
    events = await lanes.ask(question, mode="retrieve", search=search, **more)
    assert events[-1].type == "answer", events[-1].data
    return convert(events[-1].data["retrieval"], Retrieval)


async def test_what_is_visible_is_found_and_nothing_else(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is published, edited, hidden and deleted, and although nothing that was replaced is ever cleared away:
    a question by words finds exactly the documents whose visible version holds one, may be seen and passes the filter.
    """

    async def leave(_: object) -> None:
        """Garbage stays."""

    monkeypatch.setattr(lanes.store, "delete", leave)
    draw = random.Random(1)
    model: dict[str, tuple[set[str], str, int]] = {}
    for step in range(24):
        doc_id = draw.choice("abcde")
        if draw.random() < 0.15:
            await lanes.put(doc_id, None)
            model.pop(doc_id, None)
        else:
            words, who, size = set(draw.sample(FEW, 3)), draw.choice(["", "ann"]), draw.randint(1, 3)
            body = {"text": f"{' '.join(words)} here.", "access": [who] if who else [], "metadata": {"size": size}}
            await lanes.put(doc_id, json.dumps(body).encode())
            model[doc_id] = words, who, size
        word, who, least = draw.choice(FEW), draw.choice(["", "ann"]), draw.randint(1, 3)
        where = {"size": Condition(gte=least)}
        found = await retrieve(lanes, word, k=50, principals=[who] if who else [], filter=where)
        wanted = {d for d, (words, to, size) in model.items() if word in words and to in ("", who) and size >= least}
        assert {p.doc_id for p in found.passages} == wanted, (step, word, who)
        assert all(word in p.text and p.words == 1.0 for p in found.passages) and found.degraded == []


async def test_both_searches_are_asked(lanes: Lanes) -> None:
    """What only the words find is among the passages of a question that wants both."""
    await lanes.put("pumps", b'{"text": "The red pump moves water at night."}')
    await lanes.put("codes", b'{"text": "Error E4711 means that the filter is full."}')
    found = await retrieve(lanes, "E4711", "hybrid", explain=True)
    assert found.passages[0].doc_id == "codes" and found.passages[0].scores["keyword_rank"] == 1
    assert {"search", "keyword"} <= set(found.timings) and found.degraded == []


async def test_neighbours_come_from_the_store(lanes: Lanes) -> None:
    """By the ids of the manifest, so of the version that is shown, whatever else is there."""
    lanes.retrieve._search._neighbours = Neighbours(lanes.legs._keywords, 1)  # type: ignore[arg-type]
    await lanes.put("a", text_of(WORDS, "old"))
    await lanes.put("a", text_of(WORDS, "new"))
    [passage] = (await retrieve(lanes, "delta", k=1)).passages
    assert marks(passage.text) == list(WORDS[2:5]) and "old" not in passage.text


async def test_with_the_store_away_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both fail together: an error, not an empty answer, and soon without asking; it comes back by itself."""
    lanes = in_memory()
    monkeypatch.setattr(breakers, "PROBE_SECONDS", 0.1)
    await lanes.put("pumps", b'{"text": "The red pump moves water at night."}')
    by_words = 0

    async def away(*_: object, **__: object) -> Any:
        raise Transient("refused", reason="away")

    async def counted(*_: object, **__: object) -> Any:
        nonlocal by_words
        by_words += 1
        raise Transient("refused", reason="away")

    running = asyncio.create_task(lanes.legs.breaker.run())
    with monkeypatch.context() as patch:
        patch.setattr(lanes.store, "search", away)
        patch.setattr(lanes.legs._keywords, "search", counted)
        for _ in range(3):
            assert (await lanes.ask("red pump", mode="retrieve"))[-1].data["reason"] == "unavailable"
        assert lanes.legs.breaker.open
        asked = by_words
        assert (await lanes.ask("red pump", search="keyword"))[-1].data["reason"] == "unavailable"
        assert by_words == asked
    async with asyncio.timeout(5):
        while lanes.legs.breaker.open:
            await asyncio.sleep(0.01)
    assert (await retrieve(lanes, "red pump", "hybrid")).degraded == []
    running.cancel()
