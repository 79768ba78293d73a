"""What producers may write, and what they are told when it cannot be stored."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.documents.intake import SourceDocument, read_document
from streams.documents.refused import Refused
from topics.documents import Document

NOW = 1_700_000_000_000
PLAIN = {"content-type": b"text/plain"}


def read(value: bytes | str, headers: dict[str, bytes] | None = None) -> SourceDocument:
    return read_document(value.encode() if isinstance(value, str) else value, headers or {}, NOW)


def refusal(value: bytes | str, headers: dict[str, bytes] | None = None) -> str:
    with pytest.raises(Refused) as refused:
        read(value, headers)
    return refused.value.reason


def test_smallest_json() -> None:
    """A text alone is a document, of the record's time, for everyone."""
    source = read('{"text": "hello", "added_by_a_newer_producer": [1]}')
    assert (source.text, source.media_type) == ("hello", "text/plain")
    assert (source.head.published_at, source.head.access, source.head.metadata) == (NOW, [], {})


def test_full_json() -> None:
    """Every field of the public record arrives."""
    record = Document(
        text="# T",
        media_type="text/markdown; charset=utf-8",
        title=" A\n title ",
        uri="https://example.org/a",
        metadata={"lang": "en", "year": 2024, "score": 0.5, "ok": True, "day": "2024-02-03", "tags": ["a", "b"]},
        access=["team:b", "alice", "alice"],
    )
    head = read(msgspec.json.encode(record), {"content-type": b"application/json; charset=utf-8"}).head
    assert (head.title, head.uri, head.media_type) == ("A title", "https://example.org/a", "text/markdown")
    assert head.metadata == record.metadata
    assert head.access == ["alice", "team:b"]


def test_raw_body() -> None:
    """A raw body takes its other fields from headers."""
    headers = {
        "content-type": b'Text/HTML; Charset="ISO-8859-1"',
        "title": "Müller".encode(),
        "uri": b"file:///a",
        "metadata": b'{"a": 1}',
        "access": b'["x"]',
        "freshet-published-at": b"1600000000000",
    }
    source = read(b"<p>caf\xe9</p>", headers)
    assert (source.text, source.media_type) == ("<p>café</p>", "text/html")
    assert (source.head.title, source.head.access, source.head.metadata) == ("Müller", ["x"], {"a": 1})
    assert source.head.published_at == 1_600_000_000_000


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("é".encode(), b"text/plain", "é"),
        (b"\xef\xbb\xbfa", b"text/plain; charset=latin-1", "a"),
        ("é".encode("utf-16"), b"text/plain", "é"),
        ("é".encode("utf-32"), b"text/markdown", "é"),
        ("é".encode("utf-16-be"), b"text/plain; charset=UTF-16BE", "é"),
        ("é".encode(), b"text/plain; charset=ascii", "é"),
        ("é".encode(), b"text/plain; charset=nonsense", "é"),
        ("日本".encode("shift_jis"), b"text/plain; charset=Shift_JIS", "日本"),
        (b'<meta charset="windows-1252">\x80', b"text/html", '<meta charset="windows-1252">€'),
    ],
)
def test_charsets(body: bytes, content_type: bytes, text: str) -> None:
    """A byte order mark counts before the declared charset, that before UTF-8."""
    assert read(body, {"content-type": content_type}).text == text


WESTERN = "L'été dernier, les élèves ont visité le château près de la forêt; ça leur a beaucoup plu."
RUSSIAN = "Цапля стоит у реки и ждёт маленькую рыбу, которая приходит утром вместе с туманом."  # noqa: RUF001
JAPANESE = "サギは川のそばに立って、朝の小さな魚を待っています。とても静かな朝です。"


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        (WESTERN, "cp1252"),
        ("Die Größe der Häuser überraschte die Mädchen, weil früher alles viel kleiner gewesen wäre.", "latin-1"),
        ("He said “this isn’t right” — and left. The report was filed on the next day.", "cp1252"),  # noqa: RUF001
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        ("Ο ερωδιός στέκεται στο ποτάμι και περιμένει το μικρό ψάρι του πρωινού.", "iso8859-7"),  # noqa: RUF001
        ("Czapla stoi nad rzeką i czeka na małą rybę, która przypływa rano. Źdźbło drży.", "cp1250"),
        ("Plain words in two bytes each.", "utf-16-le"),
        (WESTERN, "utf-16-be"),
    ],
)
def test_charsets_that_tell_themselves(text: str, charset: str) -> None:
    """Without a declaration a text is read in the charset in which it is a language."""
    assert read(text.encode(charset), PLAIN).text == text


@pytest.mark.parametrize("body", [JAPANESE.encode("shift_jis"), JAPANESE.encode("euc_jp"), bytes(range(1, 256))])
def test_charsets_are_not_guessed(body: bytes) -> None:
    """What could be one or another is refused, since a wrong guess would garble it unseen."""
    assert "declare its charset" in refusal(body, PLAIN)
    assert "declare its charset" in refusal(WESTERN.encode("cp1252"), {"content-type": b"text/plain; charset=utf-8"})


@pytest.mark.parametrize(
    ("value", "headers", "names"),
    [
        (b"plain words", {}, ["not valid JSON", "content-type"]),
        (b"\xff\xfe\xff", PLAIN, ["utf-16"]),
        (b"caf\xe9", PLAIN, ["utf-8", "byte 3"]),
        (b"caf\xe9", {"content-type": b"text/plain; charset=unicode_escape"}, ["unicode_escape", "unknown"]),
        (b"GIF89a", {"content-type": b"image/gif"}, ["image/gif", "text/plain", "application/pdf"]),
        (b"%PDF-1.7\n1 0 obj", PLAIN, ["text/plain", "is a PDF"]),
        (b"GIF89a\x01\0", {"content-type": b"text/csv"}, ["text/csv", "a picture"]),
        (b"MZ\x90\0\3", PLAIN, ["text/plain", "a program"]),
        (b"PK\3\4", {"content-type": b"application/pdf"}, ["application/pdf", "a ZIP"]),
        (b"a\0b", PLAIN, ["text", "NUL"]),
        (b'{"text": "\\u0000"}', {}, ["text", "NUL"]),
        (b'{"text": "\\ud800 x"}', {}, ["JSON"]),
        (b"[]", {}, ["value"]),
        (b"{}", {}, ["text"]),
        (b'{"text": 1}', {}, ["text"]),
        (b'{"text": "a", "media_type": "image/png"}', {}, ["media_type", "image/png"]),
        (b'{"text": "a", "media_type": "application/pdf"}', {}, ["application/pdf", "its bytes"]),
        (b'{"text": "a", "title": 5}', {}, ["title"]),
        (b'{"text": "a", "title": "' + b"t" * 1001 + b'"}', {}, ["title", "1001"]),
        (b'{"text": "a", "uri": "a b"}', {}, ["uri"]),
        (b'{"text": "a", "published_at": "yesterday"}', {}, ["published_at"]),
        (b'{"text": "a", "metadata": {"k": null}}', {}, ["metadata", "'k'", "null"]),
        (b'{"text": "a", "metadata": {"k": {"n": 1}}}', {}, ["'k'", "nested"]),
        (b'{"text": "a", "metadata": {"k": [1]}}', {}, ["'k'", "list"]),
        (b'{"text": "a", "metadata": {"k": 9007199254740993}}', {}, ["'k'", "2^53"]),
        (b'{"text": "a", "metadata": {"k": 1e999}}', {}, ["metadata"]),
        (b'{"text": "a", "metadata": {"": 1}}', {}, ["metadata key"]),
        (b'{"text": "a", "metadata": {"k": "' + b"v" * 4097 + b'"}}', {}, ["'k'", "4097"]),
        (b'{"text": "a", "access": [1]}', {}, ["access"]),
        (b'{"text": "a", "access": [""]}', {}, ["access"]),
        (b'{"text": "a", "access": ["' + b"p" * 257 + b'"]}', {}, ["access", "257"]),
        (b'{"text": "a", "access": "alice"}', {}, ["access"]),
        (b"a", {**PLAIN, "access": b"alice"}, ["header access"]),
        (b"a", {**PLAIN, "metadata": b"[]"}, ["header metadata"]),
        (b"a", {**PLAIN, "title": b"\xff"}, ["header title"]),
        (b"a", {**PLAIN, "freshet-published-at": b"soon"}, ["freshet-published-at"]),
        (b"a", {**PLAIN, "freshet-published-at": b"999999999999999"}, ["published_at"]),
        (b'{"text": "a"}', {"freshet-schema": b"Document/2"}, ["freshet-schema", "Document/1"]),
        (b"[" * 100_000, {}, ["value"]),
        (b'{"x": ' * 100_000, {}, ["nested"]),
    ],
)
def test_refusals_name_the_field(value: bytes, headers: dict[str, bytes], names: list[str]) -> None:
    """What is wrong is said in a sentence that names it."""
    reason = refusal(value, headers)
    assert all(name in reason for name in names), reason


@pytest.mark.parametrize("text", ["%PDF-1.7 is how they begin, then come objects.", "GIF89a and PNG", "MZ, the dog"])
def test_texts_about_files_are_texts(text: str) -> None:
    """A text that begins as a file of some kind does, and goes on as a text, is a text."""
    assert read(text, PLAIN).text == text


def test_metadata_keys_are_bounded() -> None:
    """The number of keys is a setting."""
    value = msgspec.json.encode({"text": "a", "metadata": {"a": 1, "b": 2}})
    assert len(read_document(value, {}, NOW, max_metadata_keys=2).head.metadata) == 2
    with pytest.raises(Refused, match="2 keys"):
        read_document(value, {}, NOW, max_metadata_keys=1)


@pytest.mark.parametrize(("listed", "kept"), [(["*", "a"], []), ([], []), (["b", "a", "b"], ["a", "b"])])
def test_access_is_normalised(listed: list[str], kept: list[str]) -> None:
    """A star means everyone; else each principal counts once, in order."""
    assert read(msgspec.json.encode({"text": "a", "access": listed})).head.access == kept


def test_headers_beside_json() -> None:
    """An access list in a header closes a JSON document that has none; what the JSON says counts first."""
    headers = {"access": b'["boss"]', "title": b"from header"}
    assert read('{"text": "a"}', headers).head.access == ["boss"]
    assert read('{"text": "a", "access": []}', headers).head.access == ["boss"]
    assert read('{"text": "a", "title": "own"}', headers).head.title == "own"


def test_times() -> None:
    """The document's own time counts before the header's, that before the record's."""
    header = {"freshet-published-at": b"5"}
    assert read('{"text": "a", "published_at": "1970-01-01T00:00:01.500Z"}', header).head.published_at == 1500
    assert read('{"text": "a", "published_at": "1970-01-01T01:00:01+01:00"}').head.published_at == 1000
    assert read('{"text": "a"}', header).head.published_at == 5
    assert read_document(b'{"text": "a"}', {}, -1).head.published_at == 0


_CONTENT_TYPES = st.sampled_from(
    [b"text/plain", b"text/markdown", b"text/html", b"application/json", b"text/plain; charset=utf-16", b"", b"\xff"]
) | st.builds(
    lambda name: b"text/plain; charset=" + name,
    st.sampled_from(
        [b"zlib", b"hex", b"idna", b"punycode", b"undefined", b"utf-7", b"cp037", b"a\0b", b"rot13", b"gb2312"]
    ),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = ["text", "media_type", "title", "uri", "metadata", "access", "published_at"]
_HEADERS = st.dictionaries(
    st.sampled_from(["title", "uri", "metadata", "access", "freshet-published-at", "freshet-schema"]),
    st.binary(max_size=20)
    | st.sampled_from([b"[]", b"{}", b'["*"]', b'{"a": NaN}', b'"\\ud800"', b"1", b"Document/1"]),
    max_size=3,
)


@given(
    value=st.binary()
    | _JSON.map(msgspec.json.encode)
    | st.dictionaries(st.sampled_from(_FIELDS), _JSON).map(msgspec.json.encode),
    headers=_HEADERS,
    content_type=st.none() | _CONTENT_TYPES | st.binary(max_size=30),
    timestamp=st.integers(-1, 2**63 - 1),
)
def test_no_bytes_crash_it(value: bytes, headers: dict[str, bytes], content_type: bytes | None, timestamp: int) -> None:
    """Whatever comes, it is a document that can be encoded or a refusal that says why."""
    if content_type is not None:
        headers["content-type"] = content_type
    try:
        source = read_document(value, headers, timestamp)
    except Refused as refused:
        assert refused.reason
        refused.reason.encode()
    else:
        msgspec.json.encode(source)
