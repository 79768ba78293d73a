"""Asking over HTTP, with the test in the part of the workers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from connectors.errors import Transient
from connectors.memory.manifests import MemoryManifests
from gateway.app import Gateway, create_app
from gateway.memory_log import MemoryLog, Record, Storage
from runtime.clock import millis
from runtime.settings import Settings
from tests.gateway.builders import asked, event, serving, sse_events, token, whole_story
from topics.identity import mint_job_id
from topics.queries import AnswerEvent, Condition

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def work(log: MemoryLog, story: list[AnswerEvent] | None = None) -> Record:
    """Take the next question and tell its story."""
    record = await log.next()
    for each in story if story is not None else whole_story(asked(record)[0].job_id):
        log.answer(each)
    return record


def retrieval(job_id: str) -> list[AnswerEvent]:
    """What the retrieve stage says in mode retrieve."""
    passage = {"doc_id": "a/b", "version": "1.1", "chunk_id": "c", "text": "t", "score": 0.9, "published_at": 1}
    found = {
        "question": "q",
        "passages": [passage],
        "generation": "g1",
        "degraded": ["keyword"],
        "timings": {"search": 3.0},
        "asked_at": 1,
    }
    return [
        event("retrieve", "r", 0, "retrieving", job_id=job_id),
        event("retrieve", "r", 1, "answer", {"retrieval": found}, job_id),
    ]


async def test_what_a_question_carries(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Tenant, principals, deadline, trace and the question itself reach the log as they were asked."""
    body = {"question": "why?", "k": 7, "filter": {"year": {"gte": 2020}}, "at_least": ["1.0.5"], "timeout": 9}
    body |= {"search": "keyword", "rerank": False, "explain": True, "cache": False, "model": "Qwen/Q-7b"}
    principals = "team-b, team-a,, jörg".encode()
    headers = {b"Freshet-Tenant": b"acme", b"Freshet-Principals": principals, b"traceparent": TRACE.encode()}
    answer = await client.post("/v1/queries", json=body, headers=headers)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/queries/{answer.json()['job_id']}"
    record = await log.next()
    hop, question = asked(record)
    assert record.key == hop.job_id.encode() == answer.json()["job_id"].encode()
    assert (hop.tenant, hop.principals, hop.traceparent) == ("acme", ["jörg", "team-a", "team-b"], TRACE)
    assert 8 < hop.remaining() <= 9
    assert (question.question, question.mode, question.k, question.at_least) == ("why?", "answer", 7, ["1.0.5"])
    assert (question.search, question.rerank, question.explain, question.cache) == ("keyword", False, True, False)
    assert question.model == "Qwen/Q-7b"
    assert question.filter == {"year": Condition(gte=2020)}


async def test_a_trace_is_minted_where_none_is_valid(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Every question has a trace context; one that is malformed is replaced."""
    await client.post("/v1/queries", json={"question": "q"}, headers={"traceparent": "00-" + "0" * 32 + "-x-01"})
    trace = asked(await log.next())[0].traceparent
    assert trace is not None
    assert len(trace) == 55


WRONG: list[tuple[Any, str]] = [
    ({}, "/question"),
    ({"question": "  "}, "/question"),
    ({"question": "x" * 4001}, "/question"),
    ({"question": "q", "k": 0}, "/k"),
    ({"question": "q", "k": 51}, "/k"),
    ({"question": "q", "k": "5"}, "/k"),
    ({"question": "q", "timeout": 0}, "/timeout"),
    ({"question": "q", "timeout": 601}, "/timeout"),
    ({"question": "q", "filter": {"a": {"like": "x"}}}, "/filter/a/like"),
    ({"question": "q", "filter": {"a": {"eq": 1}, "b": {"any": [1]}}}, "/filter/b/any/0"),
    ({"question": "q", "filter": {"a": {}}}, "/filter/a"),
    ({"question": "q", "filter": {"a": 5}}, "/filter/a"),
    ({"question": "q", "at_least": ["1.0.5", "now"]}, "/at_least/1"),
    ({"question": "q", "search": "magic"}, "/search"),
    ({"question": "q", "history": [{"role": "king", "content": "x"}]}, "/history/0/role"),
    ({"question": "q", "history": [{"role": "user", "content": "x"}] * 11}, "/history"),
    ({"question": "q", "history": [{"role": "user", "content": "x" * 4001}] * 2}, "/history"),
    (
        {"question": "q", "history": [{"role": "user", "content": "x"}, {"role": "user", "content": "\0"}]},
        "/history/1/content",
    ),
    ({"question": "q", "stream": True}, "/stream"),
]


@pytest.mark.parametrize("path", ["/v1/queries", "/v1/retrieve"])
@pytest.mark.parametrize(("body", "pointer"), WRONG)
async def test_a_wrong_question(client: httpx.AsyncClient, log: MemoryLog, path: str, body: Any, pointer: str) -> None:
    """422 names the field, and no permit is lost to it."""
    answer = await client.post(path, json=body)
    assert answer.status_code == 422, answer.text
    assert [e["pointer"] for e in answer.json()["errors"]] == [pointer]
    assert not log.published
    assert (await client.get("/healthz")).json()["in_flight"] == 0


async def test_waiting_for_the_answer(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """With `Prefer: wait` the answer comes whole, and the header says that it was honoured."""
    working = asyncio.create_task(work(log))
    answer = await client.post("/v1/queries", json={"question": "q"}, headers={"Prefer": "respond-async, wait=5"})
    await working
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=5"
    assert (answer.json()["state"], answer.json()["answer"]["text"]) == ("done", "All is well.")


async def test_waiting_in_vain(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """After the time that the client wants to wait it gets the job, which goes on and can be polled."""
    answer = await client.post("/v1/queries", json={"question": "q"}, headers={"Prefer": "wait=0"})
    assert answer.status_code == 202
    await work(log)
    polled = (await client.get(answer.json()["links"]["self"])).json()
    assert (polled["state"], polled["passages"]) == ("done", [])


async def test_polling_shows_the_stages(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """State and passages appear as the log tells of them; an error ends the job as failed."""
    job_id = (await client.post("/v1/queries", json={"question": "q"})).json()["job_id"]
    seen = []
    for each in [
        event("retrieve", "r", 0, "retrieving", job_id=job_id),
        event("retrieve", "r", 1, "passages", {"passages": [{"doc_id": "d"}]}, job_id),
        event("generate", "g", 0, "generating", job_id=job_id),
        event("generate", "g", 1, "error", {"reason": "model", "message": "no"}, job_id),
    ]:
        log.answer(each)
        seen.append((await client.get(f"/v1/queries/{job_id}")).json())
    assert [s["state"] for s in seen] == ["retrieving", "retrieving", "generating", "failed"]
    assert seen[-1]["passages"] == [{"doc_id": "d"}]
    assert seen[-1]["error"] == {"reason": "model", "message": "no"}


async def test_passages(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Retrieving gives the passages with generation, degraded, and timings of the worker and of the log's hops."""

    async def retrieve() -> None:
        record = await log.next()
        assert asked(record)[1].mode == "retrieve"
        for each in retrieval(asked(record)[0].job_id):
            log.answer(each)

    working = asyncio.create_task(retrieve())
    answer = await client.post("/v1/retrieve", json={"question": "q"})
    await working
    found = answer.json()
    assert (answer.status_code, found["generation"], found["degraded"]) == (200, "g1", ["keyword"])
    assert (found["passages"][0]["doc_id"], found["passages"][0]["score"]) == ("a/b", 0.9)
    assert {"search", "publish", "to_worker", "reply", "total"} <= set(found["timings"])


async def test_no_passages_in_time(client: httpx.AsyncClient) -> None:
    """When no worker answers, 504 says that the deadline is over, and the permit is free again."""
    answer = await client.post("/v1/retrieve", json={"question": "q", "timeout": 0.05})
    assert answer.status_code == 504
    assert answer.json()["reason"] == "expired"
    assert (await client.get("/healthz")).json()["in_flight"] == 0


async def test_permits(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Beyond the permits 429 with Retry-After; a job that ends gives its permit back."""
    jobs = [(await client.post("/v1/queries", json={"question": "q"})).json()["job_id"] for _ in range(4)]
    refused = await client.post("/v1/queries", json={"question": "q"})
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    for each in whole_story(jobs[0]):
        log.answer(each)
    assert (await client.post("/v1/queries", json={"question": "q"})).status_code == 202


async def test_the_log_away(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Without the log 503 with Retry-After, for asking and for looking up, and no permit is lost."""
    log.failure = Transient("away")
    for answer in (
        await client.post("/v1/queries", json={"question": "q"}),
        await client.post("/v1/retrieve", json={"question": "q"}),
        await client.get(f"/v1/queries/{mint_job_id(0)}"),
    ):
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert (await client.get("/healthz")).json()["in_flight"] == 0


async def test_a_question_that_was_not_published(
    client: httpx.AsyncClient, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the broker does not take the question, its permit is free again at once."""

    async def away(*_: Any) -> Any:
        raise Transient("away")

    monkeypatch.setattr(log, "publish", away)
    for _ in range(6):
        assert (await client.post("/v1/queries", json={"question": "q"})).status_code == 503
    assert (await client.get("/healthz")).json()["in_flight"] == 0


async def test_server_sent_events(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """`accepted` first without id, then every event with its offset, in a stream that no proxy buffers or stores."""
    job_id = (await client.post("/v1/queries", json={"question": "q"})).json()["job_id"]
    following = asyncio.create_task(client.get(f"/v1/queries/{job_id}/events"))
    await asyncio.sleep(0.05)
    await work(log)
    stream = await following
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    assert (stream.headers["X-Accel-Buffering"], stream.headers["Cache-Control"]) == ("no", "no-store")
    names = ["retrieving", "passages", "generating", "token", "token", "token", "answer"]
    assert sse_events(stream.text) == [("accepted", None), *((name, str(n)) for n, name in enumerate(names))]
    assert 'data: {"text":"All "}' in stream.text


async def test_resuming_a_stream(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """With Last-Event-ID only what lies behind it comes; behind the end there is 204, which ends an EventSource."""
    job_id = (await client.post("/v1/queries", json={"question": "q"})).json()["job_id"]
    await work(log)

    async def resumed(last: str) -> httpx.Response:
        return await client.get(f"/v1/queries/{job_id}/events", headers={"Last-Event-ID": last})

    assert sse_events((await resumed("4")).text) == [("token", "5"), ("answer", "6")]
    assert (await resumed("6")).status_code == 204
    assert (await resumed("six")).status_code == 422


async def test_restarted_in_a_stream(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """A generation that ran again is told as `restarted`, then one whole text."""
    job_id = (await client.post("/v1/queries", json={"question": "q"})).json()["job_id"]
    last = event("generate", "b", 1, "answer", {}, job_id)
    await work(log, [token("a", 0, "x", job_id), token("b", 0, "y", job_id), token("a", 1, "x", job_id), last])
    stream = await client.get(f"/v1/queries/{job_id}/events")
    assert [name for name, _ in sse_events(stream.text)] == ["accepted", "token", "restarted", "token", "answer"]


@pytest.fixture
async def two(door: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient, MemoryLog]]:
    """Two gateways on one log: the first has reply partitions 0 and 1, the second 2 and 3."""
    storage = Storage()
    logs = [MemoryLog(storage, (0, 1)), MemoryLog(storage, (2, 3))]
    apps: list[Gateway] = [create_app(door, MemoryManifests(), log) for log in logs]
    async with serving(apps[0]) as first, serving(apps[1]) as second:
        yield first, second, logs[0]


async def test_any_gateway_resumes_any_job(two: tuple[httpx.AsyncClient, httpx.AsyncClient, MemoryLog]) -> None:
    """A job of one gateway is followed at another, from where the client was cut off to the end."""
    first, second, log = two
    job_id = (await first.post("/v1/queries", json={"question": "q"})).json()["job_id"]
    story = whole_story(job_id)
    for each in story[:4]:
        log.answer(each)
    following = asyncio.create_task(second.get(f"/v1/queries/{job_id}/events", headers={"Last-Event-ID": "1"}))
    polled = (await second.get(f"/v1/queries/{job_id}")).json()
    assert polled["state"] == "generating"
    await asyncio.sleep(0.05)
    for each in story[4:]:
        log.answer(each)
    assert [n for _, n in sse_events((await following).text)] == ["2", "3", "4", "5", "6"]
    assert (await first.get(f"/v1/queries/{job_id}")).json() == (await second.get(f"/v1/queries/{job_id}")).json()


async def test_an_unfinished_job_expires_at_any_gateway(
    two: tuple[httpx.AsyncClient, httpx.AsyncClient, MemoryLog],
) -> None:
    """A job that nobody worked on is `expired` after its deadline, wherever it is asked for."""
    first, second, _ = two
    job_id = (await first.post("/v1/queries", json={"question": "q", "timeout": 0.1})).json()["job_id"]
    stream = await second.get(f"/v1/queries/{job_id}/events")
    assert [name for name, _ in sse_events(stream.text)] == ["accepted", "error"]
    for gateway in (first, second):
        assert (await gateway.get(f"/v1/queries/{job_id}")).json()["state"] == "expired"


async def test_jobs_that_are_not_there(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Malformed, unknown, of the future, of a partition that is not: 404; past retention: 410."""
    log.storage.first_ms = millis() - 3600_000
    old = mint_job_id(1, now=millis() / 1000 - 7200)
    for job_id in ("nonsense", mint_job_id(1), mint_job_id(1, now=millis() / 1000 + 3600), mint_job_id(99)):
        assert (await client.get(f"/v1/queries/{job_id}")).status_code == 404
        assert (await client.get(f"/v1/queries/{job_id}/events")).status_code == 404
    assert (await client.get(f"/v1/queries/{old}")).status_code == 410


async def test_a_job_belongs_to_its_tenant(two: tuple[httpx.AsyncClient, httpx.AsyncClient, MemoryLog]) -> None:
    """Another tenant is told that there is no such job, at any gateway."""
    first, second, _ = two
    job_id = (await first.post("/v1/queries", json={"question": "q"})).json()["job_id"]
    for gateway in (first, second):
        assert (await gateway.get(f"/v1/queries/{job_id}", headers={"Freshet-Tenant": "acme"})).status_code == 404
        assert (await gateway.get(f"/v1/queries/{job_id}")).status_code == 200


async def test_many_ask_for_one_foreign_job(two: tuple[httpx.AsyncClient, httpx.AsyncClient, MemoryLog]) -> None:
    """Readers of one job share one reading of the log."""
    first, second, log = two
    job_id = (await first.post("/v1/queries", json={"question": "q"})).json()["job_id"]
    following = [asyncio.create_task(second.get(f"/v1/queries/{job_id}/events")) for _ in range(100)]
    await asyncio.sleep(0.05)
    await work(log)
    streams = await asyncio.gather(*following)
    assert {s.status_code for s in streams} == {200}
    assert len({s.text for s in streams}) == 1
