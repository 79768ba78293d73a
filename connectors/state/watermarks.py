"""How far the lane is, when some of its work waits for another try.  Pure."""

from collections.abc import Iterable, Mapping

from topics.identity import Token


def below(passed: Mapping[tuple[int, int], int], deferred: Iterable[Token]) -> dict[tuple[int, int], int]:
    """Marks by (epoch, partition) -> offset, each lowered to just below the first version that is deferred."""
    marks = dict(passed)
    for token in deferred:
        place = (token.epoch, token.partition)
        if marks.get(place, -1) >= token.offset:
            marks[place] = token.offset - 1
    return {place: offset for place, offset in marks.items() if offset >= 0}
