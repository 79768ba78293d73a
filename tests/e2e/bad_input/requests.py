"""Requests that bring documents, or ask about them."""

from collections.abc import Mapping

from tests.e2e.bad_input.kinds import JSON, NDJSON, NONE, PLAIN, Http

DOC = "/v1/documents/bad/input.md"
TEXT = {"Content-Type": PLAIN}
NESTED = b'{"text": "x", "metadata": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"


def put(
    name: str, body: object, says: str, kind: str = "invalid", status: int = 422, headers: Mapping[str, str] = NONE
) -> Http:
    """JSON at the door."""
    return Http(name, "PUT", DOC, status, kind, says, body, {"Content-Type": JSON, **headers})


def text(name: str, query: str, says: str, headers: Mapping[str, str] = NONE) -> Http:
    """Text with parameters beside it."""
    return Http(name, "PUT", f"{DOC}?{query}", 422, "invalid", says, b"Some text.", TEXT | dict(headers))


def bulk(name: str, line: bytes, says: str, status: int = 207) -> Http:
    """One line of many: told by number, and the others are taken."""
    return Http(name, "POST", "/v1/documents", status, None, says, line, {"Content-Type": NDJSON})


BODIES = (
    put("JSON cut off", b'{"text": "The heron', "not JSON", "malformed", 400),
    put("JSON with NaN", b'{"text": "x", "metadata": {"n": NaN}}', "not JSON", "malformed", 400),
    put("JSON in UTF-16", '{"text": "x"}'.encode("utf-16"), "not JSON", "malformed", 400),
    put("JSON that is not UTF-8", b'{"text": "\xff\xfe"}', "not JSON", "malformed", 400),
    put("half of a surrogate pair", b'{"text": "a\\ud800bcdefgh"}', "surrogate", "malformed", 400),
    put("nested 100,000 deep", NESTED, "nested", "malformed", 400),
    put("no body, said to be JSON", b"", "not JSON", "malformed", 400),
    put("a list", [{"text": "x"}], "Expected 'object', got 'array'"),
    put("null", b"null", "Expected 'object', got 'null'"),
    put("no text", {"title": "x"}, "missing required field 'text'"),
    put("text is a number", {"text": 5}, "Expected 'str', got 'int'"),
    put("empty text", {"text": " \n"}, "the text is empty; to delete a document use DELETE"),
    put("NUL in text", {"text": "a\0b"}, "text has a NUL character at 1"),
    put("unknown field", {"text": "x", "titel": "y"}, "unknown field 'titel'"),
    put("unknown media type", {"text": "x", "media_type": "text/klingon"}, "cannot be in JSON: use message/rfc822"),
    put("a PDF in JSON", {"text": "x", "media_type": "application/pdf"}, "send its bytes with that content-type"),
    put("title of 2,000 characters", {"text": "x", "title": "y" * 2000}, "0 to 1000 are allowed"),
    put("address with blanks", {"text": "x", "uri": "http://a b"}, "percent-encode them"),
    put("access is a string", {"text": "x", "access": "ann"}, "Expected 'array', got 'str'"),
    put("access holds a number", {"text": "x", "access": ["ann", 5]}, "Expected 'str', got 'int'"),
    put("access holds nothing", {"text": "x", "access": [""]}, "1 to 256 are allowed"),
    put("access of 2,000", {"text": "x", "access": [f"p{n}" for n in range(2000)]}, "at most 1024 are allowed"),
    put("nested metadata", {"text": "x", "metadata": {"a": {"b": 1}}}, "got 'object'"),
    put("metadata is null", {"text": "x", "metadata": {"a": None}}, "got 'null'"),
    put("metadata of mixed lists", {"text": "x", "metadata": {"a": ["b", 1]}}, "Expected 'str', got 'int'"),
    put("1,000 metadata keys", {"text": "x", "metadata": {f"k{n}": n for n in range(1000)}}, "at most 64 are taken"),
    put("metadata beyond 2^53", {"text": "x", "metadata": {"n": 2**60}}, "send it as a string"),
    put("metadata of 400 digits", b'{"text": "x", "metadata": {"n": ' + b"9" * 400 + b"}}", "send it as a string"),
    put("metadata of 5,000 characters", {"text": "x", "metadata": {"a": "b" * 5000}}, "0 to 4096 are allowed"),
    put("metadata key is empty", {"text": "x", "metadata": {"": 1}}, "1 to 128 are allowed"),
    put("time is no time", {"text": "x", "published_at": "yesterday"}, "RFC3339"),
    put("time before 1970", {"text": "x", "published_at": "1815-12-10T00:00:00Z"}, "outside the years 1970 to 9999"),
    put("time as a number", {"text": "x", "published_at": 1}, "got 'int'"),
    Http("a body over the limit", "PUT", DOC, 413, "too-large", "8384512 bytes", b"x" * 8_400_000, TEXT),
    Http("raw body that is empty", "PUT", DOC, 422, "invalid", "use DELETE", b"", TEXT),
    Http("raw text with NULs", "PUT", "/v1/documents/bad/nul.txt", 202, None, "", b"a\0b", TEXT, later="NUL character"),
    Http(
        "raw text that is no UTF-8",
        "PUT",
        "/v1/documents/bad/latin.txt",
        202,
        None,
        "",
        b"caf\xe9 \xa4\xff\x81",
        TEXT,
        later="declare its charset",
    ),
    Http(
        "a picture said to be text",
        "PUT",
        "/v1/documents/bad/picture.txt",
        202,
        None,
        "",
        b"\x89PNG\r\n",
        TEXT,
        later="a picture",
    ),
)

PARAMETERS = (
    text("unknown parameter", "titel=x", "unknown parameter; known are title"),
    text("parameter twice", "title=x&title=y", "given more than once"),
    text("parameter that is not UTF-8", "title=%ff", "not UTF-8"),
    text("NUL in a title", "title=a%00b", "NUL character"),
    text("metadata is no JSON", "metadata=a:1", "not a flat JSON object"),
    text("metadata is a list", "metadata=[1]", "not a flat JSON object"),
    text("empty principal", "access=", "1 to 256 are allowed"),
    text("time is no time ", "published_at=tomorrow", "e.g. 2026-01-31T12:00:00Z"),
    text("time before 1970 ", "published_at=0001-01-01T00:00:00Z", "outside the years 1970 to 9999"),
    Http("page of none", "GET", "/v1/documents?limit=0", 422, "invalid", "1 to 1000"),
    Http("page of -1", "GET", "/v1/documents?limit=-1", 422, "invalid", "1 to 1000"),
    Http("page of very many", "GET", "/v1/documents?limit=0000000019999", 422, "invalid", "1 to 1000"),
    Http("page after NUL", "GET", "/v1/documents?after=%00", 422, "invalid", "control characters"),
    Http("misspelt page", "GET", "/v1/documents?limt=5", 422, "invalid", "unknown parameter; known are limit, after"),
    Http("token that is none", "GET", f"{DOC}?token=1.2", 422, "invalid", "use the token that publishing returned"),
    Http("delete with parameters", "DELETE", f"{DOC}?force=true", 422, "invalid", "unknown parameter; there are none"),
)

ADDRESSES = (
    Http("id with a control character", "PUT", "/v1/documents/a%01b", 422, "invalid", "control characters", b"x", TEXT),
    Http("id with NUL", "GET", "/v1/documents/a%00", 422, "invalid", "control characters"),
    Http("id that is not UTF-8", "PUT", "/v1/documents/%ff", 422, "invalid", "not UTF-8", b"x", TEXT),
    Http("id of 1,025 bytes", "PUT", f"/v1/documents/{'a' * 1025}", 422, "invalid", "1024 bytes", b"x", TEXT),
    Http("stray percent sign", "PUT", "/v1/documents/100%", 422, "invalid", "two hexadecimal digits", b"x", TEXT),
    Http("no id", "PUT", "/v1/documents/", 405, "method-not-allowed", "use GET", b"x", TEXT),
    Http(
        "id that climbs",
        "PUT",
        "/v1/documents/%2e%2e/%2e%2e/etc/passwd",
        202,
        None,
        "../../etc/passwd",
        b"Some text.",
        TEXT,
    ),
    Http("never seen", "GET", "/v1/documents/never/seen", 404, "not-found", "ever seen here"),
    Http("unknown address", "GET", "/v2/documents", 404, "not-found"),
    Http("wrong method", "PATCH", DOC, 405, "method-not-allowed"),
    Http("method that is none", "BREW", DOC, 400, "malformed", "HTTP"),
    Http("job that is none", "GET", "/v1/queries/42", 404, "not-found", "no such job"),
    Http("job of the future", "GET", f"/v1/queries/{'f' * 36}", 404, "not-found", "no such job"),
    Http("job of no partition", "GET", f"/v1/queries/{'0' * 12}{'f' * 24}", 404, "not-found", "no such job"),
    Http("job id of 4,000 characters", "GET", f"/v1/queries/{'a' * 4000}/events", 404, "not-found", "no such job"),
)

HEADERS = (
    Http("no content type", "PUT", DOC, 415, "unsupported-media-type", "set Content-Type", b"x"),
    put(
        "content type that is none",
        b"x",
        "set Content-Type",
        "unsupported-media-type",
        415,
        headers={"Content-Type": "text"},
    ),
    put(
        "a form",
        b"x=y",
        "set Content-Type",
        "unsupported-media-type",
        415,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    ),
    put(
        "unknown content type",
        b"x",
        "is not taken here: use",
        "unsupported-media-type",
        415,
        headers={"Content-Type": "image/png"},
    ),
    put(
        "compressed",
        b"x",
        "send without Content-Encoding",
        "unsupported-media-type",
        415,
        headers={"Content-Encoding": "gzip"},
    ),
    put("unknown tenant", {"text": "x"}, "tenant 'nobody' is unknown here", headers={"Freshet-Tenant": "nobody"}),
    put("tenant with a path", {"text": "x"}, "is unknown here", headers={"Freshet-Tenant": "../default"}),
    put("only if unchanged", {"text": "x"}, "conditional writes are not possible", headers={"If-Match": '"1"'}),
    put("only if new", {"text": "x"}, "conditional writes are not possible", headers={"If-None-Match": "*"}),
    put("a part of it", b"x", "written whole", "malformed", 400, headers={"Content-Range": "bytes 0-0/2"}),
    Http("trace that is none", "GET", "/v1/documents?limit=1", 200, None, "", headers={"traceparent": "00-zz"}),
    Http("only XML is accepted", "GET", "/v1/documents?limit=1", 200, None, "", headers={"Accept": "text/xml"}),
    Http("accept that is none", "GET", "/v1/documents?limit=1", 200, None, "", headers={"Accept": ";;q=,"}),
)

BULK = (
    bulk("line cut off", b'{"id": "bad/bulk", "text": "x', "not JSON"),
    bulk("line is no object", b'"bad/bulk"', "Expected 'object', got 'str'"),
    bulk("line without id", b'{"text": "x"}', "missing required field 'id'"),
    bulk("line with a bad id", b'{"id": "a\\u0001", "text": "x"}', "control characters"),
    bulk("line with neither text nor delete", b'{"id": "bad/bulk"}', 'give either text or \\"deleted\\": true'),
    bulk("line with both", b'{"id": "bad/bulk", "text": "x", "deleted": true}', 'give either text or'),
    bulk("line with an unknown field", b'{"id": "bad/bulk", "text": "x", "acces": []}', "unknown field 'acces'"),
    bulk("line that is not UTF-8", b'{"id": "bad/bulk", "text": "\xff"}', "not JSON"),
    bulk("line over the limit", b'{"id": "bad/bulk", "text": "' + b"x" * 8_500_000 + b'"}', "8384512 bytes"),
    bulk("line nested 100,000 deep", b'{"id": ' + b"[" * 100_000, "Expected 'str', got 'array'"),
    bulk("no lines", b"\n\n", '"accepted":0', 202),
    Http("bulk as a JSON list", "POST", "/v1/documents", 415, "unsupported-media-type", "use application/x-ndjson", [], {"Content-Type": JSON}),
)  # fmt: skip

TABLE = {"Documents: bodies": BODIES, "Documents: parameters": PARAMETERS, "Addresses": ADDRESSES,
         "Headers": HEADERS, "Bulk": BULK}  # fmt: skip
