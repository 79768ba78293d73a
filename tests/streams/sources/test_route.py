"""Mapped documents go to the epoch that takes writes at the moment of writing."""

import pytest

from connectors.epochs import EpochLog
from connectors.errors import Overloaded, Transient
from connectors.memory.topic_log import MemoryTopicLog
from runtime.clock import ManualClock, millis
from streams.outcome import Output
from streams.sources.route import Route
from topics.codec import encode, schema_header
from topics.control import Epoch
from topics.epochs import PATIENCE, QUIET, READ_EVERY, epoch_key, first_epoch
from topics.identity import partition_of
from topics.registry import DOCUMENTS, SOURCES, documents_of
from topics.spec import dead_letters_of

KEY = b"a"  # on partition 0 of 4 and 4 of 8
DOCUMENT = Output(DOCUMENTS, KEY, b"{}", 0)
LETTER = Output(dead_letters_of(SOURCES), KEY, b"{}", 3)


class Control(MemoryTopicLog):
    """`control`, which may be away, and counts how often it is asked."""

    away, asked = False, 0

    def __init__(self) -> None:
        super().__init__(1)

    def tell(self, epoch: Epoch) -> None:
        self.append(0, epoch_key(epoch).encode(), encode(epoch), schema_header(epoch), 0)

    async def ends(self) -> dict[int, int]:
        self.asked += 1
        if self.away:
            raise Transient("away")
        return await super().ends()


class World:
    """A route, its clock, and `control`."""

    def __init__(self) -> None:
        self.clock, self.control, self.monotonic = ManualClock(), Control(), 0.0
        self.route = Route(EpochLog(self.control, first_epoch("p", 4)), self.clock, lambda: self.monotonic)

    async def later(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self.monotonic += seconds

    async def move(self, seconds: float) -> None:
        active = millis(self.clock.now() + seconds)
        self.control.tell(first_epoch("p", 4))
        self.control.tell(Epoch(number=2, topic="p.documents.2", partitions=8, active_from=active))


async def test_partitions_are_those_of_the_key() -> None:
    """A document goes where murmur2 puts its key; a dead letter stays where it is."""
    document, letter = await World().route([DOCUMENT, LETTER])
    assert (document.spec, document.partition, document.key) == (DOCUMENTS, partition_of(KEY, 4), KEY)
    assert letter is LETTER


async def test_a_move_is_followed() -> None:
    """To the old topic until shortly before the move, to the new one from shortly after it, and to none in between."""
    world = World()
    await world.route([DOCUMENT])
    await world.move(20)
    await world.later(20 - QUIET - 0.1)
    assert (await world.route([DOCUMENT]))[0].spec is DOCUMENTS
    await world.later(0.2)
    with pytest.raises(Overloaded, match="moving") as raised:
        await world.route([DOCUMENT])
    assert raised.value.retry_after == pytest.approx(2 * QUIET - 0.1, abs=0.01)
    assert await world.route([LETTER]) == [LETTER]
    await world.later(2 * QUIET)
    (found,) = await world.route([DOCUMENT])
    assert found.spec == documents_of(2) and found.partition == partition_of(KEY, 8)
    await world.clock.sleep(-60)  # a clock that is set back takes nobody back
    assert (await world.route([DOCUMENT]))[0].spec == documents_of(2)


async def test_no_write_without_control() -> None:
    """Who could not look for an announcement long enough does not write; one look a second is enough."""
    world = World()
    for _ in range(5):
        await world.route([DOCUMENT])
    assert world.control.asked == 1
    world.control.away = True
    await world.later(PATIENCE - 0.1)
    await world.route([DOCUMENT])
    await world.later(0.2)
    with pytest.raises(Transient, match="control cannot be read: away"):
        await world.route([DOCUMENT])
    world.control.away = False
    await world.later(READ_EVERY)
    assert (await world.route([DOCUMENT]))[0].spec is DOCUMENTS
