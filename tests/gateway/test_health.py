"""What operators are told."""

from typing import Any

import httpx
import jsonschema
import pytest

from connectors.errors import Transient
from connectors.memory.lanes import MemoryLanes
from connectors.memory.manifests import MemoryManifests
from connectors.ports import PausedLane
from gateway import health
from gateway.app import create_app
from gateway.memory_log import MemoryLog
from runtime.settings import Settings
from tests.gateway.builders import serving


async def test_alive_whatever_is_away(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """/healthz is about the process alone: restarting it would not bring a broker back."""
    log.failure = Transient("away")
    assert (await client.get("/healthz")).status_code == 200


async def test_ready(client: httpx.AsyncClient) -> None:
    """With everything there the gateway is ready."""
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)


async def test_not_ready_says_why(
    client: httpx.AsyncClient, log: MemoryLog, manifests: MemoryManifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every check is listed with its reason, and 503 takes the gateway out of a balancer."""

    async def away(*_: Any) -> Any:
        raise Transient("redis away")

    monkeypatch.setattr(manifests, "status", away)
    log.broken = {"lane.embed": "no worker"}
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert checks["lane.embed"] == {"ok": False, "reason": "no worker"}
    assert checks["state"] == {"ok": False, "reason": "redis away"}
    assert checks["broker"] == {"ok": True}


async def test_a_topic_of_the_users_may_be_missing(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """That a source is not there yet is told; it is no reason to be unready, or a stack could never start before it."""
    log.broken = {"sources": "missing: shop.articles"}
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    assert answer.json()["checks"]["sources"] == {"ok": True, "reason": "missing: shop.articles"}


async def test_an_edge_may_be_away(door: Settings, log: MemoryLog, manifests: MemoryManifests) -> None:
    """That the purge lane waits for an edge is told; it is no reason to take the gateway out of service."""
    board = MemoryLanes()
    await board.pause("purge", PausedLane("0", 1_700_000_000_000, "edge http://e is away"))
    async with serving(create_app(door, manifests, log, board)) as client:
        answer = await client.get("/readyz")
    told = {"ok": True, "reason": "paused since 2023-11-14T22:13:20Z: edge http://e is away"}
    assert (answer.status_code, answer.json()["checks"]["lane.purge"]) == (200, told)


async def test_lanes_that_stand_still_are_named(door: Settings, log: MemoryLog, manifests: MemoryManifests) -> None:
    """A lane that waits for something says since when and for what; a worse thing about it is told instead."""
    board = MemoryLanes()
    await board.pause("index", PausedLane("0", 1_700_000_000_000, "Weaviate, upsert: no answer"))
    await board.pause("embed", PausedLane("0", 1_700_000_000_000, "away"))
    log.broken = {"lane.embed": "no worker"}
    async with serving(create_app(door, manifests, log, board)) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert checks["lane.index"]["reason"] == "paused since 2023-11-14T22:13:20Z: Weaviate, upsert: no answer"
    assert checks["lane.embed"]["reason"] == "no worker"


async def test_a_board_that_is_away_hides_nothing_else(
    door: Settings, log: MemoryLog, manifests: MemoryManifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pauses cannot be asked for, the other checks are told as ever."""
    board = MemoryLanes()

    async def away(*_: Any) -> Any:
        raise Transient("redis away")

    monkeypatch.setattr(board, "paused", away)
    async with serving(create_app(door, manifests, log, board)) as client:
        assert (await client.get("/readyz")).json()["checks"]["broker"] == {"ok": True}


async def test_not_ready_while_the_view_is_rebuilt(client: httpx.AsyncClient, manifests: MemoryManifests) -> None:
    """A Redis that answers and has lost what it knew is not ready, in words that say what is going on."""
    manifests.lose()
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert "being rebuilt from index-events" in answer.json()["checks"]["state"]["reason"]


async def test_not_ready_before_an_audit(client: httpx.AsyncClient, manifests: MemoryManifests) -> None:
    """Where deletes may have been missed the gateway is not ready until an audit has found all well."""
    await manifests.distrust("run `freshet audit --repair`")
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["audit"] == {"ok": False, "reason": "run `freshet audit --repair`"}


async def test_probes_share_one_look(
    client: httpx.AsyncClient, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many probes at once cost the broker one look."""
    looks, checks = 0, log.checks

    async def counted() -> dict[str, str | None]:
        nonlocal looks
        looks += 1
        return await checks()

    monkeypatch.setattr(log, "checks", counted)
    for _ in range(5):
        await client.get("/readyz")
    assert looks == 1


async def test_queue_lengths_are_exported(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """/metrics shows what waits in front of each lane, measured by the gateway itself."""
    await client.post("/v1/queries", json={"question": "q"})
    monkeypatch.setattr(health, "WATCH_SECONDS", 0.01)
    text = (await client.get("/metrics")).text
    assert 'queue_length{queue="retrieve"}' in text


async def test_the_api_describes_itself(client: httpx.AsyncClient) -> None:
    """Each public route is in the OpenAPI document, its references resolve, and the page needs nothing from outside."""
    document = (await client.get("/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operations = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert operations == {
        ("/v1/documents", "get"),
        ("/v1/documents", "post"),
        ("/v1/documents/{doc_id}", "get"),
        ("/v1/documents/{doc_id}", "put"),
        ("/v1/documents/{doc_id}", "delete"),
        ("/v1/retrieve", "get"),
        ("/v1/retrieve", "post"),
        ("/v1/queries", "get"),
        ("/v1/queries", "post"),
        ("/v1/queries/{job_id}", "get"),
        ("/v1/queries/{job_id}", "delete"),
        ("/v1/queries/{job_id}/events", "get"),
        ("/v1/chat/completions", "post"),
        ("/v1/embeddings", "post"),
        ("/v1/models", "get"),
        ("/v1/models/{model}", "get"),
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
    }
    validator = jsonschema.Draft202012Validator({**document, "$ref": "#/components/schemas/QuestionBody"})
    assert validator.is_valid({"question": "q", "filter": {"a": {"eq": 1}}})
    assert not validator.is_valid({"question": "q", "filtre": {}})
    page = (await client.get("/docs")).text
    assert "/v1/retrieve" in page
    assert "src=" not in page
    assert "http://" not in page
    assert "https://" not in page
