"""Jobs that are cancelled, listed, and told of when the log no longer keeps them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.errors import Transient
from connectors.job_ports import FinalEvent, JobRef, StoredJob
from connectors.memory.jobs import MemoryJobs
from connectors.memory.manifests import MemoryManifests
from gateway import job_routes
from gateway.app import create_app
from gateway.cancelling import Canceller
from gateway.jobs import Job
from gateway.memory_log import MemoryLog, Storage
from gateway.ports import LoggedEvent
from runtime.clock import millis
from runtime.settings import Settings
from tests.gateway.builders import door_settings, serving, sse_events, token, whole_story
from tests.gateway.test_keys import Holders, shown
from topics.codec import decode
from topics.headers import EVENT, Hop
from topics.identity import mint_job_id
from topics.queries import Cancelled
from topics.registry import CANCELS


@pytest.fixture
def jobs() -> MemoryJobs:
    return MemoryJobs()


@pytest.fixture
async def two(
    door: Settings, jobs: MemoryJobs
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient, MemoryLog]]:
    """Two gateways on one log and one store."""
    storage = Storage()
    logs = [MemoryLog(storage, (0, 1)), MemoryLog(storage, (2, 3))]
    apps = [create_app(door, MemoryManifests(), log, jobs=jobs) for log in logs]
    async with serving(apps[0]) as first, serving(apps[1]) as second:
        yield first, second, logs[0]


Two = tuple[httpx.AsyncClient, httpx.AsyncClient, MemoryLog]


async def post(client: httpx.AsyncClient, **headers: str) -> str:
    return str((await client.post("/v1/queries", json={"question": "why?"}, headers=headers)).json()["job_id"])


def ended(at: float, state: str = "done", tenant: str = "default", **fields: Any) -> StoredJob:
    """A job as the deliver stage keeps it."""
    kind = "answer" if state == "done" else "error"
    newest = {"retrieve": "r", "generate": "g"}
    final = FinalEvent(type=kind, attempt="g", seq=4, offset=17, at=int(at * 1000) + 5)
    job = StoredJob(ref=JobRef(tenant, mint_job_id(1, at)), newest=newest, final=final, deadline=9, **fields)
    job.state = state  # type: ignore[assignment]
    return job


async def test_a_cancelled_job(two: Two) -> None:
    """Everybody who follows it is told, at any gateway; workers are told; the permit is free; once more is fine."""
    first, second, log = two
    job_id = await post(first)
    log.answer(whole_story(job_id)[0])
    log.answer(token("g", 0, "half", job_id))
    following = [asyncio.create_task(client.get(f"/v1/queries/{job_id}/events")) for client in (first, second)]
    await asyncio.sleep(0.02)
    given = await second.delete(f"/v1/queries/{job_id}")
    assert (given.status_code, given.json()["state"], given.json()["error"]["reason"]) == (
        200,
        "cancelled",
        "cancelled",
    )
    for stream in await asyncio.gather(*following):
        assert [name for name, _ in sse_events(stream.text)] == ["accepted", "retrieving", "token", "error"]
    [notice] = [record for record in log.published if record.topic is CANCELS]
    assert (notice.key, decode(notice.value or b"", Cancelled).job_id) == (job_id.encode(), job_id)
    assert Hop.of(notice.headers).job_id == job_id and EVENT not in notice.headers
    again = await first.delete(f"/v1/queries/{job_id}")
    assert (again.status_code, again.json()) == (200, given.json())
    assert len([record for record in log.published if record.topic is CANCELS]) == 1
    assert (await first.get("/healthz")).json()["in_flight"] == 0
    for each in whole_story(job_id):  # a worker that was too far on
        log.answer(each)
    assert (await first.get(f"/v1/queries/{job_id}")).json()["state"] == "cancelled"


async def test_a_webhook_is_told_of_a_job_that_nobody_began() -> None:
    """The end that a gateway writes names the webhook, since no event before it may have."""
    log, job = MemoryLog(), Job(mint_job_id(0), "acme", "answer", millis() + 9000, ["ann"], live=True)
    job.webhook = "*"

    def deliver(events: Sequence[LoggedEvent]) -> None:
        for each in events:
            job.feed(each)

    await log.open(deliver, lambda _: True)
    await Canceller(log).cancel(job, "")
    hop = Hop.of(log.published[-1].headers)
    assert (job.state, hop.webhook, hop.principals, hop.tenant) == ("cancelled", "*", ["ann"], "acme")


async def test_too_late_to_cancel(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that has its answer, even if it came into the log just before the cancellation, keeps it: 409."""
    first, second, log = two
    job_id = await post(first)
    for each in whole_story(job_id):
        log.answer(each)
    late = await second.delete(f"/v1/queries/{job_id}")
    assert (late.status_code, late.json()["state"]) == (409, "done")

    raced = await post(first)
    publish = log.publish

    async def overtaken(*arguments: Any) -> Any:
        for each in whole_story(raced):
            log.answer(each)
        return await publish(*arguments)

    monkeypatch.setattr(log, "publish", overtaken)
    late = await first.delete(f"/v1/queries/{raced}")
    assert (late.status_code, late.json()["state"]) == (409, "done")
    assert (await second.get(f"/v1/queries/{raced}")).json()["answer"]["text"] == "All is well."


async def test_cancelling_what_is_not_ones_own(two: Two) -> None:
    """Unknown, malformed, or another tenant's: 404, and it goes on."""
    first, second, _ = two
    job_id = await post(first)
    for path, headers in (
        (mint_job_id(1), {}), ("nonsense", {}), (job_id, {"Freshet-Tenant": "acme"}),
    ):  # fmt: skip
        assert (await second.delete(f"/v1/queries/{path}", headers=headers)).status_code == 404
    assert (await first.delete(f"/v1/queries/{job_id}", params={"now": "1"})).status_code == 422
    assert (await first.get(f"/v1/queries/{job_id}")).json()["state"] == "accepted"


async def test_the_list(two: Two, jobs: MemoryJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant's jobs, newest first, by state, a page at a time, however few of them fit the filter."""
    first, second, _ = two
    now = millis() / 1000
    kept = [ended(now - 60 + n, "failed" if n % 3 else "done") for n in range(9)]
    await jobs.tell([*kept, ended(now, tenant="acme")])
    late = await post(first)
    async with asyncio.timeout(5):
        while await jobs.read([JobRef("default", late)]) == [None]:  # it is noted in the background
            await asyncio.sleep(0)
    waiting = StoredJob(ref=JobRef("default", mint_job_id(1, now - 90)), deadline=int(now * 1000) - 1)
    await jobs.put(waiting)
    monkeypatch.setattr(job_routes, "PAGE", 2)
    monkeypatch.setattr(job_routes, "MAX_SEEN", 4)

    async def listed(**parameters: str) -> list[str]:
        found, asked = [], 0
        while True:
            page = (await second.get("/v1/queries", params=parameters)).json()
            found += [job["job_id"] for job in page["jobs"]]
            asked += 1
            assert asked < 20
            if page["next"] is None:
                return found
            parameters["cursor"] = page["next"]

    everything = [late, *(job.ref.job_id for job in reversed(kept)), waiting.ref.job_id]
    assert await listed() == await listed(limit="1") == await listed(limit="3") == everything
    assert await listed(state="done") == [kept[n].ref.job_id for n in (6, 3, 0)]
    assert await listed(state="expired", limit="2") == [waiting.ref.job_id]
    assert await listed(state="cancelled") == []
    [newest] = (await first.get("/v1/queries", params={"state": "accepted"})).json()["jobs"]
    assert (newest["question"], newest["state"], newest["links"]["self"]) == ("why?", "accepted", f"/v1/queries/{late}")
    assert len((await first.get("/v1/queries", headers={"Freshet-Tenant": "acme"})).json()["jobs"]) == 1


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({"state": "lost"}, "state"), ({"limit": "0"}, "limit"), ({"limit": "101"}, "limit"), ({"limit": "x"}, "limit"),
        ({"cursor": "next"}, "cursor"), ({"after": "1"}, "after"), ({"state": ["done", "failed"]}, "state"),
    ],
)  # fmt: skip
async def test_a_wrong_list(two: Two, parameters: dict[str, Any], wrong: str) -> None:
    """422 names the parameter."""
    answer = await two[0].get("/v1/queries", params=parameters)
    assert answer.status_code == 422 and answer.json()["errors"][0]["parameter"] == wrong


async def test_older_than_the_log(two: Two, jobs: MemoryJobs) -> None:
    """What the log no longer keeps is told from the store, polled and followed; 410 past both."""
    first, _, log = two
    log.storage.first_ms = millis()
    old = millis() / 1000 - 7200
    job = ended(old, passages=[{"doc_id": "d"}], passages_offset=3, data={"text": "It was so."})
    failed = ended(old, "cancelled", data={"reason": "cancelled", "message": "m"})
    unfinished = StoredJob(ref=JobRef("default", mint_job_id(1, old)), state="generating", deadline=9)
    await jobs.tell([job, failed, unfinished])
    polled = (await first.get(f"/v1/queries/{job.ref.job_id}")).json()
    assert (polled["state"], polled["passages"], polled["answer"]) == (
        "done",
        [{"doc_id": "d"}],
        {"text": "It was so."},
    )
    events = f"/v1/queries/{job.ref.job_id}/events"
    assert sse_events((await first.get(events)).text) == [("accepted", None), ("passages", "3"), ("answer", "17")]
    resumed = await first.get(events, headers={"Last-Event-ID": "9"})
    assert sse_events(resumed.text) == [("answer", "17")]
    assert (await first.get(events, headers={"Last-Event-ID": "17"})).status_code == 204
    for other, state in ((failed, "cancelled"), (unfinished, "expired")):
        assert (await first.get(f"/v1/queries/{other.ref.job_id}")).json()["state"] == state
    assert (await first.delete(f"/v1/queries/{job.ref.job_id}")).status_code == 409
    assert (await first.get(f"/v1/queries/{mint_job_id(1, old)}")).status_code == 410
    foreign = await two[1].get(f"/v1/queries/{job.ref.job_id}", headers={"Freshet-Tenant": "acme"})
    assert foreign.status_code == 410


async def test_without_the_store(two: Two, jobs: MemoryJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is away lists get 503, and so do jobs that only it may have; everything else goes on."""
    first, _, log = two
    log.storage.first_ms = millis()

    async def away(*_: Any, **__: Any) -> Any:
        raise Transient("away")

    for name in ("page", "read", "put"):
        monkeypatch.setattr(jobs, name, away)
    job_id = await post(first)
    for path in ("/v1/queries", f"/v1/queries/{mint_job_id(1, millis() / 1000 - 7200)}"):
        answer = await first.get(path)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert (await first.delete(f"/v1/queries/{job_id}")).status_code == 200


async def test_keys_see_what_they_may(tmp_path: Path, jobs: MemoryJobs) -> None:
    """With API keys a list and an old job tell nothing of what was asked with other principals."""
    holders = Holders(tmp_path / "keys.jsonl")
    keyed = door_settings(TENANTS="default,acme", API_KEYS_FILE=str(holders.path))
    log = MemoryLog()
    log.storage.first_ms = millis()
    old = millis() / 1000 - 7200
    mine, public, theirs = (
        ended(old + n, data={}, principals=who) for n, who in enumerate((["ann"], [], ["ann", "board"]))
    )
    await jobs.tell([mine, public, theirs])
    async with serving(create_app(keyed, MemoryManifests(), log, jobs=jobs)) as client:
        listed = (await client.get("/v1/queries", headers=shown(holders.ann))).json()["jobs"]
        assert [job["job_id"] for job in listed] == [public.ref.job_id, mine.ref.job_id]
        for job, status in ((mine, 200), (public, 200), (theirs, 404)):
            answer = await client.get(f"/v1/queries/{job.ref.job_id}", headers=shown(holders.ann))
            assert answer.status_code == status
        assert (await client.delete(f"/v1/queries/{theirs.ref.job_id}", headers=shown(holders.ann))).status_code == 404
