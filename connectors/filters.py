"""What a metadata filter means: one definition for memory, vector store and keyword view.  Pure.

- Equal: the same text, number or boolean; a list equals what it contains; two texts that read as dates are also equal
  when they are the same instant.  Types never mix: ``1``, ``"1"`` and ``true`` are three values.
- ``ne`` is the negation of ``eq``, so it also holds where the key is missing.
- Ranges compare numbers with numbers and dates with dates; anything else does not hold.
- ``any`` and ``all`` look into a list of strings; a plain string counts as a list of one.  ``any`` of nothing never
  holds, ``all`` of nothing always does.
- Numbers are doubles, as in every store; whole numbers from 2^53 on, where doubles have gaps, are equal digit by digit.
"""

import math
import operator
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from topics.documents import Metadata, MetadataValue
from topics.fields import is_date
from topics.queries import Condition, Filter, FilterScalar

RANGES: Mapping[str, Callable[[float, float], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_EXACT_BELOW = 2**53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(text: str) -> float | None:
    """Seconds since 1970 of an RFC 3339 date-time or date (its midnight in UTC); None for any other text."""
    if not is_date(text):
        return None
    parsed = datetime.fromisoformat(text.upper())
    return ((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)) - _EPOCH).total_seconds()


def double(value: int | float) -> float:
    """The double that stands for a number: no negative zero, no overflow."""
    try:
        return float(value) + 0.0
    except OverflowError:
        return math.copysign(sys.float_info.max, value)


def is_vast(value: object) -> bool:
    """Whether it is a whole number that a double may not hold exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _EXACT_BELOW


def measure(value: object) -> tuple[str, float] | None:
    """Number or date as something to order by, with its kind; None where ranges do not apply."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return "number", double(value)
    if isinstance(value, str) and (seconds := instant(value)) is not None:
        return "date", seconds
    return None


def equals(value: MetadataValue, wanted: FilterScalar) -> bool:
    """Whether a value of a document equals (or, being a list, contains) what is asked for."""
    if isinstance(value, list):
        return isinstance(wanted, str) and wanted in value
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, str) or isinstance(wanted, str):
        at = measure(wanted)
        return value == wanted or (isinstance(value, str) and at is not None and measure(value) == at)
    return value == wanted if is_vast(wanted) and isinstance(value, int) else _same_double(value, wanted)


def _same_double(value: int | float, wanted: int | float) -> bool:
    return not is_vast(wanted) and double(value) == double(wanted)


def holds(value: MetadataValue | None, condition: Condition) -> bool:
    """Whether all parts of a condition hold for one metadata value; None where the key is missing."""
    if condition.ne is not None and value is not None and equals(value, condition.ne):
        return False
    if condition.eq is not None and (value is None or not equals(value, condition.eq)):
        return False
    for name, compare in RANGES.items():
        bound = getattr(condition, name)
        if bound is not None:
            here, there = measure(value), measure(bound)
            if here is None or there is None or here[0] != there[0] or not compare(here[1], there[1]):
                return False
    items = set(value) if isinstance(value, list) else {value} if isinstance(value, str) else set()
    if condition.any is not None and not items & set(condition.any):
        return False
    return condition.all is None or items >= set(condition.all)


def matches(metadata: Metadata, where: Filter) -> bool:
    """Whether a document's metadata passes a whole filter."""
    return all(holds(metadata.get(key), condition) for key, condition in where.items())
