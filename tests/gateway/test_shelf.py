"""Passages by GET: the same bytes while they are the same, and nothing for the wrong eyes."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from msgspec import to_builtins

from connectors.memory.manifests import MemoryManifests
from connectors.memory.promotions import MemoryPromotions
from gateway import shelf
from gateway.app import create_app
from gateway.memory_log import MemoryLog
from tests.gateway.builders import answering, door_settings, serving
from topics.queries import Passage, Question

PASSAGE = Passage(
    doc_id="pumps", version="00001.0000000000000000007", chunk_id="c", text="Water.", score=0.5, published_at=1
)


@pytest.fixture
def found() -> dict[str, Any]:
    """What retrieval finds."""
    return {"question": "q", "passages": [to_builtins(PASSAGE)], "generation": "g1", "asked_at": 1}


@pytest.fixture
async def asked(log: MemoryLog, found: dict[str, Any]) -> AsyncIterator[list[Question]]:
    """Questions that came; each is answered with what is found."""
    async with answering(log, lambda: {"retrieval": found}) as came:
        yield came


async def test_a_copy_that_holds_is_not_sent_again(
    client: httpx.AsyncClient, asked: list[Question], found: dict[str, Any]
) -> None:
    """The ETag is of the passages alone: the same for another job, another when a version is."""
    first = await client.get("/v1/retrieve", params={"q": "Where?"})
    assert first.status_code == 200 and first.json()["passages"][0]["doc_id"] == "pumps"
    tag = first.headers["etag"]
    for known in (tag, f'"x", W/{tag}', "*"):
        again = await client.get("/v1/retrieve", params={"q": "Where?"}, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    found["passages"][0]["version"] = "00001.0000000000000000008"
    changed = await client.get("/v1/retrieve", params={"q": "Where?"}, headers={"If-None-Match": tag})
    assert changed.status_code == 200 and changed.headers["etag"] != tag
    head = await client.head("/v1/retrieve", params={"q": "Where?"})
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", changed.headers["etag"])


async def test_who_may_keep_it(client: httpx.AsyncClient, asked: list[Question], found: dict[str, Any]) -> None:
    """Everyone's passages by anyone, a person's or tenant's by that one, what is degraded by nobody."""

    async def keep(**headers: str) -> str:
        return (await client.get("/v1/retrieve", params={"q": "Where?"}, headers=headers)).headers["cache-control"]

    assert await keep() == "public, no-cache"
    assert await keep(**{"Freshet-Principals": "ann"}) == "private, no-cache"
    assert await keep(**{"Freshet-Tenant": "acme"}) == "private, no-cache"
    found["degraded"] = ["vector-unavailable"]
    assert await keep() == "no-store"


async def test_keys_to_purge_by(client: httpx.AsyncClient, asked: list[Question], found: dict[str, Any]) -> None:
    """One for each document, once, apart by tenant, and one for the generation; no id can break the header."""
    found["passages"] += [to_builtins(PASSAGE), {**to_builtins(PASSAGE), "doc_id": "a b\u00e9, c"}]
    keys = (await client.get("/v1/retrieve", params={"q": "Where?"})).headers["surrogate-key"].split()
    assert keys[0] == "g-g1" and len(keys) == len(set(keys)) == 3 and all(key.isascii() for key in keys)
    other = await client.get("/v1/retrieve", params={"q": "Where?"}, headers={"Freshet-Tenant": "acme"})
    assert not set(keys[1:]) & set(other.headers["surrogate-key"].split())


async def test_what_is_asked_is_what_was_meant(client: httpx.AsyncClient, asked: list[Question]) -> None:
    """All parameters reach the question."""
    condition = json.dumps({"year": {"gte": 2020}})
    query = {"q": "Where?", "k": "3", "search": "keyword", "filter": condition, "at_least": ["1.0.7", "1.1.2"]}
    await client.get("/v1/retrieve", params=query)
    one = asked[0]
    assert (one.question, one.k, one.search, one.at_least) == ("Where?", 3, "keyword", ["1.0.7", "1.1.2"])
    assert one.filter["year"].gte == 2020


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({}, "q"), ({"q": " "}, "q"), ({"q": "a", "k": "0"}, "k"), ({"q": "a", "k": "1e3"}, "k"),
        ({"q": "a", "k": "\u0663"}, "k"), ({"q": "a", "search": "both"}, "search"),
        ({"q": "a", "filter": "{"}, "filter"),
        ({"q": "a", "filter": '{"x": {}}'}, "filter"), ({"q": "a", "filter": "[" * 5000}, "filter"),
        ({"q": "a", "at_least": "newest"}, "at_least"), ({"q": "a", "top": "5"}, "top"), ({"q": ["a", "b"]}, "q"),
    ],
)  # fmt: skip
async def test_a_mistake_is_told_with_its_parameter(
    client: httpx.AsyncClient, query: dict[str, Any], parameter: str
) -> None:
    """422, never a question that was not meant."""
    told = await client.get("/v1/retrieve", params=query)
    assert told.status_code == 422
    assert [error["parameter"] for error in told.json()["errors"]] == [parameter]
    assert told.headers["cache-control"] == "no-store"


KEEP = "public, max-age=0, s-maxage=60"


@pytest.fixture
async def promotions() -> MemoryPromotions:
    """What the purge lane says: that it works."""
    known = MemoryPromotions()
    await known.tell(purging=True)
    return known


@pytest.fixture
async def edged(
    manifests: MemoryManifests, log: MemoryLog, promotions: MemoryPromotions, asked: list[Question]
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway behind an edge, which promotes what is asked three times."""
    settings = door_settings(EDGE_URLS="http://edge", EDGE_PROMOTE_AFTER="3", EDGE_MAX_AGE="60", TENANTS="default,acme")
    async with serving(create_app(settings, manifests, log, None, promotions)) as client:
        yield client


async def ask(client: httpx.AsyncClient, times: int = 3, **query: Any) -> httpx.Response:
    """The last of several answers to one question."""
    headers = query.pop("headers", {})
    for _ in range(times - 1):
        await client.get("/v1/retrieve", params={"q": "Where?", **query}, headers=headers)
    return await client.get("/v1/retrieve", params={"q": "Where?", **query}, headers=headers)


async def test_what_comes_again_and_again_is_promoted(edged: httpx.AsyncClient) -> None:
    """From the third time on; a question that differs in anything is another one, and nobody gets another's job."""
    assert (await ask(edged, 2)).headers["cache-control"] == "public, no-cache"
    third = await ask(edged, 1)
    assert third.headers["cache-control"] == KEEP and not {"freshet-job", "server-timing"} & set(third.headers)
    known = await ask(edged, 1, headers={"If-None-Match": third.headers["etag"]})
    assert (known.status_code, known.headers["cache-control"]) == (304, KEEP)
    for other in ({"k": "3"}, {"search": "keyword"}, {"filter": '{"a": {"eq": 1}}'}, {"q": "Where"}):
        found = await ask(edged, 2, **other)
        assert found.headers["cache-control"] == "public, no-cache" and "freshet-job" in found.headers


@pytest.mark.parametrize(
    ("headers", "query"),
    [({"Freshet-Principals": "ann"}, {}), ({"Freshet-Tenant": "acme"}, {}), ({}, {"at_least": "1.0.7"})],
)
async def test_only_what_everyone_may_see_is_promoted(
    edged: httpx.AsyncClient, promotions: MemoryPromotions, headers: dict[str, str], query: dict[str, str]
) -> None:
    """And what asks for no freshness of its own; the rest is not even counted."""
    found = await ask(edged, 5, headers=headers, **query)
    assert "s-maxage" not in found.headers["cache-control"] and not promotions.asked


async def test_what_could_not_be_forgotten_is_not_promoted(
    edged: httpx.AsyncClient,
    found: dict[str, Any],
    promotions: MemoryPromotions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Passages that are none, degraded, or took so long that they may come after the last purge of a change; and
    nothing while edges are not purged, or while that cannot be told."""
    assert (await ask(edged)).headers["cache-control"] == KEEP
    with monkeypatch.context() as patched:
        patched.setitem(found, "passages", [])
        assert (await ask(edged)).headers["cache-control"] == "public, no-cache"
    with monkeypatch.context() as patched:
        patched.setitem(found, "degraded", ["vector-timeout"])
        assert (await ask(edged)).headers["cache-control"] == "no-store"
    with monkeypatch.context() as patched:
        patched.setattr(shelf, "KEPT_WITHIN", 0.0)
        assert (await ask(edged)).headers["cache-control"] == "public, no-cache"
    assert (await ask(edged)).headers["cache-control"] == KEEP
    promotions.away = True
    assert (await ask(edged)).headers["cache-control"] == "public, no-cache"


async def test_nothing_is_promoted_while_edges_are_not_purged(
    edged: httpx.AsyncClient, promotions: MemoryPromotions
) -> None:
    """A worker that says so is believed at once."""
    assert (await ask(edged)).headers["cache-control"] == KEEP
    await promotions.tell(purging=False)
    assert (await ask(edged)).headers["cache-control"] == "public, no-cache"


async def test_without_edges_nothing_is_promoted(
    manifests: MemoryManifests, log: MemoryLog, promotions: MemoryPromotions, asked: list[Question]
) -> None:
    """Nor counted."""
    settings = door_settings(EDGE_PROMOTE_AFTER="1")
    async with serving(create_app(settings, manifests, log, None, promotions)) as client:
        assert (await ask(client)).headers["cache-control"] == "public, no-cache"
    assert not promotions.asked
