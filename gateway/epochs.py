"""Which epoch of ``documents`` takes writes now, as far as this gateway may know (docs/adr/0011)."""

import asyncio
import math
import time
from collections.abc import Callable

from connectors.errors import ConnectorError, Overloaded
from gateway.ports import Log
from runtime.clock import Clock, SystemClock
from runtime.logs import logger
from topics.control import Epoch
from topics.epochs import PATIENCE, READ_EVERY, Epochs

_log = logger("gateway.epochs")


class WriteEpoch:
    """Kept up to date by :meth:`run`; ``monotonic`` tells how old its knowledge is."""

    def __init__(self, log: Log, clock: Clock | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock, self._monotonic = log, clock or SystemClock(), monotonic
        self._reading = asyncio.Lock()
        self._epochs: Epochs | None = None
        self._read_at = 0.0
        self._last: Epoch | None = None

    async def run(self) -> None:
        """Look again and again; runs until cancelled."""
        complained = False
        while True:
            try:
                async with self._reading:
                    await self._read()
                complained = False
            except (ConnectorError, TimeoutError) as error:
                if not complained:
                    _log.warning("control cannot be read; soon no documents are taken", reason=str(error) or "timeout")
                complained = True
            await asyncio.sleep(READ_EVERY)

    async def current(self) -> Epoch:
        """The epoch to write to; :class:`Transient` for a moment around a move, and while ``control`` is away."""
        while self._outdated:
            async with self._reading:
                if self._outdated:
                    await self._read()
        assert self._epochs is not None
        found = self._epochs.writes_at(self._clock.now())
        if not isinstance(found, Epoch):
            raise Overloaded("documents is moving to another topic", retry_after=math.ceil(found), reason="epoch")
        if self._last is None or found.number > self._last.number:
            if self._last is not None:
                _log.info("documents go to another topic", topic=found.topic, epoch=found.number)
            self._last = found
        return self._last  # a clock that is set back takes nobody back

    @property
    def _outdated(self) -> bool:
        return self._epochs is None or self._monotonic() - self._read_at > PATIENCE

    async def _read(self) -> None:
        began = self._monotonic()  # what is announced from here on may have been missed
        async with asyncio.timeout(PATIENCE):
            self._epochs = await self._log.epochs()
        self._read_at = began
