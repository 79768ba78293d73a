"""A question whose deadline passes on the way: what costs something is not begun any more."""

from collections.abc import Sequence

import pytest

from connectors.ports import Hit, Vectors
from runtime.clock import ManualClock
from streams.queries.legs import Legs
from streams.queries.manifests import Manifests
from streams.queries.rerank import Rerank
from streams.queries.retrieve import Retrieve
from streams.queries.search import Search
from tests.flow.inline import Lanes
from topics import registry
from topics.queries import AnswerEvent

SECONDS = 10.0


class Slow:
    """An encoder, store and re-ranker in one, each of which takes its time on the clock."""

    def __init__(self, lanes: Lanes, clock: ManualClock, **takes: float) -> None:
        self._encoder, self._store, self._clock, self._takes = lanes.encoder, lanes.store, clock, takes
        self.dimension, self.calls = lanes.encoder.dimension, list[str]()

    async def _pass(self, step: str) -> None:
        self.calls.append(step)
        await self._clock.sleep(self._takes.get(step, 0.0))

    async def encode(self, texts: Sequence[str]) -> Vectors:
        await self._pass("encode")
        return await self._encoder.encode(texts)

    async def search(self, *asked: object) -> list[Hit]:
        await self._pass("search")
        return await self._store.search(*asked)  # type: ignore[arg-type]

    async def score(self, question: str, texts: Sequence[str]) -> list[float]:
        await self._pass("rerank")
        return [0.5] * len(texts)


async def asked(mode: str, **takes: float) -> tuple[list[str], list[AnswerEvent], int]:
    """The steps that were begun, however often, what the asker is told, and how many retrievals went on."""
    lanes, clock = Lanes(), ManualClock()
    await lanes.put("pump", b"The red pump moves water at night.", content_type=b"text/plain")
    slow = Slow(lanes, clock, **takes)
    settings = lanes.settings
    legs = Legs(slow, slow, None)  # type: ignore[arg-type]
    search = Search(settings.queries, 300.0, legs, clock, Rerank(slow, 5))  # type: ignore[arg-type]
    lanes.retrieve = Retrieve(settings.queries, "g1", search, Manifests(lanes.manifests), lanes.publish, clock)
    deadline = clock.now() + SECONDS
    events = await lanes.ask("What does the red pump move?", mode=mode, deadline=deadline)
    return list(dict.fromkeys(slow.calls)), events, len(lanes.log[registry.RETRIEVALS.name])


@pytest.mark.parametrize("mode", ["answer", "retrieve"])
@pytest.mark.parametrize(
    ("late", "begun"),
    [
        ("encode", ["encode"]),
        ("search", ["encode", "search"]),
        ("rerank", ["encode", "search", "rerank"]),
    ],
)
async def test_nothing_is_begun_behind_the_deadline(mode: str, late: str, begun: list[str]) -> None:
    """The step in which the deadline passes is the last; the asker is told `expired`, and nothing goes on."""
    calls, events, went_on = await asked(mode, **{late: SECONDS + 1})
    assert calls == begun
    assert [event.type for event in events] == ["retrieving", "error"]
    assert events[-1].data["reason"] == "expired"
    assert went_on == 0


async def test_what_is_in_time_goes_on() -> None:
    """Steps that leave time for the next all run."""
    calls, events, went_on = await asked("answer", encode=1, search=1, rerank=1)
    assert calls == ["encode", "search", "rerank"]
    assert [event.type for event in events][:2] == ["retrieving", "passages"]
    assert went_on == 1
