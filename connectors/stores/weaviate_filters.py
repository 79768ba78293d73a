"""Access and metadata filters as Weaviate runs them; what they mean is said in :mod:`connectors.filters`.  Pure."""

from collections.abc import Collection, Iterator, Sequence

from weaviate.classes.query import Filter as By
from weaviate.collections.classes.filters import FilterReturn

from connectors.filters import RANGES, double, is_vast, measure
from connectors.stores.weaviate_schema import exact, property_name
from topics.identity import PUBLIC
from topics.queries import Condition, Filter, FilterScalar

_KINDS = "sdnilb"


class Nothing(Exception):
    """No object can pass: a condition needs a property that no object has."""


def wanted_properties(where: Filter) -> set[str]:
    """Names of all properties that a filter might look at."""
    return {property_name(kind, key) for key in where for kind in _KINDS}


def compile_filter(principals: Sequence[str], where: Filter, known: Collection[str]) -> FilterReturn:
    """One filter for access and metadata; raises :class:`Nothing` where it can have no hits.

    A property that the collection lacks (``known`` has those it has) is one that no object has: asking for it would be
    an error.
    """
    parts = [By.by_property("access").contains_any([exact(p) for p in {PUBLIC, *principals}])]
    for key, condition in where.items():
        parts += _Key(key, known).holds(condition)
    return By.all_of(parts)


class _Key:
    """One metadata key in one state of the schema."""

    def __init__(self, key: str, known: Collection[str]) -> None:
        self._names = {kind: name for kind in _KINDS if (name := property_name(kind, key)) in known}

    def holds(self, condition: Condition) -> Iterator[FilterReturn]:
        if condition.eq is not None:
            yield _one_of(self._equals(condition.eq))
        if condition.ne is not None and (equal := list(self._equals(condition.ne))):
            yield ~By.any_of(equal)
        for name in RANGES:
            if (bound := getattr(condition, name)) is not None:
                yield self._range(name, bound)
        if condition.any is not None:
            yield _one_of(self._any(condition.any))
        if condition.all:
            yield _one_of(self._all(condition.all))

    def _equals(self, wanted: FilterScalar) -> Iterator[FilterReturn]:
        if isinstance(wanted, bool):
            yield from self._compare("b", "equal", wanted)
        elif isinstance(wanted, str):
            yield from self._compare("s", "equal", exact(wanted))
            yield from self._compare("l", "contains_any", [exact(wanted)])
            if (at := measure(wanted)) is not None:
                yield from self._compare("d", "equal", at[1])
        elif is_vast(wanted):
            yield from self._compare("i", "equal", str(wanted))
        else:
            yield from self._compare("n", "equal", double(wanted))

    def _range(self, name: str, bound: int | float | str) -> FilterReturn:
        operators = {"gt": "greater_than", "gte": "greater_or_equal", "lt": "less_than", "lte": "less_or_equal"}
        at = measure(bound)
        if at is None:
            raise Nothing
        return _one_of(self._compare("n" if at[0] == "number" else "d", operators[name], at[1]))

    def _any(self, wanted: Sequence[str]) -> Iterator[FilterReturn]:
        if wanted:
            for kind in "ls":
                yield from self._compare(kind, "contains_any", [exact(item) for item in wanted])

    def _all(self, wanted: Sequence[str]) -> Iterator[FilterReturn]:
        yield from self._compare("l", "contains_all", [exact(item) for item in wanted])
        if len(set(wanted)) == 1:
            yield from self._compare("s", "equal", exact(wanted[0]))

    def _compare(self, kind: str, operation: str, value: object) -> Iterator[FilterReturn]:
        if kind in self._names:
            yield getattr(By.by_property(self._names[kind]), operation)(value)


def _one_of(parts: Iterator[FilterReturn]) -> FilterReturn:
    found = list(parts)
    if not found:
        raise Nothing
    return By.any_of(found)
