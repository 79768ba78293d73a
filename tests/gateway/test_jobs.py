"""Jobs in memory: waiting, following, expiring."""

import asyncio

from gateway.jobs import Job
from gateway.ports import LoggedEvent
from runtime.clock import millis
from tests.gateway.builders import JOB, event, token, whole_story
from topics.queries import AnswerEvent


def job(seconds: float = 30) -> Job:
    """A job with that much time left."""
    return Job(JOB, "default", "answer", millis() + int(seconds * 1000), live=True)


def tell(found: Job, events: list[AnswerEvent], first: int = 10) -> None:
    """Feed events at offsets from `first`."""
    for offset, each in enumerate(events, first):
        found.feed(LoggedEvent(offset, each, 100))


async def heard(found: Job, after: int = -1) -> list[tuple[int | None, str]]:
    """(offset, type) of all that a follower is told."""
    return [(item[0], item[1].type) async for item in found.follow(after, 0.05) if item is not None]


async def test_followers_hear_all_whenever_they_come() -> None:
    """One who listens from the start and one who comes late are told the same."""
    found = job()
    early = asyncio.create_task(heard(found))
    await asyncio.sleep(0)
    tell(found, whole_story())
    assert await early == await heard(found)
    assert found.state == "done"


async def test_resuming_skips_what_was_told() -> None:
    """Behind an offset only what lies after it is told, nothing twice and nothing missing."""
    found = job()
    tell(found, whole_story())
    everything = await heard(found)
    for place, (offset, _) in enumerate(everything):
        assert offset is not None
        assert await heard(found, offset) == everything[place + 1 :]


async def test_restarted_has_no_id() -> None:
    """A client cut off right behind `restarted` still gets the event that came with it."""
    found = job()
    tell(found, [token("a", 0, "x"), token("b", 0, "y"), event("generate", "b", 1, "answer")])
    assert await heard(found) == [(10, "token"), (None, "restarted"), (11, "token"), (12, "answer")]


async def test_an_offset_is_told_once() -> None:
    """Live reader and replay may both bring an event."""
    found = job()
    tell(found, whole_story())
    tell(found, whole_story())
    assert len(await heard(found)) == len(whole_story())


async def test_expiry_ends_waiting() -> None:
    """After the deadline readers are told `expired`, without an id, since the log does not have it."""
    found = job()
    waiting = asyncio.create_task(heard(found))
    await asyncio.sleep(0)
    found.expire()
    assert await waiting == [(None, "error")]
    assert found.state == "expired"


async def test_the_log_is_right_about_a_late_answer() -> None:
    """An answer that came in after all replaces the expiry that was only assumed."""
    found = job()
    found.expire()
    tell(found, whole_story())
    assert found.state == "done"
    assert (await heard(found))[-1][1] == "answer"


async def test_heartbeats_while_nothing_happens() -> None:
    """Silence is told as None, so that a connection can be kept open."""
    found = job()
    stream = found.follow(-1, 0.01)
    assert await anext(stream) is None
    assert await anext(stream) is None


async def test_a_stopping_gateway_lets_followers_go() -> None:
    """Streams and waits end at once; the job itself has not ended."""
    found = job()
    waits = [asyncio.create_task(heard(found)), asyncio.create_task(found.finished(30))]
    await asyncio.sleep(0)
    found.stop()
    assert await asyncio.gather(*waits) == [[], False]
    assert found.final is None


async def test_the_state_never_goes_back() -> None:
    """A retrieval that runs again while the answer is being written does not change what the job is at."""
    found = job()
    tell(found, [event("generate", "a", 0, "generating"), event("retrieve", "r2", 0, "retrieving")])
    assert found.state == "generating"
