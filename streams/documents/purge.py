"""Have edges forget what came of a changed document.

Reads ``index-events``.  Writes nothing.  Refuses nothing: a key alone says which document it is.
Repeating is harmless: what was forgotten is forgotten again.  A document that is new has no copies to forget; it
reaches a copy that does not know it when that one ends, after ``FRESHET_EDGE_MAX_AGE`` at the latest.

A response that was made before a change may come to an edge after the purge.  So each purge is repeated when none can
be under way any more; and since a worker that ended may have owed such repetitions, one that starts has everything
forgotten.  Gateways promote nothing that is not purged in time: they are told whether it is.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from connectors.errors import ConnectorError
from connectors.search_ports import Promotions, Purger
from runtime import metrics
from runtime.clock import Clock
from runtime.logs import logger
from runtime.settings.edge import PURGED_AGAIN
from streams.outcome import Drop, Emit, Outcome, Output, Record, RefusedStatus
from topics.identity import DocumentRef, IdentityError, generation_key, parse_event_key, surrogate_key

EVERY: Final = 0.5  # seconds between looks at what is to be purged again
LATE: Final = 10.0  # seconds from an event to its purge that are too many to promote anything
IDLE: Final = 2.0  # seconds without an event after which nothing is behind any more
log = logger(__name__)


class Purge:
    """Of a worker."""

    def __init__(self, generation: str, purger: Purger, promotions: Promotions, clock: Clock) -> None:
        self._purger, self._promotions, self._clock = purger, promotions, clock
        self._everything = generation_key(generation)
        self._again = deque([(clock.now() + PURGED_AGAIN, [self._everything])])
        self._started = self._failing = False
        self._late_until = 0.0

    async def step(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Purge a batch; an edge that does not take it holds the lane up."""
        named = [_named(record) for record in records]
        keys = list({surrogate_key(ref): None for ref in named if ref is not None})
        await self._purge(keys)
        now = self._clock.now()
        self._again.append((now + PURGED_AGAIN, keys))
        metrics.purged.inc(len(keys))
        for record in records:
            metrics.purge_seconds.observe(max(0.0, now - record.timestamp / 1000))
        if now - max(record.timestamp for record in records) / 1000 > LATE:
            self._late_until = now + IDLE
        return [Emit() if ref is not None else Drop("key") for ref in named]

    async def on_refused(self, record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        """Nobody waits for it."""
        del record, status, reason
        return []

    async def run(self) -> None:
        """Purge again what was purged a moment ago, and tell gateways how it is; for ever."""
        while True:
            await self._clock.sleep(EVERY)
            try:
                await self.repeat()
            except ConnectorError as error:  # stays due
                log.debug("not purged again", error=str(error)[:300])
            if not self._started:
                continue
            try:
                await self._promotions.tell(purging=self.in_time)
            except ConnectorError as error:  # then nothing is promoted
                log.debug("not told whether edges are purged", error=str(error)[:300])

    async def repeat(self) -> None:
        """What is due."""
        now = self._clock.now()
        due = [(at, keys) for at, keys in self._again if at <= now]
        keys = list(dict.fromkeys(key for _, each in due for key in each))
        await self._purge(keys)
        for _ in due:  # others were only added behind them meanwhile
            self._again.popleft()
        self._started |= self._everything in keys

    @property
    def in_time(self) -> bool:
        """Whether what changes now is forgotten soon."""
        return not self._failing and self._clock.now() >= self._late_until

    async def _purge(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        try:
            await self._purger.purge(keys)
        except ConnectorError:
            self._failing = True
            raise
        self._failing = False


def _named(record: Record) -> DocumentRef | None:
    try:
        return parse_event_key(record.key)
    except IdentityError as error:
        log.warning("not an index event", place=record.place, error=str(error))
        return None
