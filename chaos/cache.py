"""Questions that come again and again, among edits, deletes and changes of access: nothing cached outlives a change.

On a stack of its own, through the public door, caches on.  Judged from the recorded history: a question that began
after a version was known to be visible must not show an older one, whoever asks; one that asks for a token must see
it; what is new is there after the time to live.  And the cache must have answered often enough to be worth judging.
With ``--edge`` everyone's questions go through Varnish, whose copies may be behind for as long as purging takes.
"""

import argparse
import asyncio
import json
import os
import re
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from chaos.checks import NO_EDGE, judge
from chaos.documents import Author
from chaos.edge import LEAST_HITS as LEAST_COPIES
from chaos.edge import RULES, Copies, edge_before
from chaos.history import History, Violation
from chaos.repeats import DOC_IDS, Repeats
from chaos.traffic import Traffic
from chaos.workers import in_place_of
from deploy.local.own_stack import OwnStack, own_stack
from deploy.local.programs import ROOT

PORT_BASE = "18700"
LEAST_HITS = 0.3
START_SECONDS = 90.0  # for a retrieve worker in place of the stack's to answer
OUTLIVED = ("stale", "revoked", "deleted")
KINDS = (*OUTLIVED, "behind", "vanished", "mixed", "half", "invented", "lost")
_COUNT = re.compile(r'^(cache_hits_total|cache_misses_total|freshet_cache_refused_total|freshet_cache_evicted_total)'
                    r'(?:\{\w+="([\w-]+)"\})? ([\d.e+]+)$', re.MULTILINE)  # fmt: skip
console = Console(highlight=False)


@dataclass
class Counts:
    """What the retrieve worker counted in the run; ``refused`` by reason."""

    hits: float
    misses: float
    evicted: float
    refused: dict[str, float]

    @property
    def hit_ratio(self) -> float:
        return self.hits / max(1.0, self.hits + self.misses)

    @classmethod
    def between(cls, before: str, after: str) -> "Counts":
        """From the worker's metrics before and after the run."""
        was, now = ({(m[1], m[2]): float(m[3]) for m in _COUNT.finditer(text)} for text in (before, after))
        grown = {place: value - was.get(place, 0.0) for place, value in now.items()}
        refused = {reason: n for (name, reason), n in grown.items() if name == "freshet_cache_refused_total"}
        hits, misses = (grown.get((f"cache_{what}_total", "passages"), 0.0) for what in ("hits", "misses"))
        return cls(hits, misses, grown.get(("freshet_cache_evicted_total", None), 0.0), refused)


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 when nothing outlived a change and the cache was of use, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m chaos cache", description=__doc__)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--every", type=int, default=10, help="questions to one edit (default 10)")
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--ttl", type=int, default=15, help="seconds that an entry is kept (default 15)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--retriever", help="command to run in place of the retrieve worker, e.g. a broken one")
    parser.add_argument("--edge", action="store_true", help="with Varnish before the stack")
    parser.add_argument("--purger", help="command to run in place of the purge worker, e.g. a broken one")
    parser.add_argument("--out", type=Path, default=ROOT / ".freshet" / "chaos-reports" / "cache")
    options = parser.parse_args(arguments)
    console.print(f"seed {options.seed}")
    settings = {"FRESHET_PREFIX": f"k{int(time.time()):x}", "FRESHET_CACHE_TTL": str(options.ttl)}
    base, edge = os.environ.get("FRESHET_PORT_BASE", PORT_BASE), None
    with ExitStack() as running:
        if options.edge:
            edge, told = running.enter_context(edge_before(base, options.out / "varnish"))
            settings |= told
        stack = running.enter_context(own_stack("chaos", base, settings))
        for name, command in (("retrieve", options.retriever), ("purge", options.purger)):
            if command:
                running.enter_context(in_place_of(name, shlex.split(command), stack))
        history, counts = asyncio.run(_drive(stack, options, edge))
    history.save(options.out)
    (options.out / "counts.json").write_text(json.dumps(asdict(counts)))
    violations = judge(history, options.ttl, RULES if edge else NO_EDGE)
    copies = Copies.of(history) if edge else None
    broken = promises(history, violations, counts, copies)
    _report(history, violations, counts, copies, broken)
    console.print(f"history: {options.out}")
    return 1 if broken else 0


async def _drive(stack: OwnStack, options: argparse.Namespace, edge: str | None) -> tuple[History, Counts]:
    history, author = History(), Author(options.seed, DOC_IDS, ["ann", "bob"])
    async with (
        httpx.AsyncClient(base_url=stack.door, timeout=15) as http,
        httpx.AsyncClient(base_url=edge, timeout=15) if edge else nullcontext() as through,
    ):
        traffic = Traffic(http, history, author, options.seed, through)
        repeats = Repeats(traffic, history, author, seed=options.seed, count=options.questions, every=options.every)
        await repeats.begin(START_SECONDS)
        before = (await http.get(stack.metrics("retrieve"))).text
        writing = asyncio.create_task(repeats.write())
        reading = [asyncio.create_task(repeats.read(0.1)) for _ in range(options.readers)]
        with Progress(console=console) as progress:
            task = progress.add_task("questions among edits", total=options.questions)
            while not all(each.done() for each in reading):
                await asyncio.wait(reading, timeout=1)
                progress.update(task, completed=repeats.asked)
        await asyncio.gather(*reading)
        repeats.end()
        await writing
        await traffic.settle()
        after = (await http.get(stack.metrics("retrieve"))).text
    return history, Counts.between(before, after)


def promises(
    history: History, violations: Sequence[Violation], counts: Counts, copies: Copies | None = None
) -> list[str]:
    """What was promised and not kept."""
    kinds, broken = Counter(violation.kind for violation in violations), list[str]()
    if outlived := sum(kinds[kind] for kind in OUTLIVED):
        broken.append(f"{outlived} times passages outlived a change")
    broken += [f"{kinds[kind]} times {kind}" for kind in KINDS if kinds[kind] and kind not in OUTLIVED]
    if failed := [read for read in history.reads if read.result != "ok"]:
        broken.append(f"{len(failed)} questions failed, the first with {failed[0].error}")
    if counts.hit_ratio <= LEAST_HITS:
        broken.append(f"the hit ratio was {counts.hit_ratio:.2f}: too little came out of the cache to be judged")
    if copies is not None and copies.hit_ratio <= LEAST_COPIES:
        broken.append(f"the edge's hit ratio was {copies.hit_ratio:.2f}: too little came from it to be judged")
    return broken


def _report(
    history: History, violations: Sequence[Violation], counts: Counts, copies: Copies | None, broken: Sequence[str]
) -> None:
    table, kinds = Table("what", "count"), Counter(violation.kind for violation in violations)
    asked = {(read.began, read.principal, read.ended): read for read in history.reads}.values()
    table.add_row("questions", str(len(asked)))
    table.add_row("answered by the cache", str(sum(read.cached for read in asked)))
    table.add_row("that asked for the newest version", str(sum(read.at_least is not None for read in history.reads)))
    table.add_row("degraded", str(sum(bool(read.degraded) for read in asked)))
    table.add_row("failed", str(sum(read.result != "ok" for read in asked)))
    table.add_row("revisions published", str(len(history.writes)))
    table.add_row("deletes among them", str(sum(write.revision.deletes for write in history.writes)))
    table.add_row("look-ups: hits", f"{counts.hits:.0f}")
    table.add_row("look-ups: misses", f"{counts.misses:.0f}")
    table.add_row("hit ratio", f"{counts.hit_ratio:.3f}")
    for reason, count in sorted(counts.refused.items()):
        table.add_row(f"entries refused at a hit: {reason}", f"{count:.0f}")
    table.add_row("entries evicted by events", f"{counts.evicted:.0f}")
    if copies is not None:
        table.add_row("questions through the edge", str(copies.asked))
        table.add_row("answered by its copies", str(copies.hits))
        table.add_row("passages of copies that were behind", str(len(copies.late)))
        table.add_row("the longest of them, s", f"{max(copies.late, default=0.0):.3f}")
    table.add_row("passages that outlived a change", str(sum(kinds[kind] for kind in OUTLIVED)))
    for kind in KINDS:
        table.add_row(f"violations: {kind}", f"[{'red' if kinds[kind] else 'green'}]{kinds[kind]}[/]")
    console.print(table)
    for violation in violations[:10]:
        console.print(f"  [red]{violation.kind}[/red] {violation.subject}: {violation.detail}")
    for text in broken:
        console.print(f"  [red]broken[/red] {text}")
