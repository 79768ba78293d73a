"""The vector store is away for a while: keyword search must take over by itself, and say so.

Questions at a steady rate and edits beside them, through the public door, on a stack of its own whose Weaviate is
reached through a proxy.  First a run without a fault, then one for each kind of outage: connections refused, and a
network that swallows everything.  Judged from what was recorded.
"""

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, quantiles

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from chaos.pages import Editor, Page, questions_of, repository_pages
from chaos.proxies import Proxies, proxies
from chaos.questions import Asked, Asker
from deploy.local.own_stack import OwnStack, own_stack
from deploy.local.programs import ROOT
from runtime.settings import Settings

PORT_BASE = "18900"
STORE = ("weaviate", "weaviate-grpc")
KINDS = ("refused", "black-hole")
MOST_SLOWER = 1.05  # mean of a run with an outage to one without
NORMAL_SECONDS = 10.0  # from the end of the outage to the first answers that are not degraded
console = Console(highlight=False)


@dataclass
class Run:
    """One run: what was asked, and from when to when the store was away (on the clock of the questions)."""

    kind: str
    asked: list[Asked]
    began: float = 0.0
    ended: float = 0.0
    edits: int = 0
    edits_lost: int = 0

    @property
    def inside(self) -> list[Asked]:
        """Questions that were due during the outage."""
        return [asked for asked in self.asked if self.began <= asked.due < self.ended]

    @property
    def normal_after(self) -> float | None:
        """Seconds from the end of the outage to the first of ten answers in a row that are whole."""
        after = [asked for asked in self.asked if asked.due >= self.ended]
        for place, asked in enumerate(after):
            if all(not one.degraded and one.error is None for one in after[place : place + 10]):
                return asked.due - self.ended
        return None


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 when every promise held, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m chaos outage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="length of each run (default 300)")
    parser.add_argument("--outage", type=float, default=30, help="length of the outage (default 30)")
    parser.add_argument("--rate", type=float, default=8, help="questions a second (default 8)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=Path, default=ROOT / ".freshet" / "chaos-reports" / "outage")
    options = parser.parse_args(arguments)
    with _stack(options.out) as (stack, between):
        runs = asyncio.run(_drive(stack, between, options))
    _save(runs, options.out)
    broken = judge(runs, Settings.from_env(stack.environment).queries.search_timeout)
    _report(runs, broken, options.out)
    return 1 if broken else 0


@contextmanager
def _stack(out: Path) -> Iterator[tuple[OwnStack, Proxies]]:
    base = os.environ.get("FRESHET_PORT_BASE", PORT_BASE)
    with (
        proxies(int(base), STORE, out / "toxiproxy.log") as between,
        own_stack("chaos", base, {"FRESHET_PREFIX": f"o{int(time.time()):x}", **between.settings}) as stack,
    ):
        yield stack, between


async def _drive(stack: OwnStack, between: Proxies, options: argparse.Namespace) -> list[Run]:
    pages = repository_pages()
    async with httpx.AsyncClient(base_url=stack.door, timeout=30) as http:
        editor = Editor(http, pages)
        await editor.publish_all()
        await _once(http, editor, pages, options.rate, 20, "warm-up")
        runs = [await _once(http, editor, pages, options.rate, options.seconds, "none")]
        for kind in options.kinds:
            fault = _away(between, kind, (options.seconds - options.outage) / 2, options.outage)
            runs += [await _once(http, editor, pages, options.rate, options.seconds, kind, fault)]
    return runs


async def _once(
    http: httpx.AsyncClient, editor: Editor, pages: Sequence[Page], rate: float, seconds: float, kind: str,
    fault: Coroutine[None, None, tuple[float, float]] | None = None,
) -> Run:  # fmt: skip
    asker, stop, edits = Asker(http, questions_of(pages), rate), asyncio.Event(), editor.edits
    work = [asyncio.create_task(asker.run(stop)), asyncio.create_task(editor.run(stop, 2.0))]
    away = asyncio.create_task(fault) if fault else None
    with Progress(console=console) as progress:
        for _ in progress.track(range(round(seconds)), description=f"outage: {kind}"):
            await asyncio.sleep(1)
    stop.set()
    await asyncio.gather(*work)
    began, ended = await away if away else (0.0, 0.0)
    return Run(kind, asker.asked, began, ended, editor.edits - edits, await editor.missing())


async def _away(between: Proxies, kind: str, after: float, seconds: float) -> tuple[float, float]:
    """Take the store away after a while and bring it back; from when to when it was away."""
    await asyncio.sleep(after)
    await asyncio.to_thread(between.refuse if kind == "refused" else between.swallow, *STORE)
    began = time.monotonic()
    await asyncio.sleep(seconds)
    await asyncio.to_thread(between.heal)
    return began, time.monotonic()


def judge(runs: Sequence[Run], vector_deadline: float) -> list[str]:
    """What was promised and not kept; the first run is the one without a fault."""
    calm, broken = runs[0], []
    for one in runs:
        failed = [asked for asked in one.asked if asked.error is not None]
        if failed:
            broken.append(f"{one.kind}: {len(failed)} questions failed, the first with {failed[0].error}")
        if one.edits_lost:
            broken.append(f"{one.kind}: {one.edits_lost} edits did not become visible")
        empty = sum(not asked.passages for asked in one.asked if asked.error is None)
        if empty:
            broken.append(f"{one.kind}: {empty} answers without a passage")
    for one in runs[1:]:
        silent = [asked for asked in one.inside[10:] if asked.error is None and not asked.degraded]
        if silent:
            broken.append(f"{one.kind}: {len(silent)} answers in the outage are not labelled")
        ratio = _mean(one.asked) / _mean(calm.asked)
        if ratio > MOST_SLOWER:
            broken.append(f"{one.kind}: mean latency is {ratio:.2f} of the run without a fault")
        if _p99(one.inside) > _p99(calm.asked) + vector_deadline:
            broken.append(f"{one.kind}: p99 in the outage is more than a vector deadline above the calm run's")
        if one.normal_after is None or one.normal_after > NORMAL_SECONDS:
            broken.append(f"{one.kind}: not normal within {NORMAL_SECONDS:g} s of the end of the outage")
    return broken


def _mean(asked: Sequence[Asked]) -> float:
    return mean([one.took for one in asked])


def _p99(asked: Sequence[Asked]) -> float:
    return quantiles([one.took for one in asked], n=100)[98]


def _save(runs: Sequence[Run], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for one in runs:
        (out / f"{one.kind}.json").write_text(json.dumps(asdict(one)))


def _report(runs: Sequence[Run], broken: Sequence[str], out: Path) -> None:
    table = Table(
        "outage", "questions", "failed", "degraded", "mean", "of calm", "p99", "p99 inside", "normal after", "edits"
    )
    calm = _mean(runs[0].asked)
    for one in runs:
        normal = one.normal_after if one.began else None
        table.add_row(
            one.kind,
            str(len(one.asked)),
            str(sum(asked.error is not None for asked in one.asked)),
            str(sum(bool(asked.degraded) for asked in one.asked)),
            f"{_mean(one.asked) * 1000:.1f} ms",
            f"{_mean(one.asked) / calm:.3f}",
            f"{_p99(one.asked) * 1000:.0f} ms",
            f"{_p99(one.inside) * 1000:.0f} ms" if one.began else "",
            "" if normal is None else f"{normal:.1f} s",
            f"{one.edits - one.edits_lost} of {one.edits}",
        )
    console.print(table)
    for one in runs[1:]:
        labels = Counter(label for asked in one.inside for label in asked.degraded)
        console.print(f"{one.kind}, labels in the outage: {dict(labels)}")
    for text in broken:
        console.print(f"  [red]broken[/red] {text}")
    console.print(f"history: {out}")
