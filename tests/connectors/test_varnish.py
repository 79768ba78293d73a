"""The VCL in deploy/varnish, in the real Varnish, in front of a gateway that is played."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from connectors.edges.http_purge import Edge, HttpPurger
from connectors.errors import Transient
from deploy.local.programs import ROOT
from deploy.local.varnish import Varnish, varnishd

SECRET = secrets.token_hex(8)
KEEP, ASK = "public, max-age=0, s-maxage=60", "public, no-cache"


class Gateway:
    """Answers anything with what it is told to, and counts; ``seen`` are the heads of requests."""

    def __init__(self) -> None:
        self.control, self.keys, self.body, self.status = KEEP, "g-g1 d-a", "one", "200 OK"
        self.seen: list[str] = []
        self.hold: asyncio.Event | None = None  # until when an answer waits, once it was made

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.seen.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
                answer = self._answer()
                if self.hold is not None:
                    await self.hold.wait()
                writer.write(answer.encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self) -> str:
        known = f'if-none-match: "{self.body}"' in self.seen[-1]
        lines = [f"HTTP/1.1 {'304 Not Modified' if known else self.status}", f'ETag: "{self.body}"']
        lines += [f"Cache-Control: {self.control}", f"Surrogate-Key: {self.keys}"]
        lines += ["Vary: Freshet-Tenant, Freshet-Principals, Authorization, X-API-Key"]
        body = "" if known else self.body
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    played = Gateway()
    async with await asyncio.start_server(played.serve, "127.0.0.1", 0) as server:
        PORTS["gateway"] = server.sockets[0].getsockname()[1]
        yield played


PORTS: dict[str, int] = {}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def varnish(gateway: Gateway, tmp_path: Path) -> Iterator[Varnish]:
    if varnishd() is None:
        pytest.skip("Varnish is not installed: apt-get install varnish")
    edge = Varnish(tmp_path, PORTS["gateway"], free_port(), SECRET)
    edge.start()
    yield edge
    edge.stop()


@pytest.fixture
async def client(varnish: Varnish) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=varnish.url, timeout=10) as found:
        yield found


@pytest.fixture
async def purger(varnish: Varnish) -> AsyncIterator[HttpPurger]:
    purger = HttpPurger([Edge(varnish.url, secrets={"Freshet-Edge-Secret": SECRET})])
    await purger.open()
    yield purger
    await purger.close()


async def test_the_edge(gateway: Gateway, client: httpx.AsyncClient, purger: HttpPurger, varnish: Varnish) -> None:
    """All of it in one Varnish, since each start compiles its VCL."""
    await _promoted(gateway, client)
    await _asked_each_time(gateway, client)
    await _purged(gateway, client, purger)
    await _under_way(gateway, client, purger)
    await _nobody_else(gateway, client, varnish)
    await _whose_answer(gateway, client)


async def get(client: httpx.AsyncClient, query: str, **headers: str) -> httpx.Response:
    return await client.get(f"v1/retrieve?q={query}", headers={k.replace("_", "-"): v for k, v in headers.items()})


async def _promoted(gateway: Gateway, client: httpx.AsyncClient) -> None:
    """What has an s-maxage is given again without asking, and known by its ETag; nobody further out may do so."""
    first, second = await get(client, "promoted"), await get(client, "promoted")
    assert (first.headers["freshet-edge"], second.headers["freshet-edge"]) == ("miss", "hit")
    assert second.text == "one" and second.headers["cache-control"] == ASK and "surrogate-key" not in second.headers
    known = await get(client, "promoted", If_None_Match='"one"')
    assert (known.status_code, known.headers["freshet-edge"]) == (304, "hit")
    assert (await client.head("v1/retrieve?q=promoted")).headers["freshet-edge"] == "hit"
    assert len(gateway.seen) == 1


async def _asked_each_time(gateway: Gateway, client: httpx.AsyncClient) -> None:
    """What must be asked about is asked about, also when errors came in between and when it is promoted later."""
    for control, status in (
        (ASK, "200 OK"),
        ("no-store", "200 OK"),
        (KEEP, "404 Not Found"),
        ("private, no-cache", "200 OK"),
    ):
        gateway.control, gateway.status, asked = control, status, len(gateway.seen)
        for _ in range(3):
            assert (await get(client, "asked", If_None_Match='"old"')).headers["freshet-edge"] == "miss"
        assert len(gateway.seen) == asked + 3, control
    gateway.control, gateway.status = ASK, "200 OK"
    assert (await get(client, "asked", If_None_Match='"one"')).status_code == 304
    gateway.control = KEEP
    assert [(await get(client, "asked")).headers["freshet-edge"] for _ in range(2)] == ["miss", "hit"]


async def _purged(gateway: Gateway, client: httpx.AsyncClient, purger: HttpPurger) -> None:
    """What bears a key goes, by itself or among others, and what only looks like it stays."""
    for query, keys in (("a", "g-g1 d-a d-b"), ("b", "g-g1 d-b"), ("aa", "g-g1 d-aa xd-a"), ("g2", "g-g2 d-c")):
        gateway.keys = keys
        await get(client, query)
    await purger.purge([f"d-{n:016x}" for n in range(300)] + ["d-a"])
    gateway.body = "two"
    assert [(await get(client, query)).text for query in ("a", "b", "aa", "g2")] == ["two", "one", "one", "one"]
    await purger.purge(["g-g1"])
    assert [(await get(client, query)).text for query in ("b", "aa", "g2")] == ["two", "two", "one"]


async def _under_way(gateway: Gateway, client: httpx.AsyncClient, purger: HttpPurger) -> None:
    """A response that was made before a purge and comes after it is kept: what the lane's second purge is for."""
    gateway.keys, gateway.body, gateway.hold = "d-slow", "old", asyncio.Event()
    under_way = asyncio.create_task(get(client, "slow"))
    asked = len(gateway.seen)
    async with asyncio.timeout(10):
        while len(gateway.seen) == asked:
            await asyncio.sleep(0.01)
    await purger.purge(["d-slow"])
    gateway.hold.set()
    await under_way
    gateway.hold, gateway.body = None, "new"
    kept = await get(client, "slow")
    assert (kept.text, kept.headers["freshet-edge"]) == ("old", "hit")
    await purger.purge(["d-slow"])
    assert (await get(client, "slow")).text == "new"


async def _nobody_else(gateway: Gateway, client: httpx.AsyncClient, varnish: Varnish) -> None:
    """Who does not know the secret purges nothing, what is no key is refused, and there is no other door."""
    stranger = HttpPurger([Edge(varnish.url), Edge(varnish.url, secrets={"Freshet-Edge-Secret": "guess"})])
    await stranger.open()
    with pytest.raises(Transient, match=r"403.*403"):
        await stranger.purge(["d-a"])
    await stranger.close()
    proven, asked = {"Freshet-Edge-Secret": SECRET}, len(gateway.seen)
    for keys in ("", ".*", "d-a) || obj.status == 200", "d-a  d-b"):
        told = await client.request("PURGE", "", headers={**proven, "Surrogate-Key": keys})
        assert told.status_code == 400, keys
    for method, path, status in (
        ("PUT", "v1/documents/a", 404), ("POST", "v1/retrieve", 405), ("GET", "metrics", 404),
        ("GET", "v1/retrieve/x", 404), ("DELETE", "v1/retrieve?q=a", 405),
    ):  # fmt: skip
        assert (await client.request(method, path)).status_code == status, path
    assert len(gateway.seen) == asked


async def _whose_answer(gateway: Gateway, client: httpx.AsyncClient) -> None:
    """Who comes by the edge is everyone, whatever he says; with an API key he is asked about, and gets no copy."""
    gateway.body = "everyone's"
    await get(client, "who", Freshet_Principals="ann", Freshet_Tenant="acme")
    assert not {"freshet-principals", "freshet-tenant", SECRET} & set(gateway.seen[-1].replace(":", " ").split())
    assert (await get(client, "who")).headers["freshet-edge"] == "hit"
    for control in ("private, no-cache", KEEP):  # the second would be a mistake of the gateway's
        gateway.body, gateway.control = "ann's", control
        for header in ({"Authorization": "Bearer k"}, {"X_API_Key": "k"}):
            for _ in range(2):
                found = await get(client, "who", **header)
                assert (found.text, found.headers["freshet-edge"]) == ("ann's", "miss")
    assert (await get(client, "who")).text == "everyone's"


async def test_compose_has_the_same_rules(varnish: Varnish) -> None:
    """The file for compose differs in where the gateway is and who may purge, and Varnish takes it."""
    text = (ROOT / "deploy" / "varnish" / "compose.vcl").read_text().replace('"gateway"', '"127.0.0.1"')
    (varnish.folder / "compose.vcl").write_text(text)
    program = varnishd()
    assert program is not None
    command = [program, "-C", "-j", "none", "-n", str(varnish.folder / "c"), "-f", str(varnish.folder / "compose.vcl")]
    done = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await done.communicate()
    assert done.returncode == 0, said.decode()
