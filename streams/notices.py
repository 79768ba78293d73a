"""Tells of lanes that stand still, so that a gateway can say it; best effort."""

import asyncio
from collections.abc import Sequence

from connectors.errors import ConnectorError
from connectors.ports import LaneBoard, PausedLane
from runtime.logs import logger
from streams.runner import Runner

EVERY = 2.0  # seconds; a notice is forgotten in three times that

log = logger(__name__)


async def keep_told(board: LaneBoard, worker: str, runners: Sequence[Runner]) -> None:
    """Write a notice for each lane that stands still, again and again; take it back when it moves."""
    told: set[str] = set()
    while True:
        try:
            await board.open()
            for runner in runners:
                if pause := runner.pause:
                    told.add(runner.lane)
                    await board.pause(runner.lane, PausedLane(worker, pause.since, pause.reason[:500]))
                elif runner.lane in told:
                    await board.resume(runner.lane, worker)
                    told.discard(runner.lane)
        except ConnectorError as error:  # whoever asks learns of that outage by itself
            log.debug("pauses are not told", error=str(error))
        await asyncio.sleep(EVERY)
