"""Records to be thrown at readers: valid ones, valid ones with something wrong, and noise."""

import json
from typing import Any

from hypothesis import strategies as st

from streams.outcome import Record
from topics import headers as names
from topics.codec import encode, schema_header
from topics.documents import (
    Chunk,
    ChunkRef,
    Document,
    DocumentDeferred,
    DocumentHead,
    DocumentPart,
    DocumentRefused,
    IndexEvent,
    LastSeen,
)
from topics.identity import DocumentRef, Token, part_key, partition_of
from topics.queries import AnswerEvent, Condition, Passage, Question, Retrieval
from topics.retry import header_of

TOPIC, PARTITIONS = "freshet.documents", 4
VERSION, TOKEN = "00001.0000000000000000007", b"1.0.7"
_HEAD = DocumentHead(title="Pump", published_at=1_700_000_000_000, metadata={"site": "north", "n": 3}, access=["ann"])
_CHUNKS = [Chunk(ordinal=0, text="The red pump moves water.", text_hash="aa", hash="bb", vector=b"\0" * 8)]
_OUTLINE = [ChunkRef(id="0f8fad5b-d9cb-469f-a165-70867728950e", hash="bb", section="Pumps")]
_PASSAGE = Passage(doc_id="a", version=VERSION, chunk_id="c", text="Water.", score=0.5, published_at=1)
_SEEN = LastSeen(version=VERSION, status="indexed", at=1)

VALID = (
    Document(text="# Pumps\n\nThe red pump moves water.", media_type="text/markdown", metadata={"site": "north"}),
    DocumentPart(tenant="default", doc_id="a", version=VERSION, head=_HEAD, chunks=_CHUNKS, outline=_OUTLINE),
    DocumentRefused(tenant="default", doc_id="a", version=VERSION, status="rejected", reason="not text"),
    DocumentDeferred(tenant="default", doc_id="a", version=VERSION, stage="embed", reason="timeout"),
    IndexEvent(tenant="default", doc_id="a", state="current", version=VERSION, head=_HEAD, manifest=_OUTLINE,
               indexed_at=2, last_seen=_SEEN),
    Question(question="Where is the pump?", filter={"site": Condition(eq="north")}, at_least=["1.0.7"], asked_at=1),
    Retrieval(question="Where is the pump?", passages=[_PASSAGE], generation="g1", asked_at=1),
    AnswerEvent(job_id="a", tenant="default", stage="retrieve", attempt="b", seq=0, type="retrieving", at=1),
)  # fmt: skip
_HOP = {
    names.JOB: b"01a2143c1916" + b"0" * 24, names.DEADLINE: b"99999999999999", names.REPLY_PARTITION: b"0",
    names.TENANT: b"default", names.PRINCIPALS: b'["ann"]', names.TRACEPARENT: b"00-" + b"1" * 32 + b"-" + b"2" * 16,
}  # fmt: skip
_BESIDE = {names.TOKEN: TOKEN, names.PUBLISHED_AT: b"1700000000000"}
_HEADER_NAMES = sorted(
    {*_HOP, *_BESIDE, names.SCHEMA, names.CONTENT_TYPE, names.TITLE, names.URI, names.METADATA, names.ACCESS,
     names.MIRRORED, names.SOURCE, *map(header_of, ("topic", "partition", "attempts"))}
)  # fmt: skip

_NUMBERS = st.sampled_from(
    [b"-1", b"0", b"9" * 18, b"9" * 400, b"9" * 5000, b"1e400", b"NaN", b" 7 ", b"1_0", b"\xd9\xa7"]
)
noise = st.binary(max_size=200)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([10**400, -(2**63) - 1, 2**64, "\0", "\ud800", "", "*", "@x/", "9999-12-31T23:59:60Z"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@st.composite
def other_fields(draw: st.DrawFn) -> bytes:
    """A valid record some of whose fields hold, at any depth, something else, or are gone."""
    value = json.loads(encode(draw(st.sampled_from(VALID))))
    for _ in range(draw(st.integers(1, 3))):
        place = value
        while isinstance(place, dict | list) and place:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            if isinstance(place, dict) and draw(st.booleans()):
                del place[key]
            else:
                place[key] = draw(anything)
            break
    return json.dumps(value).encode()  # NaN and Infinity go out as such, half surrogates as escapes


@st.composite
def other_bytes(draw: st.DrawFn) -> bytes:
    """A valid record with bytes cut, doubled, changed or put between."""
    value = encode(draw(st.sampled_from(VALID)))
    start = draw(st.integers(0, len(value)))
    end = draw(st.integers(start, len(value)))
    return draw(
        st.sampled_from([value[:start], value[end:], value[:start] + value[end:], value + value[start:end]])
        | noise.map(lambda between: value[:start] + between + value[end:])
    )


deep = st.sampled_from(
    [b"[" * 100_000, b'{"a":' * 50_000, b'{"text":' + b"[" * 5000, b'{"text": "' + b"\\ud800" + b'"}']
)
values = (
    st.none() | st.sampled_from(VALID).map(encode) | other_fields() | other_bytes() | noise | deep
    | anything.map(lambda value: json.dumps(value).encode())
)  # fmt: skip
keys = st.none() | noise | st.sampled_from(
    [b"", b"a", b"@", b"@x/a", b"@default/a", b"#", b"%#0", b"default/a#0", b"default/a#refused",
     b"default/a#overtaken", b"default/a#deferred-embed", b"/#0", b"default/%ff#0", b"a#1",
     part_key(DocumentRef("default", "a b"), 0)]
)  # fmt: skip


@st.composite
def headers(draw: st.DrawFn) -> dict[str, bytes]:
    """Headers of a hop and of a document, some of them changed, some gone, some strange."""
    found = {**_HOP, **_BESIDE} if draw(st.booleans()) else {}
    if draw(st.booleans()):
        found |= schema_header(draw(st.sampled_from(VALID)))
    changed = draw(st.dictionaries(st.sampled_from(_HEADER_NAMES), noise | _NUMBERS | values, max_size=4))
    for name, value in changed.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return found


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Any record of any topic, on the partition where a producer would put it, or on another."""
    timestamp = draw(st.sampled_from([-1, 0, 1_700_000_000_000, 2**63 - 1]))
    key = draw(keys)
    partition = draw(st.just(partition_of(key or b"", PARTITIONS)) | st.integers(0, PARTITIONS - 1))
    return Record(TOPIC, partition, draw(st.integers(0, 9)), key, draw(values), draw(headers()), timestamp)


tokens = st.text(max_size=40) | st.builds(lambda *n: ".".join(map(str, n)), *[st.integers(-1, 10**20)] * 3) | st.just(
    str(Token(1, 0, 7))
)  # fmt: skip
