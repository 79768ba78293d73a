"""Turns a stage into a Faust agent that loses nothing.

Faust acknowledges an event when an exception leaves the agent, so nothing may leave it: transient errors pause the
lane, what is unclear goes to the retry topic, records at fault are dead-lettered, and anything unknown ends the process
hard with nothing acknowledged.  A record is acknowledged, in order, only after the broker has confirmed everything that
came of it.  What was begun and not finished is counted outside the process, so that a record which kills its worker is
found and set aside.  A second runner works on what comes out of the retry topic, one record at a time; or, of a
query stage, on what comes by the topic for batch questions, while the first one has room.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from connectors.errors import Overloaded, Permanent, Transient, Unclear
from connectors.ports import DeliveryLedger
from runtime import metrics, tracing
from runtime.clock import millis
from runtime.logs import logger
from runtime.retry import Backoff
from streams.deadletters.letter import dead_letter
from streams.deliveries import Deliveries, apart
from streams.incoming import record_of, retried_record_of, size_of
from streams.outcome import Defer, Drop, Emit, Outcome, Output, Publish, Record, Refuse, Stage
from streams.retries import Pause, Retries
from streams.spans import Spans, failed, traced

log = logger(__name__)
EXIT_UNKNOWN = 70  # EX_SOFTWARE: a supervisor starts the worker again
BACKOFF = Backoff(first=0.1, cap=5.0)
READ_AHEAD = 8  # batches; a stage that fits its batches to what waits must see some of it


class Runner:
    """Runs one stage.  ``run`` is the body of its only agent.

    ``retries`` are there for a stage that has ``deferrals``; with ``again`` it runs what comes out of the retry topic.
    ``behind`` is the runner that goes first: no record is begun here while one waits there.
    """

    def __init__(
        self,
        stage: Stage,
        publish: Publish,
        ledger: DeliveryLedger,
        limit: int,
        retries: Retries | None = None,
        again: bool = False,
        behind: "Runner | None" = None,
    ) -> None:
        self._stage, self._publish, self._limit, self._retries, self._again = stage, publish, limit, retries, again
        self._behind = behind
        self.lane = f"{stage.name}.retry" if again else f"{stage.name}.batch" if behind else stage.name
        self._room_left = asyncio.Event()  # nothing waits for a place in the window
        self._room_left.set()
        self._deliveries, self._spans = Deliveries(self.lane, ledger), Spans(stage, again=again)
        self._begun: dict[tuple[str, int, int], float] = {}
        self._waiting = 0  # bytes of values that were read and not yet taken into a batch
        self._announced: set[tuple[str, int, int]] = set()  # may have been said to be deferred, here or before a crash
        self._held: Pause | None = None
        metrics.oldest_queued.labels(self.lane).set_function(self._oldest)
        metrics.paused.labels(self.lane).set_function(lambda: float(self.pause is not None))

    @property
    def pause(self) -> Pause | None:
        """Why the lane does not move, if it does not."""
        stuck = self._retries.stuck if self._retries and not self._again else None
        return self._held or stuck

    async def run(self, stream: Any) -> None:
        """Take events until the stream ends; never lets an exception out.

        ``noack_take(1)`` is the one form of Faust's streams that acknowledges nothing by itself.
        """
        ahead = self._stage.batch * (READ_AHEAD if self._stage.room else 1)
        queue: asyncio.Queue[Any] = asyncio.Queue(1 if self._again else ahead)
        windowed = self._stage.record_step is not None and not self._again
        work = asyncio.create_task(self._work_window(stream, queue) if windowed else self._work_batches(stream, queue))
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
            limit = 1 if self._again else self._stage.batch
            events = await _take(queue, limit, self._stage.linger, self._room)
            self._waiting -= sum(map(size_of, events))
            records = [record for record in map(self._record_of, events) if self._stage.wants(record)]
            if self._again and self._retries:
                await self._retries.wait(records[0])
            records = self._spans.begin(records)
            metrics.batch_records.labels(self.lane).observe(len(records))
            previous = await self._deliveries.before(records)
            if any(previous):  # suspects: nothing may be at risk besides the one that runs
                await asyncio.gather(*unsettled)
                for group in apart(records, previous):
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
        """Up to ``in_flight`` records side by side, acknowledged in order: a slow head holds back acks, never work."""
        most = self._stage.batch_in_flight if self._behind else self._stage.in_flight
        slots, unacked = asyncio.Semaphore(most), asyncio.Semaphore(max(most, self._stage.unacked))
        window: deque[tuple[Any, asyncio.Task[None]]] = deque()
        finished = asyncio.Event()

        async def acknowledge() -> None:
            while True:
                await finished.wait()
                finished.clear()
                while window and window[0][1].done():
                    event, _ = window.popleft()
                    await stream.ack(event)
                    unacked.release()

        def settle(task: "asyncio.Task[None]") -> None:
            self._exit_on_error(task)
            slots.release()
            finished.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(acknowledge())
            while True:
                event = await queue.get()
                record = self._record_of(event)
                (begun,) = await self._deliveries.before([record])
                # Begun once, it may have been beside the one that is to blame, or the worker was killed from outside.
                # Answers that were being written then would all be too late if they were written one after the other.
                suspect = begun >= min(2, self._limit - 1)
                if suspect:  # runs alone: what was before it is done, what is behind it waits
                    await asyncio.gather(*(task for _, task in window))
                if slots.locked() or unacked.locked():
                    self._room_left.clear()
                await slots.acquire()
                await unacked.acquire()
                if queue.empty():
                    self._room_left.set()
                if self._behind:
                    await self._behind._room_left.wait()
                task = group.create_task(self._process(record))
                window.append((event, task))
                task.add_done_callback(settle)
                if suspect:
                    await task

    async def _process(self, record: Record) -> None:
        [record] = self._spans.begin([record])
        await self._settle([record], await self._outcomes([record]))

    async def _outcomes(self, records: list[Record]) -> Sequence[Outcome]:
        """Run the stage until it gives outcomes; an outage pauses it for as long as it lasts."""
        started = time.monotonic()
        metrics.records_in.labels(self.lane).inc(len(records))
        self._begun.update((record.delivery, started) for record in records)
        counts = await self._deliveries.begin(records)
        self._announced |= {record.delivery for record, count in zip(records, counts, strict=True) if count}
        if len(records) == 1 and counts[0] >= self._limit:
            return [Refuse(f"ended its worker {counts[0]} times", "poison", "dead-lettered")]
        if records and self._foreign(records[0]):
            return [Refuse("its freshet-retry-* headers do not say what it is a copy of", "undecodable")]
        outcomes = await self._attempt(records)
        metrics.stage_seconds.labels(self.lane).observe(time.monotonic() - started)
        return outcomes

    async def _attempt(self, records: list[Record]) -> Sequence[Outcome]:
        tries = 0
        for delay in BACKOFF.delays():
            try:
                outcomes = await self._step(records)
            except Permanent as error:
                self._resume()
                if len(records) == 1:
                    return [Refuse(str(error), error.reason, "dead-lettered")]
                return await self._one_by_one(records)  # find the one
            except Transient as error:
                failed(records, error.reason)
                if isinstance(error, Unclear) and self._retries:
                    tries += 1
                    metrics.records_retried.labels(self.lane, error.reason).inc()
                    if tries >= self._retries.tries(records[0]):
                        return await self._set_aside(records, error)
                else:
                    tries = 0  # what was unclear before may have been the outage
                    self._pause(error)
                await asyncio.sleep(max(delay, error.retry_after if isinstance(error, Overloaded) else 0))
            else:
                self._resume()
                if self._retries and any(isinstance(outcome, Emit) and outcome.proof for outcome in outcomes):
                    self._retries.passed()
                return outcomes
        raise AssertionError("the backoff ends only with the process")

    async def _one_by_one(self, records: list[Record]) -> Sequence[Outcome]:
        return [outcome for record in records for outcome in await self._attempt([record])]

    async def _set_aside(self, records: list[Record], error: Unclear) -> Sequence[Outcome]:
        """What stays unclear leaves the lane, once it is known which record it is."""
        assert self._retries and self._stage.deferrals
        self._resume()
        if len(records) > 1:
            return await self._one_by_one(records)
        outcome = self._retries.failed(records[0], error)
        if isinstance(outcome, Refuse) or records[0].retry:
            return [outcome]
        self._announced.add(records[0].delivery)
        for delay in BACKOFF.delays():  # before anything behind it runs, or its token would be passed by
            try:
                news = await self._stage.deferrals.begin(records[0], str(error))
                self._resume()
                return [replace(outcome, news=news)]
            except Transient as away:
                self._pause(away)
                await asyncio.sleep(delay)
        raise AssertionError("the backoff ends only with the process")

    async def _step(self, records: list[Record]) -> Sequence[Outcome]:
        if self._again and self._stage.deferrals and await self._stage.deferrals.overtaken(records[0]):
            return [Drop("superseded")]
        with tracing.inside(self._spans.around(records)):
            given = [record.within_span for record in records]
            if self._stage.record_step is not None:
                return [await self._stage.record_step(given[0])]
            assert self._stage.batch_step is not None
            return await self._stage.batch_step(given)

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
        metrics.records_out.labels(self.lane).inc(len(outputs))
        for record, outcome in zip(records, outcomes, strict=True):
            self._tell(record, outcome)
        await self._deliveries.finish(records)
        for record in records:
            self._begun.pop(record.delivery, None)
            self._announced.discard(record.delivery)

    async def _outputs(self, records: list[Record], outcomes: Sequence[Outcome]) -> list[Output]:
        """All that is to be written, in the records' order; of a refused one its letter and the news for the lane."""
        outputs: list[Output] = []
        for record, outcome in zip(records, outcomes, strict=True):
            if isinstance(outcome, Emit):
                outputs += traced(record, outcome.outputs)
            elif isinstance(outcome, Refuse):
                outputs.append(dead_letter(self._stage, record, outcome))
                if not self._foreign(record):
                    news = await self._stage.on_refused(record.within_span, outcome.status, outcome.message)
                    outputs += traced(record, news)
            elif isinstance(outcome, Defer):
                assert self._retries
                outputs += traced(record, outcome.news)
                headers, partition = {**record.headers, **outcome.retry.headers()}, self._stage.lane_partition(record)
                outputs.append(Output(self._retries.topic, record.key or b"", record.value, partition, headers))
                continue
            announced = record.retry is not None or record.delivery in self._announced
            if self._stage.deferrals and announced and not self._foreign(record):
                outputs += traced(record, await self._stage.deferrals.end(record))
        return outputs

    def _tell(self, record: Record, outcome: Outcome) -> None:
        if isinstance(outcome, Drop):
            metrics.records_dropped.labels(self.lane, outcome.reason).inc()
        elif isinstance(outcome, Refuse):
            metrics.records_refused.labels(self.lane, outcome.reason).inc()
            said = {"reason": outcome.reason, "message": outcome.message[:500], **self._spans.logged(record)}
            log.warning("refused", place=record.place, **said)
        elif isinstance(outcome, Defer):
            metrics.records_deferred.labels(self.lane, outcome.reason).inc()
            if record.retry is None:
                said = {"reason": outcome.reason, "message": outcome.retry.reason[:500], **self._spans.logged(record)}
                log.warning("deferred", place=record.place, **said)
        if self._retries and not isinstance(outcome, Defer):
            self._retries.ended(record)
        self._spans.end(record, outcome)

    def _pause(self, error: Transient) -> None:
        metrics.records_retried.labels(self.lane, error.reason).inc()
        if self._held is None:
            log.warning("paused", lane=self.lane, reason=error.reason, error=str(error)[:500])
        self._held = Pause(self._held.since if self._held else millis(), str(error))

    def _resume(self) -> None:
        if self._held is not None:
            self._held = None
            log.info("resumed", lane=self.lane)

    def _record_of(self, event: Any) -> Record:
        return retried_record_of(event) if self._again else record_of(event)

    def _foreign(self, record: Record) -> bool:
        """Whether it lies in the retry topic and nobody here put it there."""
        return self._again and record.retry is None

    def _oldest(self) -> float:
        return time.monotonic() - min(self._begun.values()) if self._begun else 0.0

    def _exit_on_error(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._exit_hard(error)

    def _exit_hard(self, error: BaseException) -> None:
        log.error("unknown error: the process ends, unfinished work will come again", lane=self.lane, exc_info=error)
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
