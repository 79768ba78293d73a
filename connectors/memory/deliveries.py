"""Delivery counts in a dict: they outlive a restart of the lane, not of the process.  Same contract as Redis."""

from collections import Counter
from collections.abc import Sequence


class MemoryDeliveries:
    """:class:`connectors.ports.DeliveryLedger`."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, tuple[str, int, int]]] = Counter()

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def counts(self, lane: str, places: Sequence[tuple[str, int, int]]) -> list[int]:
        return [self._counts[lane, place] for place in places]

    async def begin(self, lane: str, places: Sequence[tuple[str, int, int]]) -> list[int]:
        before = []
        for place in places:
            before.append(self._counts[lane, place])
            self._counts[lane, place] += 1
        return before

    async def finish(self, lane: str, places: Sequence[tuple[str, int, int]]) -> None:
        for place in places:
            self._counts.pop((lane, place), None)
