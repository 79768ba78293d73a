"""The encoder alone: every backend that this machine can run, side by side.

Chunks a second on the chunks that the chunk stage makes of real texts, milliseconds of one question, and the least
cosine to torch fp32 over all texts.  Each backend in a process of its own.  No servers needed.
"""

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import corpus, machine, random_model, report
from bench.ingest import cut
from connectors.encoders.select import open_encoder, prepare
from connectors.encoders.verify import samples
from connectors.encoders.weights import resolve
from connectors.errors import Permanent
from connectors.ports import Encoder, Vectors
from runtime.settings import Encoder as EncoderSettings
from runtime.settings import Settings

EXACT = "torch-fp32"
_WARM_UP = 64  # texts: first calls compile kernels for new shapes
_QUESTION_WORDS = 12

_loop: asyncio.AbstractEventLoop
_encoder: Encoder


def run(arguments: Sequence[str]) -> None:
    """Measure, then write, print and plot."""
    parser = argparse.ArgumentParser(prog="python -m bench embed", description=__doc__)
    parser.add_argument("--chunks", type=int, default=480, help="least number of chunks (default 480)")
    parser.add_argument("--queries", type=int, default=100, help="questions, one at a time (default 100)")
    parser.add_argument("--rounds", type=int, default=3, help="times each is measured (default 3)")
    parser.add_argument("--random", action="store_true", help="random weights even where the trained ones are there")
    options = parser.parse_args(arguments)
    features = machine.features()
    settings = Settings.from_env()
    with tempfile.TemporaryDirectory() as folder:
        encoder, weights = model(settings.encoder, Path(folder), at_random=options.random)
        found = prepare(encoder, print)
        _, texts = cut(settings.model_copy(update={"encoder": encoder}), options.chunks)
        asked = questions(texts, options.queries)
        with ExitStack() as stack:
            pools = {name: stack.enter_context(process(encoder, name, texts)) for name in found["backends"]}
            result = measure(pools, texts, asked, options.rounds)
    result |= {"model": found["model"], "weights": weights, "chosen": found["chosen"], "chunks": len(texts)}
    result["median_words"] = median(len(text.split()) for text in texts)
    publish(result | {"machine": features})


def model(settings: EncoderSettings, folder: Path, *, at_random: bool = False) -> tuple[EncoderSettings, str]:
    """Settings of the model to measure, and what its weights are: trained, or random where those are not to be had."""
    settings = settings.model_copy(update={"backend": "auto"})
    if not at_random:
        try:
            resolve(settings.model)
        except Permanent as error:
            print(f"random weights: {error}")
        else:
            return settings, "trained"
    made = random_model.make(folder / "minilm-random", (document.text for document in corpus.documents()))
    return settings.model_copy(update={"model": str(made), "export_dir": folder / "exports"}), "random"


def questions(texts: Sequence[str], count: int) -> list[str]:
    """As long as people's: the first words of chunks."""
    return [" ".join(texts[n % len(texts)].split()[:_QUESTION_WORDS]) for n in range(count)]


@contextmanager
def process(settings: EncoderSettings, backend: str, texts: Sequence[str]) -> Iterator[ProcessPoolExecutor]:
    """One process with this backend loaded and warm."""
    spawn = multiprocessing.get_context("spawn")
    own = settings.model_copy(update={"backend": backend})
    with ProcessPoolExecutor(1, spawn, initializer=_open, initargs=(own,)) as pool:
        pool.submit(encode, texts[:_WARM_UP]).result()
        pool.submit(ask, texts[:_WARM_UP]).result()
        yield pool


def measure(
    pools: dict[str, ProcessPoolExecutor], texts: Sequence[str], asked: Sequence[str], rounds: int
) -> dict[str, Any]:
    """Every backend in every round, in alternating order, since a shared machine drifts."""
    rates: dict[str, list[float]] = {name: [] for name in pools}
    waits: dict[str, list[list[float]]] = {name: [] for name in pools}
    for number in range(rounds):
        for name in list(pools)[:: -1 if number % 2 else 1]:
            seconds, _ = pools[name].submit(encode, texts).result()
            rates[name].append(round(len(texts) / seconds, 2))
            waits[name].append(pools[name].submit(ask, asked).result())
            print(f"round {number + 1}/{rounds} {name}: {rates[name][-1]:.1f} chunks/s", flush=True)
    everything = [*texts, *asked, *samples()]
    vectors = {name: pool.submit(encode, everything).result()[1] for name, pool in pools.items()}
    return {
        "backends": {
            name: {
                "chunks_per_s": median(rates[name]),
                "spread": rates[name],
                "query_ms": round(median(median(each) for each in waits[name]), 2),
                "query_ms_p95": round(float(np.percentile(np.concatenate(waits[name]), 95)), 2),
                "query_ms_spread": [round(median(each), 2) for each in waits[name]],
                "min_cosine": round(float((vectors[name] * vectors[EXACT]).sum(axis=1).min()), 6),
            }
            for name in pools
        }
    }


def publish(result: dict[str, Any]) -> None:
    """Write, print and plot."""
    report.save("embed", result)
    found = result["backends"]
    notes = {
        name: f"question {of['query_ms']:.1f} ms (p95 {of['query_ms_p95']:.1f}), least cosine {of['min_cosine']:.6f}"
        for name, of in found.items()
    }
    notes |= {"weights": result["weights"], "chosen by `auto`": result["chosen"]}
    rates = {name: of["spread"] for name, of in found.items()}
    report.show("The encoder alone", "chunks/s", rates, notes)
    report.plot("embed", f"The encoder alone, {result['weights']} weights", "chunks/s", rates)


def encode(texts: Sequence[str]) -> tuple[float, Vectors]:
    """In a backend's process: seconds of one call, and its vectors."""
    start = time.perf_counter()
    vectors = _loop.run_until_complete(_encoder.encode(texts))
    return time.perf_counter() - start, vectors


def ask(asked: Sequence[str]) -> list[float]:
    """In a backend's process: milliseconds of each text, one after the other."""
    return [encode([text])[0] * 1000 for text in asked]


def _open(settings: EncoderSettings) -> None:
    global _loop, _encoder
    _loop = asyncio.new_event_loop()
    _encoder = _loop.run_until_complete(open_encoder(settings))
