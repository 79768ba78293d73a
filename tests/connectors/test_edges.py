"""Edges, in memory and told by HTTP."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from connectors.edges.http_purge import Edge, HttpPurger
from connectors.errors import Transient
from connectors.memory.edge import MemoryPurger
from tests.connectors.contract.purge_contract import PurgeContract

SECRET = {"X-Purge-Secret": "s3"}


class HttpEdge:
    """A server that forgets by PURGE, refuses strangers, and long headers as real ones do."""

    def __init__(self) -> None:
        self.held: dict[str, frozenset[str]] = {}
        self.away = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.strip().split("\r\n")
        told = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        status = 503 if self.away else 403 if told.get("x-purge-secret") != "s3" else 200
        if max(map(len, lines)) > 8000:
            status = 431
        if status == 200 and lines[0].startswith("PURGE "):
            keys = told["surrogate-key"].split(" ")
            self.held = {name: bears for name, bears in self.held.items() if bears.isdisjoint(keys)}
        writer.write(f"HTTP/1.1 {status} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def served() -> AsyncIterator[tuple[HttpEdge, str]]:
    edge = HttpEdge()
    async with await asyncio.start_server(edge.serve, "127.0.0.1", 0) as server:
        yield edge, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


class TestMemory(PurgeContract):
    @pytest.fixture
    def edge(self) -> MemoryPurger:
        return MemoryPurger()

    @pytest.fixture
    def purger(self, edge: MemoryPurger) -> MemoryPurger:
        return edge


class TestHttp(PurgeContract):
    @pytest.fixture
    def edge(self, served: tuple[HttpEdge, str]) -> HttpEdge:
        return served[0]

    @pytest.fixture
    async def purger(self, served: tuple[HttpEdge, str]) -> AsyncIterator[HttpPurger]:
        purger = HttpPurger([Edge(served[1], secrets=SECRET)])
        await purger.open()
        yield purger
        await purger.close()

    async def test_every_edge_is_told(self, served: tuple[HttpEdge, str]) -> None:
        """Though another refuses us or is not there; the call fails, and shows no secret."""
        edge, url = served
        edge.held = {"one": frozenset({"d-a"})}
        purger = HttpPurger(
            [Edge("http://127.0.0.1:1/"), Edge(url, secrets={"X-Purge-Secret": "no"}), Edge(url, secrets=SECRET)]
        )
        await purger.open()
        with pytest.raises(Transient, match=r"away: ConnectError.*answered 403") as raised:
            await purger.purge(["d-a"])
        await purger.close()
        assert not edge.held and "s3" not in f"{raised.value}{Edge(url, secrets=SECRET)}"
