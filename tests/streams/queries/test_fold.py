"""streams/queries/fold.py: what counts as the same passage, and how much of a ranking is looked at."""

import pytest

from connectors.ports import Hit
from streams.queries.fold import fold
from streams.queries.fuse import Ranked
from topics.identity import DocumentRef

PAGE = " ".join(f"word{n}" for n in range(100))


class Looked(Hit):
    """A hit that may not be looked at."""

    @property
    def text(self) -> str:
        raise AssertionError("it lies behind the last place")


def ranked(*texts: str) -> list[Ranked]:
    return [Ranked(Hit(str(n), DocumentRef("default", f"d{n}"), text, 1.0)) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        (PAGE, 1),
        (PAGE.upper().replace(" ", ",\n"), 1),
        (PAGE.replace("word50", "other"), 1),  # 95 of 101 sequences are the same
        (" ".join(f"other{n}" if n % 10 == 5 else f"word{n}" for n in range(100)), 2),
        (" ".join(PAGE.split()[:92]), 1),  # 90 of 98
        (" ".join(PAGE.split()[:88]), 2),  # 86 of 98
        ("", 2),
    ],
)
def test_what_is_the_same(other: str, kept: int) -> None:
    """Nine in ten sequences of three words in common, whatever case and punctuation; the better one stays."""
    found = fold(ranked(PAGE, other), 5)
    assert [each.hit.id for each in found] == ["0", "1"][:kept]
    assert len(fold(ranked(other, PAGE), 5)) == kept


def test_a_copy_takes_no_place() -> None:
    """The next that is different moves up."""
    assert [each.hit.id for each in fold(ranked(PAGE, PAGE, "one two three", "four five six"), 2)] == ["0", "2"]


def test_nothing_behind_the_last_place_is_looked_at() -> None:
    """All pairs of all hits took 20 ms of a worker at 30 passages a question, and 168 at 90."""
    hidden = object.__new__(Looked)
    assert len(fold([*ranked(PAGE, "one two three"), Ranked(hidden)], 2)) == 2
