"""The real MCP client against the real system."""

import secrets
from typing import Any

import pytest
from mcp import Client

from tests.e2e.conftest import System

pytestmark = pytest.mark.servers


async def call(system: System, tool: str, mode: str = "auto", **given: Any) -> tuple[str, dict[str, Any]]:
    """What a tool says, as text and as data."""
    async with Client(f"{system.stack.door}/mcp", mode=mode) as client:
        found = await client.call_tool(tool, given)
    said = "".join(getattr(part, "text", "") for part in found.content)
    assert not found.is_error, said
    return said, dict(found.structured_content)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_model_at_work(system: System, mode: str) -> None:
    """It learns that a version is visible, searches, asks, asks on, and reads the document, as it is now."""
    name = f"bollard{secrets.token_hex(3)}"
    doc_id, text = f"mcp/{name}.md", f"# {name}\n\nThe {name} stands in Hamnoy. It is painted in June.\n"
    token = system.http.put(f"/v1/documents/{doc_id}", content=text, headers={"Content-Type": "text/markdown"}).json()[
        "token"
    ]
    said, found = await call(system, "search", mode, query=f"Where does the {name} stand?", at_least=[token])
    assert found["passages"][0]["doc_id"] == doc_id and "Hamnoy" in said
    said, found = await call(system, "freshness", mode, at_least=[token, "1.0.999999999999"], doc_id=doc_id)
    assert [each["status"] for each in found["tokens"]] == ["visible", "pending"]
    assert found["document"]["status"] == "indexed"
    said, found = await call(system, "ask", mode, question=f"Where does the {name} stand?")
    assert "Hamnoy" in said and found["answer"]["citations"][0]["doc_id"] == doc_id
    history = [{"role": "user", "content": f"Where does the {name} stand?"}, {"role": "assistant", "content": said}]
    said, found = await call(system, "ask", mode, question="And when is it painted?", history=history)
    assert "June" in said and name in found["answer"]["standalone"]
    said, found = await call(system, "get_document", mode, doc_id=doc_id)
    assert said == text and found["media_type"] == "text/markdown"
    system.put(doc_id, text.replace("Hamnoy", "Reine"))
    said, _ = await call(system, "get_document", mode, doc_id=doc_id)
    assert "Reine" in said and "Hamnoy" not in said


async def test_what_is_not_for_all_is_not_told(system: System) -> None:
    """A document with an access list is neither found nor read by somebody else, nor is its being told."""
    doc_id = f"mcp/secret{secrets.token_hex(3)}"
    system.put_json(doc_id, text=f"The {doc_id} door opens with 4711.", access=["ann"])
    _, found = await call(system, "search", query=f"What opens the {doc_id} door?")
    assert all(passage["doc_id"] != doc_id for passage in found["passages"])
    async with Client(f"{system.stack.door}/mcp") as client:
        refused = await client.call_tool("get_document", {"doc_id": doc_id})
    assert refused.is_error and "4711" not in str(refused.content)
