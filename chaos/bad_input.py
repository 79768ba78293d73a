"""Requests that must be refused, and documents that cannot be read, for a door of somebody else's: few, and typical.

The long table, with every answer as observed, is docs/bad-input.md.
"""

from dataclasses import dataclass, field

_PDF = b"%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj\ntrailer << /Root 9 0 R >>\n%%EOF\n"
_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@dataclass(frozen=True)
class Bad:
    """``{id}`` in the path is a document of its own under the run's prefix, with ``suffix`` behind it."""

    name: str
    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    method: str = "PUT"
    path: str = "/v1/documents/{id}"
    suffix: str = ""
    raw: bool = False  # the suffix stands in the path as it is
    poison: bool = False


def _document(name: str, media_type: str, content: bytes) -> Bad:
    return Bad(name, content, {"Content-Type": media_type}, poison=True)


def _asked(name: str, body: bytes, path: str = "/v1/retrieve", **headers: str) -> Bad:
    more = {key.replace("_", "-"): value for key, value in headers.items()}
    return Bad(name, body, {"Content-Type": "application/json", **more}, "POST", path)


REFUSED: tuple[Bad, ...] = (
    Bad("JSON that breaks off", b'{"text": "abc'),
    Bad("no text", b'{"title": "nothing else"}'),
    Bad("a number for a text", b'{"text": 7}'),
    Bad("nested metadata", b'{"text": "a", "metadata": {"a": {"b": 1}}}'),
    Bad("an access list that is none", b'{"text": "a", "access": "everyone"}'),
    Bad("no body", b"", {"Content-Type": "text/markdown"}),
    Bad("a kind that nothing reads", b"abc", {"Content-Type": "application/x-unheard-of"}),
    Bad("an id of 2,000 bytes", b'{"text": "a"}', suffix="x" * 2000),
    Bad("a control character in the id", b'{"text": "a"}', suffix="%01", raw=True),
    Bad("a token that is none", b"", {}, "GET", "/v1/documents/{id}?token=yesterday"),
    _asked("no question", b'{"question": ""}'),
    _asked("k of nothing", b'{"question": "a", "k": 0}'),
    _asked("a filter that never holds", b'{"question": "a", "filter": {"x": {"any": []}}}'),
    _asked("a condition that is none", b'{"question": "a", "filter": {"x": {"like": "y"}}}'),
    _asked("a token of nobody", b'{"question": "a", "at_least": ["yesterday"]}'),
    _asked("a deadline without end", b'{"question": "a", "timeout": 1e400}'),
    _asked("an empty key", b'{"question": "a"}', "/v1/queries", Idempotency_Key=" "),
)
POISON: tuple[Bad, ...] = (
    _document("a PDF without pages", "application/pdf", _PDF),
    _document("a PDF that is none", "application/pdf", bytes(range(256)) * 8),
    _document("a Word file that is no archive", _DOCX, b"PK\x03\x04 and then nothing"),
    _document("HTML, 5,000 deep", "text/html", b"<div>" * 5000 + b"deep"),
    _document("one word of 100,000 letters", "text/plain", b"a" * 100_000),
    _document("bytes that are no text", "text/plain", bytes(range(128, 256)) * 16),
    _document("Markdown of brackets", "text/markdown", b"[" * 20_000),
)
