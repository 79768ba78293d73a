"""Encoding takes ten times as long for a while: work queues up where one can see it, and questions go on.

Whole pages are published again and again beside questions at a steady rate, on a stack of its own whose encoders are
slowed in mid-run.  Judged from what was recorded: the queue grew, it came back to nothing, every version became
visible, and no question failed or outlived its deadline.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import quantiles

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from chaos.pages import Editor, questions_of, repository_pages
from chaos.questions import SECONDS, Asked, Asker
from chaos.workers import in_place_of
from deploy.local.own_stack import own_stack
from deploy.local.programs import ROOT

PORT_BASE = "18900"
SLOWED = ("embed", "retrieve")
DRAIN_SECONDS = 180.0
_QUEUE = re.compile(r'^queue_length\{queue="embed"\} ([\d.e+]+)', re.MULTILINE)
console = Console(highlight=False)


@dataclass
class Spike:
    """What happened.  ``queue`` holds (time, records that wait for the embed lane), on the clock of the questions."""

    asked: list[Asked] = field(default_factory=list)
    queue: list[tuple[float, float]] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    edits: int = 0
    edits_lost: int = 0

    def longest(self, since: float, until: float) -> float:
        """The longest queue of a time."""
        return max((length for at, length in self.queue if since <= at < until), default=0.0)

    @property
    def drained_after(self) -> float | None:
        """Seconds from the end of the spike to the first empty queue."""
        return next((at - self.ended for at, length in self.queue if at >= self.ended and not length), None)


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 when every promise held, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m chaos spike", description=__doc__)
    parser.add_argument("--seconds", type=float, default=40, help="length of the spike (default 40)")
    parser.add_argument("--factor", type=float, default=10, help="how many times slower (default 10)")
    parser.add_argument("--rate", type=float, default=5, help="questions a second (default 5)")
    parser.add_argument("--pause", type=float, default=1, help="seconds between pages (default 1)")
    parser.add_argument("--out", type=Path, default=ROOT / ".freshet" / "chaos-reports" / "spike")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    factor, base = options.out / "factor", os.environ.get("FRESHET_PORT_BASE", PORT_BASE)
    factor.unlink(missing_ok=True)
    with own_stack("chaos", base, {"FRESHET_PREFIX": f"s{int(time.time()):x}"}) as stack, ExitStack() as workers:
        for name in SLOWED:
            command = [sys.executable, "-m", "chaos.slow_encoder", name, str(factor)]
            workers.enter_context(in_place_of(name, command, stack))
        found = asyncio.run(_drive(stack.door, factor, options))
    (options.out / "spike.json").write_text(json.dumps(asdict(found)))
    broken = judge(found)
    _report(found, broken, options.out)
    return 1 if broken else 0


async def _drive(door: str, factor: Path, options: argparse.Namespace) -> Spike:
    found, pages = Spike(), repository_pages()
    async with httpx.AsyncClient(base_url=door, timeout=30) as http:
        editor = Editor(http, pages)
        await editor.publish_all()
        asker, stop, edited = Asker(http, questions_of(pages), options.rate), asyncio.Event(), asyncio.Event()
        found.asked = asker.asked
        editing = asyncio.create_task(editor.run(edited, options.pause, whole=True))
        others = [asyncio.create_task(asker.run(stop)), asyncio.create_task(_watch(http, found, stop))]
        with Progress(console=console) as progress:
            await _pass(progress, "as quick as ever", 20)
            await asyncio.to_thread(factor.write_text, str(options.factor))
            found.began = time.monotonic()
            await _pass(progress, f"{options.factor:g} times slower", options.seconds)
            await asyncio.to_thread(factor.unlink)
            found.ended = time.monotonic()
            edited.set()
            await editing
            await _pass(progress, "the queue drains", DRAIN_SECONDS, found)
        stop.set()
        await asyncio.gather(*others)
        found.edits, found.edits_lost = editor.edits, await editor.missing()
    return found


async def _pass(progress: Progress, what: str, seconds: float, until_drained: Spike | None = None) -> None:
    for _ in progress.track(range(round(seconds)), description=what):
        await asyncio.sleep(1)
        if until_drained is not None and until_drained.drained_after is not None:
            return


async def _watch(http: httpx.AsyncClient, found: Spike, stop: asyncio.Event) -> None:
    while not stop.is_set():
        match = _QUEUE.search((await http.get("/metrics")).text)
        if match:
            found.queue.append((time.monotonic(), float(match[1])))
        await asyncio.sleep(1)


def judge(found: Spike) -> list[str]:
    """What was promised and not kept."""
    broken = []
    before, during = found.longest(0, found.began), found.longest(found.began, found.ended)
    if during <= before:
        broken.append(f"the queue was {during:g} long in the spike and {before:g} before: nobody could have seen it")
    if found.drained_after is None:
        broken.append(f"the queue did not drain within {DRAIN_SECONDS:g} s")
    if failed := [asked for asked in found.asked if asked.error is not None]:
        broken.append(f"{len(failed)} questions failed, the first with {failed[0].error}")
    if late := sum(asked.took > SECONDS for asked in found.asked):
        broken.append(f"{late} answers came behind their deadline of {SECONDS:g} s")
    if found.edits_lost:
        broken.append(f"{found.edits_lost} pages did not become visible in their last version")
    return broken


def _report(found: Spike, broken: Sequence[str], out: Path) -> None:
    table = Table("when", "questions", "p50", "p99", "degraded", "longest queue")
    for name, since, until in (("before", 0.0, found.began), ("in the spike", found.began, found.ended),
                               ("after", found.ended, float("inf"))):  # fmt: skip
        asked = [one for one in found.asked if since <= one.due < until]
        cuts = quantiles([one.took * 1000 for one in asked], n=100) if len(asked) > 1 else [0.0] * 99
        degraded = sum(bool(one.degraded) for one in asked)
        longest = f"{found.longest(since, until):g}"
        table.add_row(name, str(len(asked)), f"{cuts[49]:.0f} ms", f"{cuts[98]:.0f} ms", str(degraded), longest)
    console.print(table)
    drained = found.drained_after
    console.print(f"{found.edits} pages published, {found.edits_lost} of them not visible at the end")
    console.print("queue empty again: " + ("never" if drained is None else f"{drained:.0f} s after the spike"))
    for text in broken:
        console.print(f"  [red]broken[/red] {text}")
    console.print(f"history: {out}")
