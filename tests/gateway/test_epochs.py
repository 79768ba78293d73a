"""Where a gateway writes documents while `documents` moves to another topic."""

import asyncio

import httpx
import pytest

from connectors.errors import Overloaded, Transient
from connectors.memory.manifests import MemoryManifests
from gateway.app import create_app
from gateway.bulk import _Run
from gateway.caller import Caller
from gateway.epochs import WriteEpoch
from gateway.intake import DocumentDoor
from gateway.lanes import assigned
from gateway.memory_log import MemoryLog, Storage
from runtime.clock import ManualClock, millis
from runtime.settings import Settings
from tests.gateway.builders import serving
from topics import registry
from topics.control import Epoch
from topics.epochs import LEAD, PATIENCE, QUIET, Epochs
from topics.identity import DocumentRef, Token, partition_of

DOC = DocumentRef("default", "doc")
HOUR = 3600.0


def announced(storage: Storage, at: float | None) -> None:
    """A second epoch from this time on (seconds since 1970)."""
    active_from = None if at is None else millis(at)
    second = Epoch(number=2, topic="freshet.documents.2", partitions=8, active_from=active_from)
    storage.epochs = Epochs([storage.epochs.first, second])


class OutOfStep(ManualClock):
    """Somebody else's clock, which is not quite the same."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds

    def now(self) -> float:
        return self._clock.now() + self._seconds


def gateway(storage: Storage, clock: ManualClock, out_of_step: float = 0.0) -> DocumentDoor:
    """One of several on the same broker, each with a clock of its own."""
    log = MemoryLog(storage)
    epoch = WriteEpoch(log, OutOfStep(clock, out_of_step), monotonic=clock.now)
    return DocumentDoor(log, MemoryManifests(), epoch, 1.0)


@pytest.mark.parametrize(("ago", "number"), [(HOUR, 2), (-HOUR, 1), (None, 1)])
async def test_documents_go_to_the_epoch_in_force(door: Settings, ago: float | None, number: int) -> None:
    """Before the move to the old topic, after it to the new one; the token says which."""
    log = MemoryLog()
    announced(log.storage, None if ago is None else millis() / 1000 - ago)
    async with serving(create_app(door, MemoryManifests(), log)) as client:
        token = Token.parse((await client.put("/v1/documents/doc", json={"text": "Alpha."})).json()["token"])
        bulk = await client.post(
            "/v1/documents", content=b'{"id": "a", "text": "A."}', headers={"Content-Type": "application/x-ndjson"}
        )
    assert token.epoch == number and token.partition == partition_of(b"doc", 8 if number == 2 else 4)
    assert {record.topic.name for record in log.published} == {registry.documents_of(number).name}
    assert [Token.parse(text).epoch for text in bulk.json()["tokens"]] == [number]


async def test_around_the_move_only_documents_wait(door: Settings) -> None:
    """For a few seconds every write of a document is 503 with Retry-After; questions are taken as ever."""
    log = MemoryLog()
    announced(log.storage, millis() / 1000)
    async with serving(create_app(door, MemoryManifests(), log)) as client:
        lines = {"content": b'{"id": "a", "text": "A."}', "headers": {"Content-Type": "application/x-ndjson"}}
        refused: list[httpx.Response] = [
            await client.put("/v1/documents/doc", json={"text": "Alpha."}),
            await client.delete("/v1/documents/doc"),
            await client.post("/v1/documents", **lines),  # type: ignore[arg-type]
        ]
        assert (await client.post("/v1/queries", json={"question": "q"})).status_code == 202
    for response in refused:
        assert response.status_code == 503 and 1 <= int(response.headers["Retry-After"]) <= 2
    assert refused[2].json()["next_line"] == 1


@pytest.mark.parametrize(("one", "other"), [(2.0, -2.0), (-2.0, 2.0), (0.0, 0.0), (2.0, 2.0)])
async def test_gateways_out_of_step_never_go_back(one: float, other: float) -> None:
    """Clocks that differ by four seconds: no write to the old topic follows one to the new topic."""
    clock, storage = ManualClock(), Storage()
    doors = [gateway(storage, clock, one), gateway(storage, clock, other)]
    announced(storage, clock.now() + LEAD)
    refused = 0
    for _ in range(200):
        await clock.sleep(0.1)
        for door in doors:
            try:
                await door.append(DOC, b"x", {})
            except Overloaded:
                refused += 1
    topics = [record.topic.name for record in MemoryLog(storage).published]
    assert topics == sorted(topics) and set(topics) == {"documents", "documents.2"}
    assert refused == pytest.approx(2 * 2 * QUIET / 0.1, abs=2)


async def test_a_bulk_request_that_outlasts_the_move_has_tokens_of_both() -> None:
    """Lines sent before and after lie in different epochs, each with a token of its own for its partition."""
    clock, storage = ManualClock(), Storage()
    announced(storage, clock.now() + LEAD)
    run = _Run(gateway(storage, clock), Caller("default", [], "t"))
    await run.send(1, "doc", b"x")
    await asyncio.sleep(0.01)
    await clock.sleep(HOUR)
    key = next(b"k%d" % n for n in range(99) if partition_of(b"k%d" % n, 8) == partition_of(b"doc", 4))
    await run.send(2, key.decode(), b"x")
    tokens = [Token.parse(text) for text in (await run.finish()).tokens]
    assert [(token.epoch, token.partition) for token in tokens] == [(n, partition_of(b"doc", 4)) for n in (1, 2)]


async def test_a_gateway_that_sees_no_announcement_stops_before_the_move() -> None:
    """Who cannot read `control` writes on for a while, then takes no documents, and goes on at the right topic."""
    clock, storage = ManualClock(), Storage()
    log = MemoryLog(storage)
    epoch = WriteEpoch(log, clock, monotonic=clock.now)
    assert (await epoch.current()).number == 1
    log.failure = Transient("away")
    announced(storage, clock.now() + LEAD)
    await clock.sleep(PATIENCE)
    assert (await epoch.current()).number == 1
    await clock.sleep(0.1)
    with pytest.raises(Transient):
        await epoch.current()
    await clock.sleep(LEAD)
    log.failure = None
    assert (await epoch.current()).number == 2


async def test_a_gateway_that_knows_nothing_yet_takes_no_documents() -> None:
    """A gateway that starts while `control` is away cannot know where to write."""
    log = MemoryLog()
    log.failure = Transient("away")
    with pytest.raises(Transient):
        await WriteEpoch(log).current()


async def test_a_clock_that_is_set_back_takes_nobody_back() -> None:
    """Who has written to the new topic stays there."""
    clock, storage = ManualClock(), Storage()
    announced(storage, clock.now())
    epoch = WriteEpoch(MemoryLog(storage), clock, monotonic=lambda: 0.0)
    await clock.sleep(HOUR)
    assert (await epoch.current()).number == 2
    await clock.sleep(-2 * HOUR)
    assert (await epoch.current()).number == 2


async def test_an_announcement_is_seen_while_nobody_writes() -> None:
    """A gateway looks by itself, so that what it knows is fresh when a document comes; an outage does not end that."""
    log = MemoryLog()
    epoch = WriteEpoch(log)
    log.failure = Transient("away")
    looking = asyncio.create_task(epoch.run())
    await asyncio.sleep(0)
    log.failure = None
    announced(log.storage, millis() / 1000 - HOUR)
    try:
        async with asyncio.timeout(5):
            while epoch._epochs is None:
                await asyncio.sleep(0.01)
    finally:
        looking.cancel()
    log.failure = Transient("away again")
    assert (await epoch.current()).number == 2


def test_assignments_are_read() -> None:
    """Topics and partitions of a member, as Kafka's consumer protocol writes them."""
    topics = [(b"p.documents", [0, 3]), (b"p.documents.2", [7])]
    told = b"\0\0" + len(topics).to_bytes(4, "big")
    for topic, partitions in topics:
        told += len(topic).to_bytes(2, "big") + topic + len(partitions).to_bytes(4, "big")
        told += b"".join(partition.to_bytes(4, "big") for partition in partitions)
    assert assigned(told + b"\0\0\0\x05extra") == {"p.documents": {0, 3}, "p.documents.2": {7}}
    assert assigned(b"") == assigned(b"\0\0\0\0\0\0\0\0\0\0") == {}
