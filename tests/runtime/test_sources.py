"""The mapping of the user's topics: read at start, and every slip named by its field."""

import pytest

from runtime.settings import Settings, SettingsError
from runtime.sources import Path, PathError, read_sources

TOML = """
[[sources]]
topic = "shop.articles"
envelope = "debezium"
id = "key.id"
text = "join('\\n\\n', [value.title, value.body])"
access = "value.groups || ['*']"
optional = ["metadata.section"]
[sources.metadata]
section = "value.section"
"""
JSON = '[{"topic": "shop.articles", "id": "key.id", "text": "value.body"}]'


def test_toml_and_json() -> None:
    """A mapping is written as TOML or as JSON, a list or under the name `sources`."""
    (toml,) = Settings.from_env({"FRESHET_SOURCES": TOML}).sources
    assert (toml.topic, toml.envelope, toml.id.text) == ("shop.articles", "debezium", "key.id")
    assert toml.metadata["section"].text == "value.section"
    (listed,), (named,) = read_sources(JSON), read_sources(f'{{"sources": {JSON}}}')
    assert listed.text.text == named.text.text == "value.body"
    assert Settings.from_env({}).sources == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (JSON.replace("value.body", "value."), r"sources\[0\]\.text: .*'value\.' is no JMESPath expression"),
        (JSON.replace("value.body", "body"), r"sources\[0\]\.text: .*begins with 'body': begin with one of value, key"),
        (JSON.replace('"text"', '"txt"'), r"sources\[0\]\.text: Field required; sources\[0\]\.txt: Extra inputs"),
        (JSON.replace('"value.body"', "7"), r"sources\[0\]\.text: .*an expression is meant"),
        (JSON.replace("shop.articles", "shop articles"), r"sources\[0\]\.topic"),
        (JSON.replace("shop.articles", "freshet.documents"), "freshet.documents is one of Freshet's own"),
        (JSON[:-1] + "," + JSON[1:], "topic shop.articles is there twice"),
        (JSON[:-2], "neither JSON nor TOML"),
        ("[[sources]\n", "neither JSON nor TOML"),
        (TOML.replace("debezium", "avro"), r"sources\[0\]\.envelope: .*'none', 'debezium' or 'connect'"),
        (TOML.replace('["metadata.section"]', '["access"]'), "access cannot be left out"),
        (TOML.replace("value.section", "field.section"), r"sources\[0\]\.metadata\.section"),
    ],
)
def test_slips_are_named(text: str, says: str) -> None:
    """What is wrong with a mapping is told at start, with the variable and the field."""
    with pytest.raises(SettingsError, match="FRESHET_SOURCES.*" + says):
        Settings.from_env({"FRESHET_SOURCES": text})


RECORD = {"value": {"a": {"b": 1, "n": None}, "l": [{"x": 1}, {}]}, "key": "k"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("value.a.b", 1),
        ("value.a.n", None),
        ("key", "k"),
        ("value.l[0].x", 1),
        ("value.l[5].x", None),
        ("value.a.c || value.a.b", 1),
        ("'text/markdown'", "text/markdown"),
        ("value.a.c == 'x'", False),
        ("max_by(value.l[?x], &x).x", 1),
    ],
)
def test_paths(path: str, found: object) -> None:
    """A null is found as none; what is no plain path may look for what is not there."""
    assert Path(path).find(RECORD) == found


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("value.a.c", "value.a.c is missing: value.a has b, n"),
        ("value.c.d", "value.c.d is missing: value has a, l"),
        ("value.a.n.x", "value.a.n.x is missing: value.a.n is null"),
        ("value.l.x", "value.l.x is missing: value.l is a list"),
        ("key.id", "key.id is missing: key is text"),
        ("headers.lang", "headers.lang is missing: the record has value, key"),
        ("join(' ', [value.a.c, key])", "value.a.c is missing: value.a has b, n"),
        ("join(' ', [value.a.b, key])", r"join\(.*: In function join\(\), invalid type for value: 1"),
    ],
)
def test_missing_paths_are_quoted(path: str, says: str) -> None:
    """What is not there is told by its whole path, and with what is there instead."""
    with pytest.raises(PathError, match=says):
        Path(path).find(RECORD)
