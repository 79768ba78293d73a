"""Notices that the lane was away for longer than the log keeps deletes.

Then a delete may have been compacted away before anybody read it, and its document stays visible for ever.  The lane
goes on, but nothing counts as current until an audit has found it so.  Asked once, when the chunk stage starts: a group
that never committed anything begins with an empty index and has missed nothing.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

from connectors.ports import ManifestStore, TopicLog
from runtime.clock import Clock, millis
from runtime.logs import logger

log = logger(__name__)
Committed = Callable[[], Awaitable[Mapping[int, int]]]
_WAIT = 5.0  # seconds for a broker to give one record


class Absence:
    """Opened like a port, before the first record is read.

    ``epochs`` are the topics of ``documents``, each with what tells how far the lane's group is there.
    """

    def __init__(
        self,
        epochs: Sequence[tuple[TopicLog, Committed]],
        manifests: ManifestStore,
        delete_retention_ms: int,
        clock: Clock,
    ) -> None:
        self._epochs, self._manifests = epochs, manifests
        self._retention, self._clock = delete_retention_ms, clock

    async def open(self) -> None:
        """Look, and put on record what was found."""
        oldest = [at for documents, committed in self._epochs for at in await _oldest(documents, await committed())]
        now = millis(self._clock.now())
        if oldest and now - min(oldest) > self._retention:
            since = f"{datetime.fromtimestamp(min(oldest) / 1000, UTC):%Y-%m-%d %H:%M}"
            log.error("away for longer than deletes are kept", unread_since=since, retention_ms=self._retention)
            await self._manifests.distrust(
                f"at {datetime.fromtimestamp(now / 1000, UTC):%Y-%m-%d %H:%M:%S} lane chunk had records unread since"
                f" {since}, longer than deletes are kept: run `freshet audit --repair`"
            )

    async def close(self) -> None:
        """Nothing is held open."""


async def _oldest(documents: TopicLog, unread: Mapping[int, int]) -> list[int]:
    """When the first unread record of each partition was written, ms since 1970."""
    found = []
    await documents.open()
    try:
        starts, ends = await documents.starts(), await documents.ends()
        for partition, offset in unread.items():
            place = max(offset, starts.get(partition, 0))
            while place < ends.get(partition, 0):
                records, places = await documents.read({partition: place}, _WAIT)
                if records:
                    found.append(records[0].timestamp)
                    break
                place = places[partition]
    finally:
        await documents.close()
    return found
