"""A question's way into the log: a job on the desk, and a record in `queries`."""

import time

from connectors.job_ports import Claim, JobRef, StoredJob
from gateway.book import JobBook
from gateway.caller import Caller
from gateway.desk import Desk
from gateway.idempotency import Claims, digest_of, may_go_on
from gateway.jobs import Job
from gateway.payloads import QuestionBody, longest_timeout
from gateway.ports import Log
from runtime.clock import millis
from runtime.settings import Settings
from topics.codec import encode, schema_header
from topics.headers import Hop
from topics.identity import job_place
from topics.queries import Mode, Question
from topics.registry import QUERIES

PUBLISH_SECONDS = 5.0  # a question that the log does not take so soon is refused: the client can ask again


class Questions:
    """Takes questions in."""

    def __init__(self, settings: Settings, log: Log, desk: Desk, book: JobBook) -> None:
        self._settings, self._log, self._desk, self._book = settings, log, desk, book
        self._claims = Claims(book)

    async def take(self, caller: Caller, body: QuestionBody, mode: Mode, key: str | None = None) -> tuple[Job, float]:
        """Publish a question that was found right; gives its job and the milliseconds that publishing took.

        With an idempotency key that was used before it is the job of then.
        """
        if key is None:
            job = self._accept(caller, body, mode)
            return job, await self._publish(caller, body, mode, job)
        asked = digest_of(body, mode, caller.principals)
        while True:  # until nobody else was faster
            held = await self._claims.earlier(caller.tenant, key, asked)
            if held is not None and (held.published or await self._go_on(caller, body, mode, key, held)):
                return await self._desk.find(held.job_id, caller.tenant, caller.proven), 0.0
            if held is not None and may_go_on(held):
                continue
            job = self._accept(caller, body, mode)
            try:
                claim = Claim(job_id=job.id, body=asked, deadline=job.deadline)
                ours = await self._claims.take(caller.tenant, key, claim, held)
            except BaseException:
                self._desk.withdraw(job)
                raise
            if ours is None:
                self._desk.withdraw(job)
                continue
            return job, await self._publish_claimed(caller, body, mode, job, key, ours)

    async def _go_on(self, caller: Caller, body: QuestionBody, mode: Mode, key: str, lapsed: Claim) -> bool:
        """Publish what somebody else has claimed and perhaps not published; False where that is no more to be done."""
        if not may_go_on(lapsed):
            return False
        ours = await self._claims.take(caller.tenant, key, lapsed, lapsed)
        if ours is None:
            return False
        job = Job(lapsed.job_id, caller.tenant, mode, lapsed.deadline, caller.principals, live=False)
        await self._publish_claimed(caller, body, mode, job, key, ours)
        return True

    async def _publish_claimed(
        self, caller: Caller, body: QuestionBody, mode: Mode, job: Job, key: str, ours: Claim
    ) -> float:
        try:
            took = await self._publish(caller, body, mode, job)
        except BaseException:
            await self._claims.failed(caller.tenant, key, ours)
            raise
        await self._claims.published(caller.tenant, key, ours)
        return took

    def _accept(self, caller: Caller, body: QuestionBody, mode: Mode) -> Job:
        seconds = min(body.timeout or self._settings.queries.deadline, longest_timeout(self._settings))
        job, _ = self._desk.accept(caller.tenant, mode, seconds, caller.principals)
        return job

    async def _publish(self, caller: Caller, body: QuestionBody, mode: Mode, job: Job) -> float:
        queries = self._settings.queries
        hop = Hop(
            job_id=job.id,
            deadline=job.deadline,
            reply_partition=job_place(job.id)[0],
            tenant=caller.tenant,
            principals=caller.principals,
            traceparent=caller.traceparent,
            mode=mode,
        )
        question = Question(
            question=body.question,
            mode=mode,
            k=body.k or queries.k,
            search=body.search,
            rerank=body.rerank,
            explain=body.explain,
            cache=body.cache,
            filter=body.filter,
            at_least=body.at_least,
            asked_at=millis(),
        )
        began = time.perf_counter()
        try:
            headers = {**hop.headers(), **schema_header(question)}
            seconds = min(PUBLISH_SECONDS, (job.deadline - millis()) / 1000)
            await self._log.publish(QUERIES, job.id.encode(), encode(question), headers, seconds)
        except BaseException:
            self._desk.withdraw(job)
            raise
        if mode == "answer":
            self._book.note(
                StoredJob(
                    ref=JobRef(caller.tenant, job.id),
                    deadline=job.deadline,
                    principals=caller.principals,
                    question=body.question,
                )
            )
        return (time.perf_counter() - began) * 1000
