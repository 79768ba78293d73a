"""How chunks lie in Weaviate: names of collections, tenants and properties, and values of properties.  Pure.

One collection per prefix and generation, one physical tenant per tenant and bucket.  A metadata key has one property
per kind of value that was ever seen under it, added when first needed:

- ``s_`` text    every text                               - ``l_`` text[]  lists
- ``d_`` number  seconds since 1970 of texts that are dates (Weaviate's own date wraps around outside 1678 to 2262)
- ``n_`` number  numbers                                  - ``i_`` text    digits of whole numbers past 2^53
- ``b_`` bool    booleans

Names in Weaviate are folders and must differ by more than case, hence the escapes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from uhashring import HashRing
from weaviate.classes.config import DataType, Property, Tokenization

from connectors.filters import double, instant, is_vast
from topics.documents import Metadata
from topics.identity import DocumentRef, digest

_LONGEST_NAME = 200  # Weaviate takes 230; some file systems need room for its own suffixes
_LONGEST_TENANT = 64
_KINDS = {
    "s": DataType.TEXT,
    "i": DataType.TEXT,
    "l": DataType.TEXT_ARRAY,
    "n": DataType.NUMBER,
    "d": DataType.NUMBER,
    "b": DataType.BOOL,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What the objects of a generation have in common; stored as the collection's description.

    ``words``: the language of the words that they have beside their text, for keyword search; None: they have none.
    """

    model: str
    dimension: int
    buckets: int
    words: str | None = None

    def __str__(self) -> str:
        told = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps({"freshet": 1, **told}, sort_keys=True)

    @classmethod
    def read(cls, description: str | None) -> "Shape | None":
        """The shape that a description tells of; None where it tells of none."""
        try:
            told = json.loads(description or "")
            if told.pop("freshet") == 1:
                return cls(**told)
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        return None


def collection_name(prefix: str, generation: str) -> str:
    """Different for different (prefix, generation), whatever the case of their letters."""
    return f"Chunks_0{_fold(prefix)}_0{_fold(generation)}"


def _fold(name: str) -> str:
    marks = {"_": "_u", "-": "_d"}
    return "".join(marks.get(c) or (f"_c{c.lower()}" if c.isupper() else c) for c in name)


class Tenants:
    """Physical tenants: where a document's chunks lie, and all places where a tenant's may lie."""

    def __init__(self, buckets: int) -> None:
        self._buckets = buckets
        self._ring = HashRing([str(bucket) for bucket in range(buckets)])

    def of(self, ref: DocumentRef) -> str:
        """The bucket of a document; it depends on nothing but the document and the number of buckets."""
        bucket = self._ring.get_node(ref.path) if self._buckets > 1 else "0"
        return _physical(ref.tenant, bucket)

    def all(self, tenant: str) -> list[str]:
        return [_physical(tenant, str(bucket)) for bucket in range(self._buckets)]


def _physical(tenant: str, bucket: str) -> str:
    name = f"{tenant}-{bucket}"
    # Tenants are lower case, so the capital H keeps the long ones apart from all others.
    return name if len(name) <= _LONGEST_TENANT else f"H{digest(tenant.encode())}-{bucket}"


def property_name(kind: str, key: str) -> str:
    """Name of a metadata key's property of one kind: only a-z and 0-9 stand for themselves."""
    encoded = "".join(
        c if c.isascii() and (c.islower() or c.isdigit()) else "__" if c == "_" else _hexadecimal(c) for c in key
    )
    if len(encoded) > _LONGEST_NAME:
        encoded = f"_h{digest(key.encode())}"  # no escape begins with _h
    return f"{kind}_{encoded}"


def _hexadecimal(character: str) -> str:
    return "".join(f"_{byte:02x}" for byte in character.encode())


def exact(text: str) -> str:
    """Text as it is stored and asked for: Weaviate compares without outer white space, access lists must not."""
    return f"'{text}'" if not text or text != text.strip() or text.startswith("'") else text


def properties_of(metadata: Metadata) -> Iterator[tuple[str, str, Any]]:
    """(kind, key, stored value) of everything that a document's metadata needs."""
    for key, value in metadata.items():
        if isinstance(value, bool):
            yield "b", key, value
        elif isinstance(value, int | float):
            yield "n", key, double(value)
            if is_vast(value):
                yield "i", key, str(value)
        elif isinstance(value, str):
            yield "s", key, exact(value)
            if (seconds := instant(value)) is not None:
                yield "d", key, seconds
        elif value:
            yield "l", key, [exact(item) for item in value]


def shared_properties(access: Sequence[str], metadata: Metadata) -> dict[str, Any]:
    """Properties that all chunks of a document version have alike."""
    named = {property_name(kind, key): value for kind, key, value in properties_of(metadata)}
    return {"access": [exact(principal) for principal in access], **named}


def imprint(properties: Mapping[str, Any]) -> str:
    """Stands for :func:`shared_properties`, taken from them or from a stored object; other properties do not count."""
    shared = {name: value for name, value in properties.items() if name[1:2] == "_" and value not in (None, [])}
    text = json.dumps([sorted(set(properties.get("access") or [])), shared], sort_keys=True)
    return digest(text.encode("utf-8", "surrogatepass"))


def metadata_property(kind: str, key: str) -> Property:
    """The property, with the key as it was written for those who look into the schema."""
    text = _KINDS[kind] in (DataType.TEXT, DataType.TEXT_ARRAY)
    return Property(
        name=property_name(kind, key),
        description=json.dumps(key[:200]),
        data_type=_KINDS[kind],
        index_filterable=True,
        index_range_filters=True if _KINDS[kind] == DataType.NUMBER else None,
        index_searchable=False if text else None,
        tokenization=Tokenization.FIELD if text else None,
    )


def chunk_properties(*, words: bool) -> list[Property]:
    """Properties that every chunk has.  ``text`` has no inverted index: inserts are 3.7 times faster (servers.md).

    ``words`` is what keyword search looks into: the text's words as our analyser makes them, with blanks between.
    """
    searchable = Property(
        name="words", data_type=DataType.TEXT, index_filterable=True, index_searchable=True,
        tokenization=Tokenization.WHITESPACE,
    )  # fmt: skip
    return [
        *[searchable] * words,
        Property(
            name="doc_id",
            data_type=DataType.TEXT,
            index_filterable=True,
            index_searchable=False,
            tokenization=Tokenization.FIELD,
        ),
        Property(name="ordinal", data_type=DataType.INT, index_filterable=False),
        Property(name="text", data_type=DataType.TEXT, index_filterable=False, index_searchable=False),
        Property(
            name="access",
            data_type=DataType.TEXT_ARRAY,
            index_filterable=True,
            index_searchable=False,
            tokenization=Tokenization.FIELD,
        ),
    ]


def distinct_keys(names: Iterable[str]) -> int:
    """How many metadata keys the properties of these names stand for."""
    return len({name[2:] for name in names if len(name) > 2 and name[1] == "_" and name[0] in _KINDS})
