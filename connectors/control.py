"""``control``, read from its beginning once, and what is new whenever it is asked.  One reader at a time."""

from collections.abc import Sequence

from connectors.ports import LoggedRecord, TopicLog

_POLL = 0.5  # seconds


class ControlLog:
    """All records so far, through any topic log."""

    def __init__(self, log: TopicLog) -> None:
        self._log = log
        self._records: list[LoggedRecord] = []
        self._places: dict[int, int] = {}

    async def open(self) -> None:
        await self._log.open()

    async def close(self) -> None:
        await self._log.close()

    async def read(self) -> Sequence[LoggedRecord]:
        """All up to now; raises :class:`connectors.errors.Transient` where that cannot be told."""
        places = self._places or await self._log.starts()
        ends = await self._log.ends()
        while any(places[partition] < end for partition, end in ends.items()):
            records, places = await self._log.read(places, _POLL)
            self._records += records
            self._places = places
        return self._records
