"""What is refused before the router sees it: the same answer, counted the same, for less."""

from typing import Any

import httpx
import pytest
from litestar import Litestar
from prometheus_client import REGISTRY

from connectors.memory.jobs import MemoryJobs
from connectors.memory.manifests import MemoryManifests
from gateway import shedding
from gateway.app import Gateway, create_app
from gateway.bodies import JSON
from gateway.memory_log import MemoryLog
from runtime.settings import Settings
from tests.gateway.builders import asked, serving
from topics.registry import QUERIES

QUESTION = {"question": "q", "timeout": 30}


def counted(name: str, **labels: str) -> float:
    """A counter as it stands."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def fill(client: httpx.AsyncClient) -> None:
    """Take all permits."""
    for _ in range(4):
        assert (await client.post("/v1/queries", json=QUESTION)).status_code == 202


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that the router has seen."""
    seen: list[str] = []
    whole = Litestar.__call__

    async def watched(self: Litestar, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(scope["path"])
        await whole(self, scope, receive, send)

    monkeypatch.setattr(Litestar, "__call__", watched)
    return seen


@pytest.mark.parametrize("path", shedding.MODES)
async def test_a_refusal_does_not_reach_the_router(
    client: httpx.AsyncClient, log: MemoryLog, routed: list[str], path: str
) -> None:
    """With all permits taken a question is told so where it comes in; one that is let in goes on to its route."""
    await fill(client)
    routed.clear()
    answer = await client.post(path, json=QUESTION)
    assert (answer.status_code, answer.json()["cause"], routed) == (429, "in-flight", [])
    assert len(log.published) == 4
    assert (await client.get("/v1/queries/x")).status_code == 404
    assert routed == ["/v1/queries/x"]


@pytest.mark.parametrize("path", shedding.MODES)
async def test_a_refusal_is_counted_once(client: httpx.AsyncClient, log: MemoryLog, path: str) -> None:
    """By its cause, and under the route's own name, as if the route had told it."""
    await fill(client)
    http = {"route": path, "status": "429"}
    before = counted("freshet_refused_total", cause="in-flight"), counted("freshet_http_requests_total", **http)
    seconds = counted("freshet_http_seconds_count", route=path)
    await client.post(path, json=QUESTION)
    assert counted("freshet_refused_total", cause="in-flight") == before[0] + 1
    assert counted("freshet_http_requests_total", **http) == before[1] + 1
    assert counted("freshet_http_seconds_count", route=path) == seconds + 1


async def test_the_answer_is_the_same(
    client: httpx.AsyncClient, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever refuses, the shedder or the route: same status, same headers, same body, but for the scatter of when."""
    await fill(client)
    answers = [await client.post("/v1/queries", json=QUESTION)]
    monkeypatch.setattr(shedding, "MODES", {})
    answers.append(await client.post("/v1/queries", json=QUESTION))
    first, second = ({**a.json(), "retry_after": 0, "status": a.status_code} for a in answers)
    assert first == second
    heads = [{n: v for n, v in a.headers.items() if n != "retry-after"} for a in answers]
    assert heads[0] == heads[1]
    assert all(int(a.headers["retry-after"]) == round(a.json()["retry_after"]) for a in answers)


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b'{"question": " "}', {}, 422),
        (b'{"question": "q", "wrong": 1}', {}, 422),
        (b'{"question": "q"}', {"Content-Type": "text/plain"}, 415),
        (b'{"question": "q"}', {"Freshet-Tenant": "nobody"}, 422),
        (b'{"question": "' + b"x" * 400_000 + b'"}', {}, 413),
    ],
)
async def test_mistakes_are_told_as_ever(
    client: httpx.AsyncClient, log: MemoryLog, monkeypatch: pytest.MonkeyPatch,
    content: bytes, headers: dict[str, str], status: int,
) -> None:  # fmt: skip
    """A question that is none is told what is wrong with it, in the same words before the router as behind it."""
    told = []
    for modes in (shedding.MODES, {}):
        monkeypatch.setattr(shedding, "MODES", modes)
        answer = await client.post("/v1/queries", content=content, headers={"Content-Type": JSON} | headers)
        told.append((answer.status_code, answer.json(), dict(answer.headers)))
    assert told[0] == told[1]
    assert told[0][0] == status


async def test_a_question_is_read_once(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """What was read before the router is what its route publishes; also where the path is written otherwise."""
    for path in ("/v1/queries", "/v1/queries/"):
        answer = await client.post(path, json={**QUESTION, "k": 2}, headers={"Freshet-Tenant": "acme"})
        assert answer.status_code == 202
        hop, question = asked(await log.next(QUERIES))
        assert (hop.tenant, question.question, question.k) == ("acme", "q", 2)


async def test_a_bug_is_a_500(app: Gateway, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has thought of is told as every other bug is."""

    def broken(*_: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(app.shedder, "_questions", type("Broken", (), {"check_room": broken})())
    answer = await client.post("/v1/queries", json=QUESTION)
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:freshet:problem:internal")


async def test_what_was_asked_before_needs_no_room(door: Settings, log: MemoryLog) -> None:
    """With all permits taken a request that comes again with its key gets its job of then; a new one is refused."""
    key = {"Idempotency-Key": "mine"}
    async with serving(create_app(door, MemoryManifests(), log, jobs=MemoryJobs())) as client:
        first = await client.post("/v1/queries", json=QUESTION, headers=key)
        for _ in range(3):
            await client.post("/v1/queries", json=QUESTION)
        again = await client.post("/v1/queries", json=QUESTION, headers=key)
        assert (again.status_code, again.json()["job_id"]) == (202, first.json()["job_id"])
        other = await client.post("/v1/queries", json=QUESTION, headers={"Idempotency-Key": "another"})
        assert other.status_code == 429
