"""The verdict on caches, on histories and metrics made by hand."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from chaos.cache import Counts, promises
from chaos.checks import Violation
from chaos.documents import Author
from chaos.history import History, Read
from chaos.repeats import DOC_IDS, Repeats
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


async def test_questions_come_again_and_edits_keep_step() -> None:
    """As many as told, an edit to every so many, by everybody, about one and about a group, some with a token."""
    bodies: list[tuple[str, dict[str, object]]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/v1/retrieve":
            status = 202 if request.method in ("PUT", "DELETE") else 200
            return httpx.Response(status, json={"token": "1.0.1", "status": "indexed"})
        body = httpx.Response(200, content=request.content).json()
        bodies.append((request.headers.get("Freshet-Principals", ""), body))
        return httpx.Response(200, json={"passages": [], "degraded": [], "timings": {"cache": 1.0}})

    found, author = History(), Author(3, DOC_IDS, ["ann", "bob"])
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://door") as http:
        traffic = Traffic(http, found, author, 3)
        repeats = Repeats(traffic, found, author, seed=3, count=200, every=10)
        await repeats.begin(5)
        first = len(found.writes)
        bodies.clear()
        writing = asyncio.create_task(repeats.write())
        await asyncio.gather(repeats.read(0), repeats.read(0))
        repeats.end()
        await writing
        await traffic.settle()
    assert len(bodies) == 200 and 0 < len(found.writes) - first <= 20
    assert {who for who, _ in bodies} == {"", "ann", "bob"}
    assert {tuple(body["filter"]) for _, body in bodies} == {("about",), ("group",)}  # type: ignore[arg-type]
    assert 0 < sum("at_least" in body for _, body in bodies) < 100
    assert len({(who, str(body["question"]), str(body["filter"])) for who, body in bodies}) <= 48
    assert all(read.cached for read in found.reads) and len(found.reads) > 200
