"""The same questions again and again while their documents change: nothing that is cached may outlive a change.

Readers ask in turn for all that is known of a document, a writer edits, hides and deletes, and caches are on: on a stack
of its own, through the public door, judged from the recorded history as `atomicity` is.
"""

import argparse
import asyncio
import os
import re
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from chaos.checks import Violation, judge
from chaos.documents import Author
from chaos.history import History
from chaos.traffic import Traffic
from chaos.workers import in_place_of
from deploy.local.own_stack import OwnStack, own_stack
from deploy.local.programs import ROOT

PORT_BASE = "18700"
LEAST_RATIO = 0.3  # of questions that the cache answers; with fewer the run says nothing
DEADLINE = 600.0
METRICS_PORT_OFFSET = 99  # of a worker in place of the stack's own
_COUNT = re.compile(r'^cache_(hits|misses)_total\{cache="passages"\} ([\d.e+]+)', re.MULTILINE)
_REFUSED = re.compile(r'^freshet_cache_refused_total\{reason="([a-z-]+)"\} ([\d.e+]+)', re.MULTILINE)
console = Console(highlight=False)


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 without violations and with enough hits, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m chaos cache", description=__doc__)
    parser.add_argument("--questions", type=int, default=1000, help="questions asked (default 1000)")
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.15, help="seconds between changes (default 0.15)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--retriever", help="command to run in place of the retrieve worker, e.g. a broken one")
    parser.add_argument("--out", type=Path, default=ROOT / ".freshet" / "chaos-reports" / "cache")
    options = parser.parse_args(arguments)
    console.print(f"seed {options.seed}")
    base = os.environ.get("FRESHET_PORT_BASE", PORT_BASE)
    metrics = f"http://127.0.0.1:{int(base) + METRICS_PORT_OFFSET}/metrics"
    settings = {"FRESHET_PREFIX": f"h{options.seed:x}"}
    with own_stack("chaos", base, settings) as stack, _retriever(options.retriever, stack, int(base)):
        address = metrics if options.retriever else stack.metrics("retrieve")
        history, counts = asyncio.run(_drive(stack.door, address, options))
    history.save(options.out)
    violations = judge(history)
    ratio = counts["hits"] / max(1, counts["hits"] + counts["misses"])
    _report(history, violations, counts, ratio)
    return 1 if violations or ratio < LEAST_RATIO else 0


def _retriever(command: str | None, stack: OwnStack, base: int) -> AbstractContextManager[None]:
    if not command:
        return nullcontext()
    own = {"FRESHET_METRICS_PORT": str(base + METRICS_PORT_OFFSET)}
    return in_place_of("retrieve", shlex.split(command), stack, own)


async def _drive(door: str, metrics: str, options: argparse.Namespace) -> tuple[History, Counter[str]]:
    history, stop = History(), asyncio.Event()
    author = Author(options.seed, [f"statements/{n}" for n in range(6)], ["ann", "bob"])
    async with httpx.AsyncClient(base_url=door, timeout=15) as http:
        traffic = Traffic(http, history, author, options.seed)
        work = [asyncio.create_task(traffic.write(stop, options.pause))]
        work += [asyncio.create_task(traffic.read(stop, 0.0)) for _ in range(options.readers)]
        with Progress(console=console) as progress:
            task = progress.add_task("questions", total=options.questions)
            async with asyncio.timeout(DEADLINE):
                while len(history.reads) < options.questions and not any(one.done() for one in work):
                    await asyncio.sleep(0.2)
                    progress.update(task, completed=min(len(history.reads), options.questions))
        stop.set()
        await asyncio.gather(*work)
        await traffic.settle()
        told = (await http.get(metrics)).text
    counts = Counter({name: int(float(value)) for name, value in _COUNT.findall(told)})
    return history, counts + Counter({name: int(float(value)) for name, value in _REFUSED.findall(told)})


def _report(history: History, violations: Sequence[Violation], counts: Counter[str], ratio: float) -> None:
    table = Table("what", "count")
    table.add_row("revisions published", str(len(history.writes)))
    for result, count in sorted(Counter(read.result for read in history.reads).items()):
        table.add_row(f"questions {result}", str(count))
    table.add_row("hits", f"{counts['hits']} ({ratio:.0%})")
    for reason in ("changed", "not-fresh"):
        table.add_row(f"entries refused: {reason}", str(counts[reason]))
    kinds = Counter(violation.kind for violation in violations)
    for kind in ("mixed", "half", "revoked", "deleted", "stale", "vanished", "invented", "lost"):
        table.add_row(f"violations: {kind}", f"[{'red' if kinds[kind] else 'green'}]{kinds[kind]}[/]")
    console.print(table)
    for violation in violations[:5]:
        console.print(f"  [red]{violation.kind}[/red] {violation.doc_id}: {violation.detail}")
