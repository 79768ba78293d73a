"""A question's way into the log: a job on the desk, and a record in `queries`."""

import time
from collections.abc import Sequence

from msgspec.structs import replace

from connectors.webhook_ports import EndpointRef, WebhookStore
from gateway.caller import Caller
from gateway.desk import Desk
from gateway.jobs import Job
from gateway.payloads import QuestionBody, longest_timeout
from gateway.ports import Log
from gateway.problems import invalid
from runtime import tracing
from runtime.clock import millis
from runtime.settings import Settings
from topics.codec import encode, schema_header
from topics.headers import Hop
from topics.queries import Mode, Question
from topics.registry import QUERIES, QUERIES_BATCH
from topics.webhooks import EVERY_ENDPOINT

PUBLISH_SECONDS = 5.0  # a question that the log does not take so soon is refused: the client can ask again


class Questions:
    """Takes questions in."""

    def __init__(self, settings: Settings, log: Log, desk: Desk, webhooks: WebhookStore | None = None) -> None:
        self._settings, self._log, self._desk, self._webhooks = settings, log, desk, webhooks

    async def take(
        self, caller: Caller, body: QuestionBody, mode: Mode, texts: Sequence[str] = ()
    ) -> tuple[Job, float]:
        """Publish a question that was found right; gives its job and the milliseconds that publishing took.

        In the mode `embed` there are ``texts`` instead of a question.
        """
        queries = self._settings.queries
        told = await self._told(caller.tenant, body.webhook, mode)
        batch = body.priority == "batch"
        usual = queries.batch_deadline if batch else queries.deadline
        seconds = min(body.timeout or usual, longest_timeout(self._settings))
        job, partition = self._desk.accept(caller.tenant, mode, seconds, caller.principals, body.priority)
        job.notify_stale = body.notify_stale
        hop = Hop(
            job_id=job.id,
            deadline=job.deadline,
            reply_partition=partition,
            tenant=caller.tenant,
            principals=caller.principals,
            traceparent=caller.traceparent,
            webhook=told,
            mode=mode,
            priority=body.priority,
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
            notify_stale=body.notify_stale,
            filter=body.filter,
            at_least=body.at_least,
            history=body.history,
            texts=list(texts),
            asked_at=millis(),
        )
        began = time.perf_counter()
        about = {tracing.JOB: job.id, tracing.TENANT: caller.tenant, "freshet.mode": mode}
        try:
            with tracing.span("freshet.ask", "producer", parent=hop.traceparent, attributes=about) as span:
                headers = {**replace(hop, traceparent=span.traceparent).headers(), **schema_header(question)}
                topic, wait = QUERIES_BATCH if batch else QUERIES, min(PUBLISH_SECONDS, seconds)
                await self._log.publish(topic, job.id.encode(), encode(question), headers, wait)
        except BaseException:
            self._desk.withdraw(job)
            raise
        return job, (time.perf_counter() - began) * 1000

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
