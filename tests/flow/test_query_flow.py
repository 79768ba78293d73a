"""Questions through both stages, in process."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from connectors.ports import Hit, Visible
from runtime.settings import Documents, Settings
from tests.flow.inline import Lanes
from topics.identity import DocumentRef, Token
from topics.queries import AnswerEvent

DOCS = {
    "pumps": b"The red pump moves water at night. It needs oil twice a year.",
    "valves": b"The green valve closes by hand. It was built in Oslo.",
    "cats": b"Cats sleep for most of the day and hunt at dusk.",
}


async def filled() -> Lanes:
    lanes = Lanes()
    for doc_id, text in DOCS.items():
        await lanes.put(doc_id, text, content_type=b"text/plain")
    return lanes


def last(events: list[AnswerEvent]) -> AnswerEvent:
    assert events[-1].type in {"answer", "error"}
    return events[-1]


async def test_an_answer_is_cited_and_carries_its_receipt() -> None:
    """Stages, passages, tokens and answer come in order; the answer cites the right document and version."""
    lanes = await filled()
    events = await lanes.ask("Where was the green valve built?")
    assert [e.type for e in events][:3] == ["retrieving", "passages", "generating"]
    answer = last(events).data
    assert answer["citations"][0]["doc_id"] == "valves" and "Oslo" in answer["text"]
    assert answer["documents"]["valves"] == lanes.event("valves").version
    assert answer["generation"] == "g1" and not answer.get("degraded")
    assert "".join(e.data["text"] for e in events if e.type == "token").strip() == answer["text"]


async def test_deleted_and_replaced_text_is_never_served() -> None:
    """Garbage that the store still holds is dropped by the manifest check."""
    lanes = await filled()
    stored = dict(lanes.store._chunks)
    await lanes.put("valves", None)
    lanes.store._chunks |= stored  # as if clean-up had not happened
    events = await lanes.ask("Where was the green valve built?", mode="retrieve")
    assert all(p["doc_id"] != "valves" for p in last(events).data["retrieval"]["passages"])


async def test_access_is_checked_in_the_search() -> None:
    """Only those on the list see a document; taking one off the list is a change like any other."""
    lanes = await filled()
    await lanes.put("secret", b'{"text": "The vault code is 4711.", "access": ["ann"]}')

    async def sees(*principals: str) -> bool:
        events = await lanes.ask("What is the vault code?", mode="retrieve", principals=principals)
        return any(p["doc_id"] == "secret" for p in last(events).data["retrieval"]["passages"])

    assert await sees("ann") and not await sees("bob") and not await sees()
    await lanes.put("secret", b'{"text": "The vault code is 4711.", "access": ["bob"]}')
    assert await sees("bob") and not await sees("ann")


async def test_expired_questions_cost_nothing() -> None:
    """Past its deadline a question is told so and never reaches the encoder."""
    lanes = await filled()
    events = await lanes.ask("Where was the green valve built?", seconds=-1)
    assert [e.type for e in events] == ["error"] and last(events).data["reason"] == "expired"


async def test_nothing_near_enough_is_said() -> None:
    """Without a passage above the threshold the answer is that it was not found."""
    lanes = Lanes()
    events = await lanes.ask("Where was the green valve built?")
    assert last(events).data["found"] is False and last(events).data["text"] == "Not found in the documents."


async def test_freshness_is_waited_for_or_lacking() -> None:
    """A token that the index has passed is met; one that it has not is named in the label."""
    lanes = await filled()
    token = await lanes.put("new", b"The blue lamp hangs in the hall.", content_type=b"text/plain")
    met = await lanes.ask("Where does the blue lamp hang?", mode="retrieve", at_least=[str(token)])
    assert not last(met).data["retrieval"].get("degraded")
    ahead = f"1.{token.partition}.{token.offset + 99}"
    lacking = await lanes.ask("Where does the blue lamp hang?", mode="retrieve", at_least=[ahead], seconds=0.4)
    assert last(lacking).data["retrieval"]["degraded"] == [f"not-fresh:{ahead}"]


async def test_those_who_wait_leave_half_of_the_worker() -> None:
    """However many wait for a version that is not there, half of what a worker has in flight is for others."""
    lanes, clients = await filled(), asyncio.TaskGroup()
    half = lanes.settings.queries.in_flight // 2
    ahead = ["1.0.99"]
    async with asyncio.timeout(10), clients:
        waiting = [clients.create_task(lanes.ask("Where is it?", mode="retrieve", at_least=ahead)) for _ in range(half)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        told = await lanes.ask("Where does the blue lamp hang?", mode="retrieve", at_least=ahead)
        assert last(told).data["retrieval"]["degraded"] == ["not-fresh:1.0.99"]
        assert not any(task.done() for task in waiting), time.monotonic() - began
        for task in waiting:
            task.cancel()


async def test_answers_before_an_audit_say_so() -> None:
    """While deletes may have been missed every answer is labelled, and no longer."""
    lanes = await filled()
    await lanes.manifests.distrust("away too long")
    assert last(await lanes.ask("Where was the green valve built?")).data["degraded"] == ["unaudited"]
    await lanes.manifests.trust("away too long")
    assert not last(await lanes.ask("Where was the green valve built?")).data.get("degraded")


async def test_a_flip_during_the_search_never_shows_half() -> None:
    """A document that changes between search and manifest check is searched for again, until it stood still."""
    lanes = Lanes(Settings(documents=Documents(chunk_tokens=32)))
    same = "The kept paragraph about herons stays as it is through every version of this document, word for word."
    await lanes.put("herons", f"# One\n\n{same}".encode(), content_type=b"text/markdown")
    search, versions = lanes.store.search, [2, 3, 4]

    async def changing(*arguments: Any) -> list[Hit]:
        hits = await search(*arguments)
        if versions:
            n = versions.pop(0)
            more = "\n\n".join(f"# Part {m}\n\nParagraph {m} about herons of version {n}." for m in range(n))
            await lanes.put("herons", f"# One\n\n{same}\n\n{more}".encode(), content_type=b"text/markdown")
        return hits

    lanes.store.search = changing  # type: ignore[assignment, method-assign]
    found = last(await lanes.ask("What is said about herons?", mode="retrieve", k=20)).data["retrieval"]
    assert {p["chunk_id"] for p in found["passages"]} == {c.id for c in lanes.event("herons").manifest}
    assert len(found["passages"]) > 1 and not found.get("degraded")


async def test_what_never_stands_still_is_left_out() -> None:
    """A document that changes during every search is not shown by halves: it is left out, and the answer says so."""
    lanes = await filled()
    visible = lanes.manifests.visible

    async def restless(hits: Sequence[tuple[DocumentRef, str]]) -> list[Visible | None]:
        seen = await visible(hits)
        return [
            v and replace(v, age=0.0) if ref.doc_id == "cats" else v for (ref, _), v in zip(hits, seen, strict=True)
        ]

    lanes.manifests.visible = restless  # type: ignore[method-assign]
    await asyncio.sleep(0.05)  # the others were flipped to before any search began
    found = last(await lanes.ask("When do cats sleep?", mode="retrieve", k=3)).data["retrieval"]
    assert {p["doc_id"] for p in found["passages"]} == {"pumps", "valves"}
    assert found["degraded"] == ["unsettled"]


async def test_an_answer_says_what_it_lacks() -> None:
    """A token of a refused version ends at once with the reason, one that is too far ahead after the wait."""
    lanes = await filled()
    bad = await lanes.put("pumps", b"no JSON")
    ahead = Token(1, bad.partition, bad.offset + 5)
    lanes.retrieve._settings = lanes.settings.queries.model_copy(update={"freshness_wait": 0.2})
    answer = last(await lanes.ask("Where was the green valve built?", at_least=[str(bad), str(ahead)])).data
    assert [(each["token"], each["status"]) for each in answer["lacking"]] == [
        (str(bad), "rejected"),
        (str(ahead), "not-fresh"),
    ]
    assert "content-type" in answer["lacking"][0]["reason"] and "reason" not in answer["lacking"][1]
    assert answer["degraded"] == [f"rejected:{bad}", f"not-fresh:{ahead}"]
    began = time.monotonic()
    assert last(await lanes.ask("Where was the green valve built?", at_least=[str(bad)])).data["lacking"]
    assert time.monotonic() - began < 0.2
