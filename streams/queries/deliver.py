"""Keep what became of jobs, for whoever asks later than the log keeps it, and tell who wants to be told.

Reads ``answers``.  Writes jobs into the store, and what ``told`` gives for jobs that ended.  Rejects what is no event.
Repeating is harmless: the log is read again in the same order, the first end of a job stays its end, and whoever is
told of it again is told of the same event.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from connectors.job_ports import FinalEvent, JobRef, JobState, JobStore, StoredJob
from streams.outcome import Emit, Outcome, Output, Record, Refuse, RefusedStatus
from topics.codec import DecodeError, decode_one
from topics.headers import EVENT, MODE, Hop
from topics.queries import FINAL, AnswerEvent

_AFTER: dict[str, JobState] = {"retrieving": "retrieving", "passages": "retrieving", "generating": "generating"}
_ENDS: dict[str, JobState] = {"expired": "expired", "cancelled": "cancelled"}  # by the reason of an error


class Told(Protocol):
    """Who is to be told of every job that ends, at least once."""

    async def __call__(self, job: StoredJob) -> Sequence[Output]:
        """What to write because of it; ``job`` has the final event's data, and perhaps the passages."""


class Deliver:
    """The stage."""

    def __init__(self, jobs: JobStore, told: Sequence[Told] = ()) -> None:
        self._jobs, self._told = jobs, told

    async def step(self, records: Sequence[Record]) -> list[Outcome]:
        """A batch of events, without those that were passed by."""
        events = [_read(record) for record in records]
        refs = list(dict.fromkeys(JobRef(e.tenant, e.job_id) for e in events if isinstance(e, AnswerEvent)))
        known = await self._jobs.read(refs, whole=False)
        jobs = {ref: job or StoredJob(ref=ref) for ref, job in zip(refs, known, strict=True)}
        changed: dict[JobRef, StoredJob] = {}
        outcomes: list[Outcome] = []
        for record, event in zip(records, events, strict=True):
            if isinstance(event, Refuse):
                outcomes.append(event)
                continue
            job = jobs[JobRef(event.tenant, event.job_id)]
            if fold(job, event, record):
                changed[job.ref] = job
            final = _final(event, record)
            ended = final is not None and job.final == final  # also where a crash came before this was acknowledged
            outcomes.append(Emit(await self._tell(job, event) if ended else ()))
        await self._jobs.tell(list(changed.values()))
        return outcomes

    async def _tell(self, job: StoredJob, event: AnswerEvent) -> list[Output]:
        told = msgspec.structs.replace(job, data=event.data)
        return [output for teller in self._told for output in await teller(told)]

    async def on_refused(self, record: Record, status: RefusedStatus, reason: str) -> list[Output]:
        """Nobody waits for it: followers read the log themselves."""
        del record, status, reason
        return []


def passed_by(headers: Mapping[str, bytes]) -> bool:
    """Tokens, which the answer repeats, and everything about what is asked for at once: passages and vectors."""
    return headers.get(EVENT) == b"token" or MODE in headers


def fold(job: StoredJob, event: AnswerEvent, record: Record) -> bool:
    """Take an event in log order, by the rules that followers live by; whether it changed the job.

    Of each stage the attempt that began last counts, and after the first final event of those nothing does.
    """
    if job.final is not None or _superseded(job, event):
        return False
    job.newest[event.stage] = event.attempt
    hop = Hop.of(record.headers)
    job.deadline, job.principals, job.webhook = hop.deadline, hop.principals, hop.webhook or job.webhook
    job.state = _AFTER.get(event.type, job.state)
    if event.type == "passages":
        job.passages, job.passages_offset = event.data.get("passages"), record.offset
    if event.type in FINAL:
        reason = str(event.data.get("reason")) if event.type == "error" else ""
        job.state = _ENDS.get(reason, "failed") if event.type == "error" else "done"
        job.final, job.data = _final(event, record), event.data
    return True


def _superseded(job: StoredJob, event: AnswerEvent) -> bool:
    if event.stage == "retrieve" and event.type in FINAL and "generate" in job.newest:
        return True  # of a retrieval that ran again after generation took over
    return event.seq > 0 and job.newest.get(event.stage, event.attempt) != event.attempt


def _final(event: AnswerEvent, record: Record) -> FinalEvent | None:
    if event.type not in FINAL:
        return None
    return FinalEvent(type=event.type, attempt=event.attempt, seq=event.seq, offset=record.offset, at=event.at)


def _read(record: Record) -> AnswerEvent | Refuse:
    try:
        Hop.of(record.headers)
        return decode_one(record.value or b"", record.headers, AnswerEvent)
    except (DecodeError, ValueError, msgspec.MsgspecError) as error:
        return Refuse(str(error), "undecodable")
