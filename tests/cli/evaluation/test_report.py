"""From questions to a report: the real gateway on the in-memory log, and a worker that knows what it will say."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from cli.door import DoorError
from cli.evaluation.asking import Asker, Outcome
from cli.evaluation.bounds import parse_bound
from cli.evaluation.questions import Case, QuestionsError
from cli.evaluation.report import Asked, Report, compare, make_report, read_report, write_report
from connectors.memory.manifests import MemoryManifests
from gateway.app import create_app
from gateway.memory_log import MemoryLog
from tests.gateway.builders import asked, door_settings, event, serving
from topics.queries import EventType, Question

SETTINGS = {"answers": True}
CASES = [
    Case(id="one", question="Where is one?", relevant={"a": 1}, answers=["here"]),
    Case(id="two", question="Where is two?", relevant={"b": 1}, answers=["there"]),
    Case(id="lost", question="Where is the error?", relevant={"a": 1}, answers=["nowhere"]),
]


def passage(doc_id: str) -> dict[str, Any]:
    return {"doc_id": doc_id, "version": "1.1", "chunk_id": f"{doc_id}-1", "text": "t", "score": 1.0, "published_at": 0}


class Worker:
    """Finds a, then b, then a again; answers `here`, citing a; fails on whatever asks for the error."""

    def __init__(self, log: MemoryLog) -> None:
        self.log, self.seen = log, list[Question]()

    async def run(self) -> None:
        while True:
            hop, question = asked(await self.log.next())
            self.seen.append(question)
            if "error" in question.question:
                self.say(hop.job_id, "error", {"reason": "unavailable", "message": "the store is away"})
            elif question.mode == "retrieve":
                found = {"question": question.question, "passages": [passage(d) for d in ("a", "b", "a")]}
                self.say(
                    hop.job_id,
                    "answer",
                    {"retrieval": {**found, "generation": "g1", "timings": {"search": 2.0}, "asked_at": 0}},
                )
            else:
                answer = {"text": "Here. [1]", "found": True, "model": "m", "generation": "g1"}
                timings = {"generate": 5.0}
                self.say(
                    hop.job_id,
                    "answer",
                    {**answer, "citations": [{"doc_id": "a"}], "degraded": ["slow"], "timings": timings},
                )

    def say(self, job_id: str, kind: EventType, data: dict[str, Any]) -> None:
        self.log.answer(event("retrieve", "r", 0, kind, data, job_id))


@pytest.fixture
async def worker() -> AsyncIterator[tuple[Worker, httpx.ASGITransport]]:
    log = MemoryLog()
    app = create_app(door_settings(), MemoryManifests(), log)
    async with serving(app):
        running = Worker(log)
        task = asyncio.create_task(running.run())
        yield running, httpx.ASGITransport(cast("Any", app))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def outcomes(transport: httpx.ASGITransport, cache: bool = False) -> dict[str, dict[str, Outcome]]:
    async with Asker(door_settings(), None, 7, cache, answers=True, transport=transport) as asker:
        return await asker.all(CASES, ["default"], 2, lambda: None)


async def test_what_the_gateway_says_is_what_is_measured(worker: tuple[Worker, httpx.ASGITransport]) -> None:
    """Documents rank by their best passage, answers and citations are kept, steps and labels of both are told."""
    found = (await outcomes(worker[1]))["one"]["default"]
    assert (found.ranked, found.text, found.cited, found.failed) == (["a", "b"], "Here. [1]", ["a"], None)
    assert found.timings["search"] == 2.0 and found.timings["generate"] == 5.0
    assert (found.degraded, found.generation) == (["slow"], "g1")
    retrieve, answer = (q for q in worker[0].seen if q.question == "Where is one?")
    assert (retrieve.mode, retrieve.k, answer.mode) == ("retrieve", 7, "answer")


async def test_one_version_writes_all_answers(worker: tuple[Worker, httpx.ASGITransport]) -> None:
    """It is asked for by its name, and what another one answered is a failure, not a figure of its own."""
    for name, failed in (("m", None), ("n", "m answered: slow")):
        async with Asker(door_settings(), None, 7, False, True, name, worker[1]) as asker:
            found = await asker.ask(CASES[0], "default")
        assert (found.model, found.failed) == ("m", failed)
        assert worker[0].seen[-1].model == name and worker[0].seen[-2].model is None


@pytest.mark.parametrize("cache", [False, True])
async def test_caches_are_left_out_on_request(worker: tuple[Worker, httpx.ASGITransport], cache: bool) -> None:
    """What the command line says of caches reaches the workers in every question."""
    await outcomes(worker[1], cache)
    assert {question.cache for question in worker[0].seen} == {cache}


async def test_a_failure_counts_and_is_named(worker: tuple[Worker, httpx.ASGITransport]) -> None:
    """What could not be answered is worth nothing, stays in every mean, and its reason is in the report."""
    found = await outcomes(worker[1])
    report = make_report([Asked(case=case, outcomes=found[case.id]) for case in CASES], SETTINGS, {})
    figures = report.modes["default"]
    assert "the store is away" in figures.failed["lost"] and report.failed == 1
    assert {name: value.mean for name, value in figures.scores.items()} == pytest.approx(
        {
            "recall@1": 1 / 3, "recall@5": 2 / 3, "recall@10": 2 / 3, "mrr@10": 0.5,
            "ndcg@10": (1 + 0.6309) / 3, "exact": 1 / 3, "f1": 1 / 3, "cites": 2 / 3, "citations": 0.5,
        },
        abs=1e-3,
    )  # fmt: skip
    assert {value.n for name, value in figures.scores.items() if name != "citations"} == {3}


async def test_what_cannot_be_measured_is_said_before(worker: tuple[Worker, httpx.ASGITransport]) -> None:
    """Re-ranking is left out where none is configured; a question that the door refuses ends it, one that fails not."""
    async with Asker(door_settings(), None, 7, False, answers=True, transport=worker[1]) as asker:
        assert await asker.usable(CASES[0], ["default"]) == await asker.usable(CASES[2], ["default"]) == ["default"]
        with pytest.raises(DoorError, match="default: 422"):
            await asker.usable(Case(id="x", question="x" * 5000, relevant={"a": 1}), ["default"])


def ranked(*firsts: bool, mode: str = "default") -> list[Asked]:
    """Questions whose document comes first, or not at all."""
    return [
        Asked(
            case=Case(id=str(n), question=f"q{n}", relevant={"a": 1}),
            outcomes={mode: Outcome(ranked=["a" if first else "b"])},
        )
        for n, first in enumerate(firsts)
    ]


def report_of(*firsts: bool) -> Report:
    return make_report(ranked(*firsts), {"answers": False}, {})


def test_differences_are_paired() -> None:
    """One mode beats another by the same on every question: the interval has no width, however the questions vary."""
    both = [
        Asked(case=each.case, outcomes={"vector": each.outcomes["default"], "hybrid": Outcome(ranked=["a"])})
        for each in ranked(False, False, False)
    ]
    (found,) = [d for d in make_report(both, {"answers": False}, {}).differences if d.metric == "mrr@10"]
    assert (found.mode, found.base) == ("hybrid", "vector")
    assert (found.interval.mean, found.interval.low, found.interval.high) == (1, 1, 1)


def test_two_reports_are_compared_by_question(tmp_path: Path) -> None:
    """Read back from their files; a question that only one has, or that was changed, is left out and not counted."""
    old, new = report_of(True, False, False, True), report_of(True, True, False)
    new.questions[2].case = Case(id="2", question="another one", relevant={"a": 1})
    for name, report in (("old", old), ("new", new)):
        write_report(report, tmp_path / name)
    found = compare(read_report(tmp_path / "old"), read_report(tmp_path / "new"))
    (first,) = [d for d in found if d.metric == "recall@1"]
    assert (first.interval.mean, first.interval.n) == (0.5, 2)
    with pytest.raises(QuestionsError, match="no question in common"):
        compare(make_report(ranked(True)[:1], SETTINGS, {}), make_report([new.questions[2]], SETTINGS, {}))


@pytest.mark.parametrize(
    ("text", "missed"),
    [
        ("mrr@10=0.5", []),
        ("default:mrr@10=0.51", ["default: mrr@10 is 0.5000, below 0.51"]),
        ("hybrid:mrr@10=0.1", ["hybrid has no mrr@10: 0.1 is asked for"]),
        ("f1=0", ["default has no f1: 0 is asked for"]),
    ],
)
def test_bounds(text: str, missed: list[str]) -> None:
    """A bound is missed below it, not at it, and by what was not measured."""
    assert list(parse_bound(text).missed(report_of(True, False))) == missed


@pytest.mark.parametrize("text", ["mrr@10", "mrr@9=1", "other:mrr@10=1", "mrr@10=x"])
def test_bounds_that_are_none(text: str) -> None:
    """What cannot be read as a bound says what can."""
    with pytest.raises(QuestionsError, match=r"there are:|one is"):
        parse_bound(text)
