"""Rows of the user's topics become documents; wrong shapes are refused with the path that was missing."""

import json
from typing import Any

import pytest

from connectors.ports import LoggedRecord
from runtime.sources import read_sources
from streams.deadletters.shelf import NotRedrivable, redriven
from streams.outcome import Drop, Emit, Outcome, Output, Record, Refuse
from streams.sources.map import Map
from topics.codec import decode
from topics.documents import Document
from topics.headers import PUBLISHED_AT, SCHEMA, SOURCE
from topics.registry import DOCUMENTS, SOURCES

PLAIN = {"topic": "t", "id": "value.id", "text": "value.text"}
CHANGES = PLAIN | {"envelope": "debezium", "id": "key.id"}
ROW = {"id": 7, "text": "words", "title": "T", "groups": ["b", "a"], "at": 1_700_000_000_000, "note": None}


def record(value: Any, key: Any = "k", offset: int = 0) -> Record:
    data = [part if isinstance(part, bytes | None) else json.dumps(part).encode() for part in (value, key)]
    return Record("t", 1, offset, data[1], data[0], {"lang": b"de"}, 1234)


async def outcomes(mapping: dict[str, Any], *records: Record) -> list[Outcome]:
    stage = Map(read_sources(json.dumps([mapping])), {"default", "acme"}, 64)
    return list(await stage.step(records))


async def output(mapping: dict[str, Any], value: Any, key: Any = "k") -> Output:
    (outcome,) = await outcomes(mapping, record(value, key))
    assert isinstance(outcome, Emit), outcome
    (found,) = outcome.outputs
    return found


async def document(mapping: dict[str, Any], value: Any, key: Any = "k") -> Document:
    return decode((await output(mapping, value, key)).value or b"", Document)


async def refused(mapping: dict[str, Any], value: Any, key: Any = "k") -> str:
    (outcome,) = await outcomes(mapping, record(value, key))
    assert isinstance(outcome, Refuse) and outcome.reason == "mapping" and outcome.status == "rejected", outcome
    return outcome.message


async def test_every_part() -> None:
    """Each part of a document comes from where its path says; nulls are parts that the row has not."""
    mapping = PLAIN | {
        "tenant": "'acme'", "title": "value.title", "uri": "join('/', ['http://x', to_string(value.id)])",
        "media_type": "'text/markdown'", "access": "value.groups", "published_at": "value.at",
        "metadata": {"lang": "headers.lang", "size": "value.at", "note": "value.note", "from": "topic"},
    }  # fmt: skip
    found = await output(mapping, ROW)
    assert (found.spec, found.key) == (DOCUMENTS, b"@acme/7")
    assert found.headers == {SOURCE: b"t/1/0", PUBLISHED_AT: b"1234", SCHEMA: b"Document/1"}
    mapped = decode(found.value or b"", Document)
    assert mapped == Document(
        text="words", title="T", uri="http://x/7", media_type="text/markdown", access=["a", "b"],
        metadata={"lang": "de", "size": 1_700_000_000_000, "from": "t"}, published_at=mapped.published_at,
    )  # fmt: skip
    assert mapped.published_at is not None and mapped.published_at.isoformat() == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize(
    ("key", "path", "doc_id"),
    [
        (b"007", "key", b"007"),
        (b'"seven"', "key", b"seven"),
        ({"id": 7}, "key.id", b"7"),
        ({"schema": {}, "payload": {"id": "x/y"}}, "key.id", b"x/y"),
        ({"schema": {}, "payload": "@x"}, "key", b"@default/@x"),
        ({"a": 1, "b": "z"}, "join('-', [to_string(key.a), key.b])", b"1-z"),
    ],
)
async def test_keys(key: Any, path: str, doc_id: bytes) -> None:
    """A key is text unless it is JSON, with or without Connect's envelope; ids are as the key contract wants them."""
    assert (await output(PLAIN | {"id": path}, ROW, key)).key == doc_id


@pytest.mark.parametrize(
    ("at", "unit"),
    [(1_700_000_000, "s"), (1.7e15, "us"), (1_700_000_000_000_000_000, "ns"), ("2023-11-14T22:13:20Z", "ms"),
     ("2023-11-14T22:13:20", "ms"), ("2023-11-15T00:13:20+02:00", "ms")],
)  # fmt: skip
async def test_times(at: Any, unit: str) -> None:
    """Times are numbers in the stated unit, or ISO 8601 texts."""
    found = await document(PLAIN | {"published_at": "value.at", "published_unit": unit}, ROW | {"at": at})
    assert found.published_at is not None and found.published_at.timestamp() == 1_700_000_000


@pytest.mark.parametrize(
    ("changes", "value", "says"),
    [
        ({"text": "value.body"}, ROW, "text: value.body is missing: value has id, text, title, groups, at, note"),
        ({"text": "value.note"}, ROW, "text: nothing is there (at value.note)"),
        ({"text": "value.id"}, ROW, "text: '7' is not text (at value.id)"),
        ({"id": "value.note"}, ROW, "id: nothing is there"),
        ({"id": "key.id"}, ROW, "id: key.id is missing: key is text"),
        ({"title": "value.head.line"}, ROW, "title: value.head.line is missing: value has"),
        ({"title": "value.title"}, ROW | {"title": "x" * 1001}, "title: title has 1001 characters"),
        ({"tenant": "value.org"}, ROW | {"org": "evil"}, "tenant 'evil' is unknown here: add it to FRESHET_TENANTS"),
        ({"tenant": "value.org"}, ROW | {"org": None}, "tenant: nothing is there (at value.org)"),
        ({"metadata": {"x": "value.y"}}, ROW, "metadata.x: value.y is missing"),
        ({"metadata": {"x": "value.y"}}, ROW | {"y": {"z": 1}}, "metadata 'x' is nested"),
        ({"published_at": "value.title"}, ROW, "published_at: 'T' is no time"),
        ({"published_at": "value.at", "published_unit": "s"}, ROW, "published_at: '1700000000000' is no time"),
        ({"published_at": "value.at", "published_unit": "s"}, ROW | {"at": -1}, "is published_unit right?"),
        ({"deleted": "value.title"}, ROW, "deleted: 'T' is neither true nor false"),
        ({"deleted": "value.gone"}, ROW, "deleted: value.gone is missing"),
        ({}, b"plain words", "value is not JSON"),
        ({}, b"\0\0\0\0\1{}", "a schema registry's serializer wrote it"),
        ({}, ["a"], "id: value.id is missing: value is a list"),
        ({}, None, "id: value.id is missing: value is null"),
        ({}, {"schema": {}, "payload": ROW}, "write envelope = 'connect'"),
        ({}, {"op": "c", "before": None, "after": ROW}, "write envelope = 'debezium'"),
        ({"envelope": "connect"}, ROW, "payload is missing: value has id, text"),
        ({"envelope": "debezium"}, ROW, "op is missing: value has id, text"),
        ({"envelope": "debezium"}, {"op": "u", "before": ROW}, "after is missing, with op 'u'"),
        ({"envelope": "debezium"}, {"op": "t"}, "the table was truncated"),
        ({"envelope": "debezium"}, {"op": "x"}, "op is 'x'"),
        ({"envelope": "debezium"}, {"op": "d", "before": None}, "id: value.id is missing: value is null"),
        ({"envelope": "debezium"}, {"op": "u", "after": ROW | {"text": "__debezium_unavailable_value"}},
         "text: value.text was left out by Debezium, because the update did not change it: set REPLICA IDENTITY FULL"),
    ],
)  # fmt: skip
async def test_wrong_shapes(changes: dict[str, Any], value: Any, says: str) -> None:
    """What a record lacks is quoted, with the part that wanted it."""
    assert says in await refused(PLAIN | changes, value)


async def test_access_fails_closed() -> None:
    """Whatever is wrong with an access list, the document is not opened to everyone, unless the mapping says so."""
    mapping = PLAIN | {"access": "value.groups"}
    for groups in (None, [], [7], {"a": 1}, 7, [None]):
        assert "access: " in await refused(mapping, ROW | {"groups": groups})
    assert "access: value.groups is missing" in await refused(mapping, {"id": 1, "text": "w"})
    assert "access: nobody is named" in await refused(PLAIN | {"access": "value.groups[].name"}, ROW | {"groups": [{}]})
    assert (await document(mapping, ROW | {"groups": "one"})).access == ["one"]
    assert (await document(PLAIN | {"access": "value.groups || ['*']"}, ROW | {"groups": []})).access == []


async def test_optional_parts_may_lack() -> None:
    """A part that the mapping calls optional may lack; any other may not."""
    mapping = PLAIN | {"title": "value.head", "metadata": {"x": "value.x", "y": "value.y"}}
    assert (await document(mapping | {"optional": ["title", "metadata"]}, ROW)).title is None
    assert "metadata.y" in await refused(mapping | {"optional": ["title", "metadata.x"]}, ROW)


async def test_deletes() -> None:
    """A null value, Debezium's d and what the mapping calls deleted are nulls in documents."""
    assert (await output(PLAIN | {"id": "key"}, None, b"7")).value is None
    assert (await output(PLAIN | {"deleted": "value.state == 'gone'"}, {"id": 7, "state": "gone"})).value is None
    assert (await output(PLAIN | {"deleted": "value.state == 'gone'"}, ROW | {"state": "here"})).value is not None
    connect = PLAIN | {"envelope": "connect", "id": "key"}
    assert (await output(connect, {"schema": None, "payload": None}, b"7")).value is None
    gone = {"before": {"id": 7, "text": None}, "after": None, "op": "d"}
    for mapping in (CHANGES, CHANGES | {"id": "value.id"}):
        found = await output(mapping, {"schema": {}, "payload": gone}, {"schema": {}, "payload": {"id": 7}})
        assert (found.key, found.value) == (b"7", None)


async def test_debezium() -> None:
    """Creates, updates and snapshot reads give the row as it is after; tombstones and messages give nothing new."""
    for op in "cur":
        change = {"before": {"id": 7, "text": "old"}, "after": ROW, "op": op, "ts_ms": 5}
        for value in (change, {"schema": {}, "payload": change}):
            found = await output(CHANGES | {"metadata": {"ts": "envelope.ts_ms"}}, value, {"id": 7})
            mapped = decode(found.value or b"", Document)
            assert (found.key, mapped.text, mapped.metadata) == (b"7", "words", {"ts": 5})
    assert (await output(CHANGES, None, {"id": 7})).value is None  # the key's own id
    by_value = CHANGES | {"id": "value.id"}
    assert await outcomes(by_value, record(None, {"id": 7})) == [Drop("tombstone")]
    assert await outcomes(by_value, record({"op": "m", "message": {}})) == [Drop("no-row")]


async def test_connect() -> None:
    """What Kafka Connect's JsonConverter wrapped is unwrapped, in key and value."""
    value = {"schema": {"type": "struct"}, "payload": {"text": "words"}}
    found = await output(PLAIN | {"envelope": "connect", "id": "key"}, value, {"schema": {}, "payload": "a/b"})
    assert (found.key, decode(found.value or b"", Document).text) == (b"a/b", "words")


async def test_the_last_of_a_batch_counts() -> None:
    """Of several rows of one document in a batch only the last is written, unless that is refused."""
    rows = [record({"id": n, "text": text}, offset=i) for i, (n, text) in enumerate([(1, "a"), (2, "b"), (1, "c")])]
    first, other, last = await outcomes(PLAIN, *rows)
    assert first == Drop("superseded") and isinstance(other, Emit) and isinstance(last, Emit)
    first, refusal = await outcomes(PLAIN, rows[0], record({"id": 1, "text": 5}, offset=9))
    assert isinstance(first, Emit) and isinstance(refusal, Refuse)


def test_letters_are_not_redriven() -> None:
    """A refused row has no version: what is newer in its topic must not be replaced by it later."""
    letter = LoggedRecord(0, 0, b"k", b"{}", {"__connect.errors.topic": b"t"}, 0)
    with pytest.raises(NotRedrivable, match="write the row at its source again"):
        redriven(letter, SOURCES)
