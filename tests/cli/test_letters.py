"""What the command line's words for letters mean."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cli.letters import Filters, moment, place_of
from streams.deadletters.shelf import Letter

LETTER = Letter(
    partition=1, offset=5, document="acme/a/b", reason="encoder", status="dead-lettered", message="m", origin="t/1/9",
    at=1_000, group="g", omitted=False,
)  # fmt: skip


def test_times_are_ages_or_iso() -> None:
    """Ages count back from now; a time without a zone is UTC."""
    now = datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert moment("2h", now) == int((now - timedelta(hours=2)).timestamp() * 1000)
    assert moment("2026-01-02T12:00", now) == moment("2026-01-02T14:00+02:00", now) == int(now.timestamp() * 1000)
    assert moment(None) is None
    with pytest.raises(ValueError, match="no time"):
        moment("yesterday")


def test_places_name_lane_partition_and_offset() -> None:
    """Anything else is told how to be written."""
    assert place_of("index/0/15") == ("index", 0, 15)
    for wrong in ("index/0", "nowhere/0/1", "index/0/x", "index"):
        with pytest.raises(ValueError, match="LANE/PARTITION/OFFSET"):
            place_of(wrong)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), True),
        (Filters(doc="acme/a/b"), True),
        (Filters(doc="a/b"), True),
        (Filters(doc="b"), False),
        (Filters(reason="timeout"), False),
        (Filters(since=1_000, before=1_001), True),
        (Filters(since=1_001), False),
        (Filters(before=1_000), False),
        (Filters(places=frozenset({("embed", 1, 5)})), True),
        (Filters(places=frozenset({("index", 1, 5)})), False),
        (Filters(places=frozenset({("embed", 1, 6)})), False),
    ],
)
def test_filters_all_hold(filters: Filters, expected: bool) -> None:
    """A letter is meant if nothing that was said speaks against it."""
    assert filters.match("embed", LETTER) is expected
    assert filters.match("embed", replace(LETTER, status="rejected")) is expected


def test_only_lanes_that_may_hold_some_are_read() -> None:
    """A lane that was named, or that of the letters named; else all."""
    assert Filters(lane="embed").lanes == ["embed"]
    assert Filters(places=frozenset({("index", 0, 1), ("chunk", 0, 1)})).lanes == ["chunk", "index"]
    assert Filters().lanes == ["map", "chunk", "embed", "index", "retrieve", "generate", "deliver", "notify"]
