"""A topic in a list, read like Kafka's.  Same contract."""

import asyncio
from collections.abc import Mapping

from connectors.ports import LoggedRecord


class MemoryTopicLog:
    """:class:`connectors.ports.TopicLog`; ``append`` is what a producer would do."""

    def __init__(self, partitions: int) -> None:
        self._records: dict[int, list[LoggedRecord]] = {partition: [] for partition in range(partitions)}
        self._news = asyncio.Event()

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do; what was appended stays, as it would on a broker."""

    async def identity(self) -> str:
        return f"memory {id(self)}"

    def append(
        self, partition: int, key: bytes | None, value: bytes | None, headers: Mapping[str, bytes], timestamp: int
    ) -> LoggedRecord:
        """Write a record at the end."""
        kept = self._records[partition]
        offset = kept[-1].offset + 1 if kept else 0
        kept.append(LoggedRecord(partition, offset, key, value, headers, timestamp))
        self._news.set()
        return kept[-1]

    async def starts(self) -> dict[int, int]:
        return {partition: kept[0].offset if kept else 0 for partition, kept in self._records.items()}

    async def ends(self) -> dict[int, int]:
        return {partition: kept[-1].offset + 1 if kept else 0 for partition, kept in self._records.items()}

    async def read(self, places: Mapping[int, int], seconds: float) -> tuple[list[LoggedRecord], dict[int, int]]:
        records = self._behind(places)
        if not records and seconds > 0:
            self._news.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                return [], dict(places)
            records = self._behind(places)
        return records, {**places, **{record.partition: record.offset + 1 for record in records}}

    def _behind(self, places: Mapping[int, int]) -> list[LoggedRecord]:
        return [r for partition, offset in places.items() for r in self._records[partition] if r.offset >= offset]
