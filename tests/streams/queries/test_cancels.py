"""A cancelled job costs nothing more, wherever its work stands."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from connectors.errors import Transient
from connectors.memory.topic_log import MemoryTopicLog
from streams.outcome import Drop, Emit, Outcome, Record
from streams.queries.cancels import CANCELLED, KEPT, Cancels
from topics.headers import Hop

JOB, OTHER = "a" * 36, "b" * 36
DEADLINE = 5.0  # seconds


def record(job_id: str = JOB) -> Record:
    return Record("queries", 0, 0, b"k", b"{}", Hop(job_id=job_id, deadline=1, reply_partition=0).headers(), 0)


class Work:
    """A step that goes on until it is let, and knows whether it was stopped."""

    def __init__(self) -> None:
        self.begun, self.stopped, self.may_end = asyncio.Event(), False, asyncio.Event()

    async def step(self, _: Record) -> Outcome:
        self.begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.stopped = True
            raise
        return Emit()


@pytest.fixture
def topic() -> MemoryTopicLog:
    return MemoryTopicLog(1)


@pytest.fixture
async def cancels(topic: MemoryTopicLog) -> AsyncIterator[Cancels]:
    """They follow the topic, in which somebody was cancelled before."""
    topic.append(0, OTHER.encode(), b"{}", {}, 0)
    found = Cancels(topic)
    following = asyncio.create_task(found.run())
    await known(found, OTHER)
    yield found
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def known(cancels: Cancels, job_id: str) -> None:
    """Until the job is known to be cancelled."""
    async with asyncio.timeout(DEADLINE):
        while job_id.encode() not in cancels._known:
            await asyncio.sleep(0)


async def test_what_was_cancelled_before_does_not_begin(cancels: Cancels) -> None:
    """A question that waited in the log while its job was cancelled is dropped; others are taken."""
    work = Work()
    work.may_end.set()
    assert await cancels.unless_cancelled(work.step)(record(OTHER)) == CANCELLED
    assert not work.begun.is_set()
    assert await cancels.unless_cancelled(work.step)(record()) == Emit()


async def test_work_stops_where_it_stands(cancels: Cancels, topic: MemoryTopicLog) -> None:
    """It is stopped at once, both deliveries of it, and other jobs go on."""
    works = [Work(), Work(), Work()]
    ids = (JOB, JOB, "c" * 36)
    running = [
        asyncio.ensure_future(cancels.unless_cancelled(work.step)(record(job_id)))
        for work, job_id in zip(works, ids, strict=True)
    ]
    await asyncio.gather(*(work.begun.wait() for work in works))
    topic.append(0, JOB.encode(), b"{}", {}, 0)
    async with asyncio.timeout(DEADLINE):
        assert await asyncio.gather(*running[:2]) == [Drop("cancelled")] * 2
    assert [work.stopped for work in works] == [True, True, False]
    works[2].may_end.set()
    assert await running[2] == Emit()
    assert cancels._wanted == {}


async def test_what_the_step_says_counts(cancels: Cancels) -> None:
    """Its outcome and its errors come through, and a worker that stops takes its work with it."""

    async def fails(_: Record) -> Outcome:
        raise Transient("away")

    with pytest.raises(Transient):
        await cancels.unless_cancelled(fails)(record())
    work = Work()
    stopping = asyncio.ensure_future(cancels.unless_cancelled(work.step)(record()))
    await work.begun.wait()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert work.stopped


async def test_an_outage_only_delays(topic: MemoryTopicLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the topic is away work goes on; what was cancelled meanwhile is known afterwards."""
    read, failures = topic.read, [2]

    async def away(*arguments: object) -> object:
        if failures[0]:
            failures[0] -= 1
            raise Transient("away")
        return await read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(topic, "read", away)
    topic.append(0, JOB.encode(), b"{}", {}, 0)
    cancels = Cancels(topic)
    following = asyncio.create_task(cancels.run())
    await known(cancels, JOB)
    following.cancel()


def test_old_jobs_are_forgotten(topic: MemoryTopicLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no question can bear any more is not remembered for ever."""
    cancels = Cancels(topic)
    cancels.take(b"old")
    later = time.monotonic() + KEPT + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    cancels.take(b"new")
    assert list(cancels._known) == [b"new"]
