"""Epochs read from `control` through a topic log."""

import asyncio

import pytest

from connectors.epochs import EpochLog
from connectors.errors import Transient
from connectors.memory.topic_log import MemoryTopicLog
from topics.codec import encode, schema_header
from topics.control import Epoch
from topics.epochs import Epochs, epoch_key, first_epoch

FIRST = first_epoch("p", 4)
SECOND = Epoch(number=2, topic="p.documents.2", partitions=8, active_from=None)


class Control(MemoryTopicLog):
    """`control`, which may be away."""

    away = False

    def __init__(self) -> None:
        super().__init__(1)

    def tell(self, epoch: Epoch) -> None:
        self.append(0, epoch_key(epoch).encode(), encode(epoch), schema_header(epoch), 0)

    async def ends(self) -> dict[int, int]:
        if self.away:
            raise Transient("away")
        return await super().ends()


async def test_what_is_told_is_read() -> None:
    """The first epoch until others are told; of each the last that was told, also when asked again."""
    control = Control()
    epochs = EpochLog(control, FIRST)
    assert await epochs.read() == Epochs([FIRST])
    control.tell(FIRST)
    control.tell(SECOND)
    assert (await epochs.read()).known == [FIRST, SECOND]
    moved = Epoch(number=2, topic="p.documents.2", partitions=8, active_from=5)
    control.tell(moved)
    assert (await epochs.read()).known == [FIRST, moved]


async def test_a_schema_of_tomorrow_is_waited_for() -> None:
    """A record that cannot be read is no reason to go on as if it were not there."""
    control = Control()
    control.append(0, b"epoch/2", b"{}", {"freshet-schema": b"Epoch/2"}, 0)
    with pytest.raises(Transient, match="upgrade"):
        await EpochLog(control, FIRST).read()


async def test_another_epoch_is_noticed() -> None:
    """Waiting ends with an epoch beyond those known, not with news of one that is, and outlasts an outage."""
    control = Control()
    control.tell(FIRST)
    epochs = EpochLog(control, FIRST)
    waiting = asyncio.create_task(epochs.wait_for_more(await epochs.read()))
    control.tell(FIRST)
    control.away = True
    await asyncio.sleep(0)
    control.tell(SECOND)
    await asyncio.sleep(0)
    assert not waiting.done()
    control.away = False
    async with asyncio.timeout(5):
        await waiting
