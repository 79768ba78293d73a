"""Which lanes stand still, in a dict.  Same contract as Redis, except that nothing is forgotten by itself."""

from collections.abc import Sequence

from connectors.ports import PausedLane


class MemoryLanes:
    """:class:`connectors.ports.LaneBoard`."""

    def __init__(self) -> None:
        self._paused: dict[str, PausedLane] = {}

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def pause(self, lane: str, paused: PausedLane) -> None:
        self._paused[lane] = paused

    async def resume(self, lane: str, worker: str) -> None:
        if lane in self._paused and self._paused[lane].worker == worker:
            del self._paused[lane]

    async def paused(self, lanes: Sequence[str]) -> dict[str, PausedLane]:
        return {lane: self._paused[lane] for lane in lanes if lane in self._paused}
