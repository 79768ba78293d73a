"""Metadata and access lists as terms of an inverted index, and filters as queries over them.

What a filter means is said in :mod:`connectors.filters`.  A term is ``kind NUL key NUL value``; kinds are those of
:mod:`connectors.stores.weaviate_schema`.  Numbers and dates are also there as prefixes of their order-preserving
sixteen hexadecimal digits, so that a range is a handful of terms.
"""

import struct
from collections.abc import Iterator, Sequence

from connectors.filters import double, instant, is_vast, measure
from topics.documents import Metadata
from topics.identity import PUBLIC
from topics.queries import Condition, Filter, FilterScalar

_DIGITS = 16
_RANGE = {"number": "n", "date": "d"}


def access_terms(access: Sequence[str]) -> Iterator[str]:
    """Of a document: who may see it; nobody named is everyone."""
    for principal in access or (PUBLIC,):
        yield f"a\0{principal}"


def allowed_terms(principals: Sequence[str]) -> list[str]:
    """Of a question: one of them is enough."""
    return list(access_terms(sorted({PUBLIC, *principals})))


def metadata_terms(metadata: Metadata) -> Iterator[str]:
    """Everything by which a document can be filtered."""
    for key, value in metadata.items():
        if isinstance(value, bool):
            yield f"b\0{key}\0{value}"
        elif isinstance(value, int | float):
            yield from _prefixes("n", key, double(value))
            if is_vast(value):
                yield f"i\0{key}\0{value}"
        elif isinstance(value, str):
            yield f"s\0{key}\0{value}"
            if (seconds := instant(value)) is not None:
                yield from _prefixes("d", key, seconds)
        else:
            for item in value:
                yield f"l\0{key}\0{item}"


def wanted(where: Filter) -> tuple[list[list[str]], list[list[str]]]:
    """(of each of these at least one, of each of these none) as terms; an empty list of the former never holds."""
    must: list[list[str]] = []
    never: list[list[str]] = []
    for key, condition in where.items():
        if condition.eq is not None:
            must.append(_equal(key, condition.eq))
        if condition.ne is not None:
            never.append(_equal(key, condition.ne))
        must += _ranges(key, condition)
        if condition.any is not None:
            must.append([f"{kind}\0{key}\0{item}" for item in condition.any for kind in "sl"])
        for item in condition.all or ():
            must.append([f"{kind}\0{key}\0{item}" for kind in "sl"])
    return must, never


def _equal(key: str, value: FilterScalar) -> list[str]:
    if isinstance(value, bool):
        return [f"b\0{key}\0{value}"]
    if isinstance(value, str):
        terms = [f"s\0{key}\0{value}", f"l\0{key}\0{value}"]
        seconds = instant(value)
        return terms if seconds is None else [*terms, f"d\0{key}\0{sortable(seconds)}"]
    return [f"i\0{key}\0{value}"] if is_vast(value) else [f"n\0{key}\0{sortable(double(value))}"]


def _ranges(key: str, condition: Condition) -> Iterator[list[str]]:
    for name in ("gt", "gte", "lt", "lte"):
        bound = getattr(condition, name)
        if bound is None:
            continue
        measured = measure(bound)
        if measured is None:
            yield []
            continue
        kind, at = _RANGE[measured[0]], int(sortable(measured[1]), 16)
        first = at + (name == "gt") if name[0] == "g" else 0
        last = at - (name == "lt") if name[0] == "l" else 16**_DIGITS - 1
        yield [f"{kind}\0{key}\0{prefix}" for prefix in covering(first, last)]


def sortable(value: float) -> str:
    """Sixteen hexadecimal digits that order as doubles do."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", value))
    return f"{bits ^ (2**64 - 1 if bits >> 63 else 2**63):016x}"


def covering(first: int, last: int) -> list[str]:
    """The fewest prefixes of sixteen hexadecimal digits under which all numbers from first to last lie."""
    found = []
    while first <= last:
        width, digits = 1, _DIGITS  # numbers that a prefix of so many digits stands for
        while digits > 1 and first % (width * 16) == 0 and first + width * 16 - 1 <= last:
            width, digits = width * 16, digits - 1
        found.append(f"{first // width:0{digits}x}")
        first += width
    return found


def _prefixes(kind: str, key: str, value: float) -> Iterator[str]:
    digits = sortable(value)
    for length in range(1, _DIGITS + 1):
        yield f"{kind}\0{key}\0{digits[:length]}"
