"""The ladder of each question follows `control`, and what versions do is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from connectors.control import ControlLog
from connectors.errors import Transient
from connectors.memory.llm import MemoryLlmBoard
from connectors.memory.topic_log import MemoryTopicLog
from runtime import metrics
from runtime.clock import ManualClock
from runtime.endpoints import read_endpoints
from streams.queries import versions as module
from streams.queries.citations import Cited
from streams.queries.figures import quantile
from streams.queries.ladder import Rung
from streams.queries.versions import Following, UnknownVersion, Versions, configured
from tests.flow.test_ladder import Away, Scripted
from topics.codec import encode, schema_header
from topics.control import LlmVersions
from topics.identity import mint_job_id
from topics.queries import Usage
from topics.versions import KEY


def known(*names: str, alone: tuple[str, ...] = ()) -> Versions:
    rungs = [Rung(Away(name=name), ManualClock()) for name in names]
    return Versions([*rungs, Rung(Scripted(), ManualClock())], LlmVersions(lead=names[0]), alone)


def order(versions: Versions, wanted: str | None = None) -> list[str]:
    return [rung.name for rung in versions.ladder(mint_job_id(0), wanted)]


def say(log: MemoryTopicLog, state: LlmVersions | None) -> None:
    value = encode(state) if state else None
    log.append(0, KEY.encode(), value, schema_header(state) if state else {}, 0)


def test_the_leader_is_first_and_quoting_last() -> None:
    """A canary that fails falls back to the leader; one that no question falls back to is only asked by its own."""
    versions = known("a", "b", "c", alone=("c",))
    assert order(versions) == ["a", "b", "scripted"]
    versions.follow(LlmVersions(lead="b"))
    assert order(versions) == ["b", "a", "scripted"]
    versions.follow(LlmVersions(lead="b", shares={"c": 1.0}))
    assert order(versions) == ["c", "b", "a", "scripted"]
    assert order(versions, "a") == ["a", "scripted"]
    with pytest.raises(UnknownVersion):
        order(versions, "d")
    assert metrics.llm_share.labels("c")._value.get() == 1.0 and metrics.llm_share.labels("b")._value.get() == 0.0


def test_names_that_the_settings_do_not_have_are_left_out() -> None:
    """A worker that has not been given an endpoint yet goes on with those that it has."""
    versions = known("a", "b")
    versions.follow(LlmVersions(lead="new", shares={"newer": 0.5, "b": 0.1}, changed_at=7))
    assert versions.now == LlmVersions(lead="a", shares={"b": 0.1}, changed_at=7)


def test_settings_hold_while_control_says_nothing() -> None:
    """The first endpoint leads, and shares are as they are set."""
    endpoints = read_endpoints('[{"name": "a", "model": "m"}, {"name": "b", "model": "m", "share": 0.25}]')
    assert configured(endpoints) == LlmVersions(lead="a", shares={"b": 0.25})
    assert configured(()).lead == "extractive"


@asynccontextmanager
async def following(log: MemoryTopicLog, versions: Versions, board: MemoryLlmBoard) -> AsyncIterator[Following]:
    follower = Following(versions, ControlLog(log), board, "worker-1")
    await follower.open()
    tasks = [asyncio.create_task(follower.run()), asyncio.create_task(follower.tell())]
    yield follower
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_worker_follows_control_without_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said before it began holds from the first question on, and news within a second."""
    monkeypatch.setattr(module, "READ_EVERY", 0.01)
    log, versions = MemoryTopicLog(1), known("a", "b")
    say(log, LlmVersions(lead="b", changed_at=1))
    async with following(log, versions, MemoryLlmBoard()):
        assert order(versions)[0] == "b"
        say(log, LlmVersions(lead="a", changed_at=2))
        async with asyncio.timeout(2):
            while order(versions)[0] != "a":
                await asyncio.sleep(0.01)


async def test_what_was_said_last_holds_while_the_broker_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage changes nothing, and what was said meanwhile is heard after it."""
    monkeypatch.setattr(module, "READ_EVERY", 0.01)
    log, versions, asked = MemoryTopicLog(1), known("a", "b"), asyncio.Event()
    say(log, LlmVersions(lead="b", changed_at=1))
    async with following(log, versions, MemoryLlmBoard()):
        ends = log.ends

        async def away() -> dict[int, int]:
            asked.set()
            raise Transient("away")

        log.ends = away  # type: ignore[method-assign]
        say(log, LlmVersions(lead="a", changed_at=2))
        async with asyncio.timeout(2):
            await asked.wait()
            assert order(versions)[0] == "b"
            log.ends = ends  # type: ignore[method-assign]
            while order(versions)[0] != "a":
                await asyncio.sleep(0.01)


async def test_figures_are_told_once() -> None:
    """What was counted since the last time is added; what could not be told is told later."""
    board, versions = MemoryLlmBoard(), known("a")
    follower, figures = Following(versions, ControlLog(MemoryTopicLog(1)), board, "w"), versions.rungs[0].figures
    cited = Cited(2)
    cited.add("As [1] and [7] say.")
    figures.tried("ok")
    figures.wrote(Usage(100, 20), 0.2, 1.7, cited)
    count = board.count

    async def fail(since: int, version: str, figures: Mapping[str, float]) -> None:
        raise Transient("away")

    board.count = fail  # type: ignore[method-assign]
    with contextlib.suppress(Transient):
        await follower.tell_once()
    board.count = count  # type: ignore[method-assign]
    await follower.tell_once()
    await follower.tell_once()
    found = (await board.figures(0))["a"]
    assert found["tried.ok"] == 1 and (found["input"], found["output"]) == (100, 20)
    assert (found["kept"], found["removed"]) == (1, 1)
    assert (quantile(found, "ms", 0.5), quantile(found, "first_ms", 0.95), quantile({}, "ms", 0.5)) == (2000, 250, None)
    assert (await board.workers())["w"].names == ["a", "scripted"]
