"""Three times as many questions as can be answered, for a minute: those taken in are answered in time, the others are
told at once, nothing is lost, nothing grows, and as much is answered as at the peak.

Finds the peak in closed loop, then asks in open loop, from a process of its own, and records every question, and who
used the processors.  Where the one who asks stood still itself, that is told apart.  What is asked for are passages,
answers by quotes (the encoder is the limit), or answers by an endpoint that writes 50 tokens a second for each of 16
(the window is).
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, quantiles
from urllib.parse import urlsplit

import httpx
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from bench.cpu import Cpu
from bench.http_client import Connection
from bench.paced import paced
from bench.paces import closed, opened
from chaos.pages import Editor, questions_of, repository_pages
from deploy.local.own_stack import OwnStack, own_stack
from deploy.local.programs import ROOT

PORT_BASE = "18900"
GROWERS = ("gateway", "retrieve", "generate")
MOST_GROWN = 1.1  # memory at the end, as times that at second 10
LEAST_GOODPUT = 0.9  # of the peak
REFUSED_MS = 50.0
SETTLED = 10.0  # seconds into the overload from which memory and goodput count
CLIENTS = (16, 32)
TICK = 0.01  # seconds; by twice of which the one who asks must come late to count as standing still
GRACE = 1.0  # seconds behind the deadline in which the gateway may yet tell of it
console = Console(highlight=False)


@dataclass
class Asked:
    """One question; ``at`` counts from the begin of its phase.  ``state`` is the job's, where it was taken in.

    ``stood`` are the seconds of ``took`` in which the one who asks stood still; of those refused late only.
    """

    at: float
    took: float
    status: int
    state: str = ""
    cause: str = ""
    retry_after: float = 0.0
    stood: float = 0.0


@dataclass
class Overload:
    """What happened: answers a second at the peak, each question of the overload, memory by (second, program).

    ``after`` is the peak once more, behind the overload: a machine may be slower then, and not by our doing.  ``cores``
    are those that each program used in the overload, the one who asks and all others on the machine too.
    """

    peak: float
    rate: float
    seconds: float
    deadline: float
    asked: list[Asked] = field(default_factory=list)
    memory: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    cores: dict[str, float] = field(default_factory=dict)
    after: float | None = None

    def answered(self) -> list[Asked]:
        """Those that got their answer."""
        return [one for one in self.asked if one.state == "done"]

    def refused(self) -> list[Asked]:
        """Those that were not taken in."""
        return [one for one in self.asked if one.status == 429]

    @property
    def goodput(self) -> float:
        """Answers a second, once it has settled."""
        return answers_a_second(self.asked, SETTLED, self.seconds)

    def grown(self) -> dict[str, float]:
        """Memory in the last seconds as times that at second 10."""
        found = {}
        for name in self.memory[0][1] if self.memory else ():
            first = [sample[name] for at, sample in self.memory if SETTLED - 2 <= at < SETTLED + 2]
            last = [sample[name] for at, sample in self.memory if self.seconds - 4 <= at < self.seconds]
            found[name] = mean(last) / mean(first)
        return found


def answers_a_second(asked: Sequence[Asked], since: float, until: float) -> float:
    """Answers that came within a time; in closed loop some of those asked for come behind its end."""
    return sum(since <= one.at + one.took < until for one in asked if one.state == "done") / (until - since)


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 when every promise held, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m chaos overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of the overload (default 60)")
    parser.add_argument("--factor", type=float, default=3, help="times the peak (default 3)")
    parser.add_argument("--deadline", type=float, default=5, help="of each question, in seconds (default 5)")
    parser.add_argument("--peak-seconds", type=float, default=10, help="of each look for the peak (default 10)")
    parser.add_argument("--ask", choices=("passages", "quotes", "paced"), default="passages", help="(passages)")
    parser.add_argument("--out", type=Path, default=ROOT / ".freshet" / "chaos-reports" / "overload")
    options = parser.parse_args(arguments)
    base = os.environ.get("FRESHET_PORT_BASE", PORT_BASE)
    with ExitStack() as opened_:
        settings = {"FRESHET_PREFIX": f"l{int(time.time()):x}"}
        if options.ask == "paced":
            settings |= opened_.enter_context(paced(int(base) + 90))
        stack = opened_.enter_context(own_stack("chaos", base, settings))
        found = _drive(stack, options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "overload.json").write_text(json.dumps(asdict(found)))
    broken = judge(found)
    _report(found, broken, options.out)
    return 1 if broken else 0


def _drive(stack: OwnStack, options: argparse.Namespace) -> Overload:
    pages = repository_pages()

    async def publish() -> None:
        async with httpx.AsyncClient(base_url=stack.door, timeout=30) as http:
            await Editor(http, pages).publish_all()

    asyncio.run(publish())
    questions = questions_of(pages)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:

        def flood(seconds: float, clients: int = 0, rate: float = 0.0) -> list[Asked]:
            path = "/v1/retrieve" if options.ask == "passages" else "/v1/queries"
            return pool.submit(ask_all, stack.door + path, questions, seconds, options.deadline, clients, rate).result()

        flood(options.peak_seconds / 2, clients=8)  # warm

        def closed_loop(clients: int) -> float:
            asked = flood(options.peak_seconds, clients=clients)
            found = answers_a_second(asked, options.peak_seconds / 4, options.peak_seconds)
            console.print(f"{clients} clients: {found:.1f} answers a second")
            return found

        peaks = {closed_loop(clients): clients for clients in CLIENTS}
        peak = max(peaks)
        found = Overload(peak, peak * options.factor, options.seconds, options.deadline)
        console.print(f"overload: {found.rate:.0f} questions a second for {found.seconds:g} s")
        used = Cpu(stack, pool.submit(os.getpid).result())
        before, began = _busy(), time.monotonic()
        with memory_of(stack, found.memory), used:
            found.asked = flood(options.seconds, rate=found.rate)
        busy = (_busy() - before) / (time.monotonic() - began)
        found.after = closed_loop(peaks[peak])
    found.cores = {**used.cores, "others": round(busy - sum(used.cores.values()), 2)}
    return found


def _busy() -> float:
    """Processor seconds of the whole machine."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


@contextmanager
def memory_of(stack: OwnStack, samples: list[tuple[float, dict[str, float]]]) -> Iterator[None]:
    """Sample the resident memory of those that might grow, once a second."""
    processes = {name: psutil.Process(pid) for name in GROWERS if (pid := stack.pid(name))}
    over, began = threading.Event(), time.monotonic()

    def watch() -> None:
        while not over.wait(1.0):
            samples.append((time.monotonic() - began, {n: p.memory_info().rss for n, p in processes.items()}))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def ask_all(
    address: str, questions: Sequence[str], seconds: float, deadline: float, clients: int, rate: float
) -> list[Asked]:
    """One phase, in the process that asks; its collections of garbage shall not be charged to the gateway."""
    gc.disable()
    return uvloop.run(_ask_all(address, questions, seconds, deadline, clients, rate))


async def _ask_all(
    address: str, questions: Sequence[str], seconds: float, deadline: float, clients: int, rate: float
) -> list[Asked]:
    place, asked = urlsplit(address), list[Asked]()
    free: list[Connection] = []
    began = time.monotonic()
    headers = f"Prefer: wait={deadline + GRACE + 5:.0f}\r\n"

    async def ask(question: str) -> bytes:
        connection = free.pop() if free else Connection(str(place.hostname), int(place.port or 80))
        body = {"question": question, "timeout": deadline, "cache": False, "k": 3}
        at = time.monotonic()
        status, content = await connection.post(place.path, json.dumps(body).encode(), headers)
        took = time.monotonic() - at
        free.append(connection)
        one = Asked(at - began, took, status)
        if status == 429:
            told = json.loads(content)
            one.cause, one.retry_after = told["cause"], told["retry_after"]
        elif status in (200, 202):
            one.state = json.loads(content).get("state", "done")
        asked.append(one)
        return b""

    draw = random.Random(7)
    endless, stood = iter(lambda: draw.choice(questions), None), list[tuple[float, float]]()
    watching = asyncio.create_task(_watch_itself(began, stood))
    taken = await (closed(ask, endless, clients, seconds) if clients else opened(ask, endless, rate, seconds, 7))
    asked += [Asked(0.0, 0.0, 0, state=error) for error in taken.errors]
    watching.cancel()
    for connection in free:
        connection.close()
    for one in late_refusals(asked):
        one.stood = sum(max(0.0, min(one.at + one.took, until) - max(one.at, since)) for since, until in stood)
    return asked


async def _watch_itself(began: float, stood: list[tuple[float, float]]) -> None:
    """Note when this loop does not come round, for want of a processor or of doing."""
    while True:
        due = time.monotonic() + TICK
        await asyncio.sleep(TICK)
        if (now := time.monotonic()) > due + TICK:
            stood.append((due - began, now - began))


def late_refusals(asked: Sequence[Asked]) -> list[Asked]:
    """Refused, but not at once."""
    return [one for one in asked if one.status == 429 and one.took * 1000 > REFUSED_MS]


def judge(found: Overload) -> list[str]:
    """What was promised and not kept."""
    broken = []
    others = Counter(f"{one.status} {one.state}" for one in found.asked if one.status != 429 and one.state != "done")
    if others:
        broken.append(f"neither answered nor refused: {dict(others)}")
    if late := [one.took for one in found.answered() if one.took > found.deadline + GRACE]:
        broken.append(f"{len(late)} answers came behind their deadline, the last after {max(late):.1f} s")
    refused = found.refused()
    if not refused:
        broken.append("nobody was refused: this was no overload")
    if slow := late_refusals(refused):
        most, own = max(one.took for one in slow) * 1000, sum((o.took - o.stood) * 1000 <= REFUSED_MS for o in slow)
        told = f"{len(slow)} of {len(refused)} were refused after more than 50 ms, one after {most:.0f} ms"
        broken.append(f"{told} ({own} because the one who asks stood still)" if own else told)
    if early := sum(one.retry_after < 1 for one in refused):
        broken.append(f"{early} were told to come again in less than a second")
    peak = mean([found.peak, found.peak if found.after is None else found.after])
    if found.goodput < LEAST_GOODPUT * peak:
        broken.append(f"{found.goodput:.1f} answers a second under overload, {peak:.1f} at the peak")
    for name, times in found.grown().items():
        if times > MOST_GROWN:
            broken.append(f"{name} has {times:.2f} times its memory at second {SETTLED:g}")
    return broken


def _report(found: Overload, broken: Sequence[str], out: Path) -> None:
    table = Table("", "questions", "p50 ms", "p99 ms", "most ms", title=f"{found.rate:.0f} questions a second")
    for name, those in (("answered", found.answered()), ("refused", found.refused())):
        times = [one.took * 1000 for one in those]
        cuts = quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
        table.add_row(name, str(len(those)), f"{cuts[49]:.1f}", f"{cuts[98]:.1f}", f"{max(times, default=0):.1f}")
    console.print(table)
    after = "" if found.after is None else f", afterwards {found.after:.1f}"
    console.print(f"peak {found.peak:.1f}{after}, under overload {found.goodput:.1f} answers a second")
    console.print(f"refused for: {dict(Counter(one.cause for one in found.refused()))}")
    console.print("memory, end / second 10: " + ", ".join(f"{n} {t:.3f}" for n, t in found.grown().items()))
    console.print("cores: " + ", ".join(f"{name} {cores:.2f}" for name, cores in found.cores.items()))
    for text in broken:
        console.print(f"  [red]broken[/red] {text}")
    console.print(f"history: {out}")
