"""Batch questions behind the others, on the real runner without Kafka."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from connectors.memory.deliveries import MemoryDeliveries
from streams.outcome import Emit, Outcome, Output, Record, RefusedStatus, Stage
from streams.runner import Runner
from tests.streams.memory_stream import MemoryStream
from topics import registry

DEADLINE = 5.0


class Work:
    """A stage whose records end when the test lets them."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self._news = asyncio.Event()

    async def step(self, record: Record) -> Outcome:
        name = (record.value or b"").decode()
        self.begun.append(name)
        self.gates[name] = asyncio.Event()
        self._news.set()
        await self.gates[name].wait()
        return Emit()

    async def until_begun(self, name: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while name not in self.begun:
                self._news.clear()
                await self._news.wait()

    async def end(self, name: str) -> None:
        await self.until_begun(name)
        self.gates[name].set()


async def _nothing(_: Sequence[Output]) -> None:
    """Nothing is written."""


async def _refused(record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
    return []


@asynccontextmanager
async def running(work: Work, first: int, batch: int) -> AsyncIterator[tuple[MemoryStream, MemoryStream]]:
    """The two runners of a stage that takes two records, and one batch record, at once."""
    stage = Stage(
        "retrieve", registry.QUERIES, _refused, record_step=work.step, in_flight=2, batch_in_flight=1
    )  # fmt: skip
    lane = Runner(stage, _nothing, MemoryDeliveries(), 4)
    behind = Runner(stage, _nothing, MemoryDeliveries(), 4, behind=lane)
    assert (lane.lane, behind.lane) == ("retrieve", "retrieve.batch")
    streams = MemoryStream(_records("q", first)), MemoryStream(_records("b", batch))
    tasks = [asyncio.create_task(lane.run(streams[0]))]
    if first:
        await work.until_begun("q0")
    tasks.append(asyncio.create_task(behind.run(streams[1])))
    try:
        yield streams
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _records(name: str, count: int) -> list[Record]:
    return [Record(name, 0, n, b"key", f"{name}{n}".encode(), {}, 1) for n in range(count)]


async def _idle() -> None:
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_no_batch_question_begins_while_others_wait() -> None:
    """With both places taken and more waiting no batch record begins, however many of the others end one by one."""
    work = Work()
    async with running(work, first=6, batch=3) as (first, _):
        for n in range(4):
            await work.until_begun(f"q{n + 1}")
            await _idle()
            assert not [name for name in work.begun if name.startswith("b")]
            await work.end(f"q{n}")
        await work.until_begun("q5")
        await work.until_begun("b0")
        assert len(first.acked) == 4


async def test_batch_questions_have_places_of_their_own() -> None:
    """Without others one runs at a time, in order; a slow one holds up no other question."""
    work = Work()
    async with running(work, first=0, batch=3) as (_, behind):
        await work.until_begun("b0")
        await _idle()
        assert work.begun == ["b0"]
        await work.end("b0")
        await work.until_begun("b1")
        assert len(behind.acked) == 1


async def test_a_slow_batch_question_is_in_nobodys_way() -> None:
    """While it is worked on, others are begun and ended beside it."""
    work = Work()
    async with running(work, first=2, batch=1) as (first, behind):
        await work.until_begun("b0")
        for name in ("q0", "q1"):
            await work.end(name)
        async with asyncio.timeout(DEADLINE):
            await first.finished()
        assert not behind.acked
