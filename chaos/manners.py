"""What clients do to a door, politely or not: the faults that need no access to any process.

Each is a small type and its name in the list, KIND:TARGET like other faults.  They say what they do and write down what
came back; verdicts on what is only seen here are at the end, the others are the campaign's.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from chaos.bad_input import POISON, REFUSED, Bad
from chaos.documents import Author, Revision
from chaos.history import History, Violation, Write
from chaos.jobs import Client, Job, events_of
from chaos.pace import Pace
from chaos.traffic import Traffic
from topics.identity import Token

DEADLINE = 20.0  # seconds of a job
BURST_SECONDS = 3.0  # of the rate, at once
LOOK_EVERY = 0.2  # seconds, for what became of a version
_AWAY = (httpx.HTTPError, OSError)


@dataclass
class Answer:
    """What came back to input that is wrong.  ``status`` 0: nothing did."""

    name: str
    at: float
    expected: str
    status: int = 0
    detail: str = ""


@dataclass
class Race:
    """Revisions of one document that were sent at the same time, and what was shown once all had their outcome."""

    doc_id: str
    at: float
    tokens: dict[int, str] = field(default_factory=dict)  # by number of the revision
    deletes: list[int] = field(default_factory=list)
    shown: list[str] | None = None  # titles; None: nobody could ask


@dataclass
class Ground:
    """What they work on.  ``made`` are ids of documents that may have come to be besides those of the history.

    ``cached`` are questions that caches may answer.
    """

    http: httpx.AsyncClient
    traffic: Traffic
    history: History
    pace: Pace
    prefix: str
    draw: Random
    made: set[str] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
    races: list[Race] = field(default_factory=list)
    cached: History = field(default_factory=History)
    _count: Iterator[int] = field(default_factory=itertools.count)

    def fresh_id(self, what: str) -> str:
        """A document of its own."""
        return f"{self.prefix}{what}-{next(self._count)}"

    def words(self) -> tuple[str, ...]:
        return tuple(f"w{self.draw.getrandbits(40):010x}" for _ in range(3))

    def job(self, phase: str, key: str = "") -> Job:
        """Written down before it is asked."""
        job = Job(phase, time.monotonic(), DEADLINE, key=key)
        self.history.jobs.append(job)
        return job


class Manner(Protocol):
    """One of them."""

    @property
    def name(self) -> str: ...

    @property
    def says(self) -> str:
        """What it does, for who is to allow it."""

    async def run(self, ground: Ground) -> None: ...


@dataclass(frozen=True)
class BurstOfDocuments:
    name: str = "burst:documents"
    says: str = "many new documents at once"

    async def run(self, ground: Ground) -> None:
        count = ground.pace.burst(BURST_SECONDS)
        fresh = [Revision(ground.fresh_id("burst"), 1, ground.words()) for _ in range(count)]
        await ground.pace.take(count)
        await asyncio.gather(*(ground.traffic.publish(revision) for revision in fresh))


@dataclass(frozen=True)
class BurstOfQuestions:
    name: str = "burst:questions"
    says: str = "many questions at once"

    async def run(self, ground: Ground) -> None:
        count = ground.pace.burst(BURST_SECONDS)
        known = sorted({write.revision.doc_id for write in ground.history.writes})[:50]
        await ground.pace.take(count)
        about = [ground.draw.choice(known) for _ in range(count)]
        asked = (ground.traffic.ask([doc], "", {"filter": {"about": {"eq": doc}}, "cache": False}) for doc in about)
        await asyncio.gather(*asked)


@dataclass(frozen=True)
class HangUp:
    name: str = "hang-up:streams"
    says: str = "clients that hang up in mid-stream after every event or two, and resume"
    events: int = 2
    between: float = 0.0  # seconds that a reader takes for an event

    async def run(self, ground: Ground) -> None:
        await ground.pace.take(2)
        await asyncio.gather(*(self._one(ground) for _ in range(2)))

    async def _one(self, ground: Ground) -> None:
        job = ground.job(self.name)
        question = f"What are the statements of {ground.prefix}?"
        while job.id is None and job.error is None and time.monotonic() < job.sent + DEADLINE:
            await Client(ground.http, DEADLINE).post(job, question)
        for connection in itertools.count():
            if job.final is not None or job.error is not None or time.monotonic() > job.sent + 2 * DEADLINE:
                return
            seen = [event.id for event in job.events if event.id is not None]
            headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
            try:
                async with ground.http.stream("GET", f"/v1/queries/{job.id}/events", headers=headers) as response:
                    if response.status_code in (429, 503):
                        await asyncio.sleep(1)
                        continue
                    response.raise_for_status()
                    came = 0
                    async for event in events_of(response, connection):
                        job.events.append(event)
                        came += 1
                        await asyncio.sleep(self.between)
                        if self.events and came >= self.events:
                            break
            except _AWAY:
                await asyncio.sleep(0.2)


@dataclass(frozen=True)
class SlowReader(HangUp):
    name: str = "slow-reader:streams"
    says: str = "clients that take half a second for each event"
    events: int = 0
    between: float = 0.5


@dataclass(frozen=True)
class BadInput:
    name: str = "bad-input:documents"
    says: str = f"{len(REFUSED)} requests that must be refused, and {len(POISON)} documents that cannot be read"

    async def run(self, ground: Ground) -> None:
        for bad in (*REFUSED, *POISON):
            await ground.pace.take()
            await self._send(ground, bad)

    async def _send(self, ground: Ground, bad: Bad) -> None:
        doc_id = ground.fresh_id("bad") + bad.suffix
        path = bad.path.replace("{id}", quote(doc_id, safe="") if not bad.raw else doc_id.replace("/", "%2F"))
        answer = Answer(bad.name, ground.history.now(), "outcome" if bad.poison else "refusal")
        ground.answers.append(answer)
        if "{id}" in bad.path and bad.method != "GET":
            ground.made.add(doc_id)
        try:
            response = await ground.http.request(bad.method, path, content=bad.content, headers=dict(bad.headers))
            answer.status, answer.detail = response.status_code, response.text[:200]
            if bad.poison and response.status_code == 202:
                answer.detail = await _outcome(ground, path, response.json()["token"])
            elif 400 <= response.status_code < 500:
                ground.made.discard(doc_id)
        except _AWAY as error:
            answer.detail = repr(error)[:200]


async def _outcome(ground: Ground, path: str, token: str, seconds: float = 60.0) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        response = await ground.http.get(path, params={"token": token})
        if response.status_code == 200 and (status := response.json()["status"]) != "pending":
            return str(status)
        await asyncio.sleep(LOOK_EVERY)
    return "pending"


@dataclass(frozen=True)
class Repeat:
    name: str = "repeat:documents"
    says: str = "the same version sent three times at once"

    async def run(self, ground: Ground) -> None:
        revision = Revision(ground.fresh_id("repeat"), 1, ground.words())
        await ground.pace.take(3)
        await asyncio.gather(*(ground.traffic.publish(revision) for _ in range(3)))


@dataclass(frozen=True)
class Disorder:
    """Which of them is the last is decided by the log alone, and told by the tokens."""

    name: str = "disorder:documents"
    says: str = "versions of one document, deletes among them, sent at once and in no order"

    async def run(self, ground: Ground) -> None:
        race = Race(ground.fresh_id("race"), ground.history.now())
        ground.races.append(race)
        ground.made.add(race.doc_id)
        sent = [Revision(race.doc_id, number, ground.words()) for number in (1, 2, 3)]
        sent.append(Revision(race.doc_id, 4, ()))
        ground.draw.shuffle(sent)
        race.deletes = [4]
        await ground.pace.take(len(sent))
        # In no history of reads: there the order of numbers is taken for the order of the log.
        aside = Traffic(ground.http, History(), Author(0, [], []), 0, poll=LOOK_EVERY)
        writes = await asyncio.gather(*(aside.publish(revision) for revision in sent))
        await aside.settle()
        race.tokens = {write.revision.number: write.token for write in writes if write.token and write.visible}
        if len(race.tokens) == len(sent):
            race.shown = await self._shown(ground, race)

    async def _shown(self, ground: Ground, race: Race) -> list[str] | None:
        body: dict[str, Any] = {"filter": {"about": {"eq": race.doc_id}}, "cache": False, "k": 50, "timeout": 10}
        body |= {"question": f"What are the statements of {race.doc_id}?", "at_least": list(race.tokens.values())}
        for _ in range(5):
            try:
                response = await ground.http.post("/v1/retrieve", json=body)
                if response.status_code == 200 and not response.json()["degraded"]:
                    return sorted({str(passage["title"]) for passage in response.json()["passages"]})
            except _AWAY:
                pass  # asked again
            await asyncio.sleep(1)
        return None


@dataclass(frozen=True)
class Replay:
    name: str = "replay:jobs"
    says: str = "one question with one idempotency key, three times at once and once more later"

    async def run(self, ground: Ground) -> None:
        await ground.pace.take(4)
        job = ground.job(self.name, key=f"chaos-{secrets.token_hex(8)}")
        client, question = Client(ground.http, DEADLINE), f"What are the statements of {ground.prefix}?"
        await asyncio.gather(*(client.post(job, question) for _ in range(3)))
        await client.live(job, question)
        await client.post(job, question)


MANNERS: tuple[Manner, ...] = (
    BurstOfDocuments(), BurstOfQuestions(), HangUp(), SlowReader(), BadInput(), Repeat(), Disorder(), Replay(),
)  # fmt: skip


def judge_answers(answers: Sequence[Answer]) -> list[Violation]:
    """What is wrong is refused by a 4xx, what cannot be read comes to an outcome; a door that was away said nothing."""
    found = []
    for answer in answers:
        refused = 400 <= answer.status < 500
        taken = answer.status == 202 and answer.expected == "outcome" and answer.detail != "pending"
        away = answer.status in (0, 429, 502, 503, 504)
        if not (refused or taken or away):
            said = f"expected a {answer.expected}, got {answer.status} {answer.detail}"
            found.append(Violation("bad-input", answer.name, said, answer.at))
    return found


def judge_races(races: Sequence[Race]) -> list[Violation]:
    """What is shown at last is what the log has last."""
    found = []
    for race in races:
        if race.shown is None:
            continue
        last = max(race.tokens, key=lambda number: Token.parse(race.tokens[number]))
        right = [] if last in race.deletes else [f"{race.doc_id} revision {last}"]
        if race.shown != right:
            found.append(Violation("disorder", race.doc_id, f"shows {race.shown}, the log has {right} last", race.at))
    return found


def written(writes: Sequence[Write]) -> set[str]:
    """Documents that may have come to be."""
    return {write.revision.doc_id for write in writes if write.result != "failed"}
