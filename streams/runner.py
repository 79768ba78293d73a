"""Turns a stage into a Faust agent that loses nothing.

Faust acknowledges an event when an exception leaves the agent, so nothing may leave it: transient errors pause the
stage, records at fault are dead-lettered, and anything unknown ends the process hard with nothing acknowledged.  A
record is acknowledged, in order, only after the broker has confirmed everything that came of it.  What was begun
and not finished is counted outside the process, so that a record which kills its worker is found and set aside.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from connectors.errors import ConnectorError, Overloaded, Permanent, Transient
from connectors.ports import DeliveryLedger
from runtime import metrics
from runtime.logs import logger
from runtime.retry import Backoff
from streams.deadletters.letter import dead_letter
from streams.outcome import Drop, Emit, Outcome, Output, Record, Refuse, Stage
from topics.headers import read_headers

log = logger(__name__)
EXIT_UNKNOWN = 70  # EX_SOFTWARE: a supervisor starts the worker again
BACKOFF = Backoff(first=0.1, cap=5.0)
READ_AHEAD = 8  # batches; a stage that fits its batches to what waits must see some of it


class Runner:
    """Runs one stage.  ``run`` is the body of its only agent."""

    def __init__(
        self, stage: Stage, publish: Callable[[Sequence[Output]], Awaitable[None]], ledger: DeliveryLedger, limit: int
    ) -> None:
        self._stage, self._publish, self._ledger, self._limit = stage, publish, ledger, limit
        self._begun: dict[tuple[str, int, int], float] = {}
        self._paused = False
        self._waiting = 0  # bytes of values that were read and not yet taken into a batch
        metrics.oldest_queued.labels(stage.name).set_function(self._oldest)

    async def run(self, stream: Any) -> None:
        """Take events until the stream ends; never lets an exception out.

        ``noack_take(1)`` is the one form of Faust's streams that acknowledges nothing by itself.
        """
        queue: asyncio.Queue[Any] = asyncio.Queue(
            READ_AHEAD * self._stage.batch if self._stage.room else self._stage.batch
        )
        work = asyncio.create_task(
            self._work_window(stream, queue) if self._stage.record_step else self._work_batches(stream, queue)
        )
        work.add_done_callback(self._exit_on_error)
        try:
            async for events in stream.noack_take(1, within=None):
                for event in events:
                    self._waiting += size_of(event)
                    await queue.put(event)
        except asyncio.CancelledError:
            raise  # stopping: nothing unfinished was acknowledged
        except BaseException as error:
            self._exit_hard(error)
        finally:
            work.cancel()

    async def _work_batches(self, stream: Any, queue: asyncio.Queue[Any]) -> None:
        """Batches in order, ``overlap`` of them in work at once, while the outputs of earlier ones are written."""
        working = asyncio.Semaphore(self._stage.overlap)
        unsettled: deque[asyncio.Task[None]] = deque()
        while True:
            await working.acquire()
            while len(unsettled) > self._stage.overlap:  # the broker is slower than we are
                await unsettled.popleft()
            events = await _take(queue, self._stage.batch, self._stage.linger, self._room)
            self._waiting -= sum(map(size_of, events))
            records = [record_of(event) for event in events]
            metrics.batch_records.labels(self._stage.name).observe(len(records))
            previous = await self._deliveries(records)
            if any(previous):  # suspects: nothing may be at risk besides the one that runs
                await asyncio.gather(*unsettled)
                for group in self._groups(records, previous):
                    await self._settle(group, await self._outcomes(group))
                await self._acknowledge(stream, events)
                working.release()
                continue
            outcomes = asyncio.create_task(self._outcomes(records))
            outcomes.add_done_callback(lambda _: working.release())
            before = unsettled[-1] if unsettled else None
            unsettled.append(asyncio.create_task(self._settle_batch(stream, events, records, outcomes, before)))
            unsettled[-1].add_done_callback(self._exit_on_error)

    def _room(self) -> int | None:
        return self._stage.room(self._waiting) if self._stage.room else None

    async def _settle_batch(
        self,
        stream: Any,
        events: list[Any],
        records: list[Record],
        outcomes: "asyncio.Task[Sequence[Outcome]]",
        before: "asyncio.Task[None] | None",
    ) -> None:
        """Once its outcomes are there, and the batch before it is acknowledged."""
        found = await outcomes
        if before is not None:
            await before
        await self._settle(records, found)
        await self._acknowledge(stream, events)

    async def _acknowledge(self, stream: Any, events: list[Any]) -> None:
        for event in events:
            await stream.ack(event)

    async def _work_window(self, stream: Any, queue: asyncio.Queue[Any]) -> None:
        """Up to ``in_flight`` unacknowledged records side by side: a slow head holds back acks, never work."""
        slots = asyncio.Semaphore(self._stage.in_flight)
        window: deque[tuple[Any, asyncio.Task[None]]] = deque()
        finished = asyncio.Event()

        async def acknowledge() -> None:
            while True:
                await finished.wait()
                finished.clear()
                while window and window[0][1].done():
                    event, _ = window.popleft()
                    await stream.ack(event)
                    slots.release()

        def settle(task: "asyncio.Task[None]") -> None:
            self._exit_on_error(task)
            finished.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(acknowledge())
            while True:
                event = await queue.get()
                record = record_of(event)
                (suspect,) = await self._deliveries([record])
                if suspect:  # runs alone: what was before it is done, what is behind it waits
                    await asyncio.gather(*(task for _, task in window))
                await slots.acquire()
                task = group.create_task(self._process(record))
                window.append((event, task))
                task.add_done_callback(settle)
                if suspect:
                    await task

    def _groups(self, records: list[Record], previous: list[int]) -> list[list[Record]]:
        """The batch as it may run: together, but each suspect (begun before, never finished) alone."""
        groups: list[list[Record]] = []
        alone = True
        for record, count in zip(records, previous, strict=True):
            if alone or count:
                groups.append([])
            groups[-1].append(record)
            alone = bool(count)
        return groups

    async def _process(self, record: Record) -> None:
        await self._settle([record], await self._outcomes([record]))

    async def _outcomes(self, records: list[Record]) -> Sequence[Outcome]:
        """Run the stage until it gives outcomes; an outage pauses it for as long as it lasts."""
        name, started = self._stage.name, time.monotonic()
        metrics.records_in.labels(name).inc(len(records))
        self._begun.update((record.place, started) for record in records)
        counts = await self._count(records)
        if len(records) == 1 and counts[0] >= self._limit:
            return [Refuse(f"ended its worker {counts[0]} times", "poison", "dead-lettered")]
        outcomes = await self._attempt(records)
        metrics.stage_seconds.labels(name).observe(time.monotonic() - started)
        return outcomes

    async def _attempt(self, records: list[Record]) -> Sequence[Outcome]:
        for delay in BACKOFF.delays():
            try:
                outcomes = await self._step(records)
                self._resume()
                return outcomes
            except Transient as error:
                self._pause(error)
                await asyncio.sleep(max(delay, error.retry_after if isinstance(error, Overloaded) else 0))
            except Permanent as error:
                self._resume()
                if len(records) == 1:
                    return [Refuse(str(error), error.reason, "dead-lettered")]
                return [outcome for record in records for outcome in await self._attempt([record])]  # find the one
        raise AssertionError("the backoff ends only with the process")

    async def _step(self, records: list[Record]) -> Sequence[Outcome]:
        if self._stage.record_step is not None:
            return [await self._stage.record_step(records[0])]
        assert self._stage.batch_step is not None
        return await self._stage.batch_step(records)

    async def _settle(self, records: list[Record], outcomes: Sequence[Outcome]) -> None:
        """Write what came of a group, dead letters included, and wait until the broker has it, however long."""
        for delay in BACKOFF.delays():
            try:
                outputs = await self._outputs(records, outcomes)
                await self._publish(outputs)
                self._resume()
                break
            except Transient as error:
                self._pause(error)
                await asyncio.sleep(delay)
            except Permanent as error:  # an output is larger than its topic takes
                if len(records) > 1:
                    for record, outcome in zip(records, outcomes, strict=True):
                        await self._settle([record], [outcome])
                    return
                letter_too = isinstance(outcomes[0], Refuse)  # then the letter goes without what made it too large
                outcomes = [Refuse(str(error), error.reason, "dead-lettered", omit_value=letter_too)]
        metrics.records_out.labels(self._stage.name).inc(len(outputs))
        for record, outcome in zip(records, outcomes, strict=True):
            if isinstance(outcome, Drop):
                metrics.records_dropped.labels(self._stage.name, outcome.reason).inc()
            elif isinstance(outcome, Refuse):
                metrics.records_refused.labels(self._stage.name, outcome.reason).inc()
                log.warning("refused", place=record.place, reason=outcome.reason, message=outcome.message[:500])
        await self._forget(records)
        for record in records:
            self._begun.pop(record.place, None)

    async def _outputs(self, records: list[Record], outcomes: Sequence[Outcome]) -> list[Output]:
        """All that is to be written, in the records' order; of a refused one its letter and the news for the lane."""
        outputs: list[Output] = []
        for record, outcome in zip(records, outcomes, strict=True):
            if isinstance(outcome, Emit):
                outputs += outcome.outputs
            elif isinstance(outcome, Refuse):
                outputs.append(dead_letter(self._stage, record, outcome))
                outputs += await self._stage.on_refused(record, outcome.status, outcome.message)
        return outputs

    def _pause(self, error: ConnectorError) -> None:
        metrics.records_retried.labels(self._stage.name, error.reason).inc()
        metrics.paused.labels(self._stage.name).set(1)
        if not self._paused:
            self._paused = True
            log.warning("paused", stage=self._stage.name, reason=error.reason, error=str(error)[:500])

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            metrics.paused.labels(self._stage.name).set(0)
            log.info("resumed", stage=self._stage.name)

    async def _deliveries(self, records: list[Record]) -> list[int]:
        try:
            return await self._ledger.counts(self._stage.name, [r.place for r in records])
        except ConnectorError as error:
            return self._uncounted(error, records)

    async def _count(self, records: list[Record]) -> list[int]:
        try:
            return await self._ledger.begin(self._stage.name, [r.place for r in records])
        except ConnectorError as error:
            return self._uncounted(error, records)

    async def _forget(self, records: list[Record]) -> None:
        try:
            await self._ledger.finish(self._stage.name, [r.place for r in records])
        except ConnectorError as error:
            self._uncounted(error, records)

    def _uncounted(self, error: ConnectorError, records: list[Record]) -> list[int]:
        """Work goes on without the count: a crash loop is the lesser evil of a lane that needs Redis to move."""
        metrics.records_retried.labels(self._stage.name, "ledger").inc()
        log.debug("delivery count is away", stage=self._stage.name, error=str(error))
        return [0] * len(records)

    def _oldest(self) -> float:
        return time.monotonic() - min(self._begun.values()) if self._begun else 0.0

    def _exit_on_error(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._exit_hard(error)

    def _exit_hard(self, error: BaseException) -> None:
        log.error(
            "unknown error: the process ends, unfinished work will come again", stage=self._stage.name, exc_info=error
        )
        os._exit(EXIT_UNKNOWN)


async def _take(queue: asyncio.Queue[Any], limit: int, linger: float, room_now: Callable[[], int | None]) -> list[Any]:
    """The next event, and what follows it within ``linger`` seconds: up to ``limit``, or some bytes more than room."""
    items = [await queue.get()]
    room, until = room_now(), time.monotonic() + linger
    while len(items) < limit and (room is None or sum(map(size_of, items)) < room):
        try:
            async with asyncio.timeout(until - time.monotonic()):
                items.append(await queue.get())
        except TimeoutError:
            break
    return items


def size_of(event: Any) -> int:
    """Bytes of an event's value."""
    return len(event.message.value or b"")


def record_of(event: Any) -> Record:
    """The raw record behind a Faust event."""
    m = event.message
    return Record(
        m.topic, m.partition, m.offset, m.key, m.value, read_headers(m.headers), int((m.timestamp or 0) * 1000)
    )
