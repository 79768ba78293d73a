"""Errors as OpenAI's clients read them, on the routes that speak their language; from the same table as all others."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.types import ExceptionHandlersMap

from gateway.bodies import JSON
from gateway.openapi import Errors
from gateway.problems import KINDS, Problem, log_bug, problem_of, retry_header

UNKNOWN_MODEL = "model_not_found"
_AS_BAD_REQUEST = ("invalid",)  # OpenAI has no 422
_CODES = {"unauthorized": "invalid_api_key", "busy": "rate_limit_exceeded", "not-found": UNKNOWN_MODEL}
_INDEX = re.compile(r"\.(\d+)(?=\.|$)")


class ErrorBody(msgspec.Struct, kw_only=True):
    """What went wrong; ``param`` names the field of the request, ``code`` the kind of error."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(msgspec.Struct):
    """The body of every error."""

    error: ErrorBody


STATUSES = {kind: 400 if kind in _AS_BAD_REQUEST else status for kind, (status, _) in KINDS.items()}
ERRORS = Errors(JSON, ErrorAnswer, STATUSES)


def told(problem: Problem) -> ErrorAnswer:
    """A problem in their words."""
    status, title = STATUSES[problem.kind], KINDS[problem.kind][1]
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    place = next((error.pointer or error.header or error.parameter for error in problem.errors), None)
    detail = problem.detail or "; ".join(error.detail for error in problem.errors) or title
    code = _CODES.get(problem.kind, problem.kind)
    return ErrorAnswer(ErrorBody(message=detail, type=kind, param=place and _dotted(place), code=code))


def _dotted(pointer: str) -> str:
    """``/messages/0/content`` as ``messages[0].content``."""
    plain = pointer.removeprefix("/").replace("/", ".").replace("~1", "/").replace("~0", "~")
    return _INDEX.sub(r"[\1]", plain)


def handlers(hide: Callable[[str], str]) -> ExceptionHandlersMap:
    """What such a route does with exceptions; ``hide`` takes secrets out of what is said."""

    def respond(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        problem = problem_of(error)
        log_bug(request, problem, error)
        return Response(
            hide(msgspec.json.encode(told(problem)).decode()).encode(),
            status_code=STATUSES[problem.kind],
            media_type=JSON,
            headers={**problem.headers, **retry_header(problem), "Cache-Control": "no-store"},
        )

    return {Exception: respond}
