"""One run: traffic of every kind, faults by their plan, and then quiet until nothing is left to do.

Nothing is judged here, only done and written down.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx

from chaos import rows
from chaos.asking import Asking, Endpoint, deliveries_of
from chaos.checkers import Bounds
from chaos.checkers.calm import normal
from chaos.checkers.webhooks import owed
from chaos.documents import Author
from chaos.doors import POISONED, Away, KafkaDoor, balanced, kafka_door
from chaos.history import History, Letter, Poison
from chaos.letters import dead_letters
from chaos.nemesis import Planned, haunt
from chaos.probes import Probes
from chaos.receiver import Receiver, listening
from chaos.repeats import GROUPS, MEMBERS, Repeats
from chaos.samples import sample
from chaos.system import DELIVERY, System
from chaos.traffic import AGAIN, Traffic

CALL_SECONDS = 15.0
BEGIN_SECONDS = 120.0
BEGIN_CHANGES = 8  # of each writer, so that models are loaded and have run
SETTLE_SECONDS = 150.0
FAILING = 0.2  # of the requests to the endpoint for webhooks
STILL = 3  # samples in a row without lag
POISON_EVERY = 20.0  # seconds


@dataclass(frozen=True, slots=True)
class Load:
    """Seconds between two of a kind, of each client."""

    write: float = 0.5
    read: float = 1.0
    repeat: float = 1.0
    job: float = 2.0
    copy: float = 0.5
    writers: int = 2
    readers: int = 2


@dataclass
class Run:
    """What one run consists of.  ``number`` tells its documents from those of others in the same stack."""

    system: System
    seed: int
    number: int
    seconds: float
    plan: Sequence[Planned] = ()
    load: Load = field(default_factory=Load)
    bounds: Bounds = field(default_factory=Bounds)
    tell: Callable[[float], None] = lambda _: None  # seconds of traffic so far
    say: Callable[[str], None] = lambda _: None  # what is going on

    @property
    def prefix(self) -> str:
        """Of its documents' ids."""
        return f"s{self.seed}r{self.number}"


async def drive(run: Run, history: History) -> None:
    """Do it, to the end."""
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(balanced(list(run.system.doors.values()), CALL_SECONDS))
        kafka = await opened.enter_async_context(kafka_door(run.system.site.settings))
        receiver = Receiver(run.seed, FAILING, DELIVERY * 3)
        endpoint = Endpoint(http, await opened.enter_async_context(listening(receiver)), receiver)
        await endpoint.set_up()
        before = await _letters(run)
        edge = await opened.enter_async_context(_edge(run.system.edge))
        await _live(run, history, http, edge, kafka, receiver, endpoint)
        history.deliveries = deliveries_of(receiver)
        history.letters = [letter for letter in await _letters(run) if letter not in before]
        await endpoint.remove()


async def _letters(run: Run) -> list[Letter]:
    return await asyncio.to_thread(dead_letters, run.system.site.settings)


async def _live(
    run: Run,
    history: History,
    http: httpx.AsyncClient,
    edge: httpx.AsyncClient | None,
    kafka: KafkaDoor,
    receiver: Receiver,
    endpoint: Endpoint,
) -> None:
    groups = [[f"{run.prefix}g{group}/{member}" for member in range(MEMBERS)] for group in range(GROUPS)]
    everything, people = [doc_id for group in groups for doc_id in group], ["ann", "bob"]

    def traffic(doc_ids: list[str], seed: int) -> Traffic:
        author = Author(seed, doc_ids, people)
        return Traffic(http, history, author, seed, kafka=kafka, patience=SETTLE_SECONDS)

    writers = [traffic(everything[n :: run.load.writers], run.seed + n) for n in range(run.load.writers)]
    reader, author = traffic(everything, run.seed), Author(run.seed, everything, people)
    repeats = Repeats(reader, history, author, seed=run.seed, count=0, every=1)
    probes, asking = Probes(reader, history, f"{run.prefix}p"), Asking(http, history, endpoint)
    table = Author(run.seed, [f"{run.prefix}t/{number}" for number in range(rows.COUNT)], people)
    table_rows = rows.Rows(reader, history, table, kafka, run.system.table, SETTLE_SECONDS)
    stop, over = asyncio.Event(), asyncio.Event()
    await _begin(writers, history)
    sampling = asyncio.create_task(sample(run.system.site.stack, http, history, over))
    work = [asyncio.create_task(writer.write(stop, run.load.write)) for writer in writers]
    work += [asyncio.create_task(reader.read(stop, run.load.read)) for _ in range(run.load.readers)]
    work += [asyncio.create_task(_repeat(repeats, reader, stop, run.load.repeat)) for _ in range(run.load.readers)]
    work += [
        asyncio.create_task(probes.run(stop)),
        asyncio.create_task(asking.run(stop, run.load.job)),
        asyncio.create_task(endpoint.keep(stop)),
        asyncio.create_task(_poison(run, history, kafka, stop)),
        asyncio.create_task(table_rows.write(stop)),
    ]
    if edge is not None:
        through = Traffic(http, history, author, run.seed, edge=edge)
        work.append(asyncio.create_task(_copies(through, groups[0], stop, run.load.copy)))
    haunting = asyncio.create_task(haunt(run.system.site, run.plan, history, _well(history, run.bounds), run.say))
    until = history.now() + run.seconds
    while not (haunting.done() and history.now() >= until) and not any(task.done() for task in work):
        run.tell(min(run.seconds, run.seconds - until + history.now()))
        await asyncio.sleep(0.5)
    await haunting
    run.say("quiet: waiting until nothing is left to do")
    stop.set()
    await asyncio.gather(*work)
    with contextlib.suppress(TimeoutError):  # what is missing is missing in the history, and a checker's affair
        async with asyncio.timeout(SETTLE_SECONDS):
            await _settle(history, [*writers, reader], asking, receiver)
    over.set()
    await sampling
    history.ended = history.now()


async def _begin(writers: Sequence[Traffic], history: History) -> None:
    """Publish something and wait until questions are answered: what a start takes is no fault."""
    async with asyncio.timeout(BEGIN_SECONDS):
        for writer in writers:
            for _ in range(BEGIN_CHANGES):
                await writer.publish(writer.author.next())
            await writer.settle()
        while (await writers[0].ask(writers[0].author.doc_ids[:1], "", {"cache": False}))[0].result != "ok":
            await asyncio.sleep(0.2)
    history.reads.clear()
    history.began = history.now()


async def _repeat(repeats: Repeats, reader: Traffic, stop: asyncio.Event, pause: float) -> None:
    while not stop.is_set():
        await reader.ask(*repeats.question())
        await asyncio.sleep(pause)


def _edge(address: str) -> contextlib.AbstractAsyncContextManager[httpx.AsyncClient | None]:
    return httpx.AsyncClient(base_url=address, timeout=CALL_SECONDS) if address else contextlib.nullcontext()


async def _copies(through: Traffic, doc_ids: Sequence[str], stop: asyncio.Event, pause: float) -> None:
    """Ask about few documents, so often that an edge keeps copies."""
    for doc_id in itertools.cycle(doc_ids):
        if stop.is_set():
            return
        await through.ask([doc_id], "", {"filter": {"about": {"eq": doc_id}}})
        await asyncio.sleep(pause)


async def _poison(run: Run, history: History, kafka: KafkaDoor, stop: asyncio.Event) -> None:
    """What cannot be taken, now and then: one whose fate is not known is sent again, and may have two letters."""
    while not stop.is_set():
        poison = Poison(f"{run.prefix}x/{len(history.poisons)}", POISONED, history.now())
        history.poisons.append(poison)
        while True:
            try:
                await kafka.poison(poison.key)
                break
            except Away:
                await asyncio.sleep(AGAIN)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), POISON_EVERY)


def _well(history: History, bounds: Bounds) -> Callable[[float], str | None]:
    """Whether so many probes in a row have become normal since a moment; those too young to tell are left out."""

    def wrong(since: float) -> str | None:
        run = 0
        for probe in history.probes:
            if probe.at >= since:
                run = run + 1 if normal(probe, bounds) else 0
                if run >= bounds.normal:
                    return None
        return f"no {bounds.normal} normal probes in a row for {history.now() - since:.0f} s"

    return wrong


async def _settle(history: History, traffic: Sequence[Traffic], asking: Asking, receiver: Receiver) -> None:
    """Until every change has its outcome, every job its end, every endpoint was told, and nothing waits."""
    await asyncio.gather(*(each.settle() for each in traffic), asking.settle())
    due = owed(history)
    since = history.now()
    while True:
        untold = due - {a.job_id for a in receiver.arrivals if a.answered == "taken"}
        last = [s.lag for s in history.samples[-STILL:] if s.at >= since]
        if not untold and len(last) == STILL and all(lag and not any(lag.values()) for lag in last):
            return
        await asyncio.sleep(0.2)
