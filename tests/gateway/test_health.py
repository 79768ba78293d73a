"""What operators are told."""

from typing import Any

import httpx
import jsonschema
import pytest

from connectors.errors import Transient
from connectors.memory.manifests import MemoryManifests
from gateway import health
from gateway.memory_log import MemoryLog


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
        ("/v1/retrieve", "post"),
        ("/v1/queries", "post"),
        ("/v1/queries/{job_id}", "get"),
        ("/v1/queries/{job_id}/events", "get"),
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
