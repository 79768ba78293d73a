"""The epochs of ``documents`` as ``control`` tells them, through any topic log."""

import asyncio
import contextlib

from connectors.errors import Transient
from connectors.ports import LoggedRecord, TopicLog
from topics.codec import DecodeError
from topics.control import Epoch
from topics.epochs import READ_EVERY, Epochs, read_epochs

_POLL = 0.5  # seconds


class EpochLog:
    """Reads ``control`` from its beginning once, and what is new whenever it is asked.  One reader at a time."""

    def __init__(self, log: TopicLog, first: Epoch) -> None:
        self._log, self._first = log, first
        self._records: list[LoggedRecord] = []
        self._places: dict[int, int] = {}

    async def open(self) -> None:
        await self._log.open()

    async def close(self) -> None:
        await self._log.close()

    async def read(self) -> Epochs:
        """All epochs up to now; raises :class:`Transient` where that cannot be told."""
        places = self._places or await self._log.starts()
        ends = await self._log.ends()
        while any(places[partition] < end for partition, end in ends.items()):
            records, places = await self._log.read(places, _POLL)
            self._records += records
            self._places = places
        try:
            return read_epochs(((r.key, r.value, r.headers) for r in self._records), self._first)
        except DecodeError as error:
            raise Transient(f"control cannot be read here: {error}", reason="control") from error

    async def wait_for_more(self, known: Epochs) -> None:
        """Returns when there is an epoch beyond those known; an outage only makes it later."""
        while True:
            with contextlib.suppress(Transient):
                await self.open()
                if (await self.read()).after(known.newest.number):
                    return
            await asyncio.sleep(READ_EVERY)
