"""Retrieval under load: at 1, 8 and 32 clients, and in open loop at 0.7 of the peak.

Real text (manual pages and the standard library's documentation) in real Weaviate, put there by the ingest lane and
kept for the next run.  Measured through HTTP and the log with questions that nobody asked before (miss) and with a
hundred that are asked again and again (hit), and beside it the same stage called in process, without HTTP and log.
"""

import argparse
import asyncio
import multiprocessing
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import httpx
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from bench import library, machine, report
from bench.askers import Pace, ask_the_door, ask_the_stage
from bench.cpu import Cpu
from bench.installation import Installation
from bench.paces import Taken
from bench.questions import shuffled

CLIENTS = (1, 8, 32)
WARM = 20.0  # seconds of load before the first round: servers that have just started compile, load and merge
SHARE = 0.7  # of the peak, in open loop
ARMS = ("miss", "hit", "in process")
console = Console(highlight=False)


def run(arguments: Sequence[str]) -> None:
    """Fill, measure, then write and print."""
    parser = argparse.ArgumentParser(prog="python -m bench query", description=__doc__)
    parser.add_argument("--chunks", type=int, default=20_000, help="least number of chunks (default 20000)")
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement (default 20)")
    parser.add_argument("--rounds", type=int, default=2, help="times each is measured (default 2)")
    library.settings_option(parser)
    options = parser.parse_args(arguments)
    pages = shuffled()
    with library.library(options.set) as freshet:
        there, chunks = asyncio.run(library.shelve(freshet, pages, options.chunks))
        features = machine.features()
        trial = _Trial(freshet, [page.text for page in there])
        with trial.pool:
            trial.run(options.rounds, options.seconds)
    result = {"chunks": chunks, "documents": len(there), "seconds": options.seconds, "rounds": options.rounds}
    result["settings"] = dict(options.set)
    report.save("query", result | trial.figures() | {"machine": features})
    trial.show(f"Retrieve, {chunks} chunks")


class _Trial:
    def __init__(self, freshet: Installation, texts: Sequence[str]) -> None:
        self._freshet, self._texts = freshet, texts
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self._seed = 0
        self._taken: dict[str, list[Taken]] = defaultdict(list)
        self._cpu: dict[str, dict[str, float]] = {}
        self._hits: dict[str, float] = {}

    def run(self, rounds: int, seconds: float) -> None:
        """Every measure in every round, in alternating order, since a shared machine drifts."""
        warm = self.pool.submit(ask_the_door, self._freshet.stack.door, self._texts, Pace(WARM, 8), 0).result()
        console.print(f"warm: {warm.figures()}")
        for number in range(rounds):
            for arm in ARMS[:: -1 if number % 2 else 1]:
                if arm == "in process":
                    self._stage(seconds)
                else:
                    for clients in CLIENTS:
                        self._door(f"{arm}, {clients}", Pace(seconds, clients, again=arm == "hit"))
        peak = max(self._figures(f"miss, {clients}")["per_s"] for clients in CLIENTS)
        self._door("miss, open", Pace(seconds * 2, rate=peak * SHARE))

    def _door(self, name: str, pace: Pace) -> None:
        self._seed += 1
        before = self._cache()
        with Cpu(self._freshet.stack, self._asker()) as cpu:
            door = self._freshet.stack.door
            taken = self.pool.submit(ask_the_door, door, self._texts, pace, self._seed).result()
        hits, misses = (now - then for now, then in zip(self._cache(), before, strict=True))
        self._hits[name] = round(hits / (hits + misses), 3) if hits + misses else 0.0
        self._cpu[name] = cpu.cores
        self._note(name, taken)

    def _stage(self, seconds: float) -> None:
        paces = [Pace(seconds, clients) for clients in CLIENTS]
        environment = dict(self._freshet.stack.environment)
        found = self.pool.submit(ask_the_stage, environment, self._texts, paces, self._seed + 1).result()
        self._seed += len(paces)  # each pace has one: nobody asks again what another has asked
        for clients, taken in zip(CLIENTS, found, strict=True):
            self._note(f"in process, {clients}", taken)

    def _note(self, name: str, taken: Taken) -> None:
        self._taken[name].append(taken)
        console.print(f"{name}: {taken.figures()}")

    def _asker(self) -> int:
        return self.pool.submit(os.getpid).result()

    def _cache(self) -> tuple[float, float]:
        """Hits and misses of all caches, as gateway and retrieval worker count them."""
        addresses = (f"{self._freshet.stack.door}/metrics", self._freshet.stack.metrics("retrieve"))
        text = "\n".join(httpx.get(address, timeout=10).text for address in addresses)
        hits, misses = (
            sum(map(float, re.findall(rf"^cache_{name}_total\{{.*\}} (\S+)$", text, re.MULTILINE)))
            for name in ("hits", "misses")
        )
        return hits, misses

    def _figures(self, name: str) -> dict[str, Any]:
        rounds = self._taken[name]
        whole = Taken(
            [ms for each in rounds for ms in each.ms],
            errors=[error for each in rounds for error in each.errors],
            seconds=sum(each.seconds for each in rounds),
        )
        steps: dict[str, list[float]] = defaultdict(list)
        for each in rounds:
            for answer in each.answers:
                for step, ms in _timings(answer).items():
                    steps[step].append(ms)
        medians = {step: round(float(np.median(values)), 2) for step, values in steps.items()}
        tails = {step: round(float(np.percentile(values, 99)), 2) for step, values in steps.items()}
        return whole.figures() | {"steps_p50_ms": medians, "steps_p99_ms": tails}

    def figures(self) -> dict[str, Any]:
        """All that was measured."""
        found = {name: self._figures(name) for name in self._taken}
        for name, cores in self._cpu.items():
            found[name] |= {"cores": cores, "cache_hit_ratio": self._hits[name]}
        added = {f"{c}": round(found[f"miss, {c}"]["p50_ms"] - found[f"in process, {c}"]["p50_ms"], 2) for c in CLIENTS}
        return {"measures": found, "log_adds_p50_ms": added, "peak_per_s": max(
            found[f"miss, {clients}"]["per_s"] for clients in CLIENTS
        )}  # fmt: skip

    def show(self, title: str) -> None:
        """As a table, with what each process took at the peak."""
        result = self.figures()
        table = Table("measure", "p50 ms", "p95", "p99", "most", "a second", "errors", "cache hits", title=title)
        for name, f in result["measures"].items():
            shown = [f"{f.get(key, float('nan')):.1f}" for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms", "per_s")]
            table.add_row(name, *shown, str(f["errors"]), f"{f['cache_hit_ratio']:.0%}" if "cores" in f else "")
        console.print(table)
        for name in ("miss, 1", "miss, 32", "hit, 1"):
            f = result["measures"][name]
            console.print(f"{name}: steps p50 {f['steps_p50_ms']}\n  p99 {f['steps_p99_ms']}\n  cores {f['cores']}")
        console.print(f"HTTP and log add, ms at the median by clients: {result['log_adds_p50_ms']}")


def _timings(answer: bytes) -> dict[str, float]:
    """Of the gateway's answer, or of the stage's event."""
    found = msgspec.json.decode(answer)
    timings: dict[str, float] = (found if "timings" in found else found["data"]["retrieval"])["timings"]
    return timings
