"""What every log must do for the gateway; the in-memory log and Kafka pass the same tests."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from gateway.ports import CaughtUp, Log, LoggedEvent, Place
from runtime.clock import millis
from tests.gateway.builders import event, token, whole_story
from topics.codec import encode, schema_header
from topics.headers import Hop, Priority
from topics.identity import mint_job_id
from topics.queries import AnswerEvent, Question
from topics.registry import ANSWERS, DOCUMENTS, QUERIES, QUERIES_BATCH

Say = Callable[[AnswerEvent], Awaitable[None]]


class Ears:
    """Remembers what the log delivers for the jobs that are wanted."""

    def __init__(self) -> None:
        self.heard: list[LoggedEvent] = []
        self.jobs: set[str] = set()

    def deliver(self, events: Sequence[LoggedEvent]) -> None:
        """Take events."""
        self.heard += events

    def wanted(self, job_id: str) -> bool:
        """Whether to hear of a job."""
        return job_id in self.jobs

    async def until(self, count: int) -> list[LoggedEvent]:
        """Wait until so many were heard."""
        await eventually(lambda: len(self.heard) >= count)
        return self.heard


async def eventually(true: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.02)


async def ask(log: Log, job_id: str, priority: Priority = "interactive") -> Place:
    """Publish a question."""
    hop = Hop(job_id=job_id, deadline=millis() + 30_000, reply_partition=0, tenant="acme", priority=priority)
    question = Question(question="why?", asked_at=millis())
    headers = {**hop.headers(), **schema_header(question)}
    topic = QUERIES_BATCH if priority == "batch" else QUERIES
    return await log.publish(topic, job_id.encode(), encode(question), headers, 20)


class LogContract:
    """Fixtures `opened` (a log whose events go to `ears`), `ears` and `say` (write an event as a worker does)."""

    async def test_places(self, opened: Log) -> None:
        """Records of one key lie in one partition, each behind the one before; a null value is a record too."""
        places = [await opened.publish(DOCUMENTS, b"a/b", value, {"h": b"1"}, 20) for value in (b"1", None, b"3")]
        assert len({place.partition for place in places}) == 1
        assert [place.offset - places[0].offset for place in places] == [0, 1, 2]

    async def test_an_event_of_our_own(self, opened: Log, ears: Ears) -> None:
        """What the gateway itself says of a job goes to the partition it names, and comes back like anything else."""
        for partition in opened.reply_partitions():
            end = event("gateway", "c", 0, "error", {"reason": "cancelled"}, mint_job_id(partition))
            ears.jobs.add(end.job_id)
            place = await opened.publish(ANSWERS, end.job_id.encode(), encode(end), {}, 20, partition)
            heard = await ears.until(len(ears.jobs))
            assert (heard[-1].event, heard[-1].offset, place.partition) == (end, place.offset, partition)

    async def test_new_events_of_wanted_jobs(self, opened: Log, ears: Ears, say: Say) -> None:
        """Events are delivered in log order, with their offsets; those of other jobs are not."""
        partition = opened.reply_partitions()[-1]
        mine, other = mint_job_id(partition), mint_job_id(partition)
        ears.jobs.add(mine)
        for seq in range(3):
            await say(token("a", seq, "x", other))
            await say(token("a", seq, "x", mine))
        heard = await ears.until(3)
        assert [(e.event.job_id, e.event.seq) for e in heard] == [(mine, 0), (mine, 1), (mine, 2)]
        assert [e.offset for e in heard] == sorted({e.offset for e in heard})
        assert all(e.size > 0 for e in heard)

    async def test_replay(self, opened: Log, say: Say) -> None:
        """A replay gives all of the job and only of the job, says once that it has caught up, and goes on."""
        job_id, other = mint_job_id(1), mint_job_id(1)
        story = whole_story(job_id)
        for each in story[:3]:
            await say(each)
            await say(token("a", each.seq, "x", other))
        found: list[Any] = []

        async def read() -> None:
            async for item in opened.replay(job_id, time.time() + 30):
                found.append(item)
                if isinstance(item, LoggedEvent) and item.event.type == "answer":
                    break

        reading = asyncio.create_task(read())
        await eventually(lambda: CaughtUp() in found)
        for each in story[3:]:
            await say(each)
        await asyncio.wait_for(reading, 20)
        assert [item.event.type for item in found if isinstance(item, LoggedEvent)] == [e.type for e in story]
        assert found.index(CaughtUp()) == 3
        assert found.count(CaughtUp()) == 1

    async def test_replay_of_nothing(self, opened: Log) -> None:
        """A job that has said nothing is caught up with at once, and the replay ends at its time."""
        found = [item async for item in opened.replay(mint_job_id(0), time.time() + 0.5)]
        assert found == [CaughtUp()]

    @pytest.mark.parametrize("priority", ["interactive", "batch"])
    async def test_questions_are_found(self, opened: Log, priority: Priority) -> None:
        """A question is found by its job id, with what its headers say; one that was never asked is not."""
        job_id = mint_job_id(0)
        for _ in range(3):
            await ask(opened, mint_job_id(0))
        await ask(opened, job_id, priority)
        asked = await opened.find_question(job_id)
        assert asked is not None
        assert (asked.hop.job_id, asked.hop.tenant, asked.question.question) == (job_id, "acme", "why?")
        assert asked.hop.priority == priority
        assert await opened.find_question(mint_job_id(0)) is None

    async def test_what_waits(self, opened: Log) -> None:
        """Questions that nobody has taken are counted."""
        before = (await opened.queue_lengths())["retrieve"]
        await ask(opened, mint_job_id(0))
        assert (await opened.queue_lengths())["retrieve"] == before + 1

    async def test_a_record_by_its_place(self, opened: Log) -> None:
        """Key, value and headers as they were published; nothing where nothing is yet, nor before the first one."""
        place = await opened.publish(DOCUMENTS, b"by/place", b"text", {"content-type": b"text/plain"}, 20)
        await opened.publish(DOCUMENTS, b"by/place", None, {}, 20)
        found = await opened.written(DOCUMENTS, place.partition, place.offset)
        assert found is not None and (found.key, found.value) == (b"by/place", b"text")
        assert found.headers["content-type"] == b"text/plain"
        gone = await opened.written(DOCUMENTS, place.partition, place.offset + 1)
        assert gone is not None and gone.value is None
        assert await opened.written(DOCUMENTS, place.partition, place.offset + 1_000_000) is None
