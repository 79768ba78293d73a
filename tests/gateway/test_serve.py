"""The gateway under a real HTTP server."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn

from connectors.memory.manifests import MemoryManifests
from gateway import sse
from gateway.app import create_app
from gateway.connection import Connection
from gateway.memory_log import MemoryLog
from gateway.serve import Server
from runtime.settings import Settings
from tests.gateway.builders import sse_events, token, whole_story
from tests.gateway.log_contract import eventually


class Running:
    """A server on a free port."""

    def __init__(self, log: MemoryLog, server: Server, serving: "asyncio.Task[None]") -> None:
        self.log, self.server, self.serving = log, server, serving
        self.port: int = server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"


@pytest.fixture
async def running(door: Settings, log: MemoryLog) -> AsyncIterator[Running]:
    """The application, served."""
    app = create_app(door, MemoryManifests(), log)
    server = Server(
        uvicorn.Config(app, http=Connection, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=5),
        app,
    )
    serving = asyncio.create_task(server._serve())  # `serve` would take the signals of the test run
    await eventually(lambda: server.started)
    yield Running(log, server, serving)
    server.should_exit = True
    await serving
    gc.unfreeze()


async def test_what_it_is_made_of_is_not_collected(running: Running) -> None:
    """Once it has started a full collection of garbage has next to nothing to walk."""
    assert gc.get_freeze_count() > 50_000
    assert len(gc.get_objects()) < gc.get_freeze_count() / 10


async def test_ids_survive_a_real_server(running: Running) -> None:
    """The server hands on the path as it was sent, slashes and all."""
    async with httpx.AsyncClient() as client:
        for path, doc_id in (("/a//b%2Fc/", "/a//b/c/"), ("%252F", "%2F"), ("%C3%BC", "ü")):
            url = f"{running.address}/v1/documents/{path}"
            answer = await client.put(url, content=b"x", headers={"Content-Type": "text/plain"})
            assert answer.json()["doc_id"] == doc_id


@pytest.mark.parametrize("request_", [b"PUT", b"DELETE"])
@pytest.mark.parametrize("connected", [True, False])
async def test_what_was_given_up_is_not_published(running: Running, request_: bytes, connected: bool) -> None:
    """A gateway that stood still finds a request and the end of its connection: its client has asked elsewhere."""
    head = request_ + b" /v1/documents/x HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n"
    body = b"Content-Length: 3\r\n\r\nold" if request_ == b"PUT" else b"\r\n"
    for stays in (True, False):
        client = socket.create_connection(("127.0.0.1", running.port))
        if connected:
            await eventually(lambda: bool(running.server.server_state.connections))
        client.sendall(head + body)
        if not stays:
            client.close()  # while the loop, which is the server's too, stands still
        if stays:
            await eventually(lambda: bool(running.log.storage.records))
        else:
            await asyncio.sleep(0.2)  # nothing comes of it
        assert len(running.log.storage.records) == 1, stays
        client.close()
        await eventually(lambda: not running.server.server_state.connections)


async def test_an_endless_body_is_cut_off(running: Running) -> None:
    """413 comes while the client is still sending, and the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(
        b"PUT /v1/documents/x HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for _ in range(10):
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"4096" in answer


async def test_a_stop_lets_streams_go(running: Running) -> None:
    """A stopping gateway ends its streams and waits at once; the client knows where to go on."""
    async with httpx.AsyncClient() as client:
        waiting = asyncio.create_task(
            client.post(f"{running.address}/v1/queries", json={"question": "q"}, headers={"Prefer": "wait=20"})
        )
        job_id = (await client.post(f"{running.address}/v1/queries", json={"question": "q"})).json()["job_id"]
        following = asyncio.create_task(client.get(f"{running.address}/v1/queries/{job_id}/events"))
        await asyncio.sleep(0.2)
        for each in whole_story(job_id)[:4]:
            running.log.answer(each)
        await asyncio.sleep(0.1)
        began = time.monotonic()
        running.server.should_exit = True
        assert [name for name, _ in sse_events((await following).text)][-1] == "token"
        assert (await waiting).status_code == 202
        await running.serving
        assert time.monotonic() - began < 3


async def test_a_stuck_reader_is_dropped(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not take what is sent loses the connection instead of holding memory and a task for ever."""
    monkeypatch.setattr(sse, "STUCK_SECONDS", 0.3)
    async with httpx.AsyncClient() as client:
        job_id = (await client.post(f"{running.address}/v1/queries", json={"question": "q"})).json()["job_id"]
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1024)
    writer.write(f"GET /v1/queries/{job_id}/events HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    await reader.readuntil(b"accepted")
    for seq in range(300):
        running.log.answer(token("a", seq, "x" * 100_000, job_id))

    await asyncio.sleep(0.1)
    assert running.server.server_state.tasks  # the stream is stuck
    await eventually(lambda: not running.server.server_state.tasks, 10)
    writer.close()


async def test_heartbeats(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent stream is kept open by comments, which clients ignore."""
    monkeypatch.setattr("gateway.queries.HEARTBEAT_SECONDS", 0.05)
    received = b""
    async with httpx.AsyncClient() as client:
        job_id = (await client.post(f"{running.address}/v1/queries", json={"question": "q"})).json()["job_id"]
        async with client.stream("GET", f"{running.address}/v1/queries/{job_id}/events") as stream:
            pieces: Any = stream.aiter_bytes()
            while received.count(b": still here") < 3:
                received += await anext(pieces)
    assert [name for name, _ in sse_events(received.decode())] == ["accepted"]
