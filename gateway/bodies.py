"""Request bodies: read within a limit, decoded into a struct, refused naming the field.

What goes wrong here is the client's doing: 400 for bytes that are no JSON, 413, 415, and 422 with a JSON pointer.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Request

from gateway.problems import FieldError, Problem, invalid

T = TypeVar("T", bound=msgspec.Struct)
JSON = "application/json"
SILENT_SECONDS = 15.0  # in which a body must go on
_FORM = ("application/x-www-form-urlencoded", "multipart/form-data")  # curl's default, never a document
_CONDITIONS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range")
_PATH = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")
_NAMED = re.compile(r"^Object (?:contains unknown|missing required) field `(?P<name>.*)`$", re.DOTALL)


def check_parameters(
    request: Request[Any, Any, Any], known: Collection[str] = (), repeated: Collection[str] = ()
) -> None:
    """Refuse query parameters that nobody reads, that are said twice, or that are not UTF-8: a slip is told."""
    raw: bytes = request.scope["query_string"]
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise invalid("the query parameters are not UTF-8") from None
    for name in request.query_params:
        if name not in known:
            allowed = f"known are {', '.join(known)}" if known else "there are none here"
            raise invalid(f"unknown parameter; {allowed}", parameter=name[:80])
        if name not in repeated and len(request.query_params.getall(name)) > 1:
            raise invalid("given more than once", parameter=name)


def check_unconditional(request: Request[Any, Any, Any]) -> None:
    """Refuse a condition that would not be kept: the log is written whatever it holds, later wins."""
    for name in _CONDITIONS:
        if name in request.headers:
            raise invalid("conditional writes are not possible, later wins: leave this header out", header=name)
    if "content-range" in request.headers:
        raise Problem("malformed", "a document is always written whole: leave Content-Range out")


def content_type(request: Request[Any, Any, Any], known: Collection[str] = ()) -> str:
    """The media type without parameters; 415 where it is missing or not among ``known``."""
    headers = request.headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("unsupported-media-type", "compressed bodies are not taken: send without Content-Encoding")
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", media_type) or media_type in _FORM:
        raise Problem(
            "unsupported-media-type", "set Content-Type to what the body is, e.g. text/plain or text/markdown"
        )
    if known and media_type not in known:
        raise Problem("unsupported-media-type", f"{media_type[:80]} is not taken here: use {' or '.join(known)}")
    return media_type


async def pieces(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """The body as it arrives."""
    while True:
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                message = await request.receive()
        except TimeoutError:
            said = f"no byte of the body came for {SILENT_SECONDS:g} seconds"
            raise Problem("timed-out", said, headers={"Connection": "close"}) from None
        if message["type"] != "http.request":
            raise Problem("malformed", "the client left before the body was complete")
        if body := message.get("body"):
            yield body
        if not message.get("more_body"):
            return


def too_large(limit: int, what: str) -> Problem:
    """413 with the number; the rest of the body is not read."""
    return Problem(
        "too-large", f"{what} may have at most {limit} bytes", headers={"Connection": "close"}, extra={"limit": limit}
    )


async def read_body(request: Request[Any, Any, Any], limit: int, what: str) -> bytes:
    """The whole body, never more than ``limit`` bytes of it in memory."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large(limit, what)
    body = bytearray()
    async for piece in pieces(request):
        if len(body) + len(piece) > limit:
            raise too_large(limit, what)
        body += piece
    return bytes(body)


def decode_json(body: bytes, record: type[T]) -> T:
    """A struct from JSON; 400 for what is no JSON, 422 naming the field for what does not fit."""
    if not body.strip():
        raise Problem("malformed", "not JSON in UTF-8: there is nothing in the body")
    try:
        try:
            return msgspec.json.decode(body, type=record)
        except msgspec.ValidationError as error:
            raise Problem("invalid", errors=[locate(error, body, record)]) from None
    # Also when looking for the wrong field: what comes behind it may be no JSON at all.
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        why = (
            "nested too deeply" if isinstance(error, RecursionError) else str(error).removeprefix("JSON is malformed: ")
        )
        raise Problem("malformed", f"not JSON in UTF-8: {why}") from None


def locate(error: msgspec.ValidationError, body: bytes, record: type[msgspec.Struct]) -> FieldError:
    """What is wrong, with a JSON pointer to where."""
    match = _PATH.match(str(error))
    what, path = (match["what"], match["path"] or "") if match else (str(error), "")
    steps = [m["name"] or m["index"] for m in _STEP.finditer(path)]
    if "..." in steps:
        place = steps.index("...")
        steps[place] = _wrong_key(body, record, steps[:place])
    if named := _NAMED.match(what):
        steps.append(named["name"])
    return FieldError(what.replace("`", "'"), pointer=pointer(*steps))


def pointer(*steps: str) -> str:
    """JSON pointer (RFC 6901)."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def _wrong_key(body: bytes, record: type[msgspec.Struct], path: list[str]) -> str:
    """msgspec does not say which key of a map is wrong: try the map with one key at a time."""
    whole = msgspec.json.decode(body)
    above: Any = whole
    for step in path[:-1]:
        above = above[int(step)] if isinstance(above, list) else above[step]
    for key, value in dict(above[path[-1]]).items():
        above[path[-1]] = {key: value}
        try:
            msgspec.convert(whole, record)
        except msgspec.ValidationError:
            return str(key)
    return "*"
