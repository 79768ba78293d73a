"""Putting, deleting and looking up documents over HTTP."""

from typing import Any

import httpx
import msgspec
import pytest

from connectors.errors import Transient
from connectors.memory.manifests import MemoryManifests
from connectors.ports import Flip, ManifestChunk
from gateway.memory_log import MemoryLog
from topics.documents import Document, DocumentHead, LastSeen
from topics.identity import DocumentRef, document_key
from topics.media_types import SEEN_AS
from topics.registry import DOCUMENTS

PLAIN = {"Content-Type": "text/plain"}

IDS = [
    ("a", "a"),
    ("a/b", "a/b"),
    ("a%2Fb", "a/b"),
    ("/lead", "/lead"),
    ("%2Flead", "/lead"),
    ("trail/", "trail/"),
    ("a//b", "a//b"),
    ("%2F", "/"),
    ("/", "/"),
    ("a%252Fb", "a%2Fb"),
    ("a%20b%3Fc%23d", "a b?c#d"),
    ("%C3%BCber", "über"),
    ("@acme/x", "@acme/x"),
    ("..%2Fetc", "../etc"),
    ("a+b", "a+b"),
]


@pytest.mark.parametrize(("path", "doc_id"), IDS)
async def test_ids_are_taken_as_they_are(client: httpx.AsyncClient, log: MemoryLog, path: str, doc_id: str) -> None:
    """The id is all that follows /v1/documents/, decoded once, with every slash that was sent."""
    answer = await client.put(f"/v1/documents/{path}", content=b"hello", headers=PLAIN)
    assert answer.status_code == 202, answer.text
    assert answer.json()["doc_id"] == doc_id
    assert log.published[0].key == document_key(DocumentRef("default", doc_id))
    assert (await client.get(f"/v1/documents/{path}")).json()["doc_id"] == doc_id


@pytest.mark.parametrize("path", ["%FF", "a%ZZ", "a%2", "%00", "a" * 1025])
async def test_ids_that_cannot_be(client: httpx.AsyncClient, log: MemoryLog, path: str) -> None:
    """An id that is not UTF-8, not percent-encoded, has control characters or is too long is refused by name."""
    answer = await client.put(f"/v1/documents/{path}", content=b"hello", headers=PLAIN)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "doc_id"
    assert not log.published


@pytest.mark.parametrize("media_type", SEEN_AS)
async def test_what_can_be_read_is_taken(client: httpx.AsyncClient, log: MemoryLog, media_type: str) -> None:
    """Each media type that the lane reads is taken, and another is told which these are."""
    answer = await client.put("/v1/documents/x", content=b"\x00\xff", headers={"Content-Type": media_type})
    assert answer.status_code == 202, answer.text
    assert (log.published[0].value, log.published[0].headers["content-type"]) == (b"\x00\xff", media_type.encode())
    refused = await client.put("/v1/documents/x", content=b"x", headers={"Content-Type": "image/png"})
    assert refused.status_code == 415 and media_type in refused.json()["detail"]


async def test_a_raw_body_goes_through_untouched(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """A raw body reaches the log byte by byte, its content type and other fields beside it in headers."""
    query = {
        "title": "Grüße",
        "access": ["a", "b"],
        "metadata": '{"year": 2026}',
        "published_at": "1970-01-01T00:00:01Z",
    }
    await client.put(
        "/v1/documents/x", content=b"<p>\xff</p>", params=query, headers={"Content-Type": "text/html; charset=latin-1"}
    )
    record = log.published[0]
    assert (record.topic, record.value) == (DOCUMENTS, b"<p>\xff</p>")
    assert record.headers["content-type"] == b"text/html; charset=latin-1"
    assert record.headers["title"].decode() == "Grüße"
    assert msgspec.json.decode(record.headers["access"]) == ["a", "b"]
    assert msgspec.json.decode(record.headers["metadata"]) == {"year": 2026}
    assert record.headers["freshet-published-at"] == b"1000"
    assert "traceparent" in record.headers


async def test_json_becomes_a_document(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """With application/json the body is a document with its fields."""
    body = {"text": "hi", "title": "T", "metadata": {"tags": ["a"], "n": 1.5, "ok": True}, "access": ["team"]}
    answer = await client.put("/v1/documents/x", json=body)
    assert answer.json() == {
        "doc_id": "x",
        "version": "00001.0000000000000000000",
        "token": answer.headers["Freshet-Token"],
    }
    record = log.published[0]
    assert record.value is not None
    assert "content-type" not in record.headers
    assert record.headers["freshet-schema"] == b"Document/1"
    assert msgspec.json.decode(record.value, type=Document) == Document(**body)  # type: ignore[arg-type]


WRONG_BODIES: list[tuple[Any, str]] = [
    ({}, "/text"),
    ({"text": 1}, "/text"),
    ({"text": "x", "metdata": {}}, "/metdata"),
    ({"text": "x", "access": ["a", 1]}, "/access/1"),
    ({"text": "x", "access": [""]}, "/access/0"),
    ({"text": "x", "metadata": {"good": 1, "a/b": {"nested": 1}}}, "/metadata/a~1b"),
    ({"text": "x", "metadata": {"n": 2**60}}, "/metadata/n"),
    ({"text": "x", "metadata": {"": 1}}, "/metadata/"),
    ({"text": "x", "metadata": {str(n): n for n in range(65)}}, "/metadata"),
    ({"text": "x", "published_at": "yesterday"}, "/published_at"),
    ([1], ""),
]


@pytest.mark.parametrize(("body", "pointer"), WRONG_BODIES)
async def test_a_wrong_field_is_named(client: httpx.AsyncClient, log: MemoryLog, body: Any, pointer: str) -> None:
    """422 says with a JSON pointer which field is wrong, and nothing is published."""
    answer = await client.put("/v1/documents/x", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert not log.published


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"metadata": "{"}, "metadata"),
        ({"metadata": '{"a": {"b": 1}}'}, "metadata"),
        ({"published_at": "x"}, "published_at"),
        ({"access": ""}, "access"),
        ({"tilte": "x"}, "tilte"),
    ],
)
async def test_a_wrong_parameter_is_named(client: httpx.AsyncClient, query: dict[str, str], parameter: str) -> None:
    """Parameters beside a raw body are checked as fields are."""
    answer = await client.put("/v1/documents/x", content=b"x", params=query, headers=PLAIN)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["parameter"] == parameter


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({}, b"x", 415),
        ({"Content-Type": "nonsense"}, b"x", 415),
        ({"Content-Type": "image/png"}, b"x", 415),
        ({"Content-Type": "application/octet-stream"}, b"x", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"x", 415),
        ({"Content-Type": "text/plain", "Content-Encoding": "gzip"}, b"x", 415),
        ({"Content-Type": "application/json"}, b'{"text": ', 400),
        ({"Content-Type": "application/json"}, b"\xff\xfe", 400),
        ({"Content-Type": "application/json"}, b"[" * 4000, 422),
        ({"Content-Type": "application/json"}, b'{"text": "x", "metadata": {"a": {}}, "title": }', 400),
        ({"Content-Type": "application/json"}, b'{"text": "x", "metadata": {"a": ' + b"[" * 4000, 400),
        (PLAIN, b"", 422),
        (PLAIN, b"x" * 4097, 413),
        ({**PLAIN, "Freshet-Tenant": "nobody"}, b"x", 422),
    ],
)
async def test_bodies_that_are_refused(
    client: httpx.AsyncClient, log: MemoryLog, headers: dict[str, str], content: bytes, status: int
) -> None:
    """Each wrong body has its status, and none reaches the log."""
    answer = await client.put("/v1/documents/x", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert not log.published


async def test_a_large_stream_is_not_read_to_its_end(client: httpx.AsyncClient) -> None:
    """Without a Content-Length the limit counts while reading, and the answer says the number."""
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 10_000_000:
            sent += 1000
            yield b"x" * 1000

    answer = await client.put("/v1/documents/x", content=endless(), headers=PLAIN)
    assert answer.status_code == 413
    assert answer.json()["limit"] == 4096
    assert "4096" in answer.json()["detail"]
    assert sent < 10_000


async def test_delete_writes_a_null(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Deleting is a record without value, of the same key, with a token of its own."""
    first = await client.put("/v1/documents/x", content=b"x", headers={**PLAIN, "Freshet-Tenant": "acme"})
    gone = await client.delete("/v1/documents/x", headers={"Freshet-Tenant": "acme"})
    assert gone.status_code == 202
    assert gone.json()["token"] != first.json()["token"]
    assert (log.published[1].key, log.published[1].value) == (b"@acme/x", None)


async def test_an_outage_of_the_log_is_503(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """A broker that is away is told as 503 with Retry-After, never as success."""
    log.failure = Transient("broker away")
    answer = await client.put("/v1/documents/x", content=b"x", headers=PLAIN)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1


async def test_an_outage_of_state_does_not_stop_publishing(
    client: httpx.AsyncClient, manifests: MemoryManifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has the document: that Redis cannot note it is no failure; asking for status is one."""

    async def away(*_: Any) -> Any:
        raise Transient("redis away")

    monkeypatch.setattr(manifests, "accepted", away)
    monkeypatch.setattr(manifests, "read", away)
    assert (await client.put("/v1/documents/x", content=b"x", headers=PLAIN)).status_code == 202
    assert (await client.get("/v1/documents/x")).status_code == 503


async def test_a_lost_view_never_says_not_found(client: httpx.AsyncClient, manifests: MemoryManifests) -> None:
    """What is visible but for the moment not known is neither missing nor an error of ours: come again."""
    accepted = (await client.put("/v1/documents/x", content=b"x", headers=PLAIN)).json()
    await index(manifests, accepted["version"])
    saved = manifests.save()
    for lose in (manifests.lose, lambda: manifests.roll_back(saved)):
        lose()
        for path in ("/v1/documents/x", f"/v1/documents/x?token={accepted['token']}", "/v1/documents"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:freshet:problem:unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        assert (await client.put("/v1/documents/x", content=b"x", headers=PLAIN)).status_code == 202
        assert (await client.delete("/v1/documents/y")).status_code == 202


async def index(
    manifests: MemoryManifests, version: str, *, deleted: bool = False, expected: str | None = None
) -> None:
    """Make a version of document x visible, or delete it."""
    head = None if deleted else DocumentHead(title="T", published_at=5)
    chunks = {} if deleted else {"c1": ManifestChunk("h1"), "c2": ManifestChunk("h2")}
    flip = Flip(DocumentRef("default", "x"), expected, version, deleted, head, chunks, (), 7)
    assert await manifests.flip([flip]) == [True]


async def test_the_status_follows_the_document(client: httpx.AsyncClient, manifests: MemoryManifests) -> None:
    """404, pending, indexed, pending again with the old version visible, deleted."""

    async def status(**query: str) -> dict[str, Any]:
        return dict((await client.get("/v1/documents/x", params=query)).json())

    assert (await client.get("/v1/documents/x")).status_code == 404
    first = (await client.put("/v1/documents/x", content=b"x", headers=PLAIN)).json()
    assert (await status())["status"] == "pending"
    await index(manifests, first["version"])
    shown = await status()
    assert (shown["status"], shown["visible_version"], shown["chunks"], shown["title"], shown["published_at"]) == (
        "indexed",
        first["version"],
        2,
        "T",
        5,
    )
    second = (await client.put("/v1/documents/x", content=b"y", headers=PLAIN)).json()
    shown = await status()
    assert (shown["status"], shown["version"], shown["visible_version"]) == (
        "pending",
        second["version"],
        first["version"],
    )
    assert (await status(token=first["token"]))["status"] == "indexed"
    assert (await status(token=second["token"]))["status"] == "pending"
    await index(manifests, second["version"], deleted=True, expected=first["version"])
    shown = await status()
    assert (shown["status"], shown["visible_version"], shown["title"]) == ("deleted", None, None)


async def test_a_refused_version_says_why(client: httpx.AsyncClient, manifests: MemoryManifests) -> None:
    """A token of a version that was rejected ends, with the reason, while the version before stays visible."""
    await index(manifests, "00001.0000000000000000003")
    refused = LastSeen(version="00001.0000000000000000009", status="rejected", reason="no words", at=1)
    await manifests.see(DocumentRef("default", "x"), refused)
    shown = (await client.get("/v1/documents/x", params={"token": "1.0.9"})).json()
    assert (shown["status"], shown["reason"]) == ("rejected", "no words")
    assert shown["visible_version"] == "00001.0000000000000000003"


async def test_a_token_that_nobody_noted_is_pending(client: httpx.AsyncClient) -> None:
    """A token proves that the version was accepted, whatever Redis remembers; nonsense is refused."""
    assert (await client.get("/v1/documents/x", params={"token": "1.0.9"})).json()["status"] == "pending"
    assert (await client.get("/v1/documents/x", params={"token": "soon"})).status_code == 422


async def test_listing_in_pages(client: httpx.AsyncClient, manifests: MemoryManifests) -> None:
    """Pages follow each other to the end and hold each visible document once, of the caller's tenant only."""
    refs = [DocumentRef("default", f"d/{n}") for n in range(5)] + [DocumentRef("acme", "other")]
    head = DocumentHead(published_at=1)
    await manifests.flip([Flip(ref, None, "1.1", False, head, {"c": ManifestChunk("h")}, (), 1) for ref in refs])
    seen, after = [], None
    while True:
        query = {"limit": "2"} | ({"after": after} if after else {})
        page = (await client.get("/v1/documents", params=query)).json()
        seen += [entry["doc_id"] for entry in page["documents"]]
        after = page["next"]
        if after is None:
            break
    assert seen == [f"d/{n}" for n in range(5)]
    assert (await client.get("/v1/documents", params={"limit": "0"})).status_code == 422
