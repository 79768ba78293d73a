"""Questions by both searches, and by the one that is left."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.errors import Transient
from streams.queries import breaker as breakers
from tests.flow.searching import Worker, worker
from topics import registry
from topics.queries import Condition

WORDS = ("pump", "valve", "oil", "oslo", "night", "cat", "steam", "bolt")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path / "keywords") as found:
        yield found


async def test_a_rare_word_and_a_meaning_are_both_found(rig: Worker) -> None:
    """What only one of the searches finds is among the passages, with what that search knows of it."""
    await rig.lanes.put("pumps", b'{"text": "The red pump moves water at night."}')
    await rig.lanes.put("codes", b'{"text": "Error E4711 means that the filter is full."}')
    await rig.sync()
    found = await rig.retrieve("E4711", explain=True)
    assert found.passages[0].doc_id == "codes" and found.degraded == []
    assert found.passages[0].words == 1.0 and found.passages[0].scores["keyword_rank"] == 1
    assert {"encode", "search", "keyword", "manifests"} <= set(found.timings)


@pytest.mark.parametrize("seed", range(3))
async def test_keyword_search_shows_what_is_visible_and_nothing_else(rig: Worker, seed: int) -> None:
    """Whatever is published, edited, hidden, deleted, crashed and seen late: a question by words finds exactly the
    documents whose visible version holds a word, may be seen and passes the filter."""
    draw = random.Random(seed)
    model: dict[str, tuple[set[str], str, int]] = {}
    for step in range(40):
        doc_id = draw.choice("abcde")
        if draw.random() < 0.15:
            await rig.lanes.put(doc_id, None)
            model.pop(doc_id, None)
        else:
            words, who, size = set(draw.sample(WORDS, 3)), draw.choice(["", "ann"]), draw.randint(1, 3)
            access = f'["{who}"]' if who else "[]"
            body = f'{{"text": "{" ".join(words)} here.", "access": {access}, "metadata": {{"size": {size}}}}}'
            await rig.lanes.put(doc_id, body.encode())
            model[doc_id] = words, who, size
        if draw.random() < 0.2:
            rig.hand(registry.CHUNKS.name)  # chunks long before they are visible to this worker
        if draw.random() < 0.1:
            await rig.crash()
            rig.start()
        if step % 4 != 3:
            continue
        await rig.sync()
        word, who, least = draw.choice(WORDS), draw.choice(["", "ann"]), draw.randint(1, 3)
        found = await rig.retrieve(
            word, "keyword", k=50, principals=[who] if who else [], filter={"size": Condition(gte=least)}
        )
        wanted = {d for d, (words, to, size) in model.items() if word in words and to in ("", who) and size >= least}
        assert {p.doc_id for p in found.passages} == wanted, (step, word, who)
        assert all(word in p.text for p in found.passages)


async def test_a_version_that_is_not_visible_yet_is_not_shown(rig: Worker) -> None:
    """Its chunks are in the index before the flip, and the old version's until the worker knows of it."""
    await rig.lanes.put("a", b'{"text": "The old valve. It stays."}')
    await rig.sync()
    record, _ = rig.lanes.write(rig.lanes.epochs.newest, "a", b'{"text": "The new valve. It stays."}')
    before = len(rig.lanes.log[registry.CHUNKS.name])
    await rig.lanes._run(rig.lanes.chunk, [record])
    rig.hand(registry.CHUNKS.name)
    await rig.caught_up()
    assert [p.text for p in (await rig.retrieve("valve", "keyword")).passages] == ["The old valve. It stays."]
    await rig.lanes.from_chunks(rig.lanes.log[registry.CHUNKS.name][before:])
    assert [p.text for p in (await rig.retrieve("valve", "keyword")).passages] == ["The new valve. It stays."]
    await rig.sync()
    assert [p.text for p in (await rig.retrieve("valve", "keyword")).passages] == ["The new valve. It stays."]
    assert rig.view.state().versions == 1


async def test_a_crash_goes_on_where_the_index_stood(rig: Worker) -> None:
    """What was committed is not read again; what was not is."""
    for n in range(20):
        await rig.lanes.put(f"d{n}", f'{{"text": "Pump {n} is here."}}'.encode())
    await rig.sync()
    await rig.crash()
    taken: list[Any] = []
    take = rig.view._take

    def noting(records: Any, settled: Any) -> None:
        taken.extend(records)
        take(records, settled)

    rig.view._take = noting  # type: ignore[method-assign]
    await rig.lanes.put("last", b'{"text": "The last pump."}')
    rig.start()
    await rig.sync()
    assert len(taken) == 1 and (await rig.retrieve("last pump", "keyword")).passages[0].doc_id == "last"


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove"])
async def test_a_damaged_index_is_built_anew(rig: Worker, tmp_path: Path, harm: str) -> None:
    """Whatever has happened to its files, all of it is in the log."""
    for n in range(20):
        await rig.lanes.put(f"d{n}", f'{{"text": "Pump {n} is here."}}'.encode())
    await rig.sync()
    await rig.crash()
    for path in (tmp_path / "keywords").iterdir():
        data = path.read_bytes()
        if path.name.startswith("."):
            continue
        if harm == "truncate":
            path.write_bytes(data[: len(data) // 2])
        elif harm == "flip":
            path.write_bytes(bytes(byte ^ 0x55 for byte in data))
        elif path.suffix == ".store":
            path.unlink()
    rig.start()
    await rig.sync()
    assert {p.doc_id for p in (await rig.retrieve("pump", "keyword", k=50)).passages} == {f"d{n}" for n in range(20)}


def fail(*_: object, **__: object) -> Any:
    raise Transient("refused", reason="away")


async def hang(*_: object, **__: object) -> Any:
    await asyncio.sleep(60)


@pytest.mark.parametrize("away", [fail, hang])
async def test_keyword_search_takes_over_and_hands_back(
    rig: Worker, monkeypatch: pytest.MonkeyPatch, away: Any
) -> None:
    """Without the store every question is answered by words, at once after the first few, and labelled; when it is
    back that is noticed without a question having to try."""
    await rig.lanes.put("pumps", b'{"text": "The red pump moves water at night."}')
    await rig.sync()
    monkeypatch.setitem(rig.lanes.settings.queries.__dict__, "search_timeout", 0.1)
    monkeypatch.setattr(breakers, "PROBE_SECONDS", 0.1)
    search = rig.lanes.store.search
    monkeypatch.setattr(rig.lanes.store, "search", away)
    first = await rig.retrieve("red pump")
    assert first.degraded == ["vector-timeout" if away is hang else "vector-unavailable"]
    await rig.retrieve("red pump")
    later = [await rig.retrieve("red pump") for _ in range(5)]
    assert rig.legs.breaker.open and all(r.passages[0].doc_id == "pumps" for r in [first, *later])
    assert all(
        (r.degraded == ["vector-unavailable"] and "search" not in r.timings) or r.timings["search"] < 50 for r in later
    )
    monkeypatch.setattr(rig.lanes.store, "search", search)
    async with asyncio.timeout(5):
        while rig.legs.breaker.open:
            await asyncio.sleep(0.01)
    assert (await rig.retrieve("red pump")).degraded == []


async def test_vectors_answer_for_a_keyword_index_that_fails(rig: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """And an answer says so; with both away it is an error, not an empty answer."""
    await rig.lanes.put("pumps", b'{"text": "The red pump moves water at night."}')
    await rig.sync()
    monkeypatch.setattr(rig.view, "search", fail)
    found = await rig.retrieve("red pump")
    assert found.passages[0].doc_id == "pumps" and found.degraded == ["keyword-unavailable"]
    monkeypatch.setattr(rig.lanes.store, "search", fail)
    assert (await rig.lanes.ask("red pump", mode="retrieve"))[-1].data["reason"] == "unavailable"


async def test_an_encoder_that_is_loading_stops_nobody(rig: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions are answered by words until it is there, and the store does not count as away."""
    await rig.lanes.put("pumps", b'{"text": "The red pump moves water at night."}')
    await rig.sync()
    monkeypatch.setattr(rig.lanes.encoder, "encode", fail)
    found = await rig.retrieve("red pump")
    assert found.passages[0].doc_id == "pumps" and found.degraded == ["vector-unavailable"]
    assert not rig.legs.breaker.open


async def test_copies_take_one_place(rig: Worker) -> None:
    """The same page under two names is one passage."""
    for doc_id in ("a", "b"):
        await rig.lanes.put(doc_id, b'{"text": "The red pump moves water at night and rests by day."}')
    await rig.sync()
    assert len((await rig.retrieve("red pump")).passages) == 1


async def test_what_nobody_wrote_about_is_not_found_by_either(rig: Worker) -> None:
    """One common word is no answer; a question of which most words are there is, by words alone too."""
    for n, text in enumerate(("The red pump moves water.", "Cats sleep all day.", "The valve was built in Oslo.")):
        await rig.lanes.put(f"d{n}", f'{{"text": "{text}"}}'.encode())
    await rig.sync()
    asked = await rig.lanes.ask("zebra quantum pump economics forecast", search="keyword")
    assert asked[-1].data["found"] is False
    assert (await rig.lanes.ask("Which valve was built in Oslo?", search="keyword"))[-1].data["found"] is True
