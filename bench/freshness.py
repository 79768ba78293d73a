"""Freshness: how long after a change the index answers from it, on an idle machine and under load.

Edits, deletes and changes of access alone, one at a time, each timed from the call of the producer to the moment a
search over HTTP shows the change.  The search is asked again and again, so a figure holds one search too many at most.
Under load, documents come in at half of what the lane can take, and five questions a second are asked beside.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import msgspec
import numpy as np
from rich.progress import track

from bench import machine, report
from bench.installation import Installation, installation
from bench.load import capacity, load

QUESTIONS = 5.0  # a second, under load
WARM_UP = 5.0  # seconds of load before the first change
TIMEOUT = 30.0  # seconds for one change to show
QUESTION = "Where does the measured heron number {n} stand?"


def run(arguments: Sequence[str]) -> None:
    """Measure, then write, print and plot."""
    parser = argparse.ArgumentParser(prog="python -m bench freshness", description=__doc__)
    parser.add_argument("--changes", type=int, default=50, help="changes of each kind (default 50)")
    parser.add_argument("--loaded", type=int, default=100, help="changes of each kind under load (default 100)")
    options = parser.parse_args(arguments)
    with installation() as freshet:
        figures, rates = asyncio.run(_run(freshet, options.changes, options.loaded))
    result: dict[str, Any] = {
        name: {f"p{q}_ms": round(float(np.percentile(values, q)), 1) for q in (50, 95, 99)} | {"all_ms": values}
        for name, values in figures.items()
    }
    report.save("freshness", result | {"load": rates, "machine": machine.features()})
    notes = {name: f"p50 {r['p50_ms']}  p95 {r['p95_ms']}  p99 {r['p99_ms']} ms" for name, r in result.items()}
    report.show("Change to answerable", "ms", figures, notes | {"load": str(rates)})
    report.plot("freshness", "Change to answerable", "ms", figures)


async def _run(freshet: Installation, count: int, loaded: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    async with httpx.AsyncClient(base_url=freshet.stack.door, timeout=TIMEOUT) as http:
        idle = await _changes(freshet, http, count)
        rate = await capacity(freshet)
        rates = {"capacity_documents_per_s": round(rate, 2), "load_documents_per_s": round(rate / 2, 2)}
        rates["questions_per_s"] = QUESTIONS
        async with load(freshet, http, rate / 2, QUESTIONS):
            await asyncio.sleep(WARM_UP)
            busy = await _changes(freshet, http, loaded)
    figures = {**idle, **{f"{kind}, loaded": values for kind, values in busy.items()}}
    figures["all, loaded"] = [value for values in busy.values() for value in values]
    return figures, rates


async def _changes(freshet: Installation, http: httpx.AsyncClient, count: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {"edit": [], "access": [], "delete": []}

    async def passages(n: int, principal: str = "") -> list[dict[str, Any]]:
        response = await http.post(
            "/v1/retrieve",
            json={"question": QUESTION.format(n=n), "k": 5},
            headers={"Freshet-Principals": principal} if principal else {},
        )
        response.raise_for_status()
        return [p for p in response.json()["passages"] if p["doc_id"] == f"heron/{n}"]

    async def timed(n: int, value: bytes | None, shown: Callable[[list[dict[str, Any]]], bool], who: str) -> float:
        began = time.perf_counter()
        await asyncio.to_thread(freshet.publish, {f"heron/{n}": value}, "application/json")
        while not shown(await passages(n, who)):
            if time.perf_counter() - began > TIMEOUT:
                raise TimeoutError(f"change of heron/{n} does not show")
        return round((time.perf_counter() - began) * 1000, 1)

    for n in range(count):
        freshet.publish({f"heron/{n}": _heron(n, "reeds", ["ann"])}, "application/json")
    while not await passages(count - 1, "ann"):
        await asyncio.sleep(0.1)
    for n in track(range(count), description="changes"):
        edited, moved = _heron(n, "shallows", ["ann"]), _heron(n, "shallows", ["bob"])
        figures["edit"].append(await timed(n, edited, lambda p: bool(p) and "shallows" in p[0]["text"], "ann"))
        figures["access"].append(await timed(n, moved, lambda p: not p, "ann"))
        assert await passages(n, "bob"), "who came onto the list sees nothing"
        figures["delete"].append(await timed(n, None, lambda p: not p, "bob"))
        await asyncio.sleep(0.05)
    return figures


def _heron(n: int, place: str, access: list[str]) -> bytes:
    text = f"The measured heron number {n} stands in the {place}. It has been there since the morning of day {n}."
    return msgspec.json.encode({"text": text, "access": access})
