"""A campaign against somebody's own staging installation, through its public doors alone.

Traffic, and the faults that a client can be: nothing is done to a process.  An operator may do that meanwhile, and
marks it.  All documents lie under one prefix and are removed at the end, however it ends.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec

from chaos.askers import Askers
from chaos.checkers import CHECKERS, Bounds, judge
from chaos.checkers.calm import recoveries
from chaos.checkers.documents import cached, lost, mixed, resurrected, revoked
from chaos.checkers.vacuity import EVIDENCE
from chaos.documents import Author
from chaos.doors import kafka_door
from chaos.history import Door, History, Sample, Violation, Window
from chaos.jobs import Client
from chaos.manners import DEADLINE, LOOK_EVERY, MANNERS, Ground, judge_answers, judge_races, written
from chaos.marks import Marks
from chaos.pace import Pace
from chaos.preflight import check, check_kafka
from chaos.probes import EVERY, Probes
from chaos.removal import Removal, remove
from chaos.timeline import draw
from chaos.traffic import Traffic
from runtime.settings import Settings
from topics.identity import DEFAULT_TENANT

DOCUMENTS = 12
CEILING = 10  # requests for each of the rate, all looks and repeats included, whatever happens
PROBE = 3  # changes and questions of one probe
PROBES = 1 / 3  # of the rate
RESTS = 8  # probes between two manners: enough to tell that all is normal again
MANNER_SECONDS = 90.0  # until one is given up
SETTLE_SECONDS = 75.0  # beside what faults have to be over
REMOVE_SECONDS = 120.0
JOBS_AT_ONCE = 4
TTL = 300.0  # seconds; what caches keep where nobody has set it otherwise


@dataclass(frozen=True)
class Plan:
    """What is to be done to whom."""

    url: str
    name: str  # of the run
    seed: int
    seconds: float
    rate: float
    out: Path
    askers: Askers = field(default_factory=Askers)
    tenant: str | None = None
    kafka: Settings | None = None  # documents go straight into the log as well
    ttl: float = TTL
    recovery: float = 60.0  # seconds from the end of a fault until all is normal
    mark_file: Path | None = None
    rest: float | None = None  # seconds between two manners; long enough for all to be normal again where not said

    @property
    def prefix(self) -> str:
        """Of every document that the run makes."""
        return f"chaos/{self.name}/"

    @property
    def statements(self) -> list[str]:
        """Documents that are edited again and again."""
        return [f"{self.prefix}statements-{number}" for number in range(DOCUMENTS)]

    @property
    def every(self) -> float:
        """Seconds between two probes."""
        return max(EVERY, PROBE / (self.rate * PROBES))

    @property
    def bounds(self) -> Bounds:
        """What is not to be known from outside is not judged, and must not have been there."""
        needed = {"lost", "mixed", "stale"}
        return Bounds(ladder=(), recovery={}, slowest=self.recovery, optional=frozenset(EVIDENCE.keys() - needed))

    def says(self) -> list[str]:
        """All that it will do, for who is to allow it."""
        kafka = f" and straight into Kafka at {self.kafka.kafka.brokers}" if self.kafka else ""
        return [
            f"For {self.seconds:g} s, at most {self.rate:g} changes and questions a second together, to {self.url}:",
            f"publish, edit and delete documents under {self.prefix}, over HTTP{kafka}, and no others;",
            f"ask for passages and for answers, as {_listed([name or 'everyone' for name in self.askers.asking])};",
            *(f"{manner.name}: {manner.says};" for manner in MANNERS),
            "at the end delete every document that it made, also after Ctrl-C.",
            "Answers that a language model writes are paid for by whoever pays for them there.",
        ]


@dataclass
class Outcome:
    """What came of it."""

    history: History
    violations: dict[str, list[Violation]]
    unseen: list[str]
    removal: Removal
    stopped: bool

    @property
    def broken(self) -> int:
        return sum(len(found) for found in self.violations.values())


async def run(plan: Plan, stop: asyncio.Event, tell: Callable[[str], None]) -> Outcome:
    """All of it.  Raises :class:`chaos.preflight.CannotBegin`; ``stop`` ends the traffic, and the rest follows."""
    headers = {"Freshet-Tenant": plan.tenant} if plan.tenant else {}
    async with AsyncExitStack() as open_:
        http = await open_.enter_async_context(
            httpx.AsyncClient(
                base_url=plan.url,
                headers=headers,
                timeout=httpx.Timeout(20, connect=5),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
                event_hooks={"request": [plan.askers.sign, Pace(plan.rate * CEILING).hold]},
            )
        )
        history, made, removal = History(seed=plan.seed), set[str](), Removal()
        try:
            token = await check(http, plan.askers, plan.prefix, made)
            kafka = None
            if plan.kafka is not None:
                tenant = plan.tenant or DEFAULT_TENANT
                kafka = await open_.enter_async_context(kafka_door(plan.kafka, token.epoch, tenant))
                await check_kafka(http, kafka, plan.prefix, made)
            author = Author(plan.seed, plan.statements, plan.askers.named)
            traffic = Traffic(http, history, author, plan.seed, kafka=kafka, poll=LOOK_EVERY)
            pace = Pace(plan.rate * (1 - PROBES))
            ground = Ground(http, traffic, history, pace, plan.prefix, Random(plan.seed), made)
            ground.cached.writes = history.writes
            await _drive(plan, author, ground, stop, tell)
        finally:
            made |= written(history.writes)
            if made:
                tell(f"removing {len(made)} documents under {plan.prefix}")
                removal = await remove(http, plan.prefix, made, REMOVE_SECONDS)
                _say_left(removal, tell)
    outcome = Outcome(history, verdict(plan, ground), unseen(plan, history), removal, stop.is_set())
    _save(plan.out, ground, outcome)
    return outcome


def verdict(plan: Plan, ground: Ground) -> dict[str, list[Violation]]:
    """All checkers on what was asked past the caches; those of documents on the rest; and what is only seen here."""
    found = judge(ground.history, plan.bounds)
    kept = replace(plan.bounds, ttl=plan.ttl)
    for name, check_ in (("lost", lost), ("resurrected", resurrected), ("mixed", mixed), ("revoked", revoked)):
        found[name] = found[name] + [each for each in check_(ground.cached, kept) if each.kind != "lost"]
    found["cached"] = cached(ground.cached, kept)
    # A door that is full says so: that is no failure of its.
    found["questions"] = [each for each in found["questions"] if not each.detail.startswith("429 ")]
    return found | {"bad-input": judge_answers(ground.answers), "disorder": judge_races(ground.races)}


def unseen(plan: Plan, history: History) -> list[str]:
    """Checkers that had nothing to look at."""
    return [name for name in CHECKERS if name in EVIDENCE and not EVIDENCE[name][1](history, plan.bounds)]


async def _drive(plan: Plan, author: Author, ground: Ground, stop: asyncio.Event, tell: Callable[[str], None]) -> None:
    history, ends, over = ground.history, asyncio.Event(), asyncio.Event()
    marks, history.began = Marks(history.windows, history.now), history.now()
    probes = Probes(ground.traffic, history, f"{plan.prefix}probe", plan.every)
    loops = [_publish(plan, author, ground, ends), _ask(plan, author, ground, ends), _jobs(ground, ends)]
    work = [asyncio.create_task(loop) for loop in (*loops, _misbehave(plan, ground, ends, tell))]
    looking = [asyncio.create_task(loop) for loop in (_look(ground, over), probes.run(over))]
    beside: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
    if plan.mark_file:
        beside.append(asyncio.create_task(marks.follow(plan.mark_file)))
    try:
        with marks.heard(sys.stdin) if sys.stdin.isatty() else nullcontext():
            await asyncio.wait([*work, *looking, *beside], timeout=plan.seconds, return_when=asyncio.FIRST_COMPLETED)
        ends.set()
        marks.close()
        tell("waiting for what is under way")
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS + plan.recovery):
                await asyncio.gather(*work)
                await _normal(plan, history)
                over.set()
                await asyncio.gather(*looking)
                await ground.traffic.settle()
    finally:
        marks.close()
        for task in (*work, *looking, *beside):
            task.cancel()
        await asyncio.gather(*work, *looking, *beside, return_exceptions=True)
        history.ended = history.now()


async def _normal(plan: Plan, history: History) -> None:
    """Until it is seen that all is normal after the last fault, or has had its time for that."""
    until = history.now() + plan.recovery
    while history.now() < until and any(
        each.seconds is None and not each.disturbed for each in recoveries(history, plan.bounds)
    ):
        await asyncio.sleep(plan.every)


async def _publish(plan: Plan, author: Author, ground: Ground, ends: asyncio.Event) -> None:
    doors: tuple[Door, ...] = ("http", "kafka") if plan.kafka else ("http",)
    while not ends.is_set():
        await ground.pace.take()
        await ground.traffic.publish(author.next(), ground.draw.choice(doors))


async def _ask(plan: Plan, author: Author, ground: Ground, ends: asyncio.Event) -> None:
    """One question in four may be answered by a cache."""
    through = Traffic(ground.http, ground.cached, author, plan.seed)
    while not ends.is_set():
        await ground.pace.take()
        doc_id, asking = ground.draw.choice(author.doc_ids), ground.draw.choice(plan.askers.asking)
        about = {"filter": {"about": {"eq": doc_id}}}
        if ground.draw.random() < 0.25:
            for read in await through.ask([doc_id], asking, about):
                read.cached = True  # it may have been, as far as one can tell
        else:
            await ground.traffic.ask([doc_id], asking, {**about, "cache": False})


async def _jobs(ground: Ground, ends: asyncio.Event) -> None:
    places, client = asyncio.Semaphore(JOBS_AT_ONCE), Client(ground.http, DEADLINE)

    async def one() -> None:
        async with places:
            await client.live(ground.job("steady"), f"What are the statements of {ground.prefix}?")

    async with asyncio.TaskGroup() as group:
        while not ends.is_set():
            await ground.pace.take(2)
            if not places.locked():
                group.create_task(one())


async def _misbehave(plan: Plan, ground: Ground, ends: asyncio.Event, tell: Callable[[str], None]) -> None:
    """One manner after the other, each a window, in an order that the seed draws."""
    while not ends.is_set():
        for manner in ground.draw.sample(MANNERS, len(MANNERS)):
            with suppress(TimeoutError):
                await asyncio.wait_for(ends.wait(), RESTS * plan.every if plan.rest is None else plan.rest)
            if ends.is_set():
                return
            tell(manner.name)
            now = ground.history.now()
            window = Window(manner.name, now, injected=now)
            ground.history.windows.append(window)
            try:
                async with asyncio.timeout(MANNER_SECONDS):
                    await manner.run(ground)
            except (httpx.HTTPError, OSError, TimeoutError) as error:
                window.error = repr(error)[:200]
            window.released = window.healed = ground.history.now()


async def _look(ground: Ground, ends: asyncio.Event) -> None:
    """Whether the door says that it is ready, once a second."""
    while not ends.is_set():
        sample = Sample(ground.history.now())
        ground.history.samples.append(sample)
        with suppress(httpx.HTTPError, OSError):
            sample.ready = (await ground.http.get("/readyz")).status_code == 200
        await asyncio.sleep(1)


def _say_left(removal: Removal, tell: Callable[[str], None]) -> None:
    for doc_id, reason in list(removal.left.items())[:5]:
        tell(f"not removed: {doc_id}: {reason}")
    if len(removal.left) > 5:
        tell(f"not removed: {len(removal.left) - 5} more, see left.json")


def _save(out: Path, ground: Ground, outcome: Outcome) -> None:
    ground.history.save(out)
    ground.cached.save(out / "cached")
    rest = {"answers": ground.answers, "races": ground.races, "violations": outcome.violations}
    for name, found in (rest | {"left": outcome.removal.left}).items():
        (out / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    if find_spec("matplotlib"):  # a tool of developers, and no part of what is installed elsewhere
        draw(ground.history, out / "timeline.png")


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
