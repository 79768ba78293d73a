"""Passages by GET: the same bytes while they are the same, and nothing for the wrong eyes."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from msgspec import to_builtins

from gateway.memory_log import MemoryLog
from tests.gateway.builders import answering
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
