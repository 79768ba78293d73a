"""Clients that leave, as a server sees it: their job is cancelled, unless they can come back to it."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from connectors.memory.jobs import MemoryJobs
from connectors.memory.manifests import MemoryManifests
from gateway.app import Gateway, create_app
from gateway.memory_log import MemoryLog
from runtime.settings import Settings
from tests.gateway.builders import asked
from tests.gateway.test_completions import ASK, told
from tests.gateway.test_mcp import HEADERS
from topics.codec import decode
from topics.queries import Cancelled
from topics.registry import CANCELS, QUERIES

CHAT = "/v1/chat/completions"


class Visit:
    """A request whose client leaves when it is told to."""

    def __init__(self, app: Gateway, path: str, body: Any, **headers: str) -> None:
        self._app, self._left = app, asyncio.Event()
        self._body: list[bytes] = [json.dumps(body).encode()]
        self.status, self.text = 0, b""
        self.came = asyncio.Event()
        shown = {"content-type": "application/json", "host": "127.0.0.1"} | headers
        scope: Any = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000), "headers": [(n.lower().encode(), v.encode()) for n, v in shown.items()],
        }  # fmt: skip
        self.served = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        if self._body:
            return {"type": "http.request", "body": self._body.pop(), "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"")
        if b'content":"All' in self.text:
            self.came.set()

    async def leave(self) -> None:
        self._left.set()
        async with asyncio.timeout(5):
            await asyncio.wait({self.served})


async def cancelled(log: MemoryLog, job_id: str) -> bool:
    """Whether workers are told to drop the job, in a moment or not at all."""
    until = asyncio.get_running_loop().time() + 0.5
    while asyncio.get_running_loop().time() < until:
        jobs = [decode(record.value or b"", Cancelled).job_id for record in log.published if record.topic is CANCELS]
        if jobs:
            return jobs == [job_id]
        await asyncio.sleep(0.01)
    return False


@pytest.fixture
def app(door: Settings, manifests: MemoryManifests, log: MemoryLog) -> Gateway:
    """The application, with a store for jobs, where idempotency keys are."""
    return create_app(door, manifests, log, jobs=MemoryJobs())


async def begun(log: MemoryLog, *words: str) -> str:
    """The job that was asked for, when it has told so much."""
    job_id = asked(await log.next(QUERIES))[0].job_id
    for each in told(job_id, *words)[:-1]:
        log.answer(each)
    return job_id


@pytest.mark.parametrize("words", [(), ("All ", "is ")])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_that_is_left_is_cancelled(
    app: Gateway, client: httpx.AsyncClient, log: MemoryLog, stream: bool, words: tuple[str, ...]
) -> None:
    """Before the first word and in the middle of the text, streamed or not."""
    visit = Visit(app, CHAT, {**ASK, "stream": stream})
    job_id = await begun(log, *words)
    if stream and words:
        await asyncio.wait_for(visit.came.wait(), 5)
    await visit.leave()
    assert await cancelled(log, job_id)


async def test_a_chat_with_a_key_goes_on(app: Gateway, client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Who has an idempotency key may come back: the job is not cancelled."""
    visit = Visit(app, CHAT, {**ASK, "stream": True}, **{"Idempotency-Key": "k1"})
    job_id = await begun(log, "All ")
    await asyncio.wait_for(visit.came.wait(), 5)
    await visit.leave()
    assert not await cancelled(log, job_id)


async def test_a_finished_chat_is_not_cancelled(app: Gateway, client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Nor is one whose client leaves when it has all."""
    visit = Visit(app, CHAT, {**ASK, "stream": True})
    job_id = await begun(log, "All ")
    log.answer(told(job_id, "All ")[-1])
    async with asyncio.timeout(5):
        await asyncio.wait({visit.served})
    await visit.leave()
    assert visit.text.endswith(b"[DONE]\n\n") and not await cancelled(log, job_id)


async def test_a_gateway_that_stops_cancels_nothing(app: Gateway, client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Its streams end with an error that names the job, which goes on."""
    visit = Visit(app, CHAT, {**ASK, "stream": True})
    job_id = await begun(log, "All ")
    await asyncio.wait_for(visit.came.wait(), 5)
    app.let_go()
    async with asyncio.timeout(5):
        await asyncio.wait({visit.served})
    assert f"/v1/queries/{job_id}".encode() in visit.text and not await cancelled(log, job_id)


@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
async def test_a_tool_that_is_left_is_cancelled(
    app: Gateway, client: httpx.AsyncClient, log: MemoryLog, version: str
) -> None:
    """In either form of the protocol."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
    params = {"name": "ask", "arguments": {"question": "How is it?"}, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    named = {"MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": "ask"}
    visit = Visit(app, "/mcp", body, **{**HEADERS, **named})
    job_id = await begun(log)
    await visit.leave()
    assert await cancelled(log, job_id)
