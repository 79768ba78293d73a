"""A worker as the stage knows it: gives batches, retries outages, refuses, publishes, then acknowledges in order.

The same protocol as ``streams.runner.Runner``, cut open so that a test can stop it anywhere: what came of one batch is
written while the next is worked on, and nothing counts as acknowledged before it is written.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from connectors.errors import Permanent, Transient
from streams.outcome import Emit, Outcome, Output, Publish, Record, Refuse, RefusedStatus
from tests.consistency.editions import Edition
from tests.consistency.faults import GATE, Fault, Gate, Injected

_SPINS = 20  # turns of the event loop in which nothing happens
PATIENCE = 5  # outages in a row that nobody injected: then it would go on for ever


class IndexStage(Protocol):
    """What a worker needs of the stage."""

    async def step(self, records: Sequence[Record]) -> Sequence[Outcome]: ...

    async def on_refused(self, record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]: ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record that waits in the lane: one of the parts of an edition."""

    record: Record
    edition: Edition
    part: int
    retry: bool  # lies in the lane's own retry topic, which is not compacted

    @property
    def completes(self) -> bool:
        """Whether the edition is all there with this record."""
        return self.part == self.edition.parts - 1


class Stuck(AssertionError):
    """The lane would never move again."""


@dataclass(eq=False)
class Work:
    """One batch on its way through one process; ``end`` is the place in the lane behind it."""

    process: "Process"
    batch: Sequence[Arrival]
    end: int
    gate: Gate
    previous: "Work | None" = None
    task: "asyncio.Task[None] | None" = None
    settling: bool = False

    @property
    def done(self) -> bool:
        return self.task is not None and self.task.done()

    @property
    def error(self) -> BaseException | None:
        """What a work that is done ended with."""
        return self.task.exception() if self.task is not None and not self.task.cancelled() else None

    @property
    def stopped(self) -> bool:
        return not self.done and self.gate.stopped.is_set()

    def go(self, fault: Fault | None) -> None:
        """Begin, or go on after a stop, up to the next fault."""
        self.gate.expect(fault)
        if self.task is None:
            self.task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        GATE.set(self.gate)
        outcomes = await self._attempt([arrival.record for arrival in self.batch])
        if self.previous is not None and not self.previous.done:
            assert self.previous.task is not None
            self.previous.go(None)
            await asyncio.wait([self.previous.task])
        self.settling = True
        for arrival, outcome in zip(self.batch, outcomes, strict=True):
            await self._settle(arrival, outcome)
        self.process.acknowledge(self)

    async def _attempt(self, records: Sequence[Record]) -> Sequence[Outcome]:
        outages = 0
        while True:
            try:
                return await self.process.stage.step(records)
            except Injected:
                continue
            except Transient as error:
                outages += 1
                if outages == PATIENCE:
                    raise Stuck(f"the lane is stuck: {error}") from error
            except Permanent as error:
                if len(records) == 1:
                    return [Refuse(str(error), error.reason, "dead-lettered")]
                return [outcome for record in records for outcome in await self._attempt([record])]

    async def _settle(self, arrival: Arrival, outcome: Outcome) -> None:
        outages = 0
        while True:
            try:
                if isinstance(outcome, Emit):
                    await self.process.publish(outcome.outputs)
                elif isinstance(outcome, Refuse):
                    self.process.refuse(arrival)
                    outputs = await self.process.stage.on_refused(arrival.record, outcome.status, outcome.message)
                    await self.process.publish(outputs)
                return
            except Injected:
                continue
            except Transient as error:
                outages += 1
                if outages == PATIENCE:
                    raise Stuck(f"the lane is stuck: {error}") from error


async def until_still(works: Sequence[Work]) -> None:
    """Until each is done or stopped, or waits for one that is stopped."""
    idle = 0
    while idle < _SPINS and (moving := [work for work in works if not work.done and not work.stopped]):
        busy = any(work.gate.busy for work in moving)
        idle = 0 if busy else idle + 1
        await asyncio.sleep(0.0005 if busy else 0)


@dataclass(eq=False)
class Process:
    """One worker with its own instance of the stage; ``alive`` until killed, ``owner`` until another took over."""

    stage: IndexStage
    publish: Publish
    on_acknowledged: Callable[[Work], None]
    refuse: Callable[[Arrival], None]
    alive: bool = True
    owner: bool = True
    works: list[Work] = field(default_factory=list)

    def acknowledge(self, work: Work) -> None:
        """A worker that lost its partition cannot commit."""
        self.works.remove(work)
        if self.owner:
            self.on_acknowledged(work)

    def kill(self) -> None:
        """End with everything that is in progress."""
        self.alive = False
        for work in self.works:
            if work.task is not None:
                work.task.cancel()
        self.works.clear()
