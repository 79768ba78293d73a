"""The checkers find what they are for, and nothing in a history that is right."""

import itertools
from typing import Any

import pytest

from chaos.checks import Edge, judge
from chaos.documents import Author, Revision, statements_in
from chaos.edge import Copies
from chaos.history import History, Read, Write

DOC = "statements/1"
ONE = Revision(DOC, 1, ("alpha", "beta"))
TWO = Revision(DOC, 2, ("alpha", "gamma"))
REVOKED = Revision(DOC, 3, ("alpha", "gamma"), ("ann",))
GONE = Revision(DOC, 4, ())


def written(*revisions: Revision, visible: bool = True) -> list[Write]:
    """Revisions 10 s apart, each visible 1 s after it was sent."""
    return [
        Write(r, 10.0 * n, "ok", f"1.0.{n}", 10.0 * n, 10.0 * n + 1 if visible else None)
        for n, r in enumerate(revisions)
    ]


def read(began: float, *passages: tuple[Revision, int], principal: str = "", **fields: Any) -> Read:
    """A read that shows sections of revisions: (revision, section)."""
    shown = [(r.title, r.text.split("\n\n## ")[section]) for r, section in passages]
    return Read(DOC, principal, began, began + 0.1, "ok", shown, **fields)


def whole(revision: Revision) -> list[tuple[Revision, int]]:
    return [(revision, section) for section in range(len(revision.statements))]


@pytest.mark.parametrize(
    ("case", "kinds"),
    [
        (read(5, *whole(ONE)), []),
        (read(10.5, *whole(ONE)), []),  # the second is sent and may be visible or not
        (read(10.5, *whole(TWO)), []),
        (read(15, *whole(TWO)), []),
        (read(15, (ONE, 0), (TWO, 1)), ["mixed"]),
        (read(15, (TWO, 0)), ["half"]),
        (read(15, *whole(ONE)), ["stale"]),
        (read(15), ["vanished"]),
        (read(15, degraded=["unsettled"]), []),
        (read(25, *whole(TWO)), ["revoked"]),
        (read(25, *whole(REVOKED)), ["revoked"]),
        (read(25, *whole(REVOKED), principal="ann"), []),
        (read(25), []),
        (read(35, *whole(REVOKED), principal="ann"), ["deleted"]),
        (read(35), []),
        (read(15, *whole(Revision(DOC, 9, ("delta",)))), ["invented"]),
    ],
)  # fmt: skip
def test_reads_are_judged(case: Read, kinds: list[str]) -> None:
    """Each kind of violation is found where it is, and nowhere else."""
    history = History(writes=written(ONE, TWO, REVOKED, GONE), reads=[case])
    assert [violation.kind for violation in judge(history)] == kinds


def test_old_objects_under_a_new_title_are_mixed() -> None:
    """Statements of an older version beside a newer one's are a mix even when every title is the same."""
    text = ONE.text.split("\n\n## ")
    shown = Read(DOC, "", 15, 15.1, "ok", [(TWO.title, part) for part in [*text, *TWO.text.split("\n\n## ")]])
    assert [v.kind for v in judge(History(writes=written(ONE, TWO), reads=[shown]))] == ["mixed"]


def test_a_write_without_an_outcome_is_lost() -> None:
    """What the log acknowledged must come to an outcome; what was never acknowledged need not."""
    writes = written(ONE, visible=False)
    assert [v.kind for v in judge(History(writes=writes))] == ["lost"]
    writes[0].result = "unknown"
    assert judge(History(writes=writes)) == []


def test_revisions_tell_on_themselves() -> None:
    """What an author writes can be read back from its text; edits share statements with what was before."""
    author = Author(7, [DOC], ["ann"])
    revisions = [author.next() for _ in range(200)]
    assert all(statements_in(DOC, [r.text]) == r.said for r in revisions)
    assert any(a.said & b.said and a.said != b.said for a, b in itertools.pairwise(revisions))
    assert {r.deletes for r in revisions} == {True, False} == {bool(r.access) for r in revisions}


def token(revision: Revision) -> str:
    return f"1.0.{revision.number - 1}"


@pytest.mark.parametrize(
    ("case", "kinds"),
    [
        (read(10.5, *whole(ONE), at_least=token(TWO)), ["behind"]),  # not known to be visible, and yet asked for
        (read(10.5, *whole(TWO), at_least=token(TWO)), []),
        (read(10.5, *whole(ONE), at_least=token(TWO), degraded=["not-fresh:1.0.1"]), []),  # it says that it lacks it
        (read(10.5, at_least=token(TWO)), ["vanished"]),
        (read(0.5, at_least=token(ONE)), ["vanished"]),
        (read(15, *whole(ONE), at_least=token(TWO)), ["stale"]),
        (read(15, *whole(TWO), at_least=token(ONE)), []),
        (read(20.5, at_least=token(REVOKED)), []),
    ],
)
def test_who_asks_for_a_version_gets_it(case: Read, kinds: list[str]) -> None:
    """A token counts as soon as the log has it, unless the answer says that it is not there; cached or not."""
    history = History(writes=written(ONE, TWO, REVOKED, GONE), reads=[case])
    assert [violation.kind for violation in judge(history)] == kinds
    assert [violation.kind for violation in judge(history, ttl=60)] == kinds


@pytest.mark.parametrize(
    ("case", "kinds"),
    [
        (read(5), []),  # an entry of before it was there
        (read(9), ["vanished"]),  # none lives so long
        (read(5, at_least=token(ONE)), ["vanished"]),
        (read(15, *whole(ONE)), ["stale"]),  # what is shown is never older, however long entries live
        (read(25, *whole(TWO)), ["revoked"]),
        (read(35, *whole(REVOKED), principal="ann"), ["deleted"]),
        (read(15, (TWO, 0)), ["half"]),
    ],
)
def test_caches_may_only_lack_what_is_new(case: Read, kinds: list[str]) -> None:
    """For their time to live, and for the time of a search; a change or a delete they may not outlive at all."""
    history = History(writes=written(ONE, TWO, REVOKED, GONE), reads=[case])
    assert [violation.kind for violation in judge(history, ttl=5)] == kinds


@pytest.mark.parametrize(
    ("case", "kinds"),
    [
        (read(12.5, *whole(ONE), edge="hit"), []),  # the second is visible since 11, and being purged
        (read(12.5, *whole(ONE), edge="miss"), ["stale"]),
        (read(12.5, *whole(ONE)), ["stale"]),
        (read(13.5, *whole(ONE), edge="hit"), ["stale"]),
        (read(22.5, *whole(TWO), edge="hit"), []),
        (read(23.5, *whole(TWO), edge="hit"), ["revoked"]),
        (read(12.5, (ONE, 0), (TWO, 1), edge="hit"), ["mixed"]),
        (read(15, edge="hit"), []),  # what is new may be missing in a copy for as long as it lives
        (read(15, edge="miss"), ["vanished"]),
    ],
)
def test_copies_may_be_behind_while_they_are_purged(case: Read, kinds: list[str]) -> None:
    """An edge's own copy, and nothing else that came through it."""
    history = History(writes=written(ONE, TWO, REVOKED, GONE), reads=[case])
    assert [violation.kind for violation in judge(history, 0, Edge(purge=2.0, max_age=100.0))] == kinds


def test_how_late_copies_were() -> None:
    """Counted from when the next version was known to be visible; a question about several documents is one."""
    reads = [
        read(10.5, *whole(ONE), edge="hit"), read(11.5, *whole(ONE), edge="hit"), read(22.0, *whole(ONE), edge="hit"),
        read(23.0, *whole(ONE), edge="miss"), read(24.0, *whole(ONE)), read(11.5, *whole(ONE), edge="hit"),
    ]  # fmt: skip
    copies = Copies.of(History(writes=written(ONE, TWO, REVOKED), reads=reads))
    assert copies == Copies(4, 3, [0.5, 0.5, 11.0]) and copies.hit_ratio == 0.75
