"""A question's way into the log: a job on the desk, and a record in `queries`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from connectors.job_ports import Claim, JobRef, StoredJob
from connectors.webhook_ports import EndpointRef, WebhookStore
from gateway.admission import Kind
from gateway.book import JobBook
from gateway.caller import Caller
from gateway.desk import Desk
from gateway.idempotency import Claims, digest_of, may_go_on
from gateway.jobs import Job
from gateway.log_time import millis
from gateway.payloads import QuestionBody, longest_timeout
from gateway.ports import Log
from gateway.problems import invalid
from runtime import tracing
from runtime.settings import Settings
from topics.codec import encode, schema_header
from topics.headers import Hop
from topics.identity import job_place
from topics.queries import Mode, Question
from topics.registry import QUERIES, QUERIES_BATCH
from topics.webhooks import EVERY_ENDPOINT

LEAST_SECONDS = 1.0  # for a question whose deadline is shorter than any log: it is taken, and expires
PUBLISH_SECONDS = 5.0  # a question that the log does not take so soon is refused: the client can ask again


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is wanted, and by whom."""

    caller: Caller
    body: QuestionBody
    mode: Mode
    texts: Sequence[str] = ()
    told: str | None = None  # the webhook that is told how the job ends


class Questions:
    """Takes questions in."""

    def __init__(
        self, settings: Settings, log: Log, desk: Desk, book: JobBook, webhooks: WebhookStore | None = None
    ) -> None:
        self._settings, self._log, self._desk, self._book = settings, log, desk, book
        self._claims, self._webhooks = Claims(book), webhooks

    async def take(
        self, caller: Caller, body: QuestionBody, mode: Mode, texts: Sequence[str] = (), key: str | None = None
    ) -> tuple[Job, float]:
        """Publish a question that was found right; gives its job and the milliseconds that publishing took.

        In the mode `embed` there are ``texts`` instead of a question.  With an idempotency ``key`` that was used before
        it is the job of then.
        """
        asked = _Asked(caller, body, mode, texts, await self._told(caller.tenant, body.webhook, mode))
        if key is not None:
            return await self._take_once(asked, key)
        job = self._accept(asked)
        return job, await self._publish(asked, job)

    def check_room(self, caller: Caller, body: QuestionBody, mode: Mode) -> None:
        """429 where the question would not be taken in now."""
        self._desk.check_room(caller.tenant, _kind(body, mode), self._seconds(body))

    async def _take_once(self, asked: _Asked, key: str) -> tuple[Job, float]:
        caller = asked.caller
        body = digest_of(asked.body, asked.mode, caller.principals, asked.texts)
        while True:  # until nobody else was faster
            held = await self._claims.earlier(caller.tenant, key, body)
            if held is not None and (await self._has_come(caller.tenant, held) or await self._go_on(asked, key, held)):
                return await self._desk.find(held.job_id, caller.tenant, caller.proven), 0.0
            if held is not None and may_go_on(held):
                continue
            job = self._accept(asked)
            try:
                claim = Claim(job_id=job.id, body=body, deadline=job.deadline)
                ours = await self._claims.take(caller.tenant, key, claim, held)
            except BaseException:
                self._desk.withdraw(job)
                raise
            if ours is None:
                self._desk.withdraw(job)
                continue
            return job, await self._publish_claimed(asked, job, key, ours)

    async def _has_come(self, tenant: str, held: Claim) -> bool:
        """Whether its question lies in the log: that was marked, or it has been answered since."""
        if held.published:
            return True
        (stored,) = await self._book.store.read([JobRef(tenant, held.job_id)], whole=False)
        return stored is not None and stored.state == "done"

    async def _go_on(self, asked: _Asked, key: str, lapsed: Claim) -> bool:
        """Publish what somebody else has claimed and perhaps not published; False where that is no more to be done."""
        if not may_go_on(lapsed):
            return False
        caller = asked.caller
        ours = await self._claims.take(caller.tenant, key, lapsed, lapsed)
        if ours is None:
            return False
        job = Job(lapsed.job_id, caller.tenant, asked.mode, lapsed.deadline, caller.principals, live=False)
        await self._publish_claimed(asked, job, key, ours)
        return True

    async def _publish_claimed(self, asked: _Asked, job: Job, key: str, ours: Claim) -> float:
        try:
            took = await self._publish(asked, job)
        except BaseException:
            await self._claims.failed(asked.caller.tenant, key, ours)
            raise
        await self._claims.published(asked.caller.tenant, key, ours)
        return took

    def _accept(self, asked: _Asked) -> Job:
        body, caller = asked.body, asked.caller
        seconds = self._seconds(body)
        job, _ = self._desk.accept(caller.tenant, _kind(body, asked.mode), seconds, caller.principals)
        job.notify_stale, job.webhook = body.notify_stale, asked.told
        return job

    def _seconds(self, body: QuestionBody) -> float:
        queries = self._settings.queries
        usual = queries.batch_deadline if body.priority == "batch" else queries.deadline
        return min(body.timeout or usual, longest_timeout(self._settings))

    async def _publish(self, asked: _Asked, job: Job) -> float:
        body, caller = asked.body, asked.caller
        hop = Hop(
            job_id=job.id,
            deadline=job.deadline,
            reply_partition=job_place(job.id)[0],
            tenant=caller.tenant,
            principals=caller.principals,
            traceparent=caller.traceparent,
            webhook=asked.told,
            mode=asked.mode,
            priority=body.priority,
        )
        question = Question(
            question=body.question,
            mode=asked.mode,
            k=body.k or self._settings.queries.k,
            search=body.search,
            rerank=body.rerank,
            explain=body.explain,
            cache=body.cache,
            model=body.model,
            notify_stale=body.notify_stale,
            filter=body.filter,
            at_least=body.at_least,
            history=body.history,
            texts=list(asked.texts),
            asked_at=millis(),
        )
        began = time.perf_counter()
        about = {tracing.JOB: job.id, tracing.TENANT: caller.tenant, "freshet.mode": asked.mode}
        try:
            with tracing.span("freshet.ask", "producer", parent=hop.traceparent, attributes=about) as span:
                headers = {**replace(hop, traceparent=span.traceparent).headers(), **schema_header(question)}
                topic = QUERIES_BATCH if body.priority == "batch" else QUERIES
                seconds = min(PUBLISH_SECONDS, max(LEAST_SECONDS, (job.deadline - millis()) / 1000))
                await self._log.publish(topic, job.id.encode(), encode(question), headers, seconds)
        except BaseException:
            self._desk.withdraw(job)
            raise
        if asked.mode == "answer":
            ref = JobRef(caller.tenant, job.id)
            kept = StoredJob(ref=ref, deadline=job.deadline, principals=caller.principals, question=body.question)
            self._book.note(kept)
        return (time.perf_counter() - began) * 1000

    async def _told(self, tenant: str, webhook: bool | str, mode: Mode) -> str | None:
        """Which webhook is told how the job ends; one that cannot be is refused now, when somebody listens."""
        if webhook is False:
            return None
        if mode != "answer" or self._webhooks is None:
            raise invalid("a webhook is told of answers: POST /v1/queries", pointer="/webhook")
        if webhook is True:
            if not await self._webhooks.endpoints(tenant):
                raise invalid("there is no webhook yet: make one with POST /v1/webhooks", pointer="/webhook")
            return EVERY_ENDPOINT
        if await self._webhooks.endpoint(EndpointRef(tenant, webhook[:80])) is None:
            raise invalid("there is no such webhook: true means all there are", pointer="/webhook")
        return webhook


def _kind(body: QuestionBody, mode: Mode) -> Kind:
    return Kind(body.priority, mode, bool(body.at_least))
