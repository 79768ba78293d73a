"""Every error as a problem document (RFC 9457), from one table.

``type`` is ``urn:freshet:problem:<kind>``; ``errors`` lists what is wrong with each field, ``pointer`` being a JSON
pointer into the body.  A 500 means a bug of ours and is logged with its traceback; clients and outages never cause it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, NotFoundException
from litestar.routes import ASGIRoute

from connectors.errors import ConnectorError, Overloaded, Permanent, Transient
from gateway.ports import Expunged, RecordTooLarge
from runtime.logs import logger
from topics.identity import IdentityError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 2  # seconds: about as long as a broker or Redis takes to elect a new leader

KINDS: Mapping[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "unauthorized": (401, "An API key is needed"),
    "forbidden": (403, "The API key does not allow this"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "This address does not take that method"),
    "timed-out": (408, "The request did not arrive in time"),
    "conflict": (409, "The request contradicts an earlier one"),
    "gone": (410, "The log no longer keeps this"),
    "too-large": (413, "The document is too large"),
    "unsupported-media-type": (415, "The content type is missing or not supported here"),
    "invalid": (422, "A field is not as it should be"),
    "busy": (429, "Too many questions are under way"),
    "head-too-large": (431, "The request's headers are too large"),
    "internal": (500, "A bug in the gateway"),
    "job-failed": (502, "The question was taken but could not be answered"),
    "unavailable": (503, "A system behind the gateway is away"),
    "expired": (504, "No answer came within the deadline"),
}
_BY_STATUS = {status: kind for kind, (status, _) in KINDS.items()}
_log = logger("gateway.problems")


class FieldError(msgspec.Struct, omit_defaults=True):
    """What is wrong with one field of the body, or with one header or query parameter."""

    detail: str
    pointer: str | None = None
    header: str | None = None
    parameter: str | None = None


class ProblemDocument(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of every error."""

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldError] = []
    retry_after: float | None = None


class Problem(Exception):
    """Raised by routes; becomes the response."""

    def __init__(
        self,
        kind: str,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or kind)
        self.kind, self.detail, self.errors = kind, detail, list(errors)
        self.retry_after, self.headers, self.extra = retry_after, dict(headers or {}), dict(extra or {})

    @property
    def status(self) -> int:
        return KINDS[self.kind][0]

    def document(self) -> dict[str, Any]:
        """The body, with extension members last."""
        status, title = KINDS[self.kind]
        known = ProblemDocument(
            type=f"urn:freshet:problem:{self.kind}",
            title=title,
            status=status,
            detail=self.detail or "; ".join(e.detail for e in self.errors) or None,
            errors=self.errors,
            retry_after=self.retry_after,
        )
        return {**msgspec.to_builtins(known), **self.extra}


def invalid(
    detail: str, *, pointer: str | None = None, header: str | None = None, parameter: str | None = None
) -> Problem:
    """422 that names one field."""
    return Problem("invalid", errors=[FieldError(detail, pointer=pointer, header=header, parameter=parameter)])


def problem_of(error: Exception) -> Problem:
    """The table: which problem an error is."""
    match error:
        case Problem():
            return error
        case RecordTooLarge():
            return Problem("too-large", str(error))
        case Overloaded():
            return Problem("unavailable", str(error), retry_after=error.retry_after)
        case Transient() | TimeoutError():
            return Problem("unavailable", str(error) or "no answer in time", retry_after=RETRY_AFTER)
        case Permanent():
            return Problem("invalid", str(error))
        case ConnectorError():
            return Problem("unavailable", str(error), retry_after=RETRY_AFTER)
        case Expunged():
            return Problem("gone", str(error))
        case IdentityError():
            return invalid(str(error))
        case NotFoundException():
            return Problem("not-found", "this address is not known here; /docs shows those that are")
        case HTTPException() if error.status_code in _BY_STATUS and error.status_code != 500:
            return Problem(_BY_STATUS[error.status_code], error.detail, headers=error.headers)
        case HTTPException() if 400 <= error.status_code < 500:
            return Problem("malformed", error.detail)
    return Problem("internal")


def _methods(request: Request[Any, Any, Any]) -> str:
    """What the address takes; the router knows, and does not say."""
    path = request.scope["path"].rstrip("/") or "/"
    fitting = [r for r in request.app.routes if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", r.path), path)]
    taken = {method for route in fitting for method in getattr(route, "methods", ())}
    told = {
        method for route in fitting if isinstance(route, ASGIRoute) for method in route.route_handler.opt["methods"]
    }
    return ", ".join(sorted(taken | told))


def log_bug(request: Request[Any, Any, Any], problem: Problem, error: Exception) -> None:
    """A 500 with its traceback; what clients and outages cause is not logged."""
    if problem.status == 500:
        _log.error("unexpected error", method=request.method, path=str(request.scope.get("path")), exc_info=error)


def retry_header(problem: Problem) -> dict[str, str]:
    """When to come back, where that is known."""
    return {} if problem.retry_after is None else {"Retry-After": str(max(1, round(problem.retry_after)))}


def headers_of(problem: Problem) -> dict[str, str]:
    """Of the answer, but for what its body is."""
    return {**problem.headers, **retry_header(problem), "Cache-Control": "no-store"}


def respond(request: Request[Any, Any, Any], error: Exception, hide: Callable[[str], str] = str) -> Response[bytes]:
    """Exception handler of the whole application; ``hide`` takes secrets out of what is said."""
    problem = problem_of(error)
    log_bug(request, problem, error)
    if problem.status == 405:
        taken = _methods(request)
        problem.detail, problem.headers["Allow"] = f"use {taken}", taken
    return Response(
        content=hide(msgspec.json.encode(problem.document()).decode()).encode(),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=headers_of(problem),
    )
