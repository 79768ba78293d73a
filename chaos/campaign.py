"""Traffic of every kind while faults are done to the whole system by a schedule from a seed; judged from history.

The stack is started once for all seeds.  Of each there is a folder with the history, what programs wrote and counted,
a picture and the verdict.  What fails is said with the smallest set of faults that still fails, if that is asked for.
"""

import argparse
import asyncio
import json
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from chaos.checkers import Bounds
from chaos.drive import Run, drive
from chaos.faults import FAULTS, Fault
from chaos.history import History, Violation
from chaos.nemesis import Planned, available, schedule
from chaos.report import Folder, audit, tell, totals
from chaos.samples import metrics_of
from chaos.shrink import shrink
from chaos.system import System, system
from chaos.verdict import Verdict, together, verdict_of
from chaos.workers import in_place_of
from deploy.local.programs import ROOT

OUT = ROOT / ".freshet" / "chaos-reports" / "campaign"
console = Console(highlight=False)


@dataclass
class Campaign:
    """Runs on one system, one after another."""

    system: System
    seconds: float
    out: Path
    bounds: Bounds
    done: int = 0

    async def run(self, seed: int, plan: Sequence[Planned], missing: Sequence[str] = (), name: str = "") -> Verdict:
        """One, with its folder; ``name`` is the folder's where it is not the seed's own run."""
        out = self.out / (name or f"seed-{seed}")
        stack, doors = self.system.site.stack, self.system.doors
        folder = Folder(out, stack, await metrics_of(stack, doors))
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task(f"seed {seed}, {len(plan)} faults", total=self.seconds)
            run = Run(self.system, seed, self.done, self.seconds, plan, bounds=self.bounds)
            run.tell = lambda completed: progress.update(bar, completed=completed)
            run.say = lambda text: progress.console.print(f"  {text}", soft_wrap=True)
            self.done += 1
            history, found = History(seed=seed, began=History.now(), missing=list(missing)), list[Violation]()
            try:
                await drive(run, history)
            except Exception as error:  # a run that cannot go on is a finding, and the next seed may tell more
                console.print_exception()
                found.append(Violation("ended", "run", repr(error)[:300], history.now()))
            finally:
                history.save(out)
            found += await asyncio.to_thread(audit, stack, out)
        verdict = verdict_of(history, self.bounds, found)
        folder.save(history, verdict, await metrics_of(stack, doors))
        return verdict


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 without violations, 1 with some."""
    parser = argparse.ArgumentParser(prog="python -m chaos campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the first one (default: by the clock)")
    parser.add_argument("--seeds", type=int, help="how many (default 1, or as many as fit)")
    parser.add_argument("--minutes", type=float, help="begin no further seed that would not end within this time")
    parser.add_argument("--seconds", type=float, default=90, help="of traffic for each seed, or more (default 90)")
    parser.add_argument("--faults", nargs="+", metavar="NAME", help="only these: KIND:TARGET, or KIND for all of it")
    parser.add_argument("--only", nargs="+", type=int, metavar="INDEX", help="only these of the schedule, from 0")
    parser.add_argument("--shrink", action="store_true", help="find the fewest faults with which a seed fails")
    parser.add_argument(
        "--replace", nargs="+", default=[], metavar="WORKER=COMMAND", help="run broken ones, to be found"
    )
    parser.add_argument("--three", action="store_true", help="three brokers and stores: partitions can be moved")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    broken = dict(each.split("=", 1) for each in options.replace)
    chosen = [fault for fault in choose(options.faults, parser) if fault.name.partition(":")[2] not in broken]
    console.print(f"seed {options.seed}")
    began = time.monotonic()
    with (
        system(options.out, options.seed, console.print, three=options.three) as running,
        ExitStack() as workers,
    ):
        for worker, command in broken.items():
            workers.enter_context(in_place_of(worker, shlex.split(command), running.site.stack))
        verdicts = asyncio.run(_seeds(running, chosen, options, began))
    everything = together(verdicts)
    totals(everything, len(verdicts), console)
    (options.out / "totals.json").write_text(json.dumps(asdict(everything), indent=1))
    console.print(f"reports: {options.out}")
    return 0 if verdicts and everything.clean else 1


def choose(names: Sequence[str] | None, parser: argparse.ArgumentParser) -> list[Fault]:
    """Faults by name, or all of a kind."""
    if names is None:
        return list(FAULTS)
    unknown = [name for name in names if not any(name in (f.name, f.name.partition(":")[0]) for f in FAULTS)]
    if unknown:
        parser.error(f"no fault is named {', '.join(unknown)}; known are {', '.join(f.name for f in FAULTS)}")
    return [fault for fault in FAULTS if {fault.name, fault.name.partition(":")[0]} & set(names)]


async def _seeds(running: System, chosen: Sequence[Fault], options: argparse.Namespace, began: float) -> list[Verdict]:
    campaign, verdicts = Campaign(running, options.seconds, options.out, running.bounds(Bounds())), list[Verdict]()
    faults, missing = available(chosen, running.site)
    for seed in seeds_of(options, began):
        plan = schedule(seed, faults, options.seconds)
        if options.only is not None:
            plan = [plan[index] for index in options.only]
        verdict = await campaign.run(seed, plan, missing)
        verdicts.append(verdict)
        tell(verdict, console)
        if options.shrink and not verdict.clean:
            await _shrink(campaign, seed, plan, verdict)
    return verdicts


def seeds_of(options: argparse.Namespace, began: float) -> Iterator[int]:
    """Seeds, as many as were asked for or fit."""
    number, longest = 0, 0.0
    while options.seeds is None or number < options.seeds:
        since = time.monotonic()
        yield options.seed + number
        number, longest = number + 1, max(longest, time.monotonic() - since)
        if options.minutes is None and options.seeds is None:
            return
        if options.minutes is not None and time.monotonic() + longest > began + options.minutes * 60:
            return


async def _shrink(campaign: Campaign, seed: int, plan: Sequence[Planned], first: Verdict) -> None:
    async def fails(indices: Sequence[int]) -> bool:
        name = f"seed-{seed}-only-{'-'.join(map(str, indices))}"
        again = await campaign.run(seed, [plan[index] for index in indices], name=name)
        tell(again, console)
        return bool(first.kinds.keys() & again.kinds.keys())

    least = await shrink(len(plan), fails)
    if least is None:
        console.print(f"seed {seed} fails by chance: not once more with all of its {len(plan)} faults")
        return
    console.print(f"seed {seed} fails with --only {' '.join(map(str, least))}; for chaos/regressions.py:")
    names = tuple(plan[index].fault.name for index in least)
    broke = "; ".join(first.kinds)
    console.print(f'    Regression("NAME", seed={seed}, faults={names!r}, broke="{broke}"),', soft_wrap=True)
