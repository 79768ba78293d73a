"""Passages by GET, for whoever keeps copies: browsers, proxies, an edge.

The same passages are the same bytes, so the ETag says whether a copy still holds; what jitters is in headers.  A copy
may be kept and must be asked about each time (`no-cache`), so it is never older than an answer would be.  What some
people see and others do not is `private`; what is degraded or lacks something is not to be kept at all.  Passages that
everybody may see and many ask for are promoted: an edge may use its copy for a while without asking, since it is told
when to forget it.
"""

import time
from typing import Any

import msgspec
from litestar import Request, Response, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from gateway.bodies import JSON, check_parameters
from gateway.caller import KEY_HEADER, PRINCIPALS_HEADER, TENANT_HEADER, Caller, Callers
from gateway.openapi import Doc, Parameter
from gateway.payloads import QuestionBody, question_errors
from gateway.problems import FieldError, Problem, invalid
from gateway.promoter import Promoter
from gateway.queries import passages_of
from gateway.questions import Questions
from runtime import metrics
from runtime.settings import Settings
from runtime.settings.edge import KEPT_WITHIN
from topics.identity import DEFAULT_TENANT, DocumentRef, digest, generation_key, surrogate_key
from topics.queries import Filter, Lacking, Passage, Search

_VARY = f"{TENANT_HEADER}, {PRINCIPALS_HEADER}, Authorization, {KEY_HEADER}"
_NAMES = ("q", "k", "filter", "search", "at_least")
_PARAMETERS = (
    Parameter("q", "query", "The question.", required=True),
    Parameter("k", "query", "How many passages.", {"type": "integer"}),
    Parameter("filter", "query", "Conditions on metadata, as JSON.", {"type": "string"}),
    Parameter("search", "query", "Both searches, or one.", {"type": "string", "enum": ["hybrid", "vector", "keyword"]}),
    Parameter(
        "at_least", "query", "A freshness token; may be repeated.", {"type": "array", "items": {"type": "string"}}
    ),
    Parameter(TENANT_HEADER, "header", "A known tenant; `default` when absent."),
    Parameter(PRINCIPALS_HEADER, "header", "Who asks: principals, comma-separated."),
    Parameter("If-None-Match", "header", "ETags of copies: 304 when one of them still holds."),
)


class Shelf(msgspec.Struct, kw_only=True):
    """What was found, and nothing that would change while the passages do not."""

    passages: list[Passage]
    generation: str
    degraded: list[str] = []
    lacking: list[Lacking] = []


def make_shelf_routes(
    settings: Settings, questions: Questions, callers: Callers, promoter: Promoter
) -> list[HTTPRouteHandler]:
    """Build the route."""

    @route(
        "/v1/retrieve",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        status_code=200,
        opt={
            "doc": Doc(
                scope="read",
                gives={200: {JSON: Shelf}, 304: {}},
                parameters=_PARAMETERS,
                problems=("invalid", "busy", "unavailable", "job-failed", "expired"),
                headers={
                    "ETag": "of the passages",
                    "Cache-Control": "how long a copy may be kept, and by whom",
                    "Surrogate-Key": "a key for each document and for the generation, to purge by",
                },
            )
        },
    )
    async def get_passages(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Find passages for a question, as something that may be kept and asked about again."""
        caller = callers.of(request)
        body = _question(request)
        if errors := question_errors(body, settings):
            raise Problem("invalid", errors=[_by_parameter(error) for error in errors])
        began, shared = time.monotonic(), _is_everyone(caller)
        promoted = shared and await promoter.asked(body)
        job, publish_ms = await questions.take(caller, body, "retrieve")
        await job.finished(job.seconds_left() + 1)
        found = passages_of(job, {"publish": round(publish_ms, 2)})
        shelf = Shelf(
            passages=found.passages, generation=found.generation, degraded=found.degraded, lacking=found.lacking
        )
        content = msgspec.json.encode(shelf)
        tag = f'"{digest(content)}"'
        headers = {
            "ETag": tag,
            "Cache-Control": "public, no-cache" if shared else "private, no-cache",
            "Vary": _VARY,
            "Surrogate-Key": " ".join(_keys(caller.tenant, shelf)),
        }
        if shelf.degraded or shelf.lacking:
            headers["Cache-Control"] = "no-store"
        elif promoted and shelf.passages and time.monotonic() - began <= KEPT_WITHIN:
            headers["Cache-Control"] = f"public, max-age=0, s-maxage={settings.edge.max_age}"
            metrics.promoted.inc()
        if "s-maxage" not in headers["Cache-Control"]:  # many get that one, and the job is one person's
            headers["Freshet-Job"] = job.id
            headers["Server-Timing"] = ", ".join(f"{name};dur={ms}" for name, ms in found.timings.items())
        if _holds(tag, request.headers.get("if-none-match", "")):
            return Response(b"", status_code=304, headers=headers)
        return Response(content, status_code=200, media_type=JSON, headers=headers)

    return [get_passages]


def _is_everyone(caller: Caller) -> bool:
    return caller.key is None and not caller.principals and caller.tenant == DEFAULT_TENANT


def _keys(tenant: str, shelf: Shelf) -> list[str]:
    documents = {passage.doc_id: None for passage in shelf.passages}
    return [generation_key(shelf.generation), *(surrogate_key(DocumentRef(tenant, doc_id)) for doc_id in documents)]


def _holds(tag: str, given: str) -> bool:
    """Whether one of the ETags is this one; a proxy may have weakened it."""
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in given.split(","))


def _question(request: Request[Any, Any, Any]) -> QuestionBody:
    check_parameters(request, known=_NAMES, repeated=("at_least",))
    given = request.query_params
    if "q" not in given:
        raise invalid("the question is missing", parameter="q")
    k = given.get("k")
    if k is not None and not (k.isascii() and k.isdecimal() and len(k) < 10):
        raise invalid("a whole number is meant", parameter="k")
    try:
        search = msgspec.convert(given.get("search", "hybrid"), Search)
    except msgspec.ValidationError:
        raise invalid("hybrid, vector or keyword is meant", parameter="search") from None
    return QuestionBody(
        question=given["q"],
        k=None if k is None else int(k),
        search=search,
        filter=_filter(given.get("filter")),
        at_least=given.getall("at_least", []),
    )


def _filter(text: str | None) -> Filter:
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=Filter)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise invalid(f"not a filter: {error}".replace("`", "'"), parameter="filter") from None


def _by_parameter(error: FieldError) -> FieldError:
    """The same of what was a parameter and no field of a body."""
    first = (error.pointer or "").strip("/").partition("/")[0]
    return FieldError(error.detail, parameter={"question": "q"}.get(first, first))
