"""The same request makes the same job, at any gateway, whoever died in between."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from connectors.errors import Transient
from connectors.job_ports import Claim, JobRef, StoredJob
from connectors.memory.jobs import MemoryJobs
from connectors.memory.manifests import MemoryManifests
from gateway.app import create_app
from gateway.idempotency import LEASE_MS, YOUNG_MS, digest_of
from gateway.memory_log import MemoryLog, Storage
from gateway.payloads import QuestionBody
from runtime.clock import millis
from runtime.settings import Settings
from tests.gateway.builders import answering, asked, serving, sse_events, whole_story
from topics.identity import mint_job_id
from topics.registry import QUERIES

KEY = {"Idempotency-Key": "a key of mine"}
BODY = {"question": "q", "filter": {"a": {"eq": 1}, "b": {"eq": 2}}}


class Installation:
    """Gateways on one log and one store."""

    def __init__(self, door: Settings) -> None:
        self.door, self.storage, self.jobs = door, Storage(), MemoryJobs()

    def log(self) -> MemoryLog:
        return MemoryLog(self.storage)

    def gateway(self, log: MemoryLog | None = None) -> Any:
        return serving(create_app(self.door, MemoryManifests(), log or self.log(), jobs=self.jobs))

    def questions(self) -> list[str]:
        """Job ids of the questions in the log."""
        return [record.key.decode() for record in self.storage.records if record.topic is QUERIES]

    async def claimed(self, until: int, job_id: str | None = None) -> str:
        """A claim on the key by a gateway that died before it published; gives its job id."""
        body = QuestionBody(question="q")
        claim = Claim(
            job_id=job_id or mint_job_id(0), body=digest_of(body, "answer", []), deadline=millis() + 9000, until=until
        )
        await self.jobs.claim("default", KEY["Idempotency-Key"], claim)
        return claim.job_id


@pytest.fixture
def installation(door: Settings) -> Installation:
    return Installation(door)


@pytest.fixture
async def gateways(installation: Installation) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Two of them."""
    async with installation.gateway() as first, installation.gateway() as second:
        yield [first, second]


async def test_the_same_again(installation: Installation) -> None:
    """Same key and body: byte for byte the same answer, from another replica and after a restart; one question."""
    async with installation.gateway() as first:
        given = await first.post("/v1/queries", json=BODY, headers=KEY)
        again = await first.post("/v1/queries", json=dict(reversed(BODY.items())), headers=KEY)
        [job_id] = installation.questions()
        log = installation.log()
        for each in whole_story(job_id):
            log.answer(each)
        later = await first.post("/v1/queries", json=BODY, headers=KEY)
    async with installation.gateway() as restarted:
        after = await restarted.post("/v1/queries", json=BODY, headers=KEY)
        waited = await restarted.post("/v1/queries", json=BODY, headers={**KEY, "Prefer": "wait=5"})
    assert given.status_code == 202 and given.json()["job_id"] == job_id
    assert {answer.content for answer in (given, again, later, after)} == {given.content}
    assert {answer.headers["Location"] for answer in (given, again, later, after)} == {f"/v1/queries/{job_id}"}
    assert (waited.status_code, waited.json()["job_id"], waited.json()["state"]) == (200, job_id, "done")
    assert installation.questions() == [job_id]


async def test_another_body(gateways: list[httpx.AsyncClient], installation: Installation) -> None:
    """Another question, another way of asking, or other people: 409; another tenant or key: a job of its own."""
    first, second = gateways
    assert (await first.post("/v1/queries", json=BODY, headers=KEY)).status_code == 202
    refused = [
        await second.post("/v1/queries", json={**BODY, "question": "other"}, headers=KEY),
        await second.post("/v1/queries", json={**BODY, "k": 3}, headers=KEY),
        await second.post("/v1/retrieve", json=BODY, headers=KEY),
        await second.post("/v1/queries", json=BODY, headers={**KEY, "Freshet-Principals": "ann"}),
    ]
    assert [answer.status_code for answer in refused] == [409] * 4
    assert refused[0].json()["type"] == "urn:freshet:problem:conflict"
    for others in ({**KEY, "Freshet-Tenant": "acme"}, {"Idempotency-Key": "another"}, {}):
        assert (await second.post("/v1/queries", json=BODY, headers=others)).status_code == 202
    assert len(set(installation.questions())) == len(installation.questions()) == 4


async def test_first_requests_race(
    gateways: list[httpx.AsyncClient], installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many first requests at once at two gateways one asks, all get its job, and no permit is lost."""
    held = installation.jobs.held

    async def slowly(*arguments: str) -> Claim | None:
        found = await held(*arguments)
        await asyncio.sleep(0.01)  # so that all find the key free
        return found

    monkeypatch.setattr(installation.jobs, "held", slowly)
    answers = await asyncio.gather(*(gateways[n % 2].post("/v1/queries", json=BODY, headers=KEY) for n in range(8)))
    taken = [answer for answer in answers if answer.status_code != 429]  # at most four questions are under way here
    assert len({answer.content for answer in taken}) == 1 and {a.status_code for a in taken} == {202}
    assert installation.questions() == [taken[0].json()["job_id"]]
    in_flight = [(await client.get("/healthz")).json()["in_flight"] for client in gateways]
    assert sorted(in_flight) == [0, 1]


@pytest.mark.parametrize("lapses_in", [-1, 200])
async def test_a_gateway_that_died_before_it_published(
    gateways: list[httpx.AsyncClient], installation: Installation, lapses_in: int
) -> None:
    """When its claim has lapsed the question is published under the id that it had claimed, once."""
    job_id = await installation.claimed(millis() + lapses_in)
    answers = await asyncio.gather(*(c.post("/v1/queries", json={"question": "q"}, headers=KEY) for c in gateways))
    assert [(answer.status_code, answer.json()["job_id"]) for answer in answers] == [(202, job_id)] * 2
    assert installation.questions() == [job_id]


async def test_a_claim_that_is_too_old_to_go_on(gateways: list[httpx.AsyncClient], installation: Installation) -> None:
    """A question that would be looked for too long ago in the log is asked anew, and the key is the new job's."""
    old = mint_job_id(0, (millis() - 2 * YOUNG_MS) / 1000)
    assert await installation.claimed(0, old) == old
    answers = [await client.post("/v1/queries", json={"question": "q"}, headers=KEY) for client in gateways]
    assert answers[0].content == answers[1].content and answers[0].json()["job_id"] != old
    assert installation.questions() == [answers[0].json()["job_id"]]


def unsure_once(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> MemoryLog:
    """A log that takes the first question and does not say so."""
    log = installation.log()
    publish, lost = log.publish, [True]

    async def unsure(*arguments: Any) -> Any:
        place = await publish(*arguments)
        if lost and lost.pop():
            raise Transient("no acknowledgement")
        return place

    monkeypatch.setattr(log, "publish", unsure)
    return log


@pytest.mark.parametrize("later", [0.0, 1.1])
async def test_a_question_that_came_after_all_and_was_answered(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, later: float
) -> None:
    """Who was told 503 asks again, at once or after its deadline: it is not put into the log, and paid for, twice."""
    log, body = unsure_once(installation, monkeypatch), {**BODY, "timeout": 1}
    async with installation.gateway(log) as client:
        assert (await client.post("/v1/queries", json=body, headers=KEY)).status_code == 503
        [job_id] = installation.questions()
        for each in whole_story(job_id):
            log.answer(each)
        await installation.jobs.tell([StoredJob(ref=JobRef("default", job_id), state="done")])
        await asyncio.sleep(later)
        again = await client.post("/v1/queries", json=body, headers={**KEY, "Prefer": "wait=5"})
    assert (again.status_code, again.json()["job_id"], again.json()["state"]) == (200, job_id, "done")
    assert installation.questions() == [job_id]


async def test_a_log_that_did_not_take_the_question(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, and a repeat need not wait: it publishes under the same id, in case the first did arrive after all."""
    log = unsure_once(installation, monkeypatch)
    async with installation.gateway(log) as client:
        assert (await client.post("/v1/queries", json=BODY, headers=KEY)).status_code == 503
        async with asyncio.timeout(LEASE_MS / 2000):
            again = await client.post("/v1/queries", json=BODY, headers=KEY)
        assert again.status_code == 202
        [one, other] = installation.questions()
        assert one == other == again.json()["job_id"]
        for attempt in range(2):  # a worker takes both; the second attempt begins after the first has ended
            for each in whole_story(one):
                each.attempt += str(attempt)
                log.answer(each)
        events = sse_events((await client.get(f"/v1/queries/{one}/events")).text)
    assert [name for name, _ in events] == [
        "accepted", "retrieving", "passages", "generating", "token", "token", "token", "answer"
    ]  # fmt: skip


async def test_without_the_store(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is away requests with a key get 503, and those without get their job."""

    async def away(*_: Any) -> Any:
        raise Transient("away")

    for name in ("held", "claim", "reclaim", "put"):
        monkeypatch.setattr(installation.jobs, name, away)
    async with installation.gateway() as client:
        keyed = await client.post("/v1/queries", json=BODY, headers=KEY)
        assert (keyed.status_code, "Retry-After" in keyed.headers) == (503, True)
        assert (await client.post("/v1/queries", json=BODY)).status_code == 202
        assert (await client.get("/healthz")).json()["in_flight"] == 1


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "schlüssel", "a\tb"])
async def test_keys_that_are_none(client: httpx.AsyncClient, log: MemoryLog, key: str) -> None:
    """422 names the header."""
    for path in ("/v1/queries", "/v1/retrieve"):
        answer = await client.post(path, json=BODY, headers={b"Idempotency-Key": key.encode()})
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["header"] == "Idempotency-Key"
    assert not log.published


async def test_passages_again(installation: Installation) -> None:
    """Retrieving with a key searches once; a repeat gets the same passages."""
    found = {"question": "q", "passages": [], "generation": "g1", "asked_at": 1}
    log = installation.log()
    async with installation.gateway(log) as client, answering(log, lambda: {"retrieval": found}) as came:
        one = await client.post("/v1/retrieve", json=BODY, headers=KEY)
        other = await client.post("/v1/retrieve", json=BODY, headers=KEY)
    assert (one.status_code, one.json()["job_id"]) == (200, other.json()["job_id"])
    assert len(came) == 1
    assert asked(installation.storage.records[0])[0].mode == "retrieve"
