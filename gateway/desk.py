"""The desk: takes jobs in within the permits, finds the others in the log or beside it, forgets what is old.

A permit is held from acceptance to the final event or the deadline, whoever waits: it bounds what is under way, not
who listens.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence

from connectors.errors import ConnectorError, Overloaded
from connectors.job_ports import JobRef
from gateway.admission import Admission, Kind, Permit
from gateway.book import JobBook
from gateway.jobs import Job
from gateway.log_time import millis
from gateway.ports import Expunged, Log, LoggedEvent
from gateway.problems import Problem
from runtime import tracing
from runtime.logs import logger
from topics.identity import IdentityError, job_place, mint_job_id

KEEP_SECONDS = 300.0  # a finished job is at hand for so long after somebody last looked at it
KEEP_JOBS = 1024
KEEP_BYTES = 64 * 1024 * 1024
MAX_REPLAYS = 64  # each has a consumer and a thread of its own; so has each search for a question
CLOCK_SKEW_MS = 60_000
_log = logger("gateway.desk")


class Desk:
    """All jobs of this process.  Lives on the event loop; only :meth:`wanted` may be asked from other threads."""

    def __init__(self, log: Log, admission: Admission, longest: float, reply_partitions: int, book: JobBook) -> None:
        self._log, self._admission, self._longest, self._partitions = log, admission, longest, reply_partitions
        self._book = book
        self._jobs: dict[str, Job] = {}
        self._open: dict[str, tuple[Permit, asyncio.TimerHandle]] = {}  # accepted here and under way
        self._finding: dict[str, asyncio.Task[Job]] = {}
        self._replays: set[asyncio.Task[None]] = set()
        self._turn = 0
        self._tidied = 0.0

    @property
    def in_flight(self) -> int:
        """Permits that are held."""
        return len(self._open)

    def accept(self, tenant: str, kind: Kind, seconds: float, principals: Iterable[str] = ()) -> tuple[Job, int]:
        """Open a job; gives it and its reply partition.  429 without a permit, 503 while no reply could be read."""
        partitions = self._log.reply_partitions()
        if not partitions:
            raise Overloaded("reply partitions are not assigned yet", retry_after=2)
        permit = self._admission.admit(tenant, kind, seconds)
        self._turn += 1
        partition = partitions[self._turn % len(partitions)]
        began = millis()
        job_id = mint_job_id(partition, began / 1000)
        job = Job(job_id, tenant, kind.mode, began + int(seconds * 1000), principals, live=True)
        self.tidy()
        self._jobs[job.id] = job
        timer = asyncio.get_running_loop().call_later(job.seconds_left(), self._expire, job)
        self._open[job.id] = permit, timer
        return job, partition

    def check_room(self, tenant: str, kind: Kind, seconds: float) -> None:
        """429 where a job would get no permit now."""
        self._admission.check(tenant, kind, seconds)

    def withdraw(self, job: Job) -> None:
        """The question could not be published."""
        self._jobs.pop(job.id, None)
        self._release(job)

    def wanted(self, job_id: str) -> bool:
        """Whether the live reader should decode events of this job."""
        job = self._jobs.get(job_id)
        return job is not None and job.live

    def deliver(self, events: Sequence[LoggedEvent]) -> None:
        """Events of our reply partitions, in log order."""
        for logged in events:
            job = self._jobs.get(logged.event.job_id)
            if job is not None and job.live:
                job.feed(logged)
                if (held := self._open.get(job.id)) is not None:
                    self._admission.tell(held[0], logged.event.type)
                if job.final is not None:
                    self._release(job)
                    _trace_reply(logged)

    async def find(self, job_id: str, tenant: str, principals: Collection[str] | None = None) -> Job:
        """A job of this tenant, from memory, from the log, or from what is kept beside it; 404 and 410 tell why not.

        With principals it must not have been asked with others: its answer may hold what only those see.
        """
        job = self._jobs.get(job_id)
        if job is None:
            finding = self._finding.get(job_id)
            if finding is None:
                finding = self._finding[job_id] = asyncio.create_task(self._recover(job_id, tenant))
                finding.add_done_callback(lambda _: self._finding.pop(job_id, None))
            job = await asyncio.shield(finding)
        if job.tenant != tenant or not job.open_to(principals):
            raise Problem("not-found", "no such job")
        job.last_used = time.monotonic()
        return job

    async def _recover(self, job_id: str, tenant: str) -> Job:
        try:
            partition, started = job_place(job_id)
        except IdentityError:
            raise Problem("not-found", "no such job") from None
        if partition >= self._partitions or started > millis() + CLOCK_SKEW_MS:
            raise Problem("not-found", "no such job")
        if max(len(self._replays), len(self._finding) - 1) >= MAX_REPLAYS:
            raise Problem("busy", "too many jobs are being read again from the log", retry_after=2)
        try:
            asked = await self._log.find_question(job_id)
        except Expunged:
            asked = None  # the answers may be kept longer than the questions: `queries` and `answers` roll apart
            deadline, mode, owner, principals = started + int(self._longest * 1000), "answer", tenant, None
        else:
            if asked is None:
                raise Problem("not-found", "no such job")
            hop = asked.hop
            deadline, mode, owner, principals = hop.deadline, asked.question.mode, hop.tenant, hop.principals
        job = Job(job_id, owner, "retrieve" if mode == "retrieve" else "answer", deadline, principals, live=False)
        if asked is not None:
            job.notify_stale, job.webhook = asked.question.notify_stale, asked.hop.webhook
        caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._feed(job, caught_up))
        self._replays.add(task)
        task.add_done_callback(self._replays.discard)
        await caught_up
        if asked is None and job.last_offset < 0:
            task.cancel()
            kept = await self._book.find(JobRef(tenant, job_id))
            if kept is None:
                raise Problem("gone", "neither the log nor the store of jobs keeps this job any longer")
            job = Job.kept(kept)
        self.tidy()
        self._jobs[job_id] = job
        return job

    async def _feed(self, job: Job, caught_up: asyncio.Future[None]) -> None:
        """Feed a job from the log until it is final or overdue."""
        try:
            async for item in self._log.replay(job.id, (job.deadline / 1000) + 1):
                if isinstance(item, LoggedEvent):
                    job.feed(item)
                elif not caught_up.done():
                    caught_up.set_result(None)
                if job.final is not None:
                    break
            job.expire()
        except (ConnectorError, Expunged) as error:
            if not caught_up.done():
                caught_up.set_exception(error)
                return
            # Readers of this job see silence up to its deadline; whoever asks anew reads the log anew.
            self._jobs.pop(job.id, None)
            _log.warning("a job can no longer be followed", reason=str(error))
            await asyncio.sleep(max(0.0, job.seconds_left()))
            job.expire()
        finally:
            if not caught_up.done():
                caught_up.set_result(None)

    def _expire(self, job: Job) -> None:
        job.expire()
        self._release(job)

    def _release(self, job: Job) -> None:
        if (held := self._open.pop(job.id, None)) is not None:
            permit, timer = held
            timer.cancel()
            self._admission.end(permit)

    def tidy(self) -> None:
        """Forget finished jobs that are old, or too many, or too heavy: those first that nobody looked at longest."""
        if time.monotonic() - self._tidied < 1.0:  # seconds; sorting for each question would show at high rates
            return
        self._tidied = time.monotonic()
        kept = sorted(
            (job for job in self._jobs.values() if job.final is not None and job.id not in self._open),
            key=lambda job: job.last_used,
        )
        oldest = time.monotonic() - KEEP_SECONDS
        count, size = len(kept), sum(job.size for job in kept)
        for job in kept:
            if job.last_used >= oldest and count <= KEEP_JOBS and size <= KEEP_BYTES:
                break
            del self._jobs[job.id]
            count, size = count - 1, size - job.size

    def stop(self) -> None:
        """Let all readers go, so that they come back to another gateway."""
        for job in self._jobs.values():
            job.stop()

    async def close(self) -> None:
        """Stop replays and timers."""
        for _, timer in self._open.values():
            timer.cancel()
        tasks = [*self._replays, *self._finding.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _trace_reply(logged: LoggedEvent) -> None:
    """The last hop of a trace: from the worker that wrote the final event to the gateway that read it."""
    if not tracing.on():
        return
    event = logged.event
    attributes = {tracing.JOB: event.job_id, tracing.TENANT: event.tenant, "freshet.event": event.type}
    span = tracing.begin(
        "freshet.reply", "consumer", parent=logged.traceparent, attributes=attributes, started=event.at
    )
    if event.type == "error":
        span.fail(str(event.data.get("reason", "error")))
    span.end()
