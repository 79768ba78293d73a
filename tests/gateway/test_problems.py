"""Errors become problem documents."""

import asyncio

import httpx
import pytest
from litestar.exceptions import HTTPException, InternalServerException, MethodNotAllowedException

from connectors.errors import ConnectorError, Overloaded, Permanent, Transient
from connectors.memory.manifests import MemoryManifests
from gateway.app import create_app
from gateway.memory_log import MemoryLog
from gateway.ports import Expunged, RecordTooLarge
from gateway.problems import KINDS, Problem, problem_of
from runtime import metrics
from tests.gateway.builders import door_settings, serving
from topics.identity import IdentityError

TABLE: list[tuple[Exception, int]] = [
    (Problem("gone"), 410),
    (RecordTooLarge("x"), 413),
    (Overloaded("x", retry_after=7), 503),
    (Transient("x"), 503),
    (TimeoutError(), 503),
    (ConnectorError("x"), 503),
    (Permanent("x"), 422),
    (Expunged(), 410),
    (IdentityError("x"), 422),
    (MethodNotAllowedException(), 405),
    (HTTPException(status_code=404), 404),
    (HTTPException(status_code=418), 400),
    (InternalServerException(), 500),
    (KeyError("a bug"), 500),
]


@pytest.mark.parametrize(("error", "status"), TABLE)
def test_the_table(error: Exception, status: int) -> None:
    """Every error has its status; whatever is an outage says when to come back."""
    problem = problem_of(error)
    assert problem.status == status
    document = problem.document()
    assert (document["status"], document["title"]) == KINDS[problem.kind]
    assert (status == 503) == (problem.retry_after is not None)


async def test_a_bug_is_told_without_its_details(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is a 500 in the form of all others, and what went wrong inside stays inside."""
    manifests = MemoryManifests()

    async def broken(*_: object) -> object:
        raise RuntimeError("secret")

    monkeypatch.setattr(manifests, "page", broken)
    async with serving(create_app(door_settings(), manifests, MemoryLog())) as client:
        answer = await client.get("/v1/documents")
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "secret" not in answer.text


async def test_routes_and_methods_that_are_not_there(client: httpx.AsyncClient) -> None:
    """404 and 405 are problem documents too; 405 says what is allowed."""
    missing = await client.get("/v2/nothing")
    assert (missing.status_code, missing.json()["status"]) == (404, 404)
    wrong = await client.patch("/v1/documents/x")
    assert wrong.status_code == 405
    assert "PUT" in wrong.headers["Allow"]


async def test_requests_are_counted_by_route(client: httpx.AsyncClient) -> None:
    """Labels are route templates, never ids or addresses that somebody made up."""

    def count(route: str, status: str) -> float:
        return float(metrics.http_requests.labels(route, status)._value.get())

    before = count("/v1/documents/{doc_id}", "404"), count("unmatched", "404")
    await asyncio.gather(client.get("/v1/documents/a/b"), client.get("/v1/documents/c"), client.get("/made/up"))
    after = count("/v1/documents/{doc_id}", "404"), count("unmatched", "404")
    assert (after[0] - before[0], after[1] - before[1]) == (2, 1)
