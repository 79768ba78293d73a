"""Cached passages: quick, and never older than a search would be."""

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from connectors.errors import Transient
from connectors.memory.hot import MemoryHotCache
from streams.queries.hot import Hot
from streams.queries.retrieve import CACHED
from tests.flow.searching import Worker, worker
from topics.headers import Hop
from topics.queries import Condition, Question

PUMP = '{"text": "The red pump moves water at night.", "access": %s}'


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path / "keywords") as found:
        found.lanes.retrieve._hot = Hot(MemoryHotCache(), "test", 300)
        await found.lanes.put("pump", (PUMP % "[]").encode())
        await found.lanes.put("cat", b'{"text": "Cats sleep all day."}')
        await found.sync()
        yield found


def cached(found: Any) -> bool:
    return "manifests" not in found.timings and "cache" in found.timings


async def test_the_second_question_is_not_searched_for(rig: Worker) -> None:
    """White space and forms of a letter make no other question; another person, filter or number does."""
    first = await rig.retrieve("red pump")
    again = await rig.retrieve("  red   \uff50ump ")
    assert not cached(first) and cached(again) and again.passages == first.passages
    others: list[dict[str, Any]] = [
        {"k": 3},
        {"principals": ["ann"]},
        {"search": "vector"},
        {"filter": {"x": Condition(ne=1)}},
    ]
    for other in others:
        assert not cached(await rig.retrieve("red pump", **other))
    assert not cached(await rig.retrieve("red pump", cache=False))


@pytest.mark.parametrize(
    "change", [b'{"text": "The red pump is off."}', None, (PUMP % '["ann"]').encode(), b'{"text": "Gone."}']
)
async def test_nothing_outlives_a_change(rig: Worker, change: bytes | None) -> None:
    """An edit, a delete, a revoked access: the entry goes at the next hit, event or no event."""
    await rig.retrieve("red pump")
    await rig.lanes.put("pump", change)
    found = await rig.retrieve("red pump")
    assert not cached(found) and all("moves water" not in p.text for p in found.passages)


async def test_a_token_asks_for_more_than_was_known(rig: Worker) -> None:
    """An entry that was filled before the version that is asked for does not count; one filled behind it does."""
    await rig.retrieve("red pump")
    token = await rig.lanes.put("new", b'{"text": "Another red pump."}')
    await rig.sync()
    assert cached(await rig.retrieve("red pump"))
    fresh = await rig.retrieve("red pump", at_least=[str(token)])
    assert not cached(fresh) and "new" in {p.doc_id for p in fresh.passages}
    assert cached(await rig.retrieve("red pump", at_least=[str(token)]))


async def test_what_is_degraded_or_empty_is_not_kept(rig: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad moment does not last for five minutes."""

    def fail(*_: object, **__: object) -> Any:
        raise Transient("refused", reason="away")

    with monkeypatch.context() as patched:
        patched.setattr(rig.view, "search", fail)
        assert (await rig.retrieve("red pump")).degraded
    assert not cached(await rig.retrieve("red pump"))
    nothing: dict[str, Any] = {"filter": {"x": Condition(eq=1)}}
    assert not (await rig.retrieve("red pump", **nothing)).passages
    assert not cached(await rig.retrieve("red pump", **nothing))


async def test_cached_passages_are_the_last_rung(rig: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """With both searches away they answer, checked like any other; not as fresh as was asked for is labelled."""

    def fail(*_: object, **__: object) -> Any:
        raise Transient("refused", reason="away")

    first = await rig.retrieve("red pump")
    token = await rig.lanes.put("new", b'{"text": "Another red pump."}')
    monkeypatch.setattr(rig.view, "search", fail)
    monkeypatch.setattr(rig.lanes.store, "search", fail)
    assert (await rig.retrieve("red pump")).passages == first.passages
    late = await rig.retrieve("red pump", at_least=[str(token)])
    assert late.passages == first.passages and late.degraded == [CACHED]
    assert (await rig.lanes.ask("cat", mode="retrieve"))[-1].data["reason"] == "unavailable"
    await rig.lanes.put("pump", None)
    assert (await rig.lanes.ask("red pump", mode="retrieve"))[-1].data["reason"] == "unavailable"


async def test_of_equal_questions_one_is_searched_for(rig: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait for it, and get what it found."""
    searches, search = 0, rig.lanes.store.search

    async def counted(*arguments: Any) -> Any:
        nonlocal searches
        searches += 1
        await asyncio.sleep(0.05)
        return await search(*arguments)

    monkeypatch.setattr(rig.lanes.store, "search", counted)
    found = await asyncio.gather(*(rig.retrieve("red pump") for _ in range(10)))
    assert searches == 1 and all(one.passages == found[0].passages for one in found)


async def test_a_cache_that_is_away_costs_nothing_but_a_search(rig: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call fails or hangs: questions are answered, undegraded."""

    async def hang(*_: object, **__: object) -> Any:
        await asyncio.sleep(60)

    hot = rig.lanes.retrieve._hot
    assert hot is not None
    for name in ("get", "put", "claim", "release", "drop"):
        monkeypatch.setattr(hot._cache, name, hang)
    for _ in range(3):
        found = await rig.retrieve("red pump")
        assert found.passages and found.degraded == []
    assert hot.breaker.open


async def test_events_evict(rig: Worker) -> None:
    """What came of a changed document goes before anybody hits it."""
    hot = rig.lanes.retrieve._hot
    assert hot is not None
    await rig.retrieve("red pump", "keyword")
    await rig.retrieve("cats", "keyword")
    rig.tail._view._tell = hot.announced  # type: ignore[attr-defined]
    await rig.lanes.put("pump", None)
    rig.hand()
    await rig.tail.caught_up()
    sweeping = asyncio.create_task(hot.sweep())
    async with asyncio.timeout(5):
        while (await hot._cache.state()).entries != 1:
            await asyncio.sleep(0.01)
    sweeping.cancel()
    assert cached(await rig.retrieve("cats", "keyword"))


_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


@given(st.lists(st.tuples(_names, st.lists(_names, max_size=3), _names), min_size=2, max_size=2, unique_by=str))
def test_keys_of_others_are_others(askers: list[tuple[str, list[str], str]]) -> None:
    """Tenant, principals and question never run into each other."""
    hot = Hot(MemoryHotCache(), "test", 300)
    hop, question = Hop(job_id="j", deadline=0, reply_partition=0), Question(question="", asked_at=0)
    keys, said = set(), set()
    for tenant, principals, text in askers:
        keys.add(hot.key(replace(question, question=text), replace(hop, tenant=tenant, principals=principals)))

        normal = " ".join(unicodedata.normalize("NFKC", text).split())
        said.add((tenant, tuple(sorted(set(principals))), normal))
    assert len(keys) == len(said)
