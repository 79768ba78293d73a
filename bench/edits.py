"""What an edit costs: texts encoded and objects written, beside indexing the whole edited document.

Real documents get random inserts, deletes and replacements of 1 to 50 words, one at a time (`edit`).  Afterwards each
edited text is published once more as a document that is not there yet, with the embedding cache emptied before it
(`whole`).  Counted by the workers' own metrics.
"""

import argparse
import asyncio
import random
import re
import time
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from rich.progress import track

from bench import corpus, machine, report
from bench.installation import Installation, installation


def run(arguments: Sequence[str]) -> None:
    """Measure, then write, print and plot."""
    parser = argparse.ArgumentParser(prog="python -m bench edits", description=__doc__)
    parser.add_argument("--edits", type=int, default=100, help="number of edits (default 100)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with installation() as freshet:
        figures = asyncio.run(_run(freshet, options.edits, random.Random(options.seed)))
    result: dict[str, Any] = {
        name: {"median": float(np.median(values)), "p95": float(np.percentile(values, 95)), "all": values}
        for name, values in figures.items()
    }
    report.save("edits", result | {"seed": options.seed, "machine": machine.features()})
    notes = {name: f"median {r['median']:g}, p95 {r['p95']:g}" for name, r in result.items()}
    report.show("Cost of an edit", "per edit", figures, notes)
    report.plot("edits", "Cost of an edit", "encodes, Weaviate writes, ms", figures)


def edited(text: str, draw: random.Random) -> str:
    """The text with 1 to 50 words inserted, deleted or replaced at one place."""
    words = re.split(r"(\s+)", text)  # words and what stands between them in turn
    count = min(draw.randint(1, 50), len(words) // 4)
    place = draw.randrange(0, len(words) - 2 * count, 2)
    kind = draw.choice(["insert", "delete", "replace"])
    new = [piece for _ in range(count) for piece in (f"word{draw.getrandbits(24):x}", " ")]
    kept = words[place:] if kind == "insert" else words[place + 2 * count :]
    return "".join(words[:place] + (new if kind != "delete" else []) + kept)


async def _run(freshet: Installation, count: int, draw: random.Random) -> dict[str, list[float]]:
    documents = {d.id: d.text for d in corpus.documents(limit=40, words=1500)}
    await freshet.wait(await asyncio.to_thread(freshet.publish, {i: t.encode() for i, t in documents.items()}))
    figures: dict[str, list[float]] = {}
    async with httpx.AsyncClient(timeout=30) as http:

        async def cost(arm: str, doc_id: str, text: str) -> None:
            before, began = await freshet.counts(http), time.perf_counter()
            await freshet.wait(await asyncio.to_thread(freshet.publish, {doc_id: text.encode()}), poll=0.005)
            took = (time.perf_counter() - began) * 1000
            spent = {name: value - before[name] for name, value in (await freshet.counts(http)).items()}
            figures.setdefault(f"{arm} encodes", []).append(spent["encodes"])
            figures.setdefault(f"{arm} writes", []).append(spent["written"] + spent["deleted"])
            figures.setdefault(f"{arm} ms", []).append(round(took, 1))

        texts = []
        for _ in track(range(count), description="edits"):
            doc_id = draw.choice(list(documents))
            documents[doc_id] = edited(documents[doc_id], draw)
            texts.append(documents[doc_id])
            await cost("edit", doc_id, documents[doc_id])
        for n, text in enumerate(track(texts, description="whole documents")):
            freshet.forget_vectors()
            await cost("whole", f"whole/{n}", text)
    return figures
