"""Routes of questions: passages at once, answers as jobs that are waited for, polled, or followed by SSE."""

import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler

from gateway.attempts import Emission
from gateway.bodies import JSON, check_parameters
from gateway.caller import Callers
from gateway.desk import Desk
from gateway.documents import json_response
from gateway.idempotency import PARAMETER, key_of
from gateway.jobs import Job
from gateway.openapi import Doc, Parameter
from gateway.payloads import JobView, Passages, QuestionBody, links_of
from gateway.problems import Problem, invalid
from gateway.questions import Questions
from gateway.shedding import Shedder
from gateway.sse import HEARTBEAT, HEARTBEAT_SECONDS, RECONNECT, EventStream, frame
from gateway.stale import Watches
from runtime.clock import millis
from topics.queries import Mode, Retrieval

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)
_CALLER = (
    Parameter("Freshet-Tenant", "header", "A known tenant; `default` when absent."),
    Parameter("Freshet-Principals", "header", "Who asks: principals, comma-separated."),
)
_PROBLEMS = ("malformed", "timed-out", "unsupported-media-type", "too-large", "invalid", "busy", "unavailable")
_PREFER = Parameter("Prefer", "header", "`wait=N`: the whole answer within N seconds.")
_JOB = Parameter("job_id", "path", "The job's id.")


def accepted(job: Job) -> JobView:
    """The job as it was when it was accepted."""
    return JobView(job_id=job.id, state="accepted", deadline=job.deadline, links=links_of(job.id))


def view(job: Job) -> JobView:
    """The job as it stands."""
    shown = accepted(job)
    shown.state, shown.passages = job.state, job.passages
    final = job.final
    if final is not None and final.type == "error":
        shown.error = final.data
    elif final is not None and "retrieval" in final.data:
        shown.passages = final.data["retrieval"].get("passages", [])
    elif final is not None:
        shown.answer = final.data
    return shown


def failed(job: Job, told: Mapping[str, Any]) -> Problem:
    """What a job's `error` is to whoever waited for it."""
    reason = str(told.get("reason", "unknown"))
    kind = "expired" if reason == "expired" else "job-failed"
    return Problem(kind, told.get("message"), extra={"reason": reason, "job_id": job.id})


def passages_of(job: Job, timings: dict[str, float]) -> Passages:
    """The result of a retrieve job; its errors become problems."""
    final = job.final
    if final is None:
        raise Problem("unavailable", "the gateway is stopping; ask again", retry_after=1)
    if final.type == "error":
        raise failed(job, final.data)
    try:
        found = msgspec.convert(final.data["retrieval"], Retrieval)
    except (KeyError, msgspec.ValidationError) as error:
        raise Problem("job-failed", f"the result cannot be read: {error}", extra={"job_id": job.id}) from None
    return Passages(
        job_id=job.id,
        passages=found.passages,
        generation=found.generation,
        degraded=found.degraded,
        lacking=found.lacking,
        oldest_passage_seconds=max(((millis() - p.published_at) / 1000 for p in found.passages), default=None),
        standalone=found.standalone,
        timings={**found.timings, **timings},
    )


async def event_stream(job: Job, after: int | None, watches: Watches) -> AsyncIterator[bytes]:
    """The job as server-sent events, behind offset ``after``."""
    yield RECONNECT
    if after is None:
        yield frame("accepted", {"job_id": job.id, "deadline": job.deadline})
    async for item in job.follow(-1 if after is None else after, HEARTBEAT_SECONDS):
        yield HEARTBEAT if item is None else _framed(*item)
    async with aclosing(watches.follow(job, HEARTBEAT_SECONDS)) as further:
        async for item in further:
            yield HEARTBEAT if item is None else _framed(*item)


def _framed(offset: int | None, emission: Emission) -> bytes:
    return frame(emission.type, emission.data, offset)


def make_query_routes(
    shedder: Shedder, intake: Questions, desk: Desk, callers: Callers, watches: Watches
) -> list[HTTPRouteHandler]:
    """Build the routes."""

    async def ask(request: Request[Any, Any, Any], mode: Mode) -> tuple[Job, float]:
        """Take the question of a request in; gives the job and the milliseconds that publishing took."""
        asked = await shedder.asked(request, mode)
        return await intake.take(asked.caller, asked.body, mode, key=asked.key)

    @post(
        "/v1/retrieve",
        status_code=200,
        opt={
            "doc": Doc(
                scope="read",
                gives={200: {JSON: Passages}},
                takes={JSON: QuestionBody},
                parameters=(*_CALLER, PARAMETER),
                problems=(*_PROBLEMS, "conflict", "job-failed", "expired"),
            )
        },
    )
    async def retrieve(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Find passages for a question."""
        began = time.perf_counter()
        job, publish_ms = await ask(request, "retrieve")
        await job.finished(job.seconds_left() + 1)
        hops = {"publish": publish_ms, "total": (time.perf_counter() - began) * 1000}
        if job.story:
            hops["to_worker"] = max(0.0, float(job.story[0][1].at - (job.accepted_at)))
            hops["reply"] = max(0.0, float(millis() - job.story[-1][1].at))
        return json_response(passages_of(job, {name: round(ms, 2) for name, ms in hops.items()}), 200)

    @post(
        "/v1/queries",
        status_code=202,
        opt={
            "doc": Doc(
                scope="read",
                gives={202: {JSON: JobView}, 200: {JSON: JobView}},
                takes={JSON: QuestionBody},
                parameters=(*_CALLER, PARAMETER, _PREFER),
                problems=(*_PROBLEMS, "conflict"),
                headers={"Location": "where the job is", "Preference-Applied": "when Prefer was honoured"},
            )
        },
    )
    async def post_query(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Ask a question; the answer is a job.

        202 with the job at once; with `Prefer: wait=N` 200 with the finished job, or 202 after N seconds. The same
        `Idempotency-Key` and body give the same job again, in the same words.
        """
        wait = _WAIT.search(request.headers.get("prefer", ""))
        job, _ = await ask(request, "answer")
        headers = {"Location": f"/v1/queries/{job.id}"}
        done = False
        if wait:
            headers["Preference-Applied"] = f"wait={wait[1]}"
            done = await job.finished(float(wait[1]))
        elif key_of(request):
            return json_response(accepted(job), 202, headers)
        return json_response(view(job), 200 if done else 202, headers)

    @get(
        "/v1/queries/{job_id:str}",
        opt={
            "doc": Doc(
                scope="read",
                gives={200: {JSON: JobView}},
                parameters=(_JOB, _CALLER[0]),
                problems=("not-found", "gone", "invalid", "busy", "unavailable"),
            )
        },
    )
    async def get_query(request: Request[Any, Any, Any], job_id: str) -> Response[bytes]:
        """Tell how a job stands, with its answer or the passages so far."""
        caller = callers.of(request)
        check_parameters(request)
        return json_response(view(await desk.find(job_id, caller.tenant, caller.proven)), 200)

    @get(
        "/v1/queries/{job_id:str}/events",
        opt={
            "doc": Doc(
                scope="read",
                gives={200: {"text/event-stream": None}},
                parameters=(_JOB, _CALLER[0], Parameter("Last-Event-ID", "header", "Resume behind this event.")),
                problems=("not-found", "gone", "invalid", "busy", "unavailable"),
            )
        },
    )
    async def get_events(request: Request[Any, Any, Any], job_id: str) -> Response[bytes]:
        """Follow a job as server-sent events.

        `accepted`, `retrieving`, `passages`, `generating`, `token`, `restarted`, then `answer` or `error`.
        Where the question has `notify_stale`, then `answer.stale` or `answer.unwatched`.
        """
        caller = callers.of(request)
        check_parameters(request)
        after = last_event_id(request.headers.get("last-event-id"))
        job = await desk.find(job_id, caller.tenant, caller.proven)
        last = job.final_offset
        if after is not None and last is not None and after >= last and not watches.more(job, after):
            return Response(b"", status_code=204)  # tells an EventSource not to come back
        return EventStream(event_stream(job, after, watches))

    return [retrieve, post_query, get_query, get_events]


def last_event_id(text: str | None) -> int | None:
    """An offset; empty means the client has seen no event with an id."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise invalid("not an id that this stream has sent", header="Last-Event-ID")
    return int(text)
