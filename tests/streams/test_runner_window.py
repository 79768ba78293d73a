"""What was under way when a worker died: first side by side once more, then one by one."""

import asyncio
from collections.abc import Sequence

import pytest

from connectors.memory.deliveries import MemoryDeliveries
from streams.outcome import Emit, Outcome, Output, Record, RefusedStatus, Stage
from streams.runner import Runner
from tests.streams.memory_stream import MemoryTopics, run_dry
from topics import registry

RECORDS = [Record("retrievals", 0, offset, b"k", b"{}", {}, 0) for offset in range(4)]


async def most_at_once(deliveries: int, limit: int) -> int:
    """How many of four records ran side by side, each of which was begun so often and never finished."""
    ledger, running, most = MemoryDeliveries(), 0, 0
    for _ in range(deliveries):
        await ledger.begin("generate", [record.place for record in RECORDS])

    async def step(_: Record) -> Outcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return Emit()

    async def on_refused(record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        raise AssertionError("nothing is at fault")

    stage = Stage(name="generate", reads=registry.RETRIEVALS, record_step=step, on_refused=on_refused, in_flight=4)
    acked = await run_dry(Runner(stage, MemoryTopics(), ledger, limit), RECORDS)
    assert acked == [record.place for record in RECORDS]
    return most


@pytest.mark.parametrize(
    ("deliveries", "limit", "most"), [(0, 4, 4), (1, 4, 4), (2, 4, 1), (3, 4, 1), (1, 2, 1), (2, 3, 1)]
)
async def test_suspects_run_alone(deliveries: int, limit: int, most: int) -> None:
    """From the second time on each runs alone, so that none is blamed for another; after one crash answers go on."""
    assert await most_at_once(deliveries, limit) == most


@pytest.mark.parametrize(("unacked", "done"), [(0, 1), (3, 2), (9, 3)])
async def test_others_pass_a_slow_head(unacked: int, done: int) -> None:
    """Two side by side: behind a slow one others are done one after the other, as many as may be unacknowledged."""
    slow, passed = asyncio.Event(), list[int]()

    async def step(record: Record) -> Outcome:
        if record.offset == 0:
            await slow.wait()
        passed.append(record.offset)
        return Emit()

    async def on_refused(record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        raise AssertionError("nothing is at fault")

    stage = Stage(
        name="retrieve", reads=registry.QUERIES, record_step=step, on_refused=on_refused, in_flight=2, unacked=unacked
    )
    running = asyncio.create_task(run_dry(Runner(stage, MemoryTopics(), MemoryDeliveries(), 4), RECORDS))
    await asyncio.sleep(0.2)
    assert passed == list(range(1, done + 1))
    slow.set()
    assert await running == [record.place for record in RECORDS]
