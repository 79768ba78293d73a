"""Lanes that stand still are told of while they do."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from connectors.errors import Transient
from connectors.memory.lanes import MemoryLanes
from connectors.ports import PausedLane
from streams import notices
from streams.retries import Pause
from streams.runner import Runner


async def test_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notice appears with a pause and goes with it, whatever the board does in between."""
    monkeypatch.setattr(notices, "EVERY", 0.001)
    board, lane = MemoryLanes(), SimpleNamespace(lane="index", pause=None)
    await board.pause("embed", PausedLane("0", 1, "another lane's"))
    telling = asyncio.create_task(notices.keep_told(board, "0", [cast(Runner, lane)]))

    async def until(expected: bool) -> None:
        async with asyncio.timeout(5):
            while ("index" in await board.paused(["index"])) is not expected:
                await asyncio.sleep(0.001)

    lane.pause = Pause(7, "away")
    await until(True)
    assert await board.paused(["index"]) == {"index": PausedLane("0", 7, "away")}
    resume, failed = board.resume, asyncio.Event()

    async def away(*_: str) -> None:
        failed.set()
        raise Transient("away")

    monkeypatch.setattr(board, "resume", away)
    lane.pause = None
    await asyncio.wait_for(failed.wait(), 5)
    monkeypatch.setattr(board, "resume", resume)
    await until(False)
    assert "embed" in await board.paused(["embed"])
    telling.cancel()
