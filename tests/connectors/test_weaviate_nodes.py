"""Several nodes of a store: which are asked, and what is done about those that fail, are late, or are gone."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from connectors.errors import Permanent, Transient, Unclear
from connectors.ports import StoredObject
from connectors.stores import weaviate_nodes
from connectors.stores.weaviate_connection import Connection
from connectors.stores.weaviate_nodes import Nodes
from connectors.stores.weaviate_objects import joined
from runtime.settings import Settings, SettingsError, Weaviate
from tests.connectors.test_weaviate import _Door, _door
from topics.identity import DocumentRef

Answer = Callable[[], Awaitable[str]]


class Node(Connection):
    """A node that answers as a test wants."""

    answer: Answer

    async def open(self) -> None:
        """There is nobody to connect to."""

    async def call(self, doing: str, begin: Any, seconds: float | None = None) -> Any:
        return await self.answer()


def of(*answers: Answer) -> Nodes:
    """Open nodes that answer so, in this order."""
    each = [f"127.0.0.1:{number}" for number in range(1, len(answers) + 1)]
    nodes = Nodes(Weaviate(url=",".join(f"http://{at}" for at in each), grpc=",".join(each)))
    nodes._nodes, nodes._open = [], True
    for settings, answer in zip(nodes.settings.each, answers, strict=True):
        node = Node(settings)
        node.answer = answer
        nodes._nodes.append(node)
    return nodes


def says(text: str, after: float = 0.0) -> Answer:
    async def answer() -> str:
        await asyncio.sleep(after)
        return text

    return answer


def fails(error: Exception) -> Answer:
    async def answer() -> str:
        raise error

    return answer


AWAY = fails(Transient("gone", reason="away"))


async def nothing(_client: object) -> str:
    """What is asked does not matter here: the nodes answer as they were told to."""
    raise AssertionError


@pytest.mark.parametrize(("count", "asked"), [(1, 1), (2, 1), (3, 2), (5, 3)])
async def test_reads_meet_every_majority(count: int, asked: int) -> None:
    """So many nodes are asked that one of them took part in every write, which a majority confirmed."""
    nodes = of(*(says(str(number)) for number in range(count)))
    assert len(set(await nodes.ask("read", nothing))) == asked
    assert asked + (count // 2 + 1) > count


async def test_every_node_serves() -> None:
    """Reads go round, so that no node carries them all."""
    nodes = of(says("a"), says("b"), says("c"))
    found = [answer for _ in range(3) for answer in await nodes.ask("read", nothing)]
    assert sorted(found) == ["a", "a", "b", "b", "c", "c"]


async def test_a_dead_node_is_done_without_and_asked_last() -> None:
    """A read does not notice, and those that follow do not ask it first."""
    nodes = of(AWAY, says("b"), says("c"))
    for _ in range(3):
        assert sorted(await nodes.ask("read", nothing)) == ["b", "c"]
    assert [node.name for node in nodes._in_order(0)][-1] == "127.0.0.1:1"


async def test_a_silent_node_costs_a_moment() -> None:
    """A node that answers nothing is done without after a moment; the next read does not wait for it."""
    nodes = of(says("a", after=30), says("b"), says("c"))
    nodes._turn = 2  # the first is next
    began = time.monotonic()
    assert sorted(await nodes.ask("read", nothing)) == ["b", "c"]
    assert weaviate_nodes.SOON <= time.monotonic() - began < weaviate_nodes.SOON + 1
    began = time.monotonic()
    assert sorted(await nodes.ask("read", nothing)) == ["b", "c"]
    assert time.monotonic() - began < weaviate_nodes.SOON


async def test_less_than_enough_is_nothing() -> None:
    """What one node of three says may lack what the two others have confirmed: that is an outage, not an answer."""
    with pytest.raises(Transient, match="gone"):
        await of(AWAY, says("b"), AWAY).ask("read", nothing)


async def test_writes_go_on_at_another_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that cannot write, or cannot tell, or is silent, is done without; an outage says so when all are gone."""
    unclear = fails(Unclear("who knows", reason="store"))
    assert await of(AWAY, unclear, says("c")).call("write", nothing) == "c"
    monkeypatch.setattr(weaviate_nodes, "LATE", 0.05)
    assert await of(says("a", after=30), says("b"), says("c")).call("write", nothing) == "b"
    with pytest.raises(Transient) as told:
        await of(unclear, AWAY, unclear).call("write", nothing)
    assert told.value.reason == "away"


async def test_what_is_wrong_everywhere_is_not_tried_again() -> None:
    """A record's own fault ends the call at once."""
    with pytest.raises(Permanent):
        await of(fails(Permanent("bad", reason="invalid")), says("b"), says("c")).call("write", nothing)


@pytest.fixture
async def doors(settings: Settings) -> AsyncIterator[tuple[Weaviate, list[tuple[_Door, _Door]]]]:
    """One real server behind three pairs of doors, so that one address after the other can go away."""
    grpc_host, _, grpc_port = settings.weaviate.grpc.rpartition(":")
    http = httpx.URL(settings.weaviate.url)
    pairs = [(await _door(http.host, http.port or 80), await _door(grpc_host, int(grpc_port))) for _ in range(3)]
    urls = ",".join(f"http://127.0.0.1:{door.port}" for door, _ in pairs)
    yield Weaviate(url=urls, grpc=",".join(f"127.0.0.1:{door.port}" for _, door in pairs)), pairs
    for pair in pairs:
        for door in pair:
            await door.shut()


@pytest.mark.servers
async def test_real_nodes_go_away(doors: tuple[Weaviate, list[tuple[_Door, _Door]]]) -> None:
    """With the real client: one of three gone is not noticed, two are an outage, and one may be gone from the start."""
    settings, pairs = doors
    early, nodes = Nodes(settings), Nodes(settings)

    async def tenants(client: Any) -> list[str]:
        return list(await client.collections.list_all())

    await nodes.open()
    for door in pairs[0]:
        await door.shut()
    await early.open()
    for each in (nodes, early):
        assert len(await each.ask("list", tenants)) == 2
        await each.call("list", tenants)
        assert await each.ready()
    for door in pairs[1]:
        await door.shut()
    with pytest.raises(Transient):
        await nodes.ask("list", tenants)
    await nodes.call("list", tenants)
    assert not await nodes.ready()
    with pytest.raises(Transient):
        await Nodes(settings).open()
    for each in (nodes, early):
        await each.close()


def test_pages_of_several_nodes_are_joined() -> None:
    """Each object once, as it was written last; behind the end of a page that is full nothing is known."""

    def page(*objects: tuple[str, int]) -> list[StoredObject]:
        return [StoredObject(id_, DocumentRef("t", "d"), at) for id_, at in objects]

    one, other = page(("a", 1), ("c", 1)), page(("a", 2), ("b", 1), ("d", 1))
    assert [(found.id, found.written_at) for found in joined([one, other], 9)] == [
        ("a", 2),
        ("b", 1),
        ("c", 1),
        ("d", 1),
    ]
    assert [found.id for found in joined([one, other], 2)] == ["a", "b", "c"]
    assert [found.id for found in joined([one, other], 3)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("given", "says_"),
    [
        ({"FRESHET_WEAVIATE_URL": "http://a:1,http://b:1"}, "names 2 nodes and FRESHET_WEAVIATE_GRPC 1"),
        (
            {
                "FRESHET_WEAVIATE_URL": "http://a:1,http://b:1",
                "FRESHET_WEAVIATE_GRPC": "a:2,b:2",
                "FRESHET_WEAVIATE_REPLICATION": "3",
            },
            "must hold every object",
        ),
        ({"FRESHET_WEAVIATE_URL": "http://a:1,http://u:s3kret@b:1"}, "FRESHET_WEAVIATE_API_KEY"),
        ({"FRESHET_REPLICATION": "2", "FRESHET_MIN_INSYNC": "3"}, "FRESHET_MIN_INSYNC"),
    ],
)
def test_addresses_that_make_no_sense_are_refused(given: dict[str, str], says_: str) -> None:
    """Nodes without one of their addresses, or with too few copies to be asked by turns."""
    with pytest.raises(SettingsError, match=says_) as told:
        Settings.from_env(given)
    assert "s3kret" not in str(told.value)


def test_copies_follow_the_addresses() -> None:
    """Three addresses are three copies; one address may stand for a cluster of three; brokers spare one copy."""
    three = Settings.from_env(
        {"FRESHET_WEAVIATE_URL": "http://a:1, http://b:1,http://c:1", "FRESHET_WEAVIATE_GRPC": "a:2,b:2, c:2"}
    )
    assert three.weaviate.copies == 3
    assert [(each.url, each.grpc) for each in three.weaviate.each][1:] == [("http://b:1", "b:2"), ("http://c:1", "c:2")]
    assert Settings.from_env({"FRESHET_WEAVIATE_REPLICATION": "3"}).weaviate.copies == 3
    insync = [Settings.from_env({"FRESHET_REPLICATION": str(count)}).kafka.insync for count in (1, 2, 3)]
    assert insync == [1, 1, 2]
