"""Where documents are written to: the topic and partition of the epoch that takes writes (docs/adr/0011).

Asked each time that outputs are about to be sent, so that nothing waits long between the choice and the write.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from connectors.epochs import EpochLog
from connectors.errors import Overloaded, Transient
from runtime.clock import Clock
from streams.outcome import Output
from topics.control import Epoch
from topics.epochs import PATIENCE, READ_EVERY, Epochs
from topics.identity import partition_of
from topics.registry import DOCUMENTS, documents_of


class Route:
    """``monotonic`` tells how old the knowledge of ``control`` is."""

    def __init__(self, control: EpochLog, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._control, self._clock, self._monotonic = control, clock, monotonic
        self._reading = asyncio.Lock()
        self._epochs: Epochs | None = None
        self._read_at = 0.0
        self._last: Epoch | None = None

    async def __call__(self, outputs: Sequence[Output]) -> Sequence[Output]:
        """The outputs, those for ``documents`` with their place; :class:`Transient` while that cannot be told."""
        if not any(output.spec is DOCUMENTS for output in outputs):
            return outputs
        epoch = await self._current()
        spec = documents_of(epoch.number)
        return [
            replace(output, spec=spec, partition=partition_of(output.key, epoch.partitions))
            if output.spec is DOCUMENTS
            else output
            for output in outputs
        ]

    async def _current(self) -> Epoch:
        found = (await self._known()).writes_at(self._clock.now())
        if not isinstance(found, Epoch):
            raise Overloaded("documents is moving to another topic", retry_after=found, reason="epoch")
        if self._last is None or found.number > self._last.number:
            self._last = found
        return self._last  # a clock that is set back takes nobody back

    async def _known(self) -> Epochs:
        async with self._reading:
            began = self._monotonic()  # what is announced from here on may have been missed
            if self._epochs is None or began - self._read_at >= READ_EVERY:
                try:
                    async with asyncio.timeout(PATIENCE):
                        await self._control.open()
                        self._epochs, self._read_at = await self._control.read(), began
                except (Transient, TimeoutError) as error:
                    if self._epochs is None or self._monotonic() - self._read_at > PATIENCE:
                        raise Transient(f"control cannot be read: {error or 'timeout'}", reason="control") from error
            return self._epochs
