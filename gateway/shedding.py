"""Questions, read before the router sees them: one that there is no room for is told at once, and costs little.

Under overload refusals are most of what happens, on the cores that answers come from.  Routing, the chain of exception
handlers and the response class were two thirds of the price of one (docs/adr/0032).  A question that is let in is
handed on to its route as it was read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request
from litestar.types import HTTPScope, Receive, Send

from gateway.bodies import JSON, check_parameters, content_type, decode_json, read_body
from gateway.caller import Caller, Callers
from gateway.idempotency import key_of
from gateway.payloads import QuestionBody, question_errors
from gateway.problems import MEDIA_TYPE, Problem, headers_of, invalid, log_bug, problem_of
from gateway.questions import Questions
from runtime.settings import Settings
from topics.queries import Mode

MODES: Mapping[str, Mode] = {"/v1/retrieve": "retrieve", "/v1/queries": "answer"}  # what is asked for where
_READ = "freshet-question"  # key in the request's state


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that is as it should be, and who asks it.  With a ``key`` it may be one that was asked before."""

    caller: Caller
    body: QuestionBody
    key: str | None


class Shedder:
    """In front of the router."""

    def __init__(
        self, settings: Settings, questions: Questions, callers: Callers, hide: Callable[[str], str] = str
    ) -> None:
        self._settings, self._questions, self._callers, self._hide = settings, questions, callers, hide
        self._most = 256 * 1024 + 6 * settings.queries.max_question_chars  # bytes; a character may be escaped as six

    async def lets_in(self, scope: HTTPScope, receive: Receive, send: Send) -> bool:
        """Whether the router shall see a request; where not it has been answered."""
        mode = MODES.get(scope["path"])
        if mode is None or scope["method"] != "POST":
            return True
        state = scope.setdefault("state", {})
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        try:
            asked = state[_READ] = await self._read(request, mode)
            if asked.key is None:  # what was asked before needs no room
                self._questions.check_room(asked.caller, asked.body, mode)
        except Exception as error:
            scope["path_template"] = scope["path"]  # the router's own name of it, for whoever counts
            problem = problem_of(error)
            log_bug(request, problem, error)
            await self._tell(problem, send)
            return False
        return True

    async def asked(self, request: Request[Any, Any, Any], mode: Mode) -> Asked:
        """The question of a request that was let in; one whose path was written otherwise is read only now."""
        return request.scope["state"].get(_READ) or await self._read(request, mode)

    async def _read(self, request: Request[Any, Any, Any], mode: Mode) -> Asked:
        caller = self._callers.of(request, "read")
        content_type(request, (JSON,))
        check_parameters(request)
        body = decode_json(await read_body(request, self._most, "a question"), QuestionBody)
        if errors := question_errors(body, self._settings):
            raise Problem("invalid", errors=errors)
        if body.notify_stale and mode == "retrieve":
            raise invalid("passages have no stream to be told in: ask by POST /v1/queries", pointer="/notify_stale")
        return Asked(caller, body, key_of(request))

    async def _tell(self, problem: Problem, send: Send) -> None:
        body = self._hide(msgspec.json.encode(problem.document()).decode()).encode()
        headers = {**headers_of(problem), "Content-Type": MEDIA_TYPE, "Content-Length": str(len(body))}
        lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": problem.status, "headers": lines})
        await send({"type": "http.response.body", "body": body, "more_body": False})
