"""bench/paces and bench/http_client: what is timed, from when, and what is counted as an error."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator

import pytest

from bench.http_client import Connection
from bench.paces import closed, opened

TOOK = 0.02  # seconds that the asked one needs for an answer
SLACK = 15.0  # milliseconds that a loaded machine may add


async def one_at_a_time(turn: asyncio.Lock, question: str) -> bytes:
    """Somebody who answers one question after the other."""
    async with turn:
        await asyncio.sleep(TOOK)
        return question.encode()


async def test_a_closed_loop_waits_for_its_answer() -> None:
    """One client never meets a queue: every answer takes what answering takes."""
    turn = asyncio.Lock()
    taken = await closed(lambda q: one_at_a_time(turn, q), itertools.repeat("q"), 1, 0.3)
    assert 5 <= len(taken.ms) <= 16 and not taken.errors
    assert min(taken.ms) >= TOOK * 1000 - 1
    assert sorted(taken.ms)[len(taken.ms) // 2] < TOOK * 1000 + SLACK


async def test_an_open_loop_charges_the_queue() -> None:
    """Twice as many questions as can be answered: those that wait are timed from when they should have been sent."""
    turn = asyncio.Lock()
    taken = await opened(lambda q: one_at_a_time(turn, q), itertools.repeat("q"), 2 / TOOK, 0.5, seed=1)
    assert len(taken.ms) > 30
    assert max(taken.ms) > len(taken.ms) * TOOK * 1000 - 500 - SLACK > 200
    assert taken.figures()["p99_ms"] > 10 * TOOK * 1000


async def test_a_stall_of_the_asker_hides_nothing() -> None:
    """Questions that could not even be sent in time are timed from when they should have been."""

    stalls = iter([0.3])

    async def ask(question: str) -> bytes:
        time.sleep(next(stalls, 0.0))  # noqa: ASYNC251 (the stall)
        return question.encode()

    taken = await opened(ask, itertools.repeat("q"), 100, 0.5, seed=1)
    assert sum(ms > 50 for ms in taken.ms) > 15


async def test_an_error_is_counted_and_not_timed() -> None:
    """What is no answer must not look like a quick one."""

    async def ask(question: str) -> bytes:
        if question == "bad":
            raise RuntimeError("503 busy")
        await asyncio.sleep(0.001)
        return b"{}"

    taken = await closed(ask, itertools.cycle(["good", "bad"]), 2, 0.1)
    figures = taken.figures()
    assert figures["errors"] >= 2 and figures["reasons"][0] == "RuntimeError: 503 busy"
    assert abs(figures["answers"] - figures["errors"]) <= 2 and min(taken.ms) >= 1


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that answers each connection's first two requests, and hangs up in the middle of the third."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[: None if number < 2 else 1]
            )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_the_client_keeps_its_connection_and_finds_a_new_one(port: int) -> None:
    """Two requests on one connection; one that breaks off is an error, and the next is answered again."""
    connection = Connection("127.0.0.1", port)
    assert await connection.post("/x", b"first") == (200, b"first")
    assert await connection.post("/x", b"second") == (200, b"second")
    with pytest.raises(asyncio.IncompleteReadError):
        await connection.post("/x", b"third")
    assert await connection.post("/x", b"fourth") == (200, b"fourth")
    connection.close()


async def test_a_server_that_hung_up_meanwhile_is_no_error() -> None:
    """A gateway ends connections that were idle for some seconds; in open loop there are many."""
    hung_up = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(5):
        connection = Connection("127.0.0.1", server.sockets[0].getsockname()[1])
        assert await connection.post("/x", b"") == (200, b"{}")
        await hung_up.wait()
        while not connection._streams or not connection._streams[0].at_eof():
            await asyncio.sleep(0)
        assert await connection.post("/x", b"") == (200, b"{}")
        connection.close()
