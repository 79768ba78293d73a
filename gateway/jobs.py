"""Jobs as this gateway knows them: what their readers have to see, held in memory within bounds.

A job that was accepted here is fed by the live reader of our reply partitions.  Any other job is read again from the
log when somebody asks for it, and then fed by that replay.  Memory is a convenience: what is dropped can be read
again, from any gateway, until the log's retention ends.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable
from typing import Any

import msgspec

from connectors.job_ports import JobState, StoredJob
from gateway.attempts import RESTARTED, Attempts, Emission
from gateway.log_time import millis
from gateway.ports import LoggedEvent
from topics.queries import AnswerEvent, Mode

GRACE_SECONDS = 1.0  # for an `expired` that a worker wrote at the deadline to arrive and be told as such
_AFTER: dict[str, JobState] = {"retrieving": "retrieving", "passages": "retrieving", "generating": "generating"}
_ENDS: dict[str, JobState] = {"expired": "expired", "cancelled": "cancelled"}  # by the reason of an error
_ORDER: tuple[JobState, ...] = ("accepted", "retrieving", "generating")
_EXPIRED = {"reason": "expired", "message": "no answer came within the deadline"}


class Job:
    """One job: its story so far, and a way to wait for more of it."""

    def __init__(
        self,
        job_id: str,
        tenant: str,
        mode: Mode,
        deadline: int,
        principals: Iterable[str] | None = None,
        *,
        live: bool,
    ) -> None:
        self.id, self.tenant, self.mode, self.deadline, self.live = job_id, tenant, mode, deadline, live
        self._principals = None if principals is None else frozenset(principals)
        self.accepted_at = millis()
        self.webhook: str | None = None  # which one is told how it ends
        self.notify_stale = False  # whether its readers are told when a document behind the answer changes
        self.story: list[tuple[int, Emission]] = []  # with the offset in the log
        self.state: JobState = "accepted"
        self.passages: list[Any] | None = None
        self.last_used = time.monotonic()
        self.size = 0  # bytes, as the log has them
        self.last_offset = -1
        self._attempts = Attempts()
        self._overdue = self._stopping = False
        self._news = asyncio.Event()

    @classmethod
    def kept(cls, stored: StoredJob) -> "Job":
        """A job that the log no longer has: its passages and its end, at their old places."""
        job = cls(stored.ref.job_id, stored.ref.tenant, "answer", stored.deadline, stored.principals, live=False)
        stage_of = {attempt: stage for stage, attempt in stored.newest.items()}

        def feed(type_: str, attempt: str, seq: int, offset: int, at: int, data: dict[str, Any]) -> None:
            event = {"job_id": job.id, "tenant": job.tenant, "stage": stage_of.get(attempt, "retrieve"), "at": at}
            event |= {"attempt": attempt, "seq": seq, "type": type_, "data": data}
            job.feed(LoggedEvent(offset, msgspec.convert(event, AnswerEvent), 0))

        if stored.passages is not None and stored.passages_offset is not None:
            feed(
                "passages",
                stored.newest.get("retrieve", ""),
                0,
                stored.passages_offset,
                0,
                {"passages": stored.passages},
            )
        if (final := stored.final) is not None:
            feed(final.type, final.attempt, final.seq, final.offset, final.at, stored.data or {})
        elif stored.deadline < millis():
            job.expire()
        return job

    @property
    def principals(self) -> frozenset[str] | None:
        """Of whoever asked; None where that is not known."""
        return self._principals

    def open_to(self, principals: Collection[str] | None) -> bool:
        """Whether somebody with these principals may follow it; None: whoever knows its id."""
        return principals is None or (self._principals is not None and self._principals <= set(principals))

    @property
    def final(self) -> Emission | None:
        """The event after which nothing comes."""
        if self._attempts.final is not None:
            return self.story[-1][1]
        return Emission("error", dict(_EXPIRED), self.deadline) if self._overdue else None

    @property
    def final_offset(self) -> int | None:
        """Place of the final event, where it came from the log."""
        return self.story[-1][0] if self._attempts.final is not None else None

    def feed(self, logged: LoggedEvent) -> None:
        """Take an event in log order; one that was taken before changes nothing."""
        if logged.offset <= self.last_offset or logged.event.tenant != self.tenant:
            return
        self.last_offset = logged.offset
        emissions = self._attempts.feed(logged.event)
        if not emissions:
            return
        self.size += logged.size
        for emission in emissions:
            self.story.append((logged.offset, emission))
            self._note(emission)
        self._wake()

    def _note(self, emission: Emission) -> None:
        state = _AFTER.get(emission.type)
        if emission.type == "passages":
            self.passages = emission.data.get("passages")
        elif emission.type == "answer":
            self.state = "done"
        elif emission.type == "error":
            self.state = _ENDS.get(str(emission.data.get("reason")), "failed")
        if state and self.state in _ORDER and _ORDER.index(state) > _ORDER.index(self.state):
            self.state = state

    def expire(self) -> None:
        """The deadline is over and the log has said nothing final; should it yet do so, the log is right."""
        if self._attempts.final is None:
            self._overdue, self.state = True, "expired"
            self._wake()

    def seconds_left(self) -> float:
        """Until the job counts as expired."""
        return (self.deadline - millis()) / 1000 + GRACE_SECONDS

    async def finished(self, seconds: float) -> bool:
        """Wait for the final event; False when the time is over or the gateway stops."""
        end = time.monotonic() + seconds
        while self.final is None and not self._stopping:
            if not await self._wait(end - time.monotonic()):
                break
        return self.final is not None

    async def follow(self, after: int, beat: float) -> AsyncIterator[tuple[int | None, Emission] | None]:
        """The story behind offset ``after`` as it unfolds; None when nothing came for ``beat`` seconds."""
        told = 0
        while True:
            while told < len(self.story):
                offset, emission = self.story[told]
                told += 1
                if offset > after:
                    # A client that is cut off between `restarted` and the event of the same offset must get both.
                    yield (None if emission.type == RESTARTED else offset), emission
            if self.final is not None and self.final_offset is None:
                yield None, self.final
            if self.final is not None or self._stopping:
                return
            if not await self._wait(beat):
                yield None
            self.last_used = time.monotonic()

    def stop(self) -> None:
        """Let everybody go who waits: the gateway stops, and the job goes on without it."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _wait(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True
