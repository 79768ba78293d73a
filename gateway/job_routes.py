"""Routes of jobs as things that are listed and cancelled; following one is in ``queries.py``."""

from collections.abc import Collection
from typing import Any, get_args

from litestar import Request, Response, delete, get
from litestar.handlers import HTTPRouteHandler

from connectors.job_ports import ENDED, JobState, JobStore, StoredJob
from gateway.bodies import JSON, check_parameters
from gateway.book import JobBook
from gateway.caller import TENANT_HEADER, Callers
from gateway.cancelling import Canceller
from gateway.desk import Desk
from gateway.documents import json_response
from gateway.log_time import millis
from gateway.openapi import Doc, Parameter
from gateway.payloads import JobPage, JobSummary, JobView, links_of
from gateway.problems import invalid
from gateway.queries import view
from topics.identity import IdentityError, job_place

LIMIT, MAX_LIMIT = 20, 100
PAGE = 100  # jobs that are read at once
MAX_SEEN = 1000  # jobs that one request may look at; a filter that finds little ends with a cursor
_STATES: tuple[str, ...] = get_args(JobState)
_NUMBER = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}
_PLACE = {"type": "string", "pattern": "^[0-9a-f]{36}$"}
_TENANT = Parameter(TENANT_HEADER, "header", "A known tenant; `default` when absent.")


def make_job_routes(desk: Desk, canceller: Canceller, book: JobBook, callers: Callers) -> list[HTTPRouteHandler]:
    """Build the routes."""

    @get(
        "/v1/queries",
        opt={
            "doc": Doc(
                scope="read",
                gives={200: {JSON: JobPage}},
                parameters=(
                    Parameter("state", "query", "Only jobs in this state.", {"type": "string", "enum": [*_STATES]}),
                    Parameter("limit", "query", f"How many, {LIMIT} when absent.", _NUMBER),
                    Parameter("cursor", "query", "`next` of the page before.", _PLACE),
                    _TENANT,
                ),
                problems=("invalid", "unavailable"),
            )
        },
    )
    async def list_queries(request: Request[Any, Any, Any]) -> Response[bytes]:
        """List a tenant's jobs, newest first: those that are kept, without those that only others may see."""
        caller = callers.of(request)
        check_parameters(request, known=("state", "limit", "cursor"))
        given = request.query_params
        state, limit, cursor = given.get("state"), _limit(given.get("limit")), _cursor(given.get("cursor"))
        if state is not None and state not in _STATES:
            raise invalid(f"one of {', '.join(_STATES)} is meant", parameter="state")
        return json_response(await _page(book.store, caller.tenant, caller.proven, state, limit, cursor), 200)

    @delete(
        "/v1/queries/{job_id:str}",
        status_code=200,
        opt={
            "doc": Doc(
                scope="read",
                gives={200: {JSON: JobView}, 202: {JSON: JobView}},
                parameters=(Parameter("job_id", "path", "The job's id."), _TENANT),
                problems=("not-found", "conflict", "gone", "invalid", "busy", "unavailable"),
            )
        },
    )
    async def cancel_query(request: Request[Any, Any, Any], job_id: str) -> Response[bytes]:
        """Cancel a job: work on it ends at once, and its followers get `error` with the reason `cancelled`.

        409 where it has ended otherwise; once more is fine. 202: told, and not yet heard back from the log.
        """
        caller = callers.of(request)
        check_parameters(request)
        job = await desk.find(job_id, caller.tenant, caller.proven)
        await canceller.cancel(job, caller.traceparent)
        return json_response(view(job), 200 if job.final is not None else 202)

    return [list_queries, cancel_query]


async def _page(
    store: JobStore, tenant: str, principals: Collection[str] | None, state: str | None, limit: int, cursor: str | None
) -> JobPage:
    found: list[JobSummary] = []
    for _ in range(MAX_SEEN // PAGE):
        jobs, more = await store.page(tenant, cursor, PAGE)
        for job in jobs:
            if (principals is None or set(job.principals) <= set(principals)) and state in (None, state_of(job)):
                found.append(_summary(job))
                if len(found) == limit:
                    return JobPage(jobs=found, next=None if job is jobs[-1] and more is None else job.ref.job_id)
        if more is None:
            return JobPage(jobs=found)
        cursor = more
    return JobPage(jobs=found, next=cursor)


def state_of(job: StoredJob) -> str:
    """Its state now: one that nobody told the end of expires by itself."""
    return "expired" if job.state not in ENDED and job.deadline < millis() else job.state


def _summary(job: StoredJob) -> JobSummary:
    return JobSummary(
        job_id=job.ref.job_id,
        state=state_of(job),
        accepted_at=job_place(job.ref.job_id)[1],
        deadline=job.deadline,
        links=links_of(job.ref.job_id),
        question=job.question,
        finished_at=job.final.at if job.final else None,
    )


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
        raise invalid(f"1 to {MAX_LIMIT} jobs can be listed at once", parameter="limit")
    return int(text)


def _cursor(text: str | None) -> str | None:
    if text is not None:
        try:
            job_place(text)
        except IdentityError:
            raise invalid("not the `next` of a page", parameter="cursor") from None
    return text
