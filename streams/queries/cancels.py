"""Work on a question ends when its job is cancelled: nothing more is paid for.

Follows ``cancels`` without a group, so every worker knows of every cancelled job in milliseconds.  What the asker is
told comes from the gateway; here the work is only dropped.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from connectors.errors import ConnectorError
from connectors.ports import TopicLog
from runtime import metrics
from runtime.logs import logger
from runtime.retry import Backoff
from streams.outcome import Drop, Outcome, Record, RecordStep
from topics.headers import JOB
from topics.registry import CANCELS

KEPT: Final = CANCELS.retention_ms / 1000  # seconds that a cancelled job is remembered: no question lives longer
CANCELLED: Final = Drop("cancelled")
_POLL: Final = 5.0  # seconds
log = logger(__name__)


class Cancels:
    """What a worker knows of cancelled jobs."""

    def __init__(self, topic: TopicLog) -> None:
        self._topic = topic
        self._known: dict[bytes, float] = {}  # since when, in order
        self._wanted: dict[bytes, set[asyncio.Event]] = {}

    async def run(self) -> None:
        """Follow the topic; while it is away questions are answered as if nobody had cancelled any."""
        places: dict[int, int] | None = None
        complained = False
        for delay in Backoff().delays():
            try:
                await self._topic.open()
                places = places or await self._topic.starts()
                complained = False
                while True:
                    records, places = await self._topic.read(places, _POLL)
                    for record in records:
                        self.take(record.key or b"")
            except ConnectorError as error:
                if not complained:
                    log.warning("cancels cannot be followed; trying again", error=str(error)[:300])
                complained = True
                await asyncio.sleep(delay)

    async def close(self) -> None:
        """Let go of the topic."""
        await self._topic.close()

    def take(self, job: bytes) -> None:
        """A job was cancelled."""
        now = time.monotonic()
        self._known.setdefault(job, now)
        for known in [*self._known]:
            if now - self._known[known] < KEPT:
                break
            del self._known[known]
        for event in self._wanted.get(job, ()):
            event.set()

    def unless_cancelled(self, step: RecordStep) -> RecordStep:
        """The step, dropped before it begins or wherever it stands when the job is cancelled."""

        async def guarded(record: Record) -> Outcome:
            job = record.headers.get(JOB, b"")
            with self._listening(job) as cancelled:
                if cancelled.is_set():
                    return _dropped()
                work = asyncio.ensure_future(step(record))
                notice = asyncio.ensure_future(cancelled.wait())
                try:
                    await asyncio.wait({work, notice}, return_when=asyncio.FIRST_COMPLETED)
                    if work.done():
                        return work.result()
                    return _dropped()
                finally:  # also when the worker stops
                    notice.cancel()
                    work.cancel()
                    await asyncio.gather(work, notice, return_exceptions=True)

        return guarded

    @contextmanager
    def _listening(self, job: bytes) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        if job in self._known:
            event.set()
        self._wanted.setdefault(job, set()).add(event)
        try:
            yield event
        finally:
            self._wanted[job].discard(event)
            if not self._wanted[job]:
                del self._wanted[job]


def _dropped() -> Drop:
    metrics.answers_total.labels("cancelled").inc()
    return CANCELLED
