"""The index stage, where records of one document meet: in a batch, in parts, refused and not."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from connectors.errors import Permanent
from connectors.memory.manifests import MemoryManifests
from connectors.memory.store import MemoryStore
from runtime.clock import ManualClock
from streams.documents.index import Index
from streams.outcome import Emit, Output, Record, Refuse
from tests.consistency.editions import DIMENSION, EPOCH, GENERATION, Edition, Kind, records_of
from topics import registry
from topics.codec import decode
from topics.documents import IndexEvent
from topics.identity import DocumentRef

REF = DocumentRef("default", "a")


def edition(number: int, text: str = "A", kind: Kind = "text") -> Edition:
    return Edition(REF, number, kind, text)


def records(number: int, text: str = "A", kind: Kind = "text") -> list[Record]:
    made = records_of(edition(number, text, kind), 0, 1)
    return [replace(record, offset=10 * number + part) for part, record in enumerate(made)]


class Lane:
    """The stage, with what it published; a ``gate`` holds up the next writing, and that alone."""

    def __init__(self) -> None:
        self.manifests = MemoryManifests()
        self.store = MemoryStore(DIMENSION)
        self.stage = Index(GENERATION, self.manifests, self.store, self._publish, ManualClock())
        self.events: list[IndexEvent] = []
        self.gate: asyncio.Event | None = None

    async def _publish(self, outputs: Sequence[Output]) -> None:
        gate, self.gate = self.gate, None
        if gate is not None:
            await gate.wait()
        for output in outputs:
            assert output.spec is registry.INDEX_EVENTS
            self.events.append(decode(output.value or b"", IndexEvent))

    @property
    def told(self) -> list[tuple[str | None, str, str]]:
        """Version, newest version with an outcome, and which outcome, of each event."""
        return [(e.version, e.last_seen.version, e.last_seen.status) for e in self.events]

    async def version(self) -> str | None:
        (manifest,) = await self.manifests.read([REF])
        return manifest.version


@pytest.mark.parametrize("late", [records(1), records(1, kind="delete"), records(1, "A|B")], ids=len)
async def test_an_old_version_behind_a_new_one_supersedes_nothing(late: list[Record]) -> None:
    """A version that comes late into a batch does not push out the newer one before it."""
    lane = Lane()
    await lane.stage.step([*records(2), *late])
    assert await lane.version() == edition(2).version


async def test_an_old_version_between_parts_supersedes_nothing() -> None:
    """A first part is worked on though an old version comes before the second."""
    lane = Lane()
    await lane.stage.step(records(1, "C"))
    first, second = records(2, "A|B")
    await lane.stage.step([first, *records(1, "C"), second])
    assert await lane.version() == edition(2).version


async def test_a_newer_version_in_the_batch_spares_the_older() -> None:
    """Of versions in order only the newest is written."""
    lane = Lane()
    await lane.stage.step([*records(1, "A|B"), *records(2, "C")])
    assert [(v, seen) for v, seen, _ in lane.told] == [(edition(2).version,) * 2]
    assert len(lane.store._chunks) == 1


@pytest.mark.parametrize("text", ["!A|B", "?A|B", "A!|B|C"])
async def test_a_version_without_its_first_part_is_refused(text: str) -> None:
    """When a part was refused, so is the part that would complete the version: it would wait for ever."""
    lane = Lane()
    await lane.stage.step(records(1, "C"))
    first, *_, last = records(2, text)
    try:
        outcomes: Sequence[object] = await lane.stage.step([first])
    except Permanent:
        outcomes = [Refuse("no")]
    assert isinstance(outcomes[0], Refuse)
    with pytest.raises(Permanent) as caught:
        await lane.stage.step([last])
    assert caught.value.reason == "parts"
    assert await lane.version() == edition(1).version


async def test_a_refusal_is_announced_after_what_came_before_it() -> None:
    """Of a version and the refusal of the next in one batch the last event says both."""
    lane = Lane()
    outcomes = await lane.stage.step([*records(1), *records(2, kind="refused")])
    assert all(isinstance(outcome, Emit) and not outcome.outputs for outcome in outcomes)  # the log has them already
    assert lane.told == [
        (edition(1).version, edition(1).version, "indexed"),
        (edition(1).version, edition(2).version, "rejected"),
    ]


async def test_a_refusal_does_not_overtake_the_next_batch() -> None:
    """A refusal that is put on record while the next batch runs is not announced with the manifest of before."""
    lane = Lane()
    await lane.stage.step(records(1))
    gate = lane.gate = asyncio.Event()
    refusing = asyncio.create_task(lane.stage.on_refused(records(2, "!")[0], "dead-lettered", "no"))
    async with asyncio.timeout(5):
        while lane.gate is not None:
            await asyncio.sleep(0)
        stepping = asyncio.create_task(lane.stage.step(records(3)))
        for _ in range(20):  # all that the batch needs, if nothing keeps it
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(refusing, stepping)
    versions = [version or "" for version, _, _ in lane.told]
    assert versions == sorted(versions) and await lane.version() == edition(3).version


async def test_a_late_version_does_not_forget_a_refusal() -> None:
    """The event of a version that comes after a newer one was refused still says so, as the manifest does."""
    lane = Lane()
    await lane.stage.step(records(2, kind="refused"))
    await lane.stage.step(records(1))
    assert lane.told[-1] == (edition(1).version, edition(2).version, "rejected")
    (manifest,) = await lane.manifests.read([REF])
    assert manifest.last_seen == lane.events[-1].last_seen


async def test_tokens_end_with_the_last_part() -> None:
    """A version is passed when all of it is visible, not when its first part was stored."""
    lane = Lane()
    await lane.stage.step(records(1))
    first, last = records(2, "A|B")
    await lane.stage.step([first])
    assert await lane.manifests.watermarks() == {(EPOCH, 0): 1}
    await lane.stage.step([last])
    assert await lane.manifests.watermarks() == {(EPOCH, 0): 2}
