"""OpenAPI 3.1 from the routes themselves: each route says in ``opt["doc"]`` what it takes and gives.

Schemas come from the structs by msgspec, so what is documented is what is validated.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import getdoc
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from gateway.keys import Scope
from gateway.problems import KINDS, MEDIA_TYPE, ProblemDocument
from topics.webhooks import WebhookMessage

VERSION = "1"
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key (`freshet keys create`)."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key, otherwise shown."},
}
_METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query, path or header parameter."""

    name: str
    place: str
    meaning: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True, slots=True)
class Errors:
    """How routes tell errors: media type, body, and the status of each kind."""

    media_type: str
    body: type[msgspec.Struct]
    statuses: Mapping[str, int]


PROBLEMS = Errors(MEDIA_TYPE, ProblemDocument, {kind: status for kind, (status, _) in KINDS.items()})


@dataclass(frozen=True, slots=True)
class Doc:
    """What a route takes and gives.  Bodies are structs, by media type; None stands for free text or bytes."""

    gives: dict[int, dict[str, type[msgspec.Struct] | None]]
    scope: Scope | None = None  # that an API key must have; None: open to everyone
    takes: dict[str, type[msgspec.Struct] | None] = field(default_factory=dict)
    parameters: Sequence[Parameter] = ()
    problems: Sequence[str] = ()
    headers: dict[str, str] = field(default_factory=dict)  # of successful responses: name -> meaning
    errors: Errors = PROBLEMS


def describe(app: Litestar, keyed: bool) -> dict[str, Any]:
    """The whole document; ``keyed`` says whether API keys are asked for."""
    routes = [
        (route.path_format, method, handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
        if method in _METHODS and isinstance(handler.opt.get("doc"), Doc)
    ]
    structs = [*_structs(handler.opt["doc"] for _, _, handler in routes), WebhookMessage]
    (_, schemas) = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for path, method, handler in sorted(routes, key=lambda r: (r[0], r[1])):
        paths.setdefault(path, {})[method.lower()] = _operation(handler, handler.opt["doc"], keyed)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Freshet",
            "version": VERSION,
            "description": "Answers as fresh as the documents behind them.",
        },
        "paths": paths,
        "webhooks": dict(_webhooks()),
        "components": {"schemas": schemas, "securitySchemes": _SCHEMES},
    }


_TOLD = {
    "answer": "A job has its answer",
    "error": "A job ended without an answer",
    "ping": "Somebody tries whether messages arrive",
}
_SIGNED = {
    "webhook-id": "Names the message; the same at every try: whoever has seen it answers 2xx and does nothing.",
    "webhook-timestamp": "Seconds since 1970 of this try; refuse what is more than five minutes away.",
    "webhook-signature": "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`; one for each secret in force.",
}


def _webhooks() -> Iterator[tuple[str, dict[str, Any]]]:
    """What we send: signed by Standard Webhooks, repeated until it is answered 2xx."""
    for name, summary in _TOLD.items():
        parameters = [
            {"name": header, "in": "header", "required": True, "description": meaning, "schema": {"type": "string"}}
            for header, meaning in _SIGNED.items()
        ]
        answers = {
            "2XX": {"description": "Taken; anything else is tried again"},
            "410": {"description": "The webhook is disabled: nothing is sent any more"},
        }
        post = {
            "operationId": f"told_{name}",
            "summary": summary,
            "security": [],
            "parameters": parameters,
            "requestBody": {"required": True, "content": _content({"application/json": WebhookMessage})},
            "responses": answers,
        }
        yield name, {"post": post}


def _security(scope: Scope | None, keyed: bool) -> list[dict[str, list[str]]]:
    """One of these must be met; an empty one is met by everyone."""
    if scope is None:
        return []
    asked: list[dict[str, list[str]]] = [{scheme: []} for scheme in _SCHEMES]
    return asked if keyed else [{}, *asked]


def _structs(docs: Any) -> list[type[msgspec.Struct]]:
    found: dict[str, type[msgspec.Struct]] = {}
    for doc in docs:
        for struct in [
            doc.errors.body,
            *doc.takes.values(),
            *(s for given in doc.gives.values() for s in given.values()),
        ]:
            if struct is not None:
                found[struct.__name__] = struct
    return [found[name] for name in sorted(found)]


def _operation(handler: HTTPRouteHandler, doc: Doc, keyed: bool) -> dict[str, Any]:
    text = (getdoc(handler.fn) or "").strip()
    summary, _, rest = text.partition("\n")
    responses: dict[str, Any] = {}
    for status, content in doc.gives.items():
        responses[str(status)] = {"description": "Success", "content": _content(content)}
        if doc.headers:
            responses[str(status)]["headers"] = {
                name: {"description": meaning, "schema": {"type": "string"}} for name, meaning in doc.headers.items()
            }
    for kind in (*(("unauthorized", "forbidden") if doc.scope and keyed else ()), *doc.problems):
        content = _content({doc.errors.media_type: doc.errors.body})
        responses[str(doc.errors.statuses[kind])] = {"description": KINDS[kind][1], "content": content}
    operation: dict[str, Any] = {"operationId": handler.handler_name, "summary": summary, "responses": responses}
    operation["security"] = _security(doc.scope, keyed)
    asks = f"Needs an API key with the scope `{doc.scope}`." if doc.scope and keyed else ""
    if text := "\n\n".join(filter(None, (rest.strip(), asks))):
        operation["description"] = text
    if doc.parameters:
        operation["parameters"] = [
            {
                "name": p.name,
                "in": p.place,
                "description": p.meaning,
                "required": p.required or p.place == "path",
                "schema": p.schema,
            }
            for p in doc.parameters
        ]
    if doc.takes:
        operation["requestBody"] = {"required": True, "content": _content(doc.takes)}
    return operation


def _content(bodies: dict[str, type[msgspec.Struct] | None]) -> dict[str, Any]:
    return {
        media_type: {"schema": {"$ref": f"#/components/schemas/{struct.__name__}"} if struct else {"type": "string"}}
        for media_type, struct in bodies.items()
    }
