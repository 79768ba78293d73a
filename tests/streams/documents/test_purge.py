"""The purge stage, on an edge in memory and a clock that is moved by hand."""

from typing import Any

import pytest

from connectors.errors import Transient
from connectors.memory.edge import MemoryPurger
from connectors.memory.promotions import MemoryPromotions
from runtime.clock import ManualClock
from runtime.settings.edge import KEPT_WITHIN, PURGED_AGAIN
from streams.documents.purge import IDLE, LATE, Purge
from streams.outcome import Drop, Emit, Record
from topics.identity import DocumentRef, event_key, generation_key, surrogate_key

A, B = DocumentRef("default", "a b/ü#1.md"), DocumentRef("acme", "a b/ü#1.md")


class Lane:
    """A stage that has started long ago, and the edge that it tells."""

    def __init__(self) -> None:
        self.clock, self.edge, self.promotions = ManualClock(), MemoryPurger(), MemoryPromotions()
        self.stage = Purge("g1", self.edge, self.promotions, self.clock)

    def event(self, ref: DocumentRef, age: float = 0.0) -> Record:
        at = int((self.clock.now() - age) * 1000)
        return Record("index-events", 0, 0, event_key(ref), b"{}", {}, at)

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        await self.stage.repeat()

    def keep(self, name: str, *refs: DocumentRef, generation: str = "g1") -> None:
        self.edge.held[name] = frozenset({generation_key(generation), *map(surrogate_key, refs)})


@pytest.fixture
async def lane() -> Lane:
    lane = Lane()
    await lane.wait(PURGED_AGAIN)
    return lane


async def test_what_came_of_a_changed_document_is_forgotten(lane: Lane) -> None:
    """Of that document, tenant and all, and of no other."""
    lane.keep("of a", A)
    lane.keep("of b", B)
    lane.keep("of both", A, B)
    assert await lane.stage.step([lane.event(A)]) == [Emit()]
    assert set(lane.edge.held) == {"of b"}


async def test_what_was_under_way_is_forgotten_too(lane: Lane) -> None:
    """A response that was made before the change and came to the edge after the purge goes with the second one, which
    comes later than any such response."""
    await lane.stage.step([lane.event(A)])
    lane.keep("late", A)
    await lane.wait(KEPT_WITHIN)
    assert "late" in lane.edge.held
    await lane.wait(PURGED_AGAIN - KEPT_WITHIN)
    assert not lane.edge.held


async def test_an_edge_that_is_away_holds_the_lane_up(lane: Lane) -> None:
    """Nothing is acknowledged; nor is a second purge given up."""
    lane.keep("of b", B)
    await lane.stage.step([lane.event(B)])
    lane.keep("late", B)
    lane.edge.away = True
    with pytest.raises(Transient):
        await lane.stage.step([lane.event(A)])
    with pytest.raises(Transient):
        await lane.wait(PURGED_AGAIN)
    assert "late" in lane.edge.held and not lane.stage.in_time
    lane.edge.away = False
    await lane.wait(0)
    assert not lane.edge.held and lane.stage.in_time


async def test_a_worker_that_starts_forgets_everything() -> None:
    """For the one before it may have owed second purges; copies of other generations stay."""
    lane = Lane()
    lane.keep("of a", A)
    lane.keep("other", A, generation="g2")
    await lane.wait(PURGED_AGAIN - 0.1)
    assert set(lane.edge.held) == {"of a", "other"}
    await lane.wait(0.1)
    assert set(lane.edge.held) == {"other"}


async def test_a_lane_that_is_behind_promotes_nothing(lane: Lane) -> None:
    """Until what it takes is new again, or nothing comes any more."""
    await lane.stage.step([lane.event(A, LATE + 1)])
    assert not lane.stage.in_time
    await lane.wait(IDLE)
    assert lane.stage.in_time
    await lane.stage.step([lane.event(A, LATE + 1), lane.event(B)])
    assert lane.stage.in_time


async def test_what_names_no_document_has_no_copies(lane: Lane) -> None:
    """It is passed over; its neighbours are not."""
    lane.keep("of a", A)
    stray: Any = Record("index-events", 0, 1, b"%ff", b"{}", {}, 0)
    assert await lane.stage.step([stray, lane.event(A)]) == [Drop("key"), Emit()]
    assert not lane.edge.held


async def test_gateways_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing before the worker has begun, yes while it purges, no while an edge is away."""
    lane, told = Lane(), list[bool]()

    class Enough(Exception):
        pass

    async def tell(*, purging: bool) -> None:
        told.append(purging)
        lane.edge.away = len(told) > 2
        if lane.edge.away:
            with pytest.raises(Transient):
                await lane.stage.step([lane.event(A)])
        if len(told) == 4:
            raise Enough

    monkeypatch.setattr(lane.promotions, "tell", tell)
    began = lane.clock.now()
    with pytest.raises(Enough):
        await lane.stage.run()
    assert told == [True, True, True, False] and lane.clock.now() - began >= PURGED_AGAIN
