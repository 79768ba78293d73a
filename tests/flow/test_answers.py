"""Answers that are given again: only where a model would be told exactly the same."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from connectors.errors import Permanent
from connectors.memory.hot import MemoryHotCache
from connectors.ports import Delta
from streams.queries.answers import PIECE, Answers
from tests.flow.inline import Lanes
from tests.flow.test_ladder import QUESTION, Scripted
from topics import registry
from topics.codec import decode
from topics.headers import Hop
from topics.queries import AnswerEvent, Retrieval

VALVE = b"The green valve was built in Oslo. It closes by hand."


async def worker(model: Scripted, made_by: str = "test", lanes: Lanes | None = None) -> Lanes:
    if lanes is None:
        lanes = Lanes()
        await lanes.put("valves", VALVE, content_type=b"text/plain")
        lanes.answers = MemoryHotCache()  # type: ignore[attr-defined]
    answers = Answers(lanes.answers, made_by)  # type: ignore[attr-defined]
    lanes.writes(model, answers=answers)
    return lanes


def told(events: list[AnswerEvent]) -> str:
    return "".join(event.data["text"] for event in events if event.type == "token")


async def test_the_same_question_is_answered_once() -> None:
    """The second time it streams the same text with the same citations, says so, and no model is asked."""
    lanes = await worker(model := Scripted())
    first, again = await lanes.ask(QUESTION), await lanes.ask(f"  {QUESTION} ")
    assert len(model.given) == 1 and told(again) == told(first)
    assert [e.type for e in again][-3:] == ["generating", "token", "answer"]
    assert "cached" not in first[-1].data and again[-1].data["cached"] is True
    for name in ("text", "citations", "model", "documents"):
        assert again[-1].data[name] == first[-1].data[name]


async def test_a_changed_document_is_written_about_anew() -> None:
    """Even where the passage reads the same: the receipt would name a version that is gone."""
    lanes = await worker(model := Scripted())
    await lanes.ask(QUESTION)
    await lanes.put("valves", VALVE, content_type=b"text/plain", uri=b"https://example.org/valves")
    await lanes.put("valves", VALVE + b" ", content_type=b"text/plain")
    answer = (await lanes.ask(QUESTION))[-1].data
    assert len(model.given) == 2 and "cached" not in answer
    await lanes.put("valves", None)
    assert not (await lanes.ask(QUESTION))[-1].data["found"]


async def test_versions_tell_keys_apart() -> None:
    """Of two retrievals that differ in nothing but a version, each has its own key."""
    lanes = await worker(Scripted())
    await lanes.ask(QUESTION)
    record = lanes.log[registry.RETRIEVALS.name][-1]
    retrieval, hop, answers = decode(record.value or b"", Retrieval), Hop.of(record.headers), lanes.generate._cache
    assert answers is not None
    key = answers.key(retrieval, hop, retrieval.passages, "m")
    retrieval.passages[0].version = "0" * 16
    assert key != answers.key(retrieval, hop, retrieval.passages, "m")


@pytest.mark.parametrize("other", [{"principals": ["user:a"]}, {"cache": False}])
async def test_others_and_who_wants_none_get_their_own(other: dict[str, Any]) -> None:
    """Another's answer is not given out, and ``cache`` False neither reads nor fills."""
    lanes = await worker(model := Scripted())
    await lanes.ask(QUESTION, **other)
    await lanes.ask(QUESTION)
    assert len(model.given) == 2
    again = (await lanes.ask(QUESTION, **other))[-1].data
    assert again.get("cached", False) is ("principals" in other)


async def test_other_settings_write_anew() -> None:
    """What was written with other settings of the model is not given out."""
    lanes = await worker(model := Scripted())
    await lanes.ask(QUESTION)
    await worker(model, "other", lanes)
    await lanes.ask(QUESTION)
    assert len(model.given) == 2


async def test_versions_do_not_share_answers() -> None:
    """What one version wrote is not given out as another's."""
    lanes = await worker(one := Scripted())
    other = Scripted()
    other.name = "other"
    lanes.writes(one, other, answers=lanes.generate._cache)
    await lanes.ask(QUESTION)
    first, again = [(await lanes.ask(QUESTION, model="other"))[-1].data for _ in range(2)]
    assert (first["model"], "cached" in first) == ("other", False)
    assert (again["model"], again["cached"]) == ("other", True)
    assert len(one.given) == len(other.given) == 1


async def test_what_is_degraded_is_not_kept() -> None:
    """A lower rung and dropped passages do not last."""
    for model in (Scripted(Permanent("no", reason="key")), Scripted(dropped=1)):
        lanes = await worker(model)
        await lanes.ask(QUESTION)
        await lanes.ask(QUESTION)
        assert len(model.given) == 2


async def test_of_equal_questions_one_is_written() -> None:
    """The others wait for it."""

    class Slow(Scripted):
        async def stream(self, *arguments: Any) -> AsyncGenerator[Delta, None]:
            async for delta in super().stream(*arguments):
                await asyncio.sleep(0.05)
                yield Delta(f"{len(self.given)}. {delta.text}")  # each time other words

    lanes = await worker(model := Slow())
    events = await asyncio.gather(*(lanes.ask(QUESTION) for _ in range(5)))
    assert len({told(each) for each in events}) == 1 and len(model.given) == 1


async def test_a_long_answer_comes_in_pieces() -> None:
    """No event of a kept answer holds thousands of characters."""
    lanes = await worker(Scripted())
    await lanes.ask(QUESTION)
    cache = lanes.answers  # type: ignore[attr-defined]
    (key,) = cache._entries
    await cache.put(key, b'{"text":"%s [1][9]"}' % (b"x" * 3 * PIECE), [])
    events = await lanes.ask(QUESTION)
    assert sum(e.type == "token" for e in events) == 4 and len(events[-1].data["citations"]) == 1
    assert "[9]" not in events[-1].data["text"]


async def test_a_cache_that_is_away_costs_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs: the answer is written, undegraded."""

    async def hang(*_: object) -> None:
        await asyncio.sleep(60)

    lanes = await worker(Scripted())
    for name in ("get", "put"):
        monkeypatch.setattr(lanes.answers, name, hang)  # type: ignore[attr-defined]
    answer = (await lanes.ask(QUESTION))[-1].data
    assert answer["found"] and not answer.get("degraded") and "cached" not in answer
