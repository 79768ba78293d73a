"""The verdict on jobs whose models failed and whose processes were killed, on histories made by hand."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from chaos.jobs import Client, Event, Job
from chaos.rungs import QUOTING, Phase, Run, judge

LADDER = ["first", "second", QUOTING]
WORDS = [f"w{number}" for number in range(12)]


def job(phase: str, rung: int = 0, number: int = 0) -> Job:
    """One that went well, answered from this rung."""
    pieces = ["w0 w1 w2", " w3 w4 w5 w6", " w7 w8 w9 w10 w11 [1]"] if rung < 2 else ["The valve", " is green. [1]"]
    begun: list[tuple[str, dict[str, Any]]] = [
        ("accepted", {}),
        ("retrieving", {}),
        ("passages", {}),
        ("generating", {"model": LADDER[rung]}),
    ]
    final: dict[str, Any] = {"text": "".join(pieces), "model": LADDER[rung]}
    if rung:
        final |= {"rung": rung, "degraded": [f"model-{above}:overloaded" for above in range(rung)]}
    story = [*begun, *(("token", {"text": piece}) for piece in pieces), ("answer", final)]
    events = [
        Event(10.0 + 0.1 * place, 0, name, None if name == "accepted" else 100 + place, data)
        for place, (name, data) in enumerate(story)
    ]
    return Job(phase, 9.9, 20.0, 1, 0, f"job{number}", 10.0, None, events)


def restarted() -> Job:
    """A job whose worker died after two tokens and whose gateway died after that."""
    found = job("killed")
    half = found.events[:6]
    again = [Event(event.at + 5, 1, event.type, (event.id or 0) + 100, event.data) for event in found.events[3:]]
    found.events = [*half, Event(15.0, 1, "restarted", None, {"attempt": "b"}), *again]
    return found


def history() -> Run:
    """A calm phase, a storm that every rung answered in, and a worker that was killed; all as promised."""
    phases = [
        Phase("none", 0.0, 10.0, back=0.1),
        Phase("storm", 20.0, 80.0, must_meet="busy", met=40, back=3.0),
        Phase("killed", 90.0, 99.0, models=False, must_meet="restarted", met=1, back=0.2),
    ]
    jobs = [job("none"), *(job("storm", number % 3, number) for number in range(6)), restarted()]
    return Run(LADDER, phases, jobs)


def test_a_storm_that_was_survived_is_no_violation() -> None:
    """Answers of every rung, each labelled, and one that began again."""
    assert judge(history()) == []


def storm(run: Run, rung: int) -> Job:
    return next(each for each in run.jobs if each.phase == "storm" and each.events[-1].data.get("rung", 0) == rung)


def lose(run: Run) -> None:
    storm(run, 0).events.pop()


def never_take(run: Run) -> None:
    one = storm(run, 0)
    one.id = one.taken = None
    one.events = []


def refuse(run: Run) -> None:
    storm(run, 0).error = "404 no such job"


def fail(run: Run) -> None:
    storm(run, 0).events[-1] = Event(11.0, 0, "error", 120, {"reason": "unavailable"})


def come_late(run: Run) -> None:
    storm(run, 0).events[-1].at = 33.0


def end_twice(run: Run) -> None:
    one = storm(run, 1)
    one.events.append(Event(12.0, 0, "answer", 130, one.events[-1].data))


def go_on_behind_the_end(run: Run) -> None:
    storm(run, 1).events.append(Event(12.0, 0, "token", 130, {"text": "more"}))


def hide_the_rung(run: Run) -> None:
    storm(run, 1).events[-1].data["degraded"] = []


def skip_a_rung(run: Run) -> None:
    storm(run, 2).events[-1].data["degraded"] = ["model-1:overloaded"]


def claim_another_model(run: Run) -> None:
    storm(run, 2).events[-1].data["model"] = "first"


def label_the_first(run: Run) -> None:
    storm(run, 0).events[-1].data["degraded"] = ["model-0:overloaded"]


def repeat(run: Run) -> None:
    one = storm(run, 0)
    one.events.insert(5, one.events[4])


def miss_a_token(run: Run) -> None:
    del storm(run, 0).events[5]


def stream_both_attempts(run: Run) -> None:
    killed = next(each for each in run.jobs if each.phase == "killed")
    killed.events = [event for event in killed.events if event.type != "restarted"]


def answer_with_a_hole(run: Run) -> None:
    one = storm(run, 0)
    one.events[-1].data["text"] = one.events[-1].data["text"].replace(" w5", "")
    one.events[5].data["text"] = one.events[5].data["text"].replace(" w5", "")


def degrade_while_models_are_well(run: Run) -> None:
    run.jobs.append(job("killed", 1))


def try_nothing(run: Run) -> None:
    run.phases[1].met = 0


def stay_away(run: Run) -> None:
    run.phases[1].back = None


@pytest.mark.parametrize(
    ("harm", "kinds"),
    [
        (lose, {"lost"}),
        (never_take, {"lost"}),
        (refuse, {"refused"}),
        (fail, {"unanswered"}),
        (come_late, {"late"}),
        (end_twice, {"two-ends"}),
        (go_on_behind_the_end, {"two-ends", "torn"}),
        (hide_the_rung, {"mislabelled"}),
        (skip_a_rung, {"mislabelled"}),
        (claim_another_model, {"mislabelled", "torn"}),
        (label_the_first, {"mislabelled"}),
        (repeat, {"repeated", "torn"}),
        (miss_a_token, {"torn"}),
        (stream_both_attempts, {"torn"}),
        (answer_with_a_hole, {"torn"}),
        (degrade_while_models_are_well, {"degraded"}),
        (try_nothing, {"no-fault"}),
        (stay_away, {"not-back"}),
    ],
)
def test_each_broken_promise_is_told(harm: Callable[[Run], None], kinds: set[str]) -> None:
    """One thing wrong, told by its name, and nothing else."""
    run = history()
    harm(run)
    assert {violation.kind for violation in judge(run)} == kinds


async def test_a_client_lives_through_a_door_that_comes_and_goes() -> None:
    """A refused question is asked again, a stream that breaks off is resumed behind its last event; all is noted."""
    heads = list[bytes]()
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    answers = [
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 2\r\n\r\n{}",
        b'HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{"job_id": "j7"}',
        stream + b'event: token\nid: 7\ndata: {"text": "w0", "attempt": "a"}\n\nevent: token\nid: 8\ndata: {"te',
        b"",
        stream + b': beat\n\nevent: answer\nid: 9\ndata: {"text": "w0", "model": "first", "timings": {}}\n\n',
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            await reader.readuntil(b"}")
        heads.append(head)
        writer.write(answers[len(heads) - 1])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as http:
        found = await Client(http, 20.0).ask("why?", "storm")
    assert (found.id, found.asked, found.busy, found.error) == ("j7", 2, 1, None)
    assert [(e.type, e.id, e.connection) for e in found.events] == [("token", 7, 0), ("answer", 9, 2)]
    assert found.final is not None and found.final.data == {"text": "w0", "model": "first"}
    assert [b"last-event-id: 7" in head.lower() for head in heads] == [False, False, False, True, True]
