"""Records straight into `documents`, and into `queries`."""

import zlib
from typing import Any

import msgspec

from tests.e2e.bad_input.kinds import Asked, Produced
from tests.streams.documents.formats import files
from topics.media_types import DOCX, PDF

KEY = b"bad/record/"
GOOD = b'{"text": "The bittern booms in the reeds."}'
HTML, PLAIN, TYPE = "text/html", "text/plain", "content-type"


def key(name: str, given: bytes | None, says: str, **more: Any) -> Produced:
    """A good document under a bad key."""
    return Produced(name, given, GOOD, says, **more)


def value(name: str, given: bytes, says: str, media_type: str | None = None, **headers: bytes) -> Produced:
    """A bad value under a key of its own."""
    pairs = [(TYPE, media_type.encode())] if media_type else []
    pairs += [(name.replace("_", "-"), each) for name, each in headers.items()]
    return Produced(name, KEY + name.replace(" ", "-").encode(), given, says, pairs)


def beside(name: str, header: str, content: bytes | None, says: str) -> Produced:
    """A good document with a bad header."""
    return Produced(name, KEY + name.replace(" ", "-").encode(), GOOD, says, [(header, content)])


KEYS = (
    key("no key", None, "", refused="failed to validate record"),  # a compacted topic takes none
    key("empty key", b"", "document id is empty"),
    key("key that is not UTF-8", b"bad/\xff", "record key is not UTF-8"),
    key("key with a control character", b"bad/\x01", "control characters"),
    key("key of 1,025 bytes", b"a" * 1025, "more than 1024 bytes"),
    key("tenant that nobody has", b"@nobody/bad", "tenant 'nobody' is unknown here: add it to FRESHET_TENANTS"),
    key("@ without tenant", b"@bad", "write @tenant/id or @default/@id"),
    key("tenant without id", b"@default/", "document id is empty"),
    key("librdkafka's own partitioner", KEY + b"partition", "set partitioner=murmur2_random", partition_off_by=1),
    Produced(
        "delete on the wrong partition", KEY + b"gone", None, "set partitioner=murmur2_random", partition_off_by=2
    ),
)

VALUES = (
    Produced("value over the limit", KEY + b"large", b"x" * 9_000_000, refused="Message size too large"),
    value("empty value", b"", "a null value deletes a document"),
    value("text without content-type", b"Just some text.", "a raw body needs a content-type header"),
    value("JSON cut off", GOOD[:20], "not valid JSON"),
    value("msgpack", msgspec.msgpack.encode({"text": "x"}), "value is not JSON in UTF-8; a raw body needs a content-type header"),
    value("compressed", zlib.compress(GOOD), "value is not JSON in UTF-8; a raw body needs a content-type header"),
    value("a list", b"[1]", "Expected 'object', got 'array'"),
    value("no text", b'{"body": "x"}', "missing required field 'text'"),
    value("text is a number", b'{"text": 5}', "value field text: Expected 'str', got 'int'"),
    value("NUL in text", b'{"text": "a\\u0000b"}', "text has a NUL character at 1"),
    value("half of a surrogate pair", b'{"text": "a\\ud800bcdefgh"}', "surrogate"),
    value("nested 100,000 deep", b'{"text": "x", "metadata": {"a": ' + b"[" * 100_000, "nested too deeply"),
    value("no words", b'{"text": " ... "}', "no words: there is nothing to index"),
    value("unknown media type", b'{"text": "x", "media_type": "text/klingon"}', "cannot be in JSON: use message/rfc822"),
    value("a PDF in JSON", b'{"text": "x", "media_type": "application/pdf"}', "send its bytes with that content-type"),
    value("access is a string", b'{"text": "x", "access": "ann"}', "value field access: Expected 'array | null'"),
    value("access holds a number", b'{"text": "x", "access": [5]}', "access has an entry that is not a string"),
    value("nested metadata", b'{"text": "x", "metadata": {"a": {"b": 1}}}', "metadata 'a' is nested"),
    value("metadata is null", b'{"text": "x", "metadata": {"a": null}}', "leave the key out instead"),
    value("metadata beyond 2^53", b'{"text": "x", "metadata": {"a": 1e3, "b": 9007199254740999}}', "send it as a string"),
    value("time before 1970", b'{"text": "x", "published_at": "1815-12-10T00:00:00Z"}', "outside the years 1970 to 9999"),
    value("time is no time", b'{"text": "x", "published_at": "yesterday"}', "value field published_at"),
    value("unknown field", b'{"text": "A rail hides here.", "extra": 1}', ""),
    value("unknown content-type", b"x", "content-type 'image/png' is not supported", "image/png"),
    value("text that is not UTF-8", b"caf\xe9 \xa4\xff\x81", "declare its charset", PLAIN),
    value("charset that is none", b"caf\xe9 \xa4\xff\x81", "unknown here", "text/plain; charset=klingon"),
    value("a PDF said to be text", files.pdf(pages=1), "but the value is a PDF", PLAIN),
    value("HTML of scripts only", b"<script>alert(1)</script>", "no words", HTML),
    value("PDF cut off", files.pdf()[:600], "it was cut off on its way", PDF),
    value("PDF with a password", files.pdf(pages=1, password="secret"), "publish it without its password", PDF),
    value("PDF of pictures", files.scanned_pdf(1), "run text recognition", PDF),
    value("zip bomb", files.unpacking_to(512, "word/document.xml"), "unpacks to 512 MiB", DOCX),
    value("text said to be Word", b"Just some text.", "no .docx file", DOCX),
    value("CSV with an open quote", b'a,b\n1,"' + b"x" * 200_000, "is a quote never closed?", "text/csv"),
)  # fmt: skip

HEADERS = (
    beside("content-type that is not UTF-8", TYPE, b"\xff", "header content-type is not UTF-8"),
    beside("content-type that is empty", TYPE, b"", ""),
    beside("schema of the future", "freshet-schema", b"Document/99", "only Document/1 is known here"),
    beside("schema of another record", "freshet-schema", b"DocumentPart/1", "only Document/1 is known here"),
    beside("schema that is not UTF-8", "freshet-schema", b"\xff\xfe", "only Document/1 is known here"),
    beside("title that is not UTF-8", "title", b"\xff", "header title is not UTF-8"),
    beside("title of 2,000 characters", "title", b"x" * 2000, "0 to 1000 are allowed"),
    beside("metadata is no JSON", "metadata", b"{a: 1}", "header metadata is not valid JSON"),
    beside("metadata is a list", "metadata", b"[1]", "header metadata: Expected 'object', got 'array'"),
    beside("access is a name", "access", b"ann", "header access is not valid JSON"),
    beside("time in words", "freshet-published-at", b"yesterday", "milliseconds since 1970 are meant"),
    beside("time below nothing", "freshet-published-at", b"-1", "milliseconds since 1970 are meant"),
    beside("time of 30 digits", "freshet-published-at", b"9" * 30, "milliseconds since 1970 are meant"),
    beside("trace that is none", "traceparent", b"\xff\xff", ""),
    beside("version of its own", "freshet-token", b"9.9.9", ""),
    beside("retries of its own", "freshet-retry-attempts", b"many", ""),
    beside("header of 200 KB", "x-huge", b"x" * 200_000, ""),
    beside("header without value", "title", None, ""),
    Produced("header twice", KEY + b"header-twice", GOOD, "", [("title", b"first"), ("title", b"last")]),
)

HOP = {
    "freshet-job": b"0" * 36,
    "freshet-deadline": b"99999999999999",
    "freshet-reply-partition": b"0",
    "freshet-schema": b"Question/1",
}
QUESTION = b'{"question": "Which?", "mode": "retrieve", "asked_at": 0}'
QUERIES = (
    Asked("question without headers", QUESTION, "header freshet-job is missing", dict.fromkeys(HOP)),
    Asked("job that is not UTF-8", QUESTION, "freshet-job is not as a gateway writes it", {"freshet-job": b"\xff"}),
    Asked("deadline in words", QUESTION, "freshet-deadline is not as", {"freshet-deadline": b"soon"}),
    Asked("priority that is none", QUESTION, "freshet-priority is not as", {"freshet-priority": b"urgent"}),
    Asked("reply to a partition that is none", QUESTION, "freshet-reply-partition", {"freshet-reply-partition": b"9999"}),
    Asked("reply below nothing", QUESTION, "freshet-reply-partition", {"freshet-reply-partition": b"-1"}),
    Asked("principals that are no list", QUESTION, "freshet-principals is not as", {"freshet-principals": b"ann"}),
    Asked("question of another schema", QUESTION, "Question/99", {"freshet-schema": b"Question/99"}),
    Asked("question that is no JSON", b"Which?", "not a Question"),
    Asked("question that is null", None, "not a Question"),
    Asked("question with a bad token", QUESTION[:-1] + b', "at_least": ["x"]}', "not a freshness token"),
)  # fmt: skip

TABLE = {"Records: keys": KEYS, "Records: values": VALUES, "Records: headers": HEADERS}
