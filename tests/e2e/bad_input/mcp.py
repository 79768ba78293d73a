"""Requests to the tools.  What the protocol's SDK refuses is a JSON-RPC error; a tool's own refusals are results."""

from typing import Any

from tests.e2e.bad_input.kinds import JSON, Http

_ACCEPT = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


def rpc(name: str, body: Any, says: str, status: int = 200, kind: str | None = None, **headers: str) -> Http:
    """A request."""
    sent = {"Content-Type": JSON, **_ACCEPT, **{n.replace("_", "-"): v for n, v in headers.items()}}
    return Http(name, "POST", "/mcp", status, kind, says, body, sent)


def call(name: str, tool: str, given: Any, says: str) -> Http:
    """A tool called wrongly: the model that called it is told."""
    params = {"name": tool, "arguments": given}
    return rpc(name, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, says)


TOOLS = (
    rpc("MCP request that is no JSON", b"{", "", 400),
    rpc("MCP request that is none", {"question": "Which?"}, "", 400),
    rpc("method that is none", {"jsonrpc": "2.0", "id": 1, "method": "documents/delete"}, "Method not found"),
    rpc(
        "MCP request as text",
        b"Which?",
        "use application/json",
        415,
        "unsupported-media-type",
        Content_Type="text/plain",
    ),
    rpc("MCP request of 2 MB", b'"' + b"x" * 2_000_000 + b'"', "1048576 bytes", 413, "too-large"),
    rpc("MCP request from another site", {}, "Invalid Origin", 403, Origin="http://evil.example"),
    rpc("MCP request under another name", {}, "Invalid Host", 421, Host="evil.example"),
    Http("MCP stream of its own", "GET", "/mcp", 405, "method-not-allowed", "use POST"),
    call("tool that is none", "delete", {}, "there is no tool 'delete'"),
    call("tool without its argument", "search", {}, "missing required field 'query'"),
    call("argument that is none", "search", {"query": "x", "top": 3}, "unknown field 'top'"),
    call("document that never was, by a tool", "get_document", {"doc_id": "bad/never.md"}, "there is no document"),
    call("token that is none, by a tool", "freshness", {"at_least": ["newest"]}, "not a freshness token"),
)
TABLE = {"MCP": TOOLS}
