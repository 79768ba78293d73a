"""What a stage says to the one who asked: events in ``answers``."""

import secrets
from typing import Any

import msgspec

from runtime import tracing
from runtime.clock import Clock, millis
from streams.outcome import Outcome, Output, Record, RecordStep, Refuse, RefusedStatus
from topics import registry
from topics.codec import encode, schema_header
from topics.headers import EVENT, REPLY_PARTITION, Hop
from topics.queries import AnswerEvent, EventType, StageName


class Teller:
    """Numbers the events of one attempt.  A new delivery of the same work is a new attempt."""

    def __init__(self, hop: Hop, stage: StageName, clock: Clock) -> None:
        self._hop, self._stage, self._clock = hop, stage, clock
        self._attempt, self._seq = secrets.token_hex(8), 0

    def event(self, type_: EventType, data: dict[str, Any] | None = None) -> Output:
        """The next event, as a record for the asker's partition."""
        event = AnswerEvent(
            job_id=self._hop.job_id,
            tenant=self._hop.tenant,
            stage=self._stage,
            attempt=self._attempt,
            seq=self._seq,
            type=type_,
            at=millis(self._clock.now()),
            data=data or {},
        )
        self._seq += 1
        headers = {**self._hop.headers(), **schema_header(event), EVENT: type_.encode()}
        return Output(registry.ANSWERS, self._hop.job_id.encode(), encode(event), self._hop.reply_partition, headers)

    def error(self, reason: str, message: str) -> Output:
        """The end of a job that got no answer."""
        tracing.current().fail(reason)
        return self.event("error", {"reason": reason, "message": message})


def replying_to(partitions: int, step: RecordStep) -> RecordStep:
    """The step, for questions whose reply partition there is: an answer to any other would end the process."""

    async def checked(record: Record) -> Outcome:
        given = record.headers.get(REPLY_PARTITION, b"0")
        if given.isdigit() and not _there(given, partitions):
            return Refuse(f"header {REPLY_PARTITION} is {given[:40]!r}: `answers` has {partitions}", "undecodable")
        return await step(record)

    return checked


def _there(partition: bytes, partitions: int) -> bool:
    return len(partition) < 10 and int(partition) < partitions


class OnRefusedQuery:
    """Ends the job of a refused record, where it can be told which that was and where its answer goes."""

    def __init__(self, stage: StageName, clock: Clock, partitions: int) -> None:
        self._stage, self._clock, self._partitions = stage, clock, partitions

    async def __call__(self, record: Record, status: RefusedStatus, reason: str) -> list[Output]:
        try:
            hop = Hop.of(record.headers)
        except (ValueError, msgspec.MsgspecError):
            return []
        if hop.reply_partition >= self._partitions:
            return []
        return [Teller(hop, self._stage, self._clock).error(status, reason)]
