"""Ingest: how much of the encoder's speed is left when documents come through Kafka and must be searchable.

Four measures of the same chunks, repeated in rounds of alternating order: `raw_backend` (the chosen encoder, chunks in
memory), `raw_fp32` (sentence-transformers, torch fp32), `one_by_one` (the brief's worker), `freshet` (documents from
Kafka to searchable; cutting them into these chunks is part of its work).  Runs on a stack of its own.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import Any

import numpy as np

from bench import corpus, machine, one_by_one, report, torch_process
from bench.installation import Installation, installation
from connectors.encoders.select import open_encoder
from connectors.encoders.tokens import TokenCounter
from connectors.encoders.weights import resolve
from connectors.ports import Encoder, Vectors
from runtime.settings import Settings
from streams.documents.text.cut import cut as cut_blocks
from streams.documents.text.parse import parse

NAMES = ("raw_backend", "raw_fp32", "one_by_one", "freshet")
_WARM_UP = 16  # texts: first calls compile kernels for new shapes

Measure = Callable[[], Awaitable[float]]


def run(arguments: Sequence[str]) -> None:
    """Measure, then write, print and plot."""
    parser = argparse.ArgumentParser(prog="python -m bench ingest", description=__doc__)
    parser.add_argument("--chunks", type=int, default=960, help="least number of chunks (default 960)")
    parser.add_argument("--rounds", type=int, default=3, help="times each is measured (default 3)")
    parser.add_argument("--only", default=",".join(NAMES), help="measures, comma-separated (default all)")
    options = parser.parse_args(arguments)
    names = [name for name in NAMES if name in options.only.split(",")]
    if not names:
        parser.error(f"--only takes any of {', '.join(NAMES)}")
    with installation() as running:
        asyncio.run(_run(running, options.chunks, options.rounds, names))


async def freshet(installation: Installation, documents: dict[str, bytes], chunks: int) -> float:
    """Seconds from the first record published to `documents` until the last chunk is searchable.

    Before it all is deleted and the embedding cache emptied, after it every chunk must be there.
    """
    await installation.wait(await asyncio.to_thread(installation.publish, dict.fromkeys(documents)))
    installation.forget_vectors()
    began = time.perf_counter()
    await installation.wait(await asyncio.to_thread(installation.publish, documents))
    seconds = time.perf_counter() - began
    visible = sum((await installation.chunks(list(documents))).values())
    if visible != chunks:
        raise RuntimeError(f"{visible} chunks are visible, {chunks} were expected")
    return seconds


def cut(settings: Settings, at_least: int) -> tuple[dict[str, bytes], list[str]]:
    """Documents of the corpus, and the chunks that the chunk stage makes of them: at least so many."""
    count = TokenCounter(resolve(settings.encoder.model).folder)
    documents: dict[str, bytes] = {}
    texts: list[str] = []
    for document in corpus.documents():
        blocks = parse(document.text, "text/plain").blocks
        documents[document.id] = document.text.encode()
        texts += [piece.text for piece in cut_blocks(blocks, count, settings.documents.chunk_tokens)]
        if len(texts) >= at_least:
            return documents, texts
    raise ValueError(f"only {len(texts)} chunks of documentation are installed, {at_least} were asked for")


async def _run(running: Installation, count: int, rounds: int, names: Sequence[str]) -> None:
    settings = running.settings
    documents, texts = cut(settings, count)
    features = machine.features()
    encoder = await open_encoder(settings.encoder)
    device = "cuda" if encoder.backend.startswith("cuda") else "cpu"
    vectors: dict[str, Vectors] = {}
    with (
        one_by_one.chunk_topics(settings.kafka, texts if "one_by_one" in names else []) as (source, target),
        torch_process.torch_process(settings.encoder.model, device) as torch,
    ):

        async def raw_backend() -> float:
            start = time.perf_counter()
            vectors["raw_backend"] = await encoder.encode(texts)
            return time.perf_counter() - start

        async def raw_fp32() -> float:
            seconds, vectors["raw_fp32"] = await asyncio.wrap_future(torch.submit(torch_process.raw, texts))
            return seconds

        async def worker() -> float:
            job = torch.submit(torch_process.worker, settings.kafka, source, target, len(texts))
            return await asyncio.wrap_future(job)

        async def whole() -> float:
            return await freshet(running, documents, len(texts))

        measures: dict[str, Measure] = dict(zip(NAMES, (raw_backend, raw_fp32, worker, whole), strict=True))
        await encoder.encode(texts[:_WARM_UP])
        if "freshet" in names:
            await whole()  # the broker's and the workers' first batches compile code, as the encoder's did above
        rates = await _rounds({name: measures[name] for name in names}, rounds, len(texts))
    _publish(encoder, features, rates, vectors, texts)


async def _rounds(measures: dict[str, Measure], rounds: int, count: int) -> dict[str, list[float]]:
    """Chunks a second of every round; the order turns each time, since a shared machine drifts."""
    rates: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds):
        for name in list(measures)[:: -1 if number % 2 else 1]:
            rates[name].append(round(count / await measures[name](), 2))
            print(f"round {number + 1}/{rounds} {name}: {rates[name][-1]:.1f} chunks/s", flush=True)
    return rates


def _publish(
    encoder: Encoder,
    features: dict[str, Any],
    rates: dict[str, list[float]],
    vectors: dict[str, Vectors],
    texts: Sequence[str],
) -> None:
    medians = {name: median(values) for name, values in rates.items()}
    pairs = [("freshet", "raw_backend"), ("freshet", "one_by_one"), ("raw_backend", "raw_fp32")]
    # Of each round, then the middle: a round's measures saw the same load.
    ratios = {
        f"{a}/{b}": round(median(x / y for x, y in zip(rates[a], rates[b], strict=True)), 3)
        for a, b in [*pairs, ("raw_backend", "one_by_one")]
        if a in rates and b in rates
    }
    cosine = None
    if len(vectors) == 2:
        cosine = round(float(np.sum(vectors["raw_backend"] * vectors["raw_fp32"], axis=1).min()), 6)
    result = {
        "chunks_per_s": {name: medians.get(name) for name in NAMES},
        "spread": rates,
        "min_cosine": cosine,
        "ratios": ratios,
        "backend": encoder.backend,
        "model": encoder.model,
        "chunks": len(texts),
        "median_words": median(len(text.split()) for text in texts),
        "machine": features,
    }
    notes = {"backend": encoder.backend, "least cosine to fp32": str(cosine)} | {k: str(v) for k, v in ratios.items()}
    report.show(f"Ingest, {len(texts)} chunks", "chunks/s", rates, notes)
    print(f"written: {report.save('ingest', result).name}, {report.plot('ingest', 'Ingest', 'chunks/s', rates).name}")
