"""Questions and a Redis that is away: the tail answers, says so, and nobody waits twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from connectors.errors import Transient
from connectors.memory.manifests import MemoryManifests
from connectors.memory.topic_log import MemoryTopicLog
from connectors.memory.view import MemoryView
from streams.documents.view import View
from streams.queries import manifests as module
from streams.queries.manifests import FROM_LOG, Manifests
from tests.connectors.contract.manifest_contract import REF, at, flip
from tests.connectors.contract.view_contract import event, refusal
from tests.flow.inline import Lanes
from tests.streams.documents.test_view import append
from topics import registry
from topics.identity import Token
from topics.queries import AnswerEvent


class Rig:
    """A store, and a tail of the same log."""

    def __init__(self) -> None:
        self.store, self.tailed = MemoryManifests(), MemoryManifests(whole=False)
        self.log = MemoryTopicLog(4)
        self.tail = View("tail", self.log, MemoryView(self.tailed, alone=True))
        self.manifests = Manifests(self.store, self.tail, self.tailed)
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, *, probe: bool = False) -> None:
        self.tasks.append(asyncio.create_task(self.tail.run()))
        if probe:
            self.tasks.append(asyncio.create_task(self.manifests.probe()))


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    for task in rig.tasks:
        task.cancel()
    await asyncio.gather(*rig.tasks, return_exceptions=True)


async def test_the_store_comes_first(rig: Rig) -> None:
    """While the store is whole it alone is asked, and nothing is degraded."""
    await rig.store.flip([flip(2)])
    append(rig.log, event(1, "c1"))
    rig.start()
    reading = rig.manifests.reading()
    [seen] = await reading.visible([(REF, "c1")])
    assert seen is not None and seen.version == at(2) and reading.degraded == []


async def test_the_log_answers_for_a_lost_store(rig: Rig) -> None:
    """All that a question asks comes from the tail, up to what was announced a moment before, and is labelled."""
    rig.start()
    await asyncio.sleep(0.01)
    rig.store.lose()
    append(rig.log, *(event(n, "c1") for n in range(1, 500)), refusal(600))
    reading = rig.manifests.reading()
    [seen] = await reading.visible([(REF, "c1")])
    assert seen is not None and seen.version == at(499) and reading.degraded == [FROM_LOG]
    assert await reading.watermarks() == {(1, 0): 600}
    assert (await reading.refusals([Token(1, 0, 600)])).keys() == {Token(1, 0, 600)}


async def test_a_tail_that_is_not_whole_says_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the tail has read the log once there is nobody to ask: an outage, told after a while and not for ever."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    rig.store.lose()
    append(rig.log, event(1, "c1"))
    began = time.monotonic()
    with pytest.raises(Transient):
        await rig.manifests.reading().visible([(REF, "c1")])
    assert 0.2 <= time.monotonic() - began < 0.5
    rig.start()
    assert (await rig.manifests.reading().visible([(REF, "c1")]))[0] is not None


async def test_without_a_tail_it_is_an_outage(rig: Rig) -> None:
    """Switched off, the store's own error is the answer."""
    rig.store.lose()
    with pytest.raises(Transient, match="rebuilt"):
        await Manifests(rig.store).reading().visible([(REF, "c1")])


async def test_a_silent_store_is_waited_for_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One question finds out, the next ones go to the log at once, and when the store answers it is asked again."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    await rig.store.flip([flip(1)])
    append(rig.log, event(1, "c1", "c2"))
    answers, visible, status = asyncio.Event(), rig.store.visible, rig.store.status

    async def silent(hits: Sequence[Any]) -> Any:
        await answers.wait()
        return await visible(hits)

    async def silent_status(refs: Sequence[Any]) -> Any:
        await answers.wait()
        return await status(refs)

    monkeypatch.setattr(rig.store, "visible", silent)
    monkeypatch.setattr(rig.store, "status", silent_status)
    rig.start(probe=True)
    waits = []
    for _ in range(5):
        began, reading = time.monotonic(), rig.manifests.reading()
        assert (await reading.visible([(REF, "c1")]))[0] is not None and reading.degraded == [FROM_LOG]
        waits.append(time.monotonic() - began)
    assert waits[0] >= 0.2 and max(waits[1:]) < 0.1
    answers.set()
    async with asyncio.timeout(5):
        while True:
            reading = rig.manifests.reading()
            await reading.visible([(REF, "c1")])
            if not reading.degraded:
                break
            await asyncio.sleep(0.01)


async def test_a_worker_starts_without_redis(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tail, a Redis that is away at the start keeps no questions waiting."""

    async def away() -> None:
        raise Transient("away", reason="away")

    monkeypatch.setattr(rig.store, "open", away)
    append(rig.log, event(1, "c1"))
    rig.start()
    await rig.manifests.open()
    await asyncio.sleep(0.01)
    reading = rig.manifests.reading()
    assert (await reading.visible([(REF, "c1")]))[0] is not None and reading.degraded == [FROM_LOG]
    with pytest.raises(Transient):
        await Manifests(rig.store).open()


async def test_answers_without_redis(rig: Rig) -> None:
    """A whole question goes through: deleted text stays away, tokens end, the answer names its rung and is not late."""
    lanes = Lanes()
    lanes.retrieve._manifests = Manifests(lanes.manifests, rig.tail, rig.tailed)
    await lanes.put("cats", b"Cats sleep for most of the day.", content_type=b"text/plain")
    await lanes.put("dogs", b"Dogs sleep at night.", content_type=b"text/plain")
    stored = dict(lanes.store._chunks)
    token = await lanes.put("dogs", None)
    lanes.store._chunks |= stored  # as if clean-up had not happened
    for record in lanes.log[registry.INDEX_EVENTS.name]:
        rig.log.append(record.partition, record.key, record.value, record.headers, 1)
    rig.start()
    await asyncio.sleep(0.05)

    def last(events: list[AnswerEvent]) -> dict[str, Any]:
        assert events[-1].type == "answer", events[-1].data
        return events[-1].data

    assert not last(await lanes.ask("When do cats sleep?")).get("degraded")
    lanes.manifests.lose()
    answer = last(await lanes.ask("When do cats and dogs sleep?", at_least=[str(token)]))
    assert answer["degraded"] == [FROM_LOG] and not answer.get("lacking")
    assert set(answer["documents"]) == {"cats"}
