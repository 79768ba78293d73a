"""Each broken worker breaks what it is said to break, and the checker that is to notice does: here without a server.

The real stages in one process, walked record by record; what a client would have seen is the history.
"""

from dataclasses import replace
from typing import Any

import pytest

from chaos.checkers import CHECKERS, Bounds
from chaos.documents import Author
from chaos.doors import headers_of
from chaos.history import Delivery, History, Read, Write
from chaos.jobs import KEPT, Event, Job
from connectors.memory.jobs import MemoryJobs
from streams.documents.chunk import Chunk
from streams.documents.index import Index
from streams.outcome import Emit, Record
from streams.queries import generate
from streams.queries.deliver import Deliver
from streams.webhooks.notifications import JobWebhooks
from tests.chaos.mutants.forgetful_deliver import forgetful
from tests.chaos.mutants.hasty_index import hasty
from tests.chaos.mutants.skipping_chunk import skipping
from tests.chaos.mutants.stuttering_generate import Stuttering
from tests.flow.inline import Lanes
from topics import registry
from topics.codec import decode
from topics.headers import WEBHOOK
from topics.identity import DocumentRef
from topics.webhooks import Notification

BOUNDS = Bounds(ladder=("extractive",))
DOC_IDS = [f"mutant/{number}" for number in range(3)]


def red(history: History) -> list[str]:
    """Who notices something; nobody asks for evidence here."""
    return [name for name, check in CHECKERS.items() if name != "vacuity" and check(history, BOUNDS)]


async def documents(lanes: Lanes, count: int = 60) -> History:
    """Change after change, each asked for when its lane has run dry; seconds are counted, not waited for."""
    history, author = History(began=0.0, ended=float(count)), Author(1, DOC_IDS, ["ann"])
    for number in range(count):
        revision = author.next()
        headers = {name.replace("-", "_"): value for name, value in headers_of(revision)}
        body = None if revision.deletes else revision.text.encode()
        token = await lanes.put(revision.doc_id, body, "default", **({} if revision.deletes else headers))
        (manifest,) = await lanes.manifests.status([DocumentRef("default", revision.doc_id)])
        write = Write(revision, number + 0.1, "ok", str(token), number + 0.2)
        write.visible = number + 0.3 if manifest.version == str(token.version) else None
        history.writes.append(write)
        about = {"about": {"eq": revision.doc_id}}
        found = await lanes.ask("Which statements?", principals=["ann"], mode="retrieve", k=50, filter=about)
        passages = [(p["title"], p["text"]) for p in found[-1].data["retrieval"]["passages"]]
        history.reads.append(Read(revision.doc_id, "ann", number + 0.5, number + 0.6, "ok", passages))
    return history


async def jobs(lanes: Lanes, count: int) -> History:
    """Questions about what is there, as their clients follow them."""
    history = History(began=0.0, ended=10.0 * count)
    await lanes.put("valve", b"The green valve was built in Oslo.", content_type=b"text/plain")
    for number in range(count):
        told = await lanes.ask(f"Where was the green valve built, asked for the {number}th time?")
        events = [Event(10.0 * number + 0.1 * n, 0, e.type, n, kept(e.data)) for n, e in enumerate(told)]
        id_ = told[0].job_id
        history.jobs.append(
            Job("", 10.0 * number, 9.0, 1, 0, id_, 10.0 * number, None, events, ids=[id_], webhook="we_1")
        )
    return history


def kept(data: dict[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in KEPT if name in data} | ({"rung": 0} if "model" in data else {})


async def notified(lanes: Lanes, history: History) -> None:
    """Whoever is told of the jobs in the log takes it."""
    deliver = Deliver(MemoryJobs(), [JobWebhooks(4, 10_000)])
    answers = [with_webhook(record) for record in lanes.log[registry.ANSWERS.name]]
    for outcome in await deliver.step(answers):
        assert isinstance(outcome, Emit)
        for output in outcome.outputs:
            one = decode(output.value or b"", Notification)
            history.deliveries.append(Delivery(one.data["job_id"], one.id, 1.0, 204, one.type, one.id))


def with_webhook(record: Record) -> Record:
    return replace(record, headers={**record.headers, WEBHOOK: b"we_1"})


async def test_sound_stages_are_not_blamed() -> None:
    """Or what follows would say nothing."""
    assert red(await documents(Lanes())) == []
    lanes = Lanes()
    history = await jobs(lanes, 20)
    await notified(lanes, history)
    assert red(history) == [] and len(history.deliveries) == 20


@pytest.mark.parametrize(
    ("stage", "broken", "count"), [(Index, hasty, 60), (Chunk, skipping, 200)], ids=["index", "chunk"]
)
async def test_lost_documents(stage: type[Any], broken: Any, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is acknowledged and never made visible is noticed."""
    monkeypatch.setattr(stage, "step", broken)
    assert "lost" in red(await documents(Lanes(), count))


async def test_stuttering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that is not its answer is noticed."""
    monkeypatch.setattr(generate, "Teller", Stuttering)
    found = CHECKERS["jobs"](await jobs(Lanes(), 3), BOUNDS)
    assert [violation.kind for violation in found] == ["torn"] * 3


async def test_forgotten_webhooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that nobody is told of is noticed."""
    monkeypatch.setattr(Deliver, "_tell", forgetful)
    lanes = Lanes()
    history = await jobs(lanes, 40)
    await notified(lanes, history)
    assert red(history) == ["webhooks"] and 20 < len(history.deliveries) < 40
