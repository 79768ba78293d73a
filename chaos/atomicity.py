"""Readers against a writer while workers are killed: no answer may hold two versions, a part of one, or what is gone.

Afterwards `freshet audit` must find nothing: what readers saw was right, and so is what nobody looked at.
`python -m chaos atomicity`: on a stack of its own, through the public door, judged from the recorded history.
"""

import argparse
import asyncio
import os
import random
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from chaos.checks import judge
from chaos.documents import Author
from chaos.history import Fault, History, Violation
from chaos.traffic import Traffic
from chaos.workers import in_place_of
from deploy.local.own_stack import OwnStack, own_stack, process_environment
from deploy.local.programs import ROOT

PORT_BASE = "18700"
VICTIMS = ("chunk", "embed", "index", "retrieve", "gateway")
console = Console(highlight=False)


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 without violations and drift, 1 with some."""
    parser = argparse.ArgumentParser(prog="python -m chaos atomicity", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="length of the run (default 300)")
    parser.add_argument("--kill-every", type=float, default=15, help="seconds between kills; 0 kills nobody")
    parser.add_argument("--readers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--retriever", help="command to run in place of the retrieve worker, e.g. a broken one")
    parser.add_argument("--out", type=Path, default=ROOT / ".freshet" / "chaos-reports" / "atomicity")
    options = parser.parse_args(arguments)
    console.print(f"seed {options.seed}")
    settings = {"FRESHET_PREFIX": f"c{options.seed:x}", "FRESHET_POISON_LIMIT": "20"}
    base = os.environ.get("FRESHET_PORT_BASE", PORT_BASE)
    with own_stack("chaos", base, settings) as stack, _retriever(options.retriever, stack):
        history = asyncio.run(_drive(stack, options))
        audited = _audit(stack)
    history.save(options.out)
    violations = judge(history)
    _report(history, violations, options.out)
    return 1 if violations or audited else 0


def _retriever(command: str | None, stack: OwnStack) -> AbstractContextManager[None]:
    return in_place_of("retrieve", shlex.split(command), stack) if command else nullcontext()


def _audit(stack: OwnStack) -> int:
    command, environment = [sys.executable, "-m", "cli", "audit"], process_environment(stack.environment)
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=300).returncode


async def _drive(stack: OwnStack, options: argparse.Namespace) -> History:
    history, stop = History(), asyncio.Event()
    author = Author(options.seed, [f"statements/{n}" for n in range(12)], ["ann", "bob"])
    async with httpx.AsyncClient(base_url=stack.door, timeout=15) as http:
        traffic = Traffic(http, history, author, options.seed)
        work = [asyncio.create_task(traffic.write(stop, 0.05))]
        work += [asyncio.create_task(traffic.read(stop, 0.01)) for _ in range(options.readers)]
        if options.kill_every:
            work.append(asyncio.create_task(_kill(stack, history, stop, options)))
        with Progress(console=console) as progress:
            task = progress.add_task("readers against a writer", total=options.seconds)
            until = time.monotonic() + options.seconds
            while time.monotonic() < until and not any(t.done() for t in work):
                await asyncio.sleep(1)
                progress.update(task, completed=options.seconds - max(0.0, until - time.monotonic()))
        stop.set()
        await asyncio.gather(*work)
        await traffic.settle()
    return history


async def _kill(stack: OwnStack, history: History, stop: asyncio.Event, options: argparse.Namespace) -> None:
    draw = random.Random(options.seed)
    victims = [v for v in VICTIMS if not (options.retriever and v == "retrieve")]
    while True:
        try:
            async with asyncio.timeout(options.kill_every):
                await stop.wait()
            return
        except TimeoutError:
            victim = draw.choice(victims)
        try:
            await asyncio.to_thread(stack.send, victim)
        except (RuntimeError, ProcessLookupError):
            continue  # it is being started again after the last kill
        history.faults.append(Fault(f"kill -9 {victim}", history.now()))


def _report(history: History, violations: Sequence[Violation], out: Path) -> None:
    table = Table("what", "count")
    reads = Counter(read.result for read in history.reads)
    table.add_row("revisions published", str(len(history.writes)))
    table.add_row("kills", str(len(history.faults)))
    for result, count in sorted(reads.items()):
        table.add_row(f"reads {result}", str(count))
    table.add_row("reads that showed a document", str(sum(bool(read.passages) for read in history.reads)))
    table.add_row("passages in the longest", str(max((len(read.passages) for read in history.reads), default=0)))
    table.add_row("reads degraded", str(sum(bool(read.degraded) for read in history.reads)))
    kinds = Counter(violation.kind for violation in violations)
    for kind in ("mixed", "half", "revoked", "deleted", "stale", "vanished", "invented", "lost"):
        table.add_row(f"violations: {kind}", f"[{'red' if kinds[kind] else 'green'}]{kinds[kind]}[/]")
    console.print(table)
    for violation in violations[:10]:
        console.print(f"  [red]{violation.kind}[/red] {violation.subject}: {violation.detail}")
    console.print(f"history: {out}")
