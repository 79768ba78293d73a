"""What a campaign once found, done again: `python -m chaos regression NAME`."""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from chaos.campaign import OUT, Campaign, choose, console
from chaos.checkers import Bounds
from chaos.nemesis import available, planned
from chaos.regressions import REGRESSIONS, Regression
from chaos.report import tell
from chaos.system import System, system


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 without violations, 1 with some."""
    parser = argparse.ArgumentParser(prog="python -m chaos regression", description=__doc__)
    parser.add_argument("name", nargs="?", choices=[each.name for each in REGRESSIONS])
    parser.add_argument("--out", type=Path, default=OUT.parent / "regression")
    options = parser.parse_args(arguments)
    if options.name is None:
        for each in REGRESSIONS:
            console.print(f"{each.name}: {each.broke} (seed {each.seed}, {', '.join(each.faults)})", soft_wrap=True)
        return 0
    found = next(each for each in REGRESSIONS if each.name == options.name)
    with system(options.out, found.seed, console.print) as running:
        return asyncio.run(_again(running, found, parser, options.out))


async def _again(running: System, found: Regression, parser: argparse.ArgumentParser, out: Path) -> int:
    faults, missing = available([choose([name], parser)[0] for name in found.faults], running.site)
    if missing:
        console.print(f"cannot be done here: {', '.join(missing)}")
        return 1
    campaign = Campaign(running, found.seconds, out, running.bounds(Bounds()))
    verdict = await campaign.run(found.seed, planned(found.seed, faults), name=found.name)
    tell(verdict, console)
    return 0 if verdict.clean else 1
