"""End a job that nobody wants any more.

First its story in the log gets its end, so that everybody who follows or finds it is told; then the workers are told,
who drop it wherever it stands.  Whatever came into the log before the end counts: an answer may be faster.
"""

import secrets

from gateway.jobs import Job
from gateway.ports import Log
from gateway.problems import Problem
from runtime.clock import millis
from topics.codec import encode, schema_header
from topics.headers import EVENT, Hop
from topics.identity import job_place
from topics.queries import AnswerEvent, Cancelled
from topics.registry import ANSWERS, CANCELS

PUBLISH_SECONDS = 5.0
SETTLE_SECONDS = 5.0  # until the log has told us which end came first


class Canceller:
    """Cancels jobs, whichever gateway took them in."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def cancel(self, job: Job, traceparent: str | None) -> None:
        """Returns when the job has its end; 409 where that is another one."""
        if job.final is None:
            await self._tell(job, traceparent)
            await job.finished(SETTLE_SECONDS)
        if job.final is not None and job.state != "cancelled":
            raise Problem("conflict", f"the job is {job.state}: too late to cancel it", extra={"state": job.state})

    async def _tell(self, job: Job, traceparent: str | None) -> None:
        partition = job_place(job.id)[0]
        hop = Hop(
            job_id=job.id,
            deadline=job.deadline,
            reply_partition=partition,
            tenant=job.tenant,
            principals=sorted(job.principals or ()),
            traceparent=traceparent,
            webhook=job.webhook,
            mode=job.mode,
        )
        end = AnswerEvent(
            job_id=job.id,
            tenant=job.tenant,
            stage="gateway",
            attempt=secrets.token_hex(8),
            seq=0,
            type="error",
            at=millis(),
            data={"reason": "cancelled", "message": "whoever asked has cancelled it"},
        )
        headers = {**hop.headers(), **schema_header(end), EVENT: b"error"}
        await self._log.publish(ANSWERS, job.id.encode(), encode(end), headers, PUBLISH_SECONDS, partition)
        notice = Cancelled(job_id=job.id, at=end.at)
        headers = {**hop.headers(), **schema_header(notice)}
        await self._log.publish(CANCELS, job.id.encode(), encode(notice), headers, PUBLISH_SECONDS, 0)
