"""Which records were begun and not finished before: those a crash of the worker may be blamed on."""

from collections.abc import Sequence

from connectors.errors import ConnectorError
from connectors.ports import DeliveryLedger
from runtime import metrics
from runtime.logs import logger
from streams.outcome import Record

log = logger(__name__)


class Deliveries:
    """The ledger of one lane, as far as it is there.

    Work goes on without the count: a crash loop is the lesser evil of a lane that needs Redis to move.
    """

    def __init__(self, lane: str, ledger: DeliveryLedger) -> None:
        self._lane, self._ledger = lane, ledger

    async def before(self, records: Sequence[Record]) -> list[int]:
        """How often each was begun and not finished."""
        try:
            return await self._ledger.counts(self._lane, [r.delivery for r in records])
        except ConnectorError as error:
            return self._uncounted(error, records)

    async def begin(self, records: Sequence[Record]) -> list[int]:
        """Count them; returns how often each had been begun before."""
        try:
            return await self._ledger.begin(self._lane, [r.delivery for r in records])
        except ConnectorError as error:
            return self._uncounted(error, records)

    async def finish(self, records: Sequence[Record]) -> None:
        """Forget them."""
        try:
            await self._ledger.finish(self._lane, [r.delivery for r in records])
        except ConnectorError as error:
            self._uncounted(error, records)

    def _uncounted(self, error: ConnectorError, records: Sequence[Record]) -> list[int]:
        metrics.records_retried.labels(self._lane, "ledger").inc()
        log.debug("delivery count is away", lane=self._lane, error=str(error))
        return [0] * len(records)


def apart(records: Sequence[Record], before: Sequence[int]) -> list[list[Record]]:
    """The batch as it may run: together, but each suspect (begun before, never finished) alone."""
    groups: list[list[Record]] = []
    alone = True
    for record, count in zip(records, before, strict=True):
        if alone or count:
            groups.append([])
        groups[-1].append(record)
        alone = bool(count)
    return groups
