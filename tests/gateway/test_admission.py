"""Who comes in, on a clock that the test turns."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import desk
from gateway.admission import LATEST, Admission, Kind, Permit
from gateway.memory_log import MemoryLog
from gateway.problems import Problem
from runtime.settings import Gateway
from tests.gateway.builders import asked, event, whole_story
from topics.headers import Priority
from topics.identity import mint_job_id
from topics.registry import QUERIES, QUERIES_BATCH


class Door:
    """An admission with a clock, and one worker that answers as told."""

    def __init__(self, *, several: bool = False, **limits: float) -> None:
        self.now = 1000.0
        self.admission = Admission(Gateway(**limits), several, lambda: self.now)

    def ask(
        self, seconds: float = 30.0, tenant: str = "default", priority: Priority = "interactive", *, fresh: bool = False
    ) -> Permit:
        return self.admission.admit(tenant, Kind(priority, "answer", fresh), seconds)

    def refusal(self, seconds: float = 30.0, tenant: str = "default", priority: Priority = "interactive") -> Problem:
        with pytest.raises(Problem) as raised:
            self.ask(seconds, tenant, priority)
        assert raised.value.status == 429
        return raised.value

    def work(self, permits: Iterator[Permit], count: int, each: float) -> None:
        """Answer so many, each within so many seconds."""
        for _ in range(count):
            permit = next(permits)
            self.admission.tell(permit, "retrieving")
            self.now += each
            self.admission.tell(permit, "answer")


def test_no_more_than_the_permits() -> None:
    """The permits bound what is under way; a job that ends, however often that is told, gives back one."""
    door = Door(max_in_flight=3)
    permits = [door.ask() for _ in range(3)]
    assert door.refusal().extra == {"cause": "in-flight"}
    for _ in range(2):
        door.admission.end(permits[0])
    door.ask()
    door.refusal()
    assert door.admission.open("interactive") == 3


def test_batch_has_permits_of_its_own() -> None:
    """Batch questions, however many, take no permit from those that somebody waits for, and the other way round."""
    door = Door(max_in_flight=2, max_batch=5)
    for _ in range(5):
        door.ask(priority="batch")
    door.refusal(priority="batch")
    door.ask()
    door.ask()
    door.refusal()


def test_a_tenant_leaves_room_for_others() -> None:
    """One of several tenants gets its share and no more; where there is one, it gets all."""
    door = Door(several=True, max_in_flight=8, tenant_share=0.5)
    for _ in range(4):
        door.ask(tenant="loud")
    assert door.refusal(tenant="loud").extra == {"cause": "tenant"}
    for _ in range(4):
        door.ask(tenant="quiet")
    alone = Door(max_in_flight=8, tenant_share=0.5)
    for _ in range(8):
        alone.ask()


def test_who_cannot_be_answered_in_time_is_told_at_once() -> None:
    """With 60 waiting and 10 answered a second, 2 seconds are too few, 60 enough, and the pace says when to come."""
    door = Door(max_in_flight=1000)
    permits = iter([door.ask() for _ in range(100)])
    door.now += 1.0  # they queue
    door.work(permits, 40, 0.1)
    late = door.refusal(2.0)
    assert late.extra == {"cause": "late"}
    assert late.retry_after is not None
    assert 9.9 <= late.retry_after <= 15.5  # 6 s to drain, twice for safety, less the 2 that it has, and a scatter
    door.ask(60.0)


def test_failures_are_no_pace() -> None:
    """Questions that fail by the dozen make nobody believe that answers are quick."""
    door = Door(max_in_flight=1000)
    permits = iter([door.ask() for _ in range(100)])
    door.now += 1.0
    door.work(permits, 10, 1.0)
    for _ in range(50):
        door.admission.tell(next(permits), "error")
    assert door.refusal(30.0).extra == {"cause": "late"}  # 40 are left, at one a second


def test_nobody_is_refused_for_a_pace_of_long_ago() -> None:
    """While nobody queues nothing is estimated: after a slow time the next ones are taken, and measured anew."""
    door = Door(max_in_flight=1000)
    permits = iter([door.ask() for _ in range(20)])
    door.now += 1.0
    door.work(permits, 20, 5.0)
    door.now += 60
    for _ in range(50):
        door.ask(1.0)  # all in the same instant, of which none has waited yet


def test_an_outage_is_no_pace() -> None:
    """Few ask, and the worker is away for 5 s again and again: once it is back, those who wait a moment come in."""
    door = Door()
    for _ in range(4):
        permits = [door.ask(10) for _ in range(3)]
        door.now += 5
        door.work(iter(permits), 3, 0.05)
        for _ in range(8):  # nobody waits, so nothing is learnt
            door.work(iter([door.ask(10)]), 1, 0.05)
            door.now += 0.25
    permits = [door.ask(10) for _ in range(4)]
    door.now += 0.2
    permits += [door.ask(10) for _ in range(4)]
    door.work(iter(permits), 8, 0.05)


def test_who_waits_to_be_fresh_is_no_pace() -> None:
    """A worker has questions for seconds that wait for the index: they make no outage look like its pace."""
    door = Door()
    for _ in range(5):
        waiting = [door.ask(10, fresh=True) for _ in range(4)]
        for permit in waiting:
            door.admission.tell(permit, "retrieving")
        door.now += 4
        for permit in waiting:
            door.admission.tell(permit, "answer")
        permits = [door.ask(10) for _ in range(3)]
        door.now += 5
        door.work(iter(permits), 3, 0.05)
    permits = [door.ask(10) for _ in range(4)]
    door.now += 0.3
    permits += [door.ask(10) for _ in range(4)]
    door.work(iter(permits), 8, 0.05)


def test_all_being_worked_on_is_no_room() -> None:
    """With every place of a window taken and nobody behind it, a question is told that they go on slowly together."""
    door = Door(max_in_flight=1000)
    permits = [door.ask() for _ in range(30)]
    door.now += 1.0
    for place, permit in enumerate(permits):  # sixteen at a time, four a second
        door.admission.tell(permit, "retrieving")
        if place >= 16:
            door.now += 0.25
            door.admission.tell(permits[place - 16], "answer")
    assert door.admission.oldest("interactive") == 0.0
    assert door.refusal(5.0).extra == {"cause": "late"}  # 16 at 4 a second
    door.admission.tell(door.ask(10.0), "retrieving")
    door.now += 11.0
    door.ask(5.0)  # nobody has waited since: it is tried


def test_streams_side_by_side_are_no_queue() -> None:
    """Long answers that are all being written say nothing of a queue: one more is taken, as it would begin at once."""
    door = Door(max_in_flight=1000)
    for _ in range(30):
        permit = door.ask()
        for told in ("retrieving", "passages", "generating"):
            door.admission.tell(permit, told)
            door.now += 0.02
        door.now += 0.5
    assert door.admission.oldest("interactive") == 0.0
    door.ask(1.0)


def test_waiting_for_generation_is_a_queue() -> None:
    """Behind `passages` a job waits as well, until generation begins."""
    door = Door(max_in_flight=1000, max_queued=5)
    permit = door.ask()
    door.admission.tell(permit, "retrieving")
    door.now += 60
    assert door.admission.oldest("interactive") == 0.0
    door.admission.tell(permit, "passages")
    door.now += 4
    assert door.admission.oldest("interactive") == 4.0
    door.admission.tell(permit, "generating")
    assert door.admission.oldest("interactive") == 0.0


def test_a_queue_that_does_not_move_is_not_made_longer() -> None:
    """While a question has waited too long no more are taken, batch ones excepted; once it is over they are."""
    door = Door(max_queued=5)
    permit = door.ask()
    door.now += 5.1
    assert door.refusal().extra == {"cause": "queued"}
    door.ask(priority="batch")
    door.admission.end(permit)
    door.ask()


def test_when_to_come_again_follows_the_pace_and_is_scattered() -> None:
    """Twice as slow, twice as late; those refused together do not come back together; never later than a minute."""

    def told(each: float) -> list[float]:
        door = Door(max_in_flight=50, max_queued=1e6)
        permits = iter([door.ask() for _ in range(50)])
        door.now += 1.0
        for _ in range(30):
            door.work(permits, 1, each)
        for _ in range(30):
            door.ask(10_000)
        return [door.refusal(10_000).retry_after or 0.0 for _ in range(20)]

    fast, slow, stuck = told(0.1), told(0.2), told(10.0)
    assert all(5 <= seconds <= 8 for seconds in fast)
    assert len(set(fast)) > 5
    assert all(10 <= seconds <= 16 for seconds in slow)
    assert max(stuck) <= LATEST * 1.5


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 2)), max_size=60))
def test_permits_never_leak(steps: list[tuple[int, float]]) -> None:
    """Whatever comes in which order, permits held are those not ended, and the clock never runs back."""
    door, held = Door(several=True, max_in_flight=6, max_batch=4, tenant_share=0.5, max_queued=3), list[Permit]()
    for what, seconds in steps:
        door.now += seconds
        if what < 2:
            with contextlib.suppress(Problem):
                held.append(door.ask(tenant="ab"[what], priority="batch" if seconds > 1 else "interactive"))
        elif held:
            permit = held[0]
            if what == 2:
                door.admission.tell(permit, "retrieving")
            elif what == 3:
                door.admission.tell(permit, "passages")
            elif what == 4:
                door.admission.tell(held.pop(0), "answer")
            else:
                door.admission.end(held.pop(0))
        for priority in ("interactive", "batch"):
            assert door.admission.open(priority) == sum(p.kind.priority == priority for p in held)
            assert door.admission.oldest(priority) >= 0
    for permit in held:
        door.admission.end(permit)
    assert door.admission.open("interactive") == door.admission.open("batch") == 0


def test_a_decision_takes_microseconds() -> None:
    """With 10,000 under way a refusal and a permit cost less than 0.2 ms of processor time each."""
    door = Door(max_in_flight=10_000)
    permits = [door.ask() for _ in range(10_000)]
    began = time.thread_time()
    for permit in permits[:500]:
        door.refusal()
        door.admission.end(permit)
        door.ask()
    assert (time.thread_time() - began) / 1000 < 2e-4


async def test_priority_goes_another_way(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """A batch question lies in the topic of its own, says so on every hop, and has more time."""
    answer = await client.post("/v1/queries", json={"question": "q", "priority": "batch"})
    assert answer.status_code == 202
    hop, _ = asked(await log.next(QUERIES_BATCH))
    assert hop.priority == "batch"
    assert 590 < hop.remaining() <= 600
    assert not [record for record in log.published if record.topic is QUERIES]
    for each in whole_story(hop.job_id):
        log.answer(each)
    assert (await client.get(answer.json()["links"]["self"])).json()["state"] == "done"


@pytest.mark.parametrize("priority", ["urgent", 1, None, ""])
async def test_a_priority_that_is_none(client: httpx.AsyncClient, log: MemoryLog, priority: object) -> None:
    """422 names the field."""
    answer = await client.post("/v1/queries", json={"question": "q", "priority": priority})
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json()["errors"]] == ["/priority"]
    assert not log.published


async def test_what_a_refused_client_is_told(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """429 names the cause, in a problem document, and Retry-After agrees with it."""
    for _ in range(4):
        await client.post("/v1/queries", json={"question": "q"})
    refused = await client.post("/v1/retrieve", json={"question": "q"})
    assert (refused.status_code, refused.json()["cause"]) == (429, "in-flight")
    assert int(refused.headers["Retry-After"]) == round(refused.json()["retry_after"])
    batch = await client.post("/v1/queries", json={"question": "q", "priority": "batch"})
    assert batch.status_code == 202


async def test_permits_of_the_door_follow_the_log(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """What workers say moves the queue: the oldest waits until one takes it, and again for generation."""
    job_id = (await client.post("/v1/queries", json={"question": "q"})).json()["job_id"]

    async def queued() -> float:
        text = (await client.get("/metrics")).text
        return float(text.split('freshet_oldest_queued_seconds{priority="interactive"} ')[1].split()[0])

    await asyncio.sleep(0.02)
    assert await queued() > 0.01
    log.answer(event("retrieve", "r", 0, "retrieving", job_id=job_id))
    assert await queued() == 0.0
    log.answer(event("retrieve", "r", 1, "passages", {"passages": []}, job_id))
    await asyncio.sleep(0.02)
    assert await queued() > 0.01
    log.answer(event("generate", "g", 0, "generating", job_id=job_id))
    assert await queued() == 0.0


async def test_jobs_are_not_looked_up_without_a_bound(
    client: httpx.AsyncClient, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While as many jobs are looked for in the log as may be, one more is 429; when they are found it is not."""
    monkeypatch.setattr(desk, "MAX_REPLAYS", 3)
    found = asyncio.Event()

    async def slow(_: str) -> None:
        await found.wait()

    monkeypatch.setattr(log, "find_question", slow)
    looking = [asyncio.create_task(client.get(f"/v1/queries/{mint_job_id(0)}")) for _ in range(3)]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        assert (await client.get(f"/v1/queries/{mint_job_id(0)}")).status_code == 429
    found.set()
    assert {answer.status_code for answer in await asyncio.gather(*looking)} == {404}
    assert (await client.get(f"/v1/queries/{mint_job_id(0)}")).status_code == 404
