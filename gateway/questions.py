"""A question's way into the log: a job on the desk, and a record in `queries`."""

import time

from gateway.caller import Caller
from gateway.desk import Desk
from gateway.jobs import Job
from gateway.payloads import QuestionBody, longest_timeout
from gateway.ports import Log
from runtime.clock import millis
from runtime.settings import Settings
from topics.codec import encode, schema_header
from topics.headers import Hop
from topics.queries import Mode, Question
from topics.registry import QUERIES

PUBLISH_SECONDS = 5.0  # a question that the log does not take so soon is refused: the client can ask again


class Questions:
    """Takes questions in."""

    def __init__(self, settings: Settings, log: Log, desk: Desk) -> None:
        self._settings, self._log, self._desk = settings, log, desk

    async def take(self, caller: Caller, body: QuestionBody, mode: Mode) -> tuple[Job, float]:
        """Publish a question that was found right; gives its job and the milliseconds that publishing took."""
        queries = self._settings.queries
        seconds = min(body.timeout or queries.deadline, longest_timeout(self._settings))
        job, partition = self._desk.accept(caller.tenant, mode, seconds, caller.principals)
        hop = Hop(
            job_id=job.id,
            deadline=job.deadline,
            reply_partition=partition,
            tenant=caller.tenant,
            principals=caller.principals,
            traceparent=caller.traceparent,
        )
        question = Question(
            question=body.question,
            mode=mode,
            k=body.k or queries.k,
            search=body.search,
            rerank=body.rerank,
            explain=body.explain,
            cache=body.cache,
            model=body.model,
            filter=body.filter,
            at_least=body.at_least,
            asked_at=millis(),
        )
        began = time.perf_counter()
        try:
            headers = {**hop.headers(), **schema_header(question)}
            await self._log.publish(QUERIES, job.id.encode(), encode(question), headers, min(PUBLISH_SECONDS, seconds))
        except BaseException:
            self._desk.withdraw(job)
            raise
        return job, (time.perf_counter() - began) * 1000
