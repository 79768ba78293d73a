"""Recovery: documents are published while each worker is killed with -9, and every one must be indexed once.

Two figures: nothing missing and nothing twice, and for each lane the time from the kill until a record that was
published after the kill has passed the whole lane (for query lanes: until a question asked after it is answered).
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np

from bench import machine, report
from bench.installation import Installation, installation

DOCUMENT_LANES = ("chunk", "embed", "index")
QUERY_LANES = ("retrieve", "generate")
PACE = 0.1  # seconds between documents


def run(arguments: Sequence[str]) -> None:
    """Kill, measure, then write, print and plot."""
    parser = argparse.ArgumentParser(prog="python -m bench recovery", description=__doc__)
    parser.add_argument("--documents", type=int, default=200, help="documents published meanwhile (default 200)")
    parser.add_argument("--kills", type=int, default=2, help="kills of each worker (default 2)")
    parser.add_argument("--backend", default="auto", help="encoder backend, e.g. torch-fp32 (default auto)")
    options = parser.parse_args(arguments)
    with installation({"FRESHET_ENCODER_BACKEND": options.backend}) as freshet:
        figures, counts = asyncio.run(_run(freshet, options.documents, options.kills))
    result: dict[str, Any] = {
        "documents": counts,
        "recovery_s": {
            lane: {"p95": round(float(np.percentile(values, 95)), 2), "all": values} for lane, values in figures.items()
        },
    }
    name = "recovery" if options.backend == "auto" else f"recovery-{options.backend}"
    report.save(name, result | {"machine": machine.features()})
    notes = {name: str(value) for name, value in counts.items()}
    report.show("kill -9 to the next record processed", "s", figures, notes)
    report.plot(name, "kill -9 to the next record processed", "s", figures)
    if counts["missing"] or counts["wrong"]:
        raise SystemExit("documents were lost or indexed wrongly")


async def _run(freshet: Installation, count: int, kills: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    figures: dict[str, list[float]] = {lane: [] for lane in (*DOCUMENT_LANES, *QUERY_LANES)}
    publishing = asyncio.create_task(_publish(freshet, count))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{freshet.settings.gateway.port}", timeout=90) as http:
        await asyncio.sleep(2)
        for _ in range(kills):
            for lane in DOCUMENT_LANES:
                figures[lane].append(await _documents_again(freshet, lane))
            for lane in QUERY_LANES:
                figures[lane].append(await _questions_again(freshet, lane, http))
    await publishing
    ids = [f"recovery/{n}" for n in range(count)]
    tokens = await asyncio.to_thread(freshet.publish, {"recovery/end": b"The end of it."})
    await freshet.wait(tokens)
    await asyncio.sleep(2)
    chunks = await freshet.chunks(ids)
    counts = {
        "published": count,
        "missing": sum(not chunks.get(doc_id) for doc_id in ids),
        "wrong": sum(chunks.get(doc_id, 0) not in (0, 1) for doc_id in ids),
    }
    return figures, counts


async def _publish(freshet: Installation, count: int) -> None:
    for n in range(count):
        text = f"Document number {n} of the recovery test says that its number is {n}."
        await asyncio.to_thread(freshet.publish, {f"recovery/{n}": text.encode()})
        await asyncio.sleep(PACE)


async def _documents_again(freshet: Installation, lane: str) -> float:
    freshet.kill(lane)
    began = time.perf_counter()
    probe = {f"probe/{lane}": f"A probe after the kill of {lane} at {began}.".encode()}
    await freshet.wait(await asyncio.to_thread(freshet.publish, probe), poll=0.01)
    return round(time.perf_counter() - began, 2)


async def _questions_again(freshet: Installation, lane: str, http: httpx.AsyncClient) -> float:
    freshet.kill(lane)
    began = time.perf_counter()
    response = await http.post(
        "/v1/queries",
        json={"question": "What does document number 1 of the recovery test say?", "timeout": 60},
        headers={"Prefer": "wait=60"},
    )
    if response.status_code != 200 or "answer" not in response.json():
        raise RuntimeError(f"no answer after the kill of {lane}: {response.text[:300]}")
    return round(time.perf_counter() - began, 2)
