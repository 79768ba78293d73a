"""The epochs of ``documents`` as ``control`` tells them, through any topic log."""

import asyncio
import contextlib

from connectors.control import ControlLog
from connectors.errors import Transient
from connectors.ports import TopicLog
from topics.codec import DecodeError
from topics.control import Epoch
from topics.epochs import READ_EVERY, Epochs, read_epochs


class EpochLog:
    """The epochs up to now, whenever it is asked.  One reader at a time."""

    def __init__(self, log: TopicLog, first: Epoch) -> None:
        self._control, self._first = ControlLog(log), first

    async def open(self) -> None:
        await self._control.open()

    async def close(self) -> None:
        await self._control.close()

    async def read(self) -> Epochs:
        """All epochs up to now; raises :class:`Transient` where that cannot be told."""
        records = await self._control.read()
        try:
            return read_epochs(((r.key, r.value, r.headers) for r in records), self._first)
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
