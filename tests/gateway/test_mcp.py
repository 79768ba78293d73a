"""The tools, by the real client of the protocol's SDK, with the test in the part of the workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from connectors.memory.manifests import MemoryManifests
from connectors.ports import Flip
from gateway.app import Gateway, create_app
from gateway.keys import Key, digest, mint, write_keys
from gateway.memory_log import MemoryLog
from gateway.originals import Originals
from runtime.settings import Settings
from tests.gateway.builders import asked, door_settings, serving
from tests.gateway.test_completions import told, worker
from tests.gateway.test_queries import retrieval
from topics.documents import DocumentHead, LastSeen
from topics.identity import DocumentRef, Token, Version, document_key, partition_of
from topics.queries import AnswerEvent
from topics.registry import DOCUMENTS

MODES = ["auto", "legacy"]  # the protocol as it is now, and with the handshake that older clients begin with
RPC = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


@asynccontextmanager
async def connected(app: Gateway, mode: str = "auto", **headers: str) -> AsyncIterator[Client]:
    """The real client, against the application in this process."""
    transport = httpx2.ASGITransport(cast("Any", app))
    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers) as http,
        Client(streamable_http_client("http://127.0.0.1:8000/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def words(result: CallToolResult) -> str:
    return "".join(getattr(part, "text", "") for part in result.content)


def answering(job: str) -> list[AnswerEvent]:
    return told(job, "All is ", "well [1].")


async def publish(
    http: httpx.AsyncClient, manifests: MemoryManifests, doc_id: str, body: bytes, media_type: str = "text/plain",
    access: list[str] | None = None, **headers: str,
) -> Token:  # fmt: skip
    """Publish over HTTP, and make it visible as the index stage does."""
    answer = await http.put(f"/v1/documents/{doc_id}", content=body, headers={"Content-Type": media_type, **headers})
    token = Token.parse(answer.json()["token"])
    ref = DocumentRef(headers.get("Freshet-Tenant", "default"), doc_id)
    head = DocumentHead(title="T", access=access or [], published_at=1)
    assert await manifests.flip([flip(ref, await manifests.read([ref]), token, head)]) == [True]
    return token


def flip(ref: DocumentRef, before: Any, token: Token, head: DocumentHead) -> Flip:
    return Flip(
        ref=ref, expected=before[0].version, version=str(token.version), deleted=False, head=head, chunks={}, doomed=(),
        indexed_at=1, view=before[0].view,
    )  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
async def test_what_tools_there_are(app: Gateway, client: httpx.AsyncClient, mode: str) -> None:
    """Four, each with what it takes and gives said as the protocol wants it, and none that changes anything."""
    async with connected(app, mode) as mcp:
        tools = {tool.name: tool for tool in (await mcp.list_tools()).tools}
    assert list(tools) == ["search", "ask", "get_document", "freshness"]
    for tool in tools.values():
        assert tool.input_schema["type"] == "object" and tool.output_schema is not None
        assert tool.annotations is not None and tool.annotations.read_only_hint and tool.description
    assert "token" in tools["search"].input_schema["properties"]["at_least"]["description"]


@pytest.mark.parametrize("mode", MODES)
async def test_search_finds_passages(app: Gateway, client: httpx.AsyncClient, log: MemoryLog, mode: str) -> None:
    """With what was asked for, as text for a model and as data."""
    async with connected(app, mode) as mcp, worker(log, retrieval) as came:
        found = await mcp.call_tool("search", {"query": "why?", "k": 3, "filter": {"year": {"gte": 2020}}})
    assert not found.is_error and words(found) == "[1] document a/b\nt"
    assert found.structured_content["passages"][0]["doc_id"] == "a/b"
    assert (came[0].question, came[0].k, came[0].filter["year"].gte, came[0].mode) == ("why?", 3, 2020, "retrieve")


async def test_ask_answers(app: Gateway, client: httpx.AsyncClient, log: MemoryLog) -> None:
    """With citations, what the answer is less good by, and the history that a follow-up needs."""
    history = [{"role": "user", "content": "Is all well?"}]
    async with connected(app) as mcp, worker(log, answering) as came:
        found = await mcp.call_tool("ask", {"question": "And now?", "history": history})
    assert words(found).startswith("All is well [1].\n\n[1] https://e.org/b - document a/b")
    assert "vector-timeout" in words(found) and found.structured_content["answer"]["documents"] == {"a/b": "1.1"}
    assert came[0].history[0].content == "Is all well?"


async def test_tenant_and_principals_are_the_callers(app: Gateway, client: httpx.AsyncClient, log: MemoryLog) -> None:
    """A question by a tool carries them like any other."""
    headers = {"Freshet-Tenant": "acme", "Freshet-Principals": "ann"}
    async with connected(app, **headers) as mcp, worker(log, retrieval):
        await mcp.call_tool("search", {"query": "why?"})
    hop, _ = asked(log.published[0])
    assert (hop.tenant, hop.principals) == ("acme", ["ann"])


async def test_a_document_is_read_where_it_lies(
    app: Gateway, client: httpx.AsyncClient, manifests: MemoryManifests, log: MemoryLog
) -> None:
    """The text of the visible version, piece by piece, whatever came behind it in the log."""
    await publish(client, manifests, "a.txt", b"one two three")
    await client.put("/v1/documents/a.txt", content=b"not yet visible", headers={"Content-Type": "text/plain"})
    await publish(client, manifests, "b.json", b'{"text": "four", "media_type": "text/markdown"}', "application/json")
    await publish(client, manifests, "c.txt", "fünf".encode("latin-1"), "text/plain; charset=latin-1")
    await publish(client, manifests, "d.pdf", b"%PDF-1.7", "application/pdf")
    async with connected(app) as mcp:
        first = await mcp.call_tool("get_document", {"doc_id": "a.txt", "max_chars": 7})
        rest = await mcp.call_tool(
            "get_document", {"doc_id": "a.txt", "offset": first.structured_content["next_offset"]}
        )
        assert words(first) + words(rest) == "one two three" and "next_offset" not in rest.structured_content
        assert first.structured_content["document"]["status"] == "pending"
        marked = await mcp.call_tool("get_document", {"doc_id": "b.json"})
        assert (words(marked), marked.structured_content["media_type"]) == ("four", "text/markdown")
        assert words(await mcp.call_tool("get_document", {"doc_id": "c.txt"})) == "fünf"
        assert "no text: search" in words(await mcp.call_tool("get_document", {"doc_id": "d.pdf"}))
        log.compacted = {record.place for record in log.published if record.key == b"a.txt"}
        gone = await mcp.call_tool("get_document", {"doc_id": "a.txt"})
        assert not gone.is_error and "no longer has this version" in words(gone)


async def test_only_the_documents_own_record_is_its_text(log: MemoryLog) -> None:
    """A place that holds another document's record, or a delete, gives nothing."""
    originals, refs = Originals(log), [DocumentRef("default", f"doc{n}") for n in range(9)]
    first = refs[0]
    other = next(r for r in refs[1:] if partition_of(document_key(r), 4) == partition_of(document_key(first), 4))
    for value in (b'{"text": "mine"}', None):
        await log.publish(DOCUMENTS, document_key(first), value, {}, 1)
    found = await originals.find(first, Version(1, 0))
    assert found is not None and found.text == "mine"
    assert await originals.find(first, Version(1, 1)) is None
    assert await originals.find(other, Version(1, 0)) is None
    assert await originals.find(first, Version(7, 0)) is None


async def test_a_document_of_others_is_not_there(
    app: Gateway, client: httpx.AsyncClient, manifests: MemoryManifests
) -> None:
    """Neither for whom it is not meant, nor for another tenant; nor is one that never was, in the same words."""
    await publish(client, manifests, "secret", b"4711", access=["ann"])
    said = []
    for headers in ({}, {"Freshet-Principals": "bob"}, {"Freshet-Tenant": "acme", "Freshet-Principals": "ann"}):
        async with connected(app, **headers) as mcp:
            for tool in ("get_document", "freshness"):
                found = await mcp.call_tool(tool, {"doc_id": "secret"})
                assert found.is_error and "4711" not in words(found)
                said.append(words(found))
            said.append(words(await mcp.call_tool("get_document", {"doc_id": "nobody"})).replace("nobody", "secret"))
    assert len(set(said)) == 1
    async with connected(app, **{"Freshet-Principals": "ann"}) as mcp:
        assert words(await mcp.call_tool("get_document", {"doc_id": "secret"})) == "4711"


async def test_freshness_tells_of_tokens(app: Gateway, client: httpx.AsyncClient, manifests: MemoryManifests) -> None:
    """Visible, pending or refused; and whether an audit is due."""
    await manifests.advance([Token(1, 0, 5)])
    refused = Token(1, 0, 3)
    seen = LastSeen(version=str(refused.version), status="rejected", reason="no words", at=1)
    await manifests.refuse(refused, seen)
    await manifests.distrust("away too long")
    async with connected(app) as mcp:
        await client.put("/v1/documents/a", content=b"x", headers={"Content-Type": "text/plain"})
        found = await mcp.call_tool("freshness", {"at_least": ["1.0.5", "1.0.6", "1.0.3"]})
    assert [each["status"] for each in found.structured_content["tokens"]] == ["visible", "pending", "rejected"]
    assert found.structured_content["waiting"] == {"chunk": 1} and "1 for chunk" in words(found)
    assert found.structured_content["audited"] is False and "an audit is due" in words(found)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("search", {"query": " "}, "the question is empty"),
    ("search", {"query": "q", "k": 0}, "/k: 1 to 50 passages"),
    ("search", {"query": "q", "top_k": 3}, "/top_k: Object contains unknown field"),
    ("search", {}, "missing required field 'query'"),
    ("ask", {"question": "q", "at_least": ["x"]}, "not a freshness token"),
    ("ask", {"question": "q", "history": [{"role": "king", "content": "x"}]}, "/history/0/role"),
    ("get_document", {"doc_id": ""}, "document id is empty"),
    ("get_document", {"doc_id": "a", "max_chars": 10**9}, "/max_chars"),
    ("freshness", {"at_least": ["1.2"]}, "not a freshness token"),
    ("delete", {}, "there is no tool 'delete': search, ask"),
]


@pytest.mark.parametrize(("tool", "given", "says"), WRONG, ids=[says for _, _, says in WRONG])
async def test_a_mistake_is_told_to_the_model(
    app: Gateway, client: httpx.AsyncClient, log: MemoryLog, tool: str, given: dict[str, Any], says: str
) -> None:
    """In words that name the argument, as a result that the model can read; nothing is asked."""
    async with connected(app) as mcp:
        found = await mcp.call_tool(tool, given)
    assert found.is_error and says in words(found) and not log.published


async def test_failure_is_told_to_the_model(app: Gateway, client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Without a permit it is told when to try again."""
    for _ in range(4):
        await client.post("/v1/queries", json={"question": "q"})
    async with connected(app) as mcp:
        found = await mcp.call_tool("search", {"query": "q"})
    assert found.is_error and "try again in" in words(found)


async def test_keys_let_in(tmp_path: Path, manifests: MemoryManifests, log: MemoryLog) -> None:
    """Nobody without one; with one its tenant and principals, whatever the name of the host."""
    keys, ann = tmp_path / "keys.jsonl", mint("ann")
    made = Key(
        id="ann", sha256=digest(ann), scopes=["read"], tenant="acme", principals=["ann"], created=datetime.now(UTC)
    )
    keys.write_bytes(write_keys([made]))
    settings = door_settings(TENANTS="default,acme", API_KEYS_FILE=str(keys))
    app = create_app(settings, manifests, log)
    async with serving(app) as http:
        answer = await http.post("/mcp", json=RPC, headers=HEADERS)
        assert answer.status_code == 401 and answer.json()["type"] == "urn:freshet:problem:unauthorized"
        shown = {"Authorization": f"Bearer {ann}"}
        assert (await http.post("/mcp", json=RPC, headers={**HEADERS, **shown})).status_code == 200
        async with connected(app, **shown) as mcp, worker(log, retrieval):
            await mcp.call_tool("search", {"query": "q", "at_least": []})
            assert "waiting" not in (await mcp.call_tool("freshness", {})).structured_content
    hop, _ = asked(log.published[0])
    assert (hop.tenant, hop.principals) == ("acme", ["ann"])


async def test_the_door_is_bounded(client: httpx.AsyncClient, door: Settings) -> None:
    """Posts only, of JSON, not too large, and on loopback without keys not under a name from elsewhere."""
    local = {**HEADERS, "Host": "127.0.0.1:8000"}
    assert (await client.post("/mcp", json=RPC, headers=local)).status_code == 200
    for method in ("GET", "DELETE"):
        answer = await client.request(method, "/mcp", headers=local)
        assert answer.status_code == 405 and answer.headers["Allow"] == "POST"
    assert (await client.post("/mcp", json=RPC, headers={**HEADERS, "Host": "evil.example"})).status_code == 421
    evil = {**local, "Origin": "http://evil.example"}
    assert (await client.post("/mcp", json=RPC, headers=evil)).status_code == 403
    large = await client.post("/mcp", content=b"x" * 2_000_000, headers={**local, "Content-Type": "application/json"})
    assert (large.status_code, large.json()["limit"]) == (413, 1024 * 1024)
    assert (
        await client.post("/mcp", content=b"{}", headers={**local, "Content-Type": "text/plain"})
    ).status_code == 415
    assert (await client.post("/mcp", json=RPC, headers={**local, "Freshet-Tenant": "nobody"})).status_code == 422
    assert (
        await client.post("/mcp", content=b"{", headers={**local, "Content-Type": "application/json"})
    ).status_code == 400
