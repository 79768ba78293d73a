"""FRESHET_SOURCES: topics of the user's own, and where in their records the parts of a document are.

TOML or JSON, read when a process starts; what is wrong is named by its field.  A part is told by a JMESPath expression
over the record (docs/sources.md).
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Self, TypeAlias

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError, model_validator

ROOTS = ("value", "key", "envelope", "headers", "topic")  # what an expression may begin with
_PASSES_ON = {"pipe", "projection", "filter_projection", "value_projection", "flatten", "index_expression"}
_MAY_LACK = ("title", "uri", "media_type", "published_at", "metadata")

Chain: TypeAlias = tuple[str, ...]


class PathError(ValueError):
    """A record lacks what an expression asks for; the message quotes the path."""


class Path:
    """A JMESPath expression over a record.  A plain path, such as ``value.author.name``, must be there."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._compiled = jmespath.compile(text)
        except JMESPathError as error:
            raise ValueError(f"{text!r} is no JMESPath expression: {' '.join(str(error).split())}") from None
        self.chains = tuple(dict.fromkeys(_chains(self._compiled.parsed)))
        self._plain = _fields(self._compiled.parsed) is not None
        for chain in self.chains:
            if chain[0] not in ROOTS:
                raise ValueError(f"{text!r} begins with {chain[0]!r}: begin with one of {', '.join(ROOTS)}")

    def __repr__(self) -> str:
        return repr(self.text)

    def asks(self, root: str) -> bool:
        """Whether it looks at this part of the record."""
        return any(chain[0] == root for chain in self.chains)

    def find(self, record: Mapping[str, Any]) -> Any:
        """What it finds, None for a null; :class:`PathError` where a plain path is not there."""
        try:
            found = self._compiled.search(record)
        except JMESPathError as error:
            missing = self.missing(record)
            raise PathError(missing or f"{self.text}: {' '.join(str(error).split())}") from None
        if found is None and self._plain and (missing := self.missing(record)):
            raise PathError(missing)
        return found

    def missing(self, record: Mapping[str, Any]) -> str | None:
        """Which path is not there, and what is there instead."""
        for chain in self.chains:
            here: Any = record
            for depth, name in enumerate(chain):
                if not isinstance(here, Mapping):
                    at, kind = ".".join(chain[:depth]), _KINDS.get(type(here), type(here).__name__)
                    return f"{'.'.join(chain)} is missing: {at} is {kind}"
                if name not in here:
                    there = ", ".join(map(str, list(here)[:20])) or "nothing"
                    return f"{'.'.join(chain)} is missing: {'.'.join(chain[:depth]) or 'the record'} has {there}"
                here = here[name]
        return None


_KINDS = {type(None): "null", str: "text", bool: "a boolean", int: "a number", float: "a number", list: "a list"}


def _fields(node: Mapping[str, Any]) -> Chain | None:
    """The names of a plain path, None for any other expression."""
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] == "subexpression":
        parts = [_fields(child) for child in node["children"]]
        if None not in parts:
            return tuple(name for part in parts if part for name in part)
    return None


def _chains(node: Mapping[str, Any]) -> Iterator[Chain]:
    """The plain paths with which an expression begins, as far as each is plain."""
    if (names := _fields(node)) is not None:
        yield names
    elif node["type"] == "subexpression":
        begin: list[str] = []
        for child in node["children"]:
            if (names := _fields(child)) is None:
                if not begin:
                    yield from _chains(child)
                elif child["type"] in _PASSES_ON:  # the field in front of [0] belongs to the path
                    begin += next(_chains(child), ())
                break
            begin += names
        if begin:
            yield tuple(begin)
    elif node["type"] in _PASSES_ON:
        yield from _chains(node["children"][0])
    elif node["type"] != "expref":  # what is behind & looks at something else
        for child in node["children"]:
            yield from _chains(child)


def _path(value: object) -> Path:
    if not isinstance(value, str):
        raise ValueError("an expression is meant, as text")
    return Path(value)


Expression: TypeAlias = Annotated[Path, PlainValidator(_path)]


class Source(BaseModel):
    """One topic and its mapping.  ``optional`` names what a record may lack."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    topic: str = Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")
    envelope: Literal["none", "debezium", "connect"] = "none"
    id: Expression
    text: Expression
    tenant: Expression | None = None
    title: Expression | None = None
    uri: Expression | None = None
    media_type: Expression | None = None
    access: Expression | None = None
    published_at: Expression | None = None
    published_unit: Literal["days", "s", "ms", "us", "ns"] = "ms"
    deleted: Expression | None = None
    metadata: dict[str, Expression] = {}
    optional: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _optional_fields(self) -> Self:
        known = {*_MAY_LACK, *(f"metadata.{name}" for name in self.metadata)}
        if unknown := sorted(self.optional - known):
            raise ValueError(f"optional: {', '.join(unknown)} cannot be left out; {', '.join(sorted(known))} can")
        return self


class _Sources(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sources: list[Source] = []


@cache
def read_sources(text: str) -> tuple[Source, ...]:
    """All sources of the setting; ``ValueError`` names each field that is wrong."""
    if not text.strip():
        return ()
    try:
        found = json.loads(text) if text.lstrip()[0] in "{[" and not text.lstrip().startswith("[[") else None
        tree = found if found is not None else tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"neither JSON nor TOML: {error}") from None
    try:
        sources = TypeAdapter(_Sources).validate_python({"sources": tree} if isinstance(tree, list) else tree).sources
    except ValidationError as error:
        lines = [f"{_place(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise ValueError("; ".join(lines)) from None
    topics = [source.topic for source in sources]
    if twice := sorted({topic for topic in topics if topics.count(topic) > 1}):
        raise ValueError(f"topic {', '.join(twice)} is there twice")
    return tuple(sources)


def _place(loc: tuple[str | int, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")
