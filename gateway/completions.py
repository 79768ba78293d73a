"""`POST /v1/chat/completions`: a question in OpenAI's shape, answered from the documents like any other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from gateway.attempts import Emission
from gateway.bodies import JSON, check_parameters, content_type, decode_json, read_body
from gateway.caller import Callers
from gateway.chunks import Asked, Completion, follow, whole
from gateway.conversation import ChatBody, models_of, question_of, version_of, without_effect
from gateway.documents import json_response
from gateway.idempotency import PARAMETER, key_of
from gateway.jobs import Job
from gateway.leaving import Leaving, unless_gone
from gateway.openai_errors import ERRORS, handlers
from gateway.openapi import Doc
from gateway.queries import failed
from gateway.questions import Questions
from gateway.sse import HEARTBEAT_SECONDS, EventStream
from runtime.settings import Settings

BODY_BYTES = 2 * 1024 * 1024  # a whole conversation, of which the last turns are taken
PROBLEMS = (
    "malformed", "timed-out", "unsupported-media-type", "too-large", "invalid", "not-found", "busy", "unavailable",
    "job-failed", "expired",
)  # fmt: skip
Item = tuple[int | None, Emission] | None


def make_completion_route(
    settings: Settings, questions: Questions, callers: Callers, leaving: Leaving, hide: Callable[[str], str]
) -> HTTPRouteHandler:
    """Build the route."""
    names = models_of(settings)

    @post(
        "/v1/chat/completions",
        status_code=200,
        exception_handlers=handlers(hide),
        opt={
            "doc": Doc(
                scope="read",
                gives={200: {JSON: Completion, "text/event-stream": None}},
                takes={JSON: ChatBody},
                parameters=(PARAMETER,),
                problems=(*PROBLEMS, "conflict", "gone"),
                errors=ERRORS,
            )
        },
    )
    async def complete(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Answer the last message of a conversation, in the shape of OpenAI's chat completions.

        Citations are `url_citation` annotations where a document has an address; `freshet` holds the rest. A client
        that leaves cancels the job, unless it has given it an `Idempotency-Key` to come back with.
        """
        caller = callers.of(request)
        content_type(request, (JSON,))
        check_parameters(request)
        body = decode_json(await read_body(request, BODY_BYTES, "a conversation"), ChatBody)
        version = version_of(body.model, names)
        question, ignored = question_of(body, settings), without_effect(body)
        if version is not None:
            question.model = version
        key, trace = key_of(request), caller.traceparent
        keep = key is not None  # who has a key may come back
        job, _ = await questions.take(caller, question, "answer", key=key)
        usage = body.stream_options is not None and body.stream_options.include_usage
        asked = Asked(job, body.model, ignored, usage)
        if not body.stream:
            await unless_gone(request.receive, leaving.finished(job, trace, keep=keep))
            return json_response(whole(asked), 200)
        story = await unless_gone(request.receive, _begun(job, trace, keep=keep))
        return EventStream(leaving.streamed(job, trace, follow(asked, story), keep=keep))

    async def _begun(job: Job, trace: str | None, *, keep: bool) -> AsyncIterator[Item]:
        try:
            return await begun(job)
        except asyncio.CancelledError:
            leaving.left(job, trace, keep=keep)
            raise

    return complete


async def begun(job: Job) -> AsyncIterator[Item]:
    """The story of a job that has begun to answer: what fails before is told by a status, and not in a stream."""
    story, first = job.follow(-1, HEARTBEAT_SECONDS), list[Item]()
    async for item in story:
        first.append(item)
        if item is None or item[1].type in ("token", "answer", "error"):
            break
    final = job.final
    if final is not None and final.type == "error" and not any(i is not None and i[1].type == "token" for i in first):
        raise failed(job, final.data)

    async def all_of_it() -> AsyncIterator[Item]:
        for item in first:
            yield item
        async for item in story:
            yield item

    return all_of_it()
