"""Routes of documents: put, delete, status, list; the bulk route is in ``bulk.py``.

A 202 means that the broker has acknowledged the record; what becomes of it is told by ``GET``.
"""

from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Request, Response, delete, get, put
from litestar.handlers import HTTPRouteHandler

from connectors.ports import Manifest, ManifestStore
from gateway.bodies import JSON, check_parameters, check_unconditional, content_type, decode_json, read_body
from gateway.caller import Callers
from gateway.intake import PARAMETERS, DocumentDoor, published_headers, read_parameters
from gateway.leaving import refuse_if_gone
from gateway.openapi import Doc, Parameter
from gateway.payloads import Accepted, DocumentBody, DocumentPage, DocumentStatus, document_errors
from gateway.problems import Problem, invalid
from runtime.settings import Settings
from topics.codec import encode, schema_header
from topics.documents import Document
from topics.headers import CONTENT_TYPE
from topics.identity import DocumentRef, IdentityError, Token, check_doc_id
from topics.media_types import READ, SEEN_AS

RAW_ID = "freshet-raw-id"  # key in the request's state: the id as it stands in the path, still percent-encoded
MAX_PAGE = 1000
_TOKEN = {"Freshet-Token": "the freshness token, as in the body"}
_ID = Parameter("doc_id", "path", "All that follows `/v1/documents/`; slashes raw or as %2F.")
_TENANT = Parameter("Freshet-Tenant", "header", "A known tenant; `default` when absent.")
_PUT_PARAMETERS = (
    _ID,
    _TENANT,
    Parameter("title", "query", "Title, beside a raw body."),
    Parameter("uri", "query", "Where the original is."),
    Parameter("published_at", "query", "Event time at the source, RFC 3339."),
    Parameter("access", "query", "A principal who may see it; repeat for more. None: everyone in the tenant."),
    Parameter("metadata", "query", "A flat JSON object.", {"type": "string", "contentMediaType": JSON}),
)


def document_id(request: Request[Any, Any, Any]) -> str:
    """The id from the raw path, decoded once; leading, double and trailing slashes are part of it."""
    raw: bytes = request.scope["state"][RAW_ID]
    try:
        return check_doc_id(_unquote(raw).decode())
    except UnicodeDecodeError:
        raise invalid("the document id is not UTF-8", parameter="doc_id") from None
    except IdentityError as error:
        raise invalid(str(error), parameter="doc_id") from None


def _unquote(raw: bytes) -> bytes:
    head, *rest = raw.split(b"%")
    out = [head]
    for piece in rest:
        try:
            out.append(bytes.fromhex(piece[:2].decode("ascii")) + piece[2:])
        except ValueError:
            raise invalid("a % in the path is not followed by two hexadecimal digits", parameter="doc_id") from None
        if len(piece) < 2:
            raise invalid("a % in the path is not followed by two hexadecimal digits", parameter="doc_id")
    return b"".join(out)


def status_of(doc_id: str, manifest: Manifest, pending: str | None, chunks: int | None) -> DocumentStatus | None:
    """What is known of a document; None when it was never seen.  ``pending``: newest version the door took."""
    outcomes = []
    if manifest.last_seen is not None:
        outcomes.append((manifest.last_seen.version, manifest.last_seen.status, manifest.last_seen.reason))
    if manifest.version is not None:
        outcomes.append((manifest.version, "deleted" if manifest.deleted else "indexed", None))
    outcome = max(outcomes, key=lambda o: o[0], default=None)
    if outcome is None and pending is None:
        return None
    waiting = pending is not None and (outcome is None or pending > outcome[0])
    version, status, reason = (pending, "pending", None) if waiting or outcome is None else outcome
    shown = None if manifest.deleted else manifest.version
    found = DocumentStatus(doc_id=doc_id, status=str(status), version=version, visible_version=shown, reason=reason)
    if manifest.version is not None:
        found.indexed_at = manifest.indexed_at
    if shown is not None:
        found.chunks = chunks
        if head := manifest.head:
            found.title, found.uri, found.published_at = head.title, head.uri, head.published_at
            found.metadata, found.access = head.metadata, head.access
    return found


def json_response(content: msgspec.Struct, status: int, headers: dict[str, str] | None = None) -> Response[bytes]:
    """A struct as the response."""
    return Response(
        msgspec.json.encode(content),
        status_code=status,
        media_type=JSON,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def make_document_routes(
    settings: Settings, manifests: ManifestStore, door: DocumentDoor, callers: Callers
) -> list[HTTPRouteHandler]:
    """Build the routes."""
    limit, max_keys = settings.documents.max_document_bytes, settings.documents.max_metadata_keys

    def accepted(doc_id: str, version: str, token: Token) -> Response[bytes]:
        body = Accepted(doc_id=doc_id, version=version, token=str(token))
        location = f"/v1/documents/{quote(doc_id, safe='')}"
        return json_response(body, 202, {"Freshet-Token": str(token), "Location": location})

    @put(
        "/v1/documents/{doc_id:str}",
        status_code=202,
        opt={
            "doc": Doc(
                scope="write",
                gives={202: {JSON: Accepted}},
                takes={JSON: DocumentBody, **dict.fromkeys(READ)},
                parameters=_PUT_PARAMETERS,
                problems=("malformed", "timed-out", "too-large", "unsupported-media-type", "invalid", "unavailable"),
                headers=_TOKEN,
            )
        },
    )
    async def put_document(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Publish a document, new or changed.

        A raw body is taken with its Content-Type; with application/json the body holds the fields of a document.
        """
        caller = callers.of(request)
        doc_id = document_id(request)
        media_type = content_type(request, (JSON, *SEEN_AS))
        check_parameters(request, PARAMETERS, repeated=("access",))
        check_unconditional(request)
        beside = read_parameters(request.query_params, max_keys)
        body = await read_body(request, limit, "a document")
        headers = published_headers(beside, caller.traceparent)
        if media_type == JSON:
            given = decode_json(body, DocumentBody)
            if errors := document_errors(given, max_keys):
                raise Problem("invalid", errors=errors)
            body = encode(given)
            headers |= schema_header(Document(text=""))
        elif not body:
            raise invalid("the body is empty; to delete a document use DELETE", pointer="")
        else:
            headers[CONTENT_TYPE] = request.headers["content-type"].encode()
        await refuse_if_gone(request.receive)
        place = await door.publish(DocumentRef(caller.tenant, doc_id), body, headers)
        return accepted(doc_id, str(place.version), place)

    @delete(
        "/v1/documents/{doc_id:str}",
        status_code=202,
        opt={
            "doc": Doc(
                scope="write",
                gives={202: {JSON: Accepted}},
                parameters=(_ID, _TENANT),
                problems=("malformed", "invalid", "unavailable"),
                headers=_TOKEN,
            )
        },
    )
    async def delete_document(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Delete a document; one that is not there is deleted all the same."""
        caller = callers.of(request)
        doc_id = document_id(request)
        check_parameters(request)
        check_unconditional(request)
        headers = published_headers({}, caller.traceparent)
        await refuse_if_gone(request.receive)
        place = await door.publish(DocumentRef(caller.tenant, doc_id), None, headers)
        return accepted(doc_id, str(place.version), place)

    @get(
        "/v1/documents/{doc_id:str}",
        opt={
            "doc": Doc(
                scope="read",
                gives={200: {JSON: DocumentStatus}},
                parameters=(_ID, _TENANT, Parameter("token", "query", "Tell about the version of this token.")),
                problems=("not-found", "invalid", "unavailable"),
            )
        },
    )
    async def get_document(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Tell where a document is: pending, indexed, deleted, rejected or dead-lettered."""
        caller = callers.of(request)
        doc_id = document_id(request)
        check_parameters(request, ("token",))
        asked_for = _token(request.query_params.get("token"))
        ref = DocumentRef(caller.tenant, doc_id)
        manifest = (await manifests.read([ref]))[0]
        noted = (await manifests.pending([ref]))[0]
        newest = asked_for or (noted[0] if noted else None)
        found = status_of(doc_id, manifest, newest, len(manifest.chunks))
        if found is None or not caller.may_see(found.access):
            raise Problem("not-found", "no such document was ever seen here")
        return json_response(found, 200)

    @get(
        "/v1/documents",
        opt={
            "doc": Doc(
                scope="read",
                gives={200: {JSON: DocumentPage}},
                parameters=(
                    _TENANT,
                    Parameter("limit", "query", f"1 to {MAX_PAGE}; 100 when absent.", {"type": "integer"}),
                    Parameter("after", "query", "Begin behind this id: `next` of the page before."),
                ),
                problems=("invalid", "unavailable"),
            )
        },
    )
    async def list_documents(request: Request[Any, Any, Any]) -> Response[bytes]:
        """List the visible documents, in order of their ids."""
        caller = callers.of(request)
        check_parameters(request, ("limit", "after"))
        page = _limit(request.query_params.get("limit"))
        ids = await manifests.page(caller.tenant, _after(request.query_params.get("after")), page)
        known = await manifests.status([DocumentRef(caller.tenant, doc_id) for doc_id in ids]) if ids else []
        entries = [status_of(doc_id, manifest, None, None) for doc_id, manifest in zip(ids, known, strict=True)]
        documents = [entry for entry in entries if entry is not None and caller.may_see(entry.access)]
        return json_response(DocumentPage(documents=documents, next=ids[-1] if len(ids) == page else None), 200)

    return [put_document, delete_document, get_document, list_documents]


def _token(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(Token.parse(text).version)
    except IdentityError as error:
        raise invalid(str(error), parameter="token") from None


def _after(text: str | None) -> str | None:
    try:
        return check_doc_id(text) if text else None
    except IdentityError as error:
        raise invalid(str(error), parameter="after") from None


def _limit(text: str | None) -> int:
    if text is None:
        return 100
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_PAGE):
        raise invalid(f"1 to {MAX_PAGE} documents fit on a page", parameter="limit")
    return int(text)
