"""Steady traffic of every kind without faults, for an hour: nothing broken, memory flat, and no question slower."""

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from chaos.campaign import OUT, Campaign, console
from chaos.checkers import SOAK
from chaos.report import tell, totals
from chaos.system import system


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 without violations, 1 with some."""
    parser = argparse.ArgumentParser(prog="python -m chaos soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, default=OUT.parent / "soak")
    options = parser.parse_args(arguments)
    console.print(f"seed {options.seed}")
    with system(options.out, options.seed, console.print) as running:
        soak = Campaign(running, options.minutes * 60, options.out, running.bounds(SOAK))
        verdict = asyncio.run(soak.run(options.seed, ()))
    tell(verdict, console)
    totals(verdict, 1, console)
    console.print(f"report: {options.out}")
    return 0 if verdict.clean else 1
