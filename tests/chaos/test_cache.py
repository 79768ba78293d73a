"""The verdict on caches, on histories and metrics made by hand."""

from collections.abc import Callable

import httpx
import pytest

from chaos.cache import Counts, promises
from chaos.documents import Author
from chaos.edge import Copies
from chaos.history import History, Read, Violation, Write
from chaos.repeats import DOC_IDS, GROUPS, MEMBERS, Repeats
from chaos.traffic import Traffic

BEFORE = """# HELP cache_hits_total Look-ups that a cache answered
cache_hits_total{cache="passages"} 10.0
cache_hits_total{cache="answers"} 7.0
cache_misses_total{cache="passages"} 100.0
freshet_cache_refused_total{reason="changed"} 2.0
"""
AFTER = """cache_hits_total{cache="passages"} 50.0
cache_hits_total{cache="answers"} 99.0
cache_misses_total{cache="passages"} 160.0
freshet_cache_refused_total{reason="changed"} 5.0
freshet_cache_refused_total{reason="not-fresh"} 1.0
freshet_cache_evicted_total 4.0
"""


def test_only_what_was_counted_in_the_run_counts() -> None:
    """Look-ups of before are taken away, and those of other caches left out."""
    counts = Counts.between(BEFORE, AFTER)
    assert counts == Counts(40, 60, 4, {"changed": 3, "not-fresh": 1})
    assert counts.hit_ratio == 0.4
    assert Counts.between("", "").hit_ratio == 0


def history() -> History:
    return History(reads=[Read("group0/0", "", 1.0, 1.1, "ok")])


def stale(_: History, violations: list[Violation], __: Counts) -> None:
    violations += [Violation("stale", "group0/0", "", 1.0), Violation("deleted", "group0/0", "", 1.0)]


def behind(_: History, violations: list[Violation], __: Counts) -> None:
    violations.append(Violation("behind", "group0/0", "", 1.0))


def failed(history: History, _: list[Violation], __: Counts) -> None:
    history.reads[0].result, history.reads[0].error = "failed", "503"


def useless(_: History, __: list[Violation], counts: Counts) -> None:
    counts.misses = 1000


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (None, []),
        (stale, ["2 times passages outlived"]),
        (behind, ["1 times behind"]),
        (failed, ["1 questions failed, the first with 503"]),
        (useless, ["the hit ratio was 0.04"]),
    ],
)
def test_each_broken_promise_is_told(
    harm: Callable[[History, list[Violation], Counts], None] | None, told: list[str]
) -> None:
    """One thing wrong, one sentence about it."""
    found, violations, counts = history(), list[Violation](), Counts(40, 60, 0, {})
    if harm is not None:
        harm(found, violations, counts)
    sentences = promises(found, violations, counts)
    assert len(sentences) == len(told) and all(text in said for text, said in zip(told, sentences, strict=True))


def test_an_edge_that_was_of_no_use_proves_nothing() -> None:
    """Most questions must have been answered by its copies, or some at least."""
    (told,) = promises(history(), [], Counts(40, 60, 0, {}), Copies(100, 20, []))
    assert told.startswith("the edge's hit ratio was 0.20")
    assert not promises(history(), [], Counts(40, 60, 0, {}), Copies(100, 21, []))


async def test_questions_come_again() -> None:
    """By everybody, about one and about a group, some with the newest token of the first; few that are different."""
    found, author = History(), Author(3, DOC_IDS, ["ann", "bob"])
    for n in range(40):
        found.writes.append(Write(author.next(), float(n), "ok", f"1.0.{n}", float(n), float(n) + 0.5))
    async with httpx.AsyncClient() as http:
        repeats = Repeats(Traffic(http, found, author, 3), found, author, seed=3, count=200, every=10)
        asked = [repeats.question() for _ in range(200)]
    assert {who for _, who, _ in asked} == {"", "ann", "bob"}
    assert {(len(ids), *body["filter"]) for ids, _, body in asked} == {(1, "about"), (MEMBERS, "group")}
    newest = {write.revision.doc_id: write.token for write in found.writes}
    tokens = [(ids[0], body["at_least"]) for ids, _, body in asked if "at_least" in body]
    assert 10 < len(tokens) < 100 and all(asked == [newest[doc_id]] for doc_id, asked in tokens)
    assert len({(tuple(sorted(ids)), who) for ids, who, _ in asked}) <= 3 * (len(DOC_IDS) + GROUPS)


async def test_what_has_just_changed_is_asked_about() -> None:
    """So that what it left in a cache is hit before it is cleared away."""
    found, author = History(), Author(3, DOC_IDS, ["ann", "bob"])
    found.writes.append(Write(author.next(), found.now(), "ok", "1.0.0", found.now(), found.now() + 60))
    async with httpx.AsyncClient() as http:
        repeats = Repeats(Traffic(http, found, author, 3), found, author, seed=3, count=200, every=10)
        asked = [repeats.question() for _ in range(200)]
    changed = found.writes[0].revision.doc_id
    assert sum(ids[0] == changed for ids, _, _ in asked) > 50
