"""`python -m tests.consistency.campaign [--servers] [--mutations] [--examples N]`: many more programs than a test has.

Prints what was done, and of whatever fails the shortest program that shows it.
"""

import argparse
import secrets
import sys
import time

from runtime.settings import Settings
from tests.conftest import running_servers
from tests.consistency.exploration import Finding, explore
from tests.consistency.machine import IndexMachine
from tests.consistency.mutations import MUTATIONS
from tests.consistency.servers import on_servers

_RARE = 5  # times as many examples for what is hard to find


def main(arguments: list[str]) -> int:
    """Exit status: 0 when the stage holds and every mutation is found."""
    parser = argparse.ArgumentParser(prog="python -m tests.consistency.campaign", description=__doc__)
    parser.add_argument("--servers", action="store_true", help="real Weaviate and Redis instead of memory")
    parser.add_argument("--mutations", action="store_true", help="the broken stages instead of the sound one")
    parser.add_argument("--examples", type=int, help="default 2000, on servers 50")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    chosen = parser.parse_args(arguments)
    examples = chosen.examples or (50 if chosen.servers else 2000)
    say(f"seed {chosen.seed}, up to {examples} examples of up to {chosen.steps} steps")
    if chosen.mutations:
        amounts = {m: examples * (_RARE if m.rare else 1) for m in MUTATIONS}
        missed = [m.name for m, amount in amounts.items() if not mutation_found(m.name, m.machine(), amount, chosen)]
        say(f"{len(MUTATIONS) - len(missed)} of {len(MUTATIONS)} mutations found; missed: {missed or 'none'}")
        return len(missed) > 0
    if not chosen.servers:
        return sound(IndexMachine, examples, chosen)
    with running_servers() as environment, on_servers(Settings.from_env(environment)) as machine:
        return sound(machine, examples, chosen)


def sound(machine: type[IndexMachine], examples: int, chosen: argparse.Namespace) -> int:
    """Explore the real stage and say what was done."""
    began = time.monotonic()
    found = explore(machine, examples=examples, steps=chosen.steps, seeded=chosen.seed)
    say(", ".join(f"{name} {count}" for name, count in sorted(machine.counts.items())))
    say(f"{time.monotonic() - began:.0f} s: {'no violation' if found is None else 'VIOLATION'}")
    if found is not None:
        say(str(found))
    return found is not None


def mutation_found(name: str, machine: type[IndexMachine], examples: int, chosen: argparse.Namespace) -> Finding | None:
    """Explore a broken stage and show the shortest program that fails."""
    began = time.monotonic()
    found = explore(machine, examples=examples, steps=chosen.steps, seeded=chosen.seed)
    say(f"\n{name} ({time.monotonic() - began:.0f} s):\n{found or 'NOT FOUND'}")
    return found


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
