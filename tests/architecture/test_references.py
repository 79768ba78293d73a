"""What is generated from the code is up to date, and every record has a schema and an example that fit."""

import json

import jsonschema
import msgspec
import pytest

from cli.reference import ROOT, generated, records
from topics.codec import SCHEMA_VERSION, decode, encode


@pytest.mark.parametrize("path", generated(), ids=lambda p: p.name)
def test_generated_files_are_current(path: object) -> None:
    """Each generated file is what the code says now: run `freshet reference` after a change."""
    files = generated()
    assert path.read_text() == files[path]  # type: ignore[attr-defined, index]


@pytest.mark.parametrize("record", records(), ids=lambda r: r.__name__)
def test_examples_fit(record: type[msgspec.Struct]) -> None:
    """The example of a record decodes, comes back unchanged, fits the schema, and may have unknown fields."""
    name = f"{record.__name__}.v{SCHEMA_VERSION}.json"
    text = (ROOT / "topics" / "examples" / name).read_bytes()
    value = json.loads(text)
    jsonschema.validate(value, json.loads((ROOT / "topics" / "schemas" / name).read_text()))
    assert json.loads(encode(decode(text, record))) == value
    assert decode(json.dumps(value | {"from_the_future": 1}).encode(), record) == decode(text, record)
