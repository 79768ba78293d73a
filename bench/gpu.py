"""The encoder on a GPU: what is left of the bare forward pass in the encoder, in the embed stage, and in the library.

`limit_*`: ids on the device already, sorted by length, nothing fetched.  `library*`: sentence-transformers' `encode`.
`one_by_one`: the brief's worker without its Kafka.  `freshet`: the encoder, one call; `freshet_calls`: in calls as the
stage makes them; `stage`: runner and embed stage, log and cache in memory; `stage_256` takes 256 records at once.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from bench import embed_stage, machine, report
from connectors.encoders.batches import plan
from connectors.encoders.forward import Forward, padded
from connectors.encoders.select import open_encoder, prepare
from connectors.encoders.sentence_transformer import load_network
from connectors.encoders.verify import samples
from connectors.encoders.weights import resolve
from connectors.ports import Encoder, Vectors
from runtime.settings import Settings

BUDGETS = (8192, 16_384, 32_768, 65_536, 131_072)
LIMIT = 65_536  # tokens in a pass: of the bare network, which is not recorded, the fastest but for some percent
RATIOS = (
    ("freshet", "limit_fp16"), ("freshet_calls", "freshet"), ("stage", "freshet_calls"), ("stage", "limit_fp16"),
    ("freshet", "library"), ("freshet", "library_512"), ("freshet", "library_512_fp16"), ("freshet", "one_by_one"),
    ("stage", "library"), ("stage", "one_by_one"),
)  # fmt: skip
ALONE = 400  # texts of the one-by-one measure
_QUESTION_WORDS = 12

Measure = Callable[[], Awaitable[float]]  # chunks a second


def run(arguments: Sequence[str]) -> None:
    """Measure, then write, print and plot."""
    parser = argparse.ArgumentParser(prog="python -m bench gpu", description=__doc__)
    parser.add_argument("--chunks", type=int, default=20_000, help="least number of chunks (default 20000)")
    parser.add_argument("--queries", type=int, default=200, help="questions, one at a time (default 200)")
    parser.add_argument("--rounds", type=int, default=5, help="times each is measured (default 5)")
    parser.add_argument("--cpu", action="store_true", help="rehearse without a GPU")
    parser.add_argument("--only", default="", help="measures, comma-separated (default all)")
    options = parser.parse_args(arguments)
    asyncio.run(_run(options))


class Bare:
    """The network without an encoder around it, in each precision."""

    def __init__(self, model: str, texts: Sequence[str], *, cpu: bool) -> None:
        import torch

        self.device = "cpu" if cpu else "cuda"
        weights = resolve(model)
        self.networks = {"fp32": load_network(weights, self.device)}
        if not cpu:
            self.networks["tf32"] = self.networks["fp32"]
            self.networks["bf16"] = load_network(weights, self.device).bfloat16()
            self.networks["fp16"] = load_network(weights, self.device).half()
        for network in self.networks.values():
            network.eval()
        self._texts = list(texts)
        self._forward = Forward(self.networks["fp32"], BUDGETS[-1])
        began = time.perf_counter()
        self._rows = self._forward._rows(self._texts)
        self.tokenised_per_s = len(texts) / (time.perf_counter() - began)
        self.tokens = sum(map(len, self._rows))
        self._torch = torch

    def limit(self, precision: str, budget: int) -> float:
        """Chunks a second of forward passes alone."""
        torch, network = self._torch, self.networks[precision]
        passes = plan([len(row) for row in self._rows], budget)
        shapes = [(len(positions), len(self._rows[positions[0]])) for positions in passes]
        inputs = [
            self._forward._sent(padded([self._rows[position] for position in positions], size, 0))
            for positions, size in zip(passes, shapes, strict=True)
        ]
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        try:
            with torch.inference_mode():
                self.wait()
                began = time.perf_counter()
                for ids, mask in inputs:
                    network({"input_ids": ids, "attention_mask": mask})
                self.wait()
                return len(self._rows) / (time.perf_counter() - began)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before

    def library(self, precision: str = "fp32", **options: Any) -> tuple[float, Vectors]:
        """Chunks a second of sentence-transformers, and its vectors."""
        began = time.perf_counter()
        vectors: Vectors = self.networks[precision].encode(
            self._texts, normalize_embeddings=True, show_progress_bar=False, **options
        )
        return len(self._texts) / (time.perf_counter() - began), vectors

    def one_by_one(self, count: int) -> float:
        """Chunks a second of the brief's loop: encode one text, write its vector as JSON."""
        texts = self._texts[:: max(1, len(self._texts) // count)][:count]
        began = time.perf_counter()
        for text in texts:
            vector = self.networks["fp32"].encode(text, convert_to_tensor=True, show_progress_bar=False)
            json.dumps({"doc_id": "doc", "chunk_id": 0, "vector": vector.cpu().numpy().tolist()})
        return len(texts) / (time.perf_counter() - began)

    def questions(self, asked: Sequence[str], precision: str) -> list[float]:
        """Milliseconds of each by the library."""
        found = []
        for text in [*asked, *asked]:
            began = time.perf_counter()
            self.networks[precision].encode(text, show_progress_bar=False)
            found.append((time.perf_counter() - began) * 1000)
        return found

    def exact(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of the library in fp32."""
        found: Vectors = self.networks["fp32"].encode(
            list(texts), normalize_embeddings=True, show_progress_bar=False, batch_size=128
        )
        return found

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.device == "cuda":
            self._torch.cuda.synchronize()

    async def busy(self, work: Callable[[], Awaitable[Any]]) -> float:
        """Share of the time of ``work`` in which the GPU ran a kernel or copied."""
        from torch.profiler import ProfilerActivity, profile

        self.wait()
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            began = time.perf_counter()
            await work()
            self.wait()
            seconds = time.perf_counter() - began
        spans = sorted(
            (event.time_range.start, event.time_range.end)
            for event in profiled.events()
            if "CUDA" in str(event.device_type)
        )
        total = until = 0.0  # microseconds
        for start, end in spans:
            total += max(0.0, end - max(start, until))
            until = max(until, end)
        return round(total / 1e6 / seconds, 3)


async def _run(options: argparse.Namespace) -> None:
    settings = Settings.from_env()
    features = machine.features()
    found: dict[str, Any] = {"machine": features}
    began = time.perf_counter()

    def tell(text: str) -> None:
        print(f"{time.perf_counter() - began:6.1f} s  {text}", flush=True)

    made = embed_stage.records(settings, options.chunks)
    texts = made.texts
    tell(f"{len(texts)} chunks in {len(made.messages)} records")
    bare = Bare(settings.encoder.model, texts, cpu=options.cpu)
    tell(f"networks loaded; {bare.tokenised_per_s:.0f} texts/s are tokenised, {bare.tokens} tokens in all")
    encoder = await open_encoder(settings.encoder)
    counted = embed_stage.Counted(encoder)
    tell(f"encoder open: {encoder.backend}")
    large = settings.model_copy(update={"documents": settings.documents.model_copy(update={"batch": 256})})
    warm = await embed_stage.run(counted, made.messages, settings)
    calls = counted.calls
    tell(
        f"stage warm ({len(texts) / warm:.0f} chunks/s), {len(calls)} calls of {median(calls):.0f} texts at the median"
    )

    async def whole() -> float:
        start = time.perf_counter()
        await encoder.encode(texts)
        return len(texts) / (time.perf_counter() - start)

    async def in_calls() -> float:
        start, at = time.perf_counter(), 0
        for size in calls:
            await encoder.encode(texts[at : at + size])
            at += size
        return at / (time.perf_counter() - start)

    async def stage(of: Settings) -> float:
        return len(texts) / await embed_stage.run(encoder, made.messages, of)

    async def plain(call: Callable[[], Any]) -> Any:
        return call()

    budget = settings.encoder.batch_tokens
    measures: dict[str, Measure] = {
        f"limit_{name}": partial(plain, partial(bare.limit, name, LIMIT)) for name in bare.networks
    }
    measures |= {
        "library": lambda: plain(lambda: bare.library()[0]),
        "library_512": lambda: plain(lambda: bare.library(batch_size=512)[0]),
        "one_by_one": lambda: plain(lambda: bare.one_by_one(min(ALONE, len(texts)))),
        "freshet": whole,
        "freshet_calls": in_calls,
        "stage": lambda: stage(settings),
        "stage_256": lambda: stage(large),
    }
    if not options.cpu:
        measures["library_512_fp16"] = lambda: plain(lambda: bare.library("fp16", batch_size=512)[0])
    measures = {name: call for name, call in measures.items() if name in (options.only or name).split(",")}
    rates = await rounds(measures, options.rounds, tell)
    found |= {"chunks_per_s": {name: round(median(of)) for name, of in rates.items()}, "spread": rates}
    found["ratios"] = ratios(rates)
    asked = [" ".join(texts[7 * n % len(texts)].split()[:_QUESTION_WORDS]) for n in range(options.queries)]
    found["query_ms"] = await questions(encoder, bare, asked)
    tell(f"questions: {found['query_ms']}")
    precision = "fp32" if options.cpu else "fp16"
    found["budgets"] = {
        str(each): round(max(bare.limit(precision, each) for _ in range(2))) for each in BUDGETS if not options.cpu
    }
    tell(f"limit by tokens in a pass: {found['budgets']}")
    everything = [*texts[:: max(1, len(texts) // 2000)], *asked, *samples()]
    cosines = (await encoder.encode(everything) * bare.exact(everything)).sum(axis=1)
    found["min_cosine"] = round(float(cosines.min()), 6)
    found |= {
        "backend": encoder.backend,
        "model": encoder.model,
        "chunks": len(texts),
        "median_words": median(len(text.split()) for text in texts),
        "tokens": bare.tokens,
        "tokenised_per_s": round(bare.tokenised_per_s),
        "calls": {"count": len(calls), "median": median(calls), "most": max(calls)},
        "batch_tokens": budget,
    }
    report.save("embed-gpu", found)  # what follows leans on the profiler and on other processes
    if not options.cpu:
        some = made.messages[: max(1, len(made.messages) // 5)]
        few = texts[: len(texts) // 5]
        works: dict[str, Callable[[], Awaitable[Any]]] = {
            "library": lambda: plain(lambda: bare.networks["fp32"].encode(few, show_progress_bar=False)),
            "freshet": lambda: encoder.encode(few),
            "stage": lambda: embed_stage.run(encoder, some, settings),
        }
        found["gpu_busy"] = {name: await bare.busy(work) for name, work in works.items()}
        tell(f"share of the time that the GPU is busy: {found['gpu_busy']}")
        prepared = prepare(settings.encoder.model_copy(update={"backend": "auto"}), tell)
        found["prepared"] = {name: prepared[name] for name in ("backends", "chosen", "refused")}
        tell(f"prepared: {found['prepared']}")
    _publish(found)


async def rounds(measures: dict[str, Measure], count: int, tell: Callable[[str], None]) -> dict[str, list[float]]:
    """Chunks a second of every round after one that warms up; the order turns each time, since machines drift."""
    rates: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(count + 1):
        for name in list(measures)[:: -1 if number % 2 else 1]:
            rate = await measures[name]()
            if number:
                rates[name].append(round(rate, 1))
            tell(f"round {number}/{count} {name}: {rate:.0f} chunks/s")
    return rates


async def questions(encoder: Encoder, bare: Bare, asked: Sequence[str]) -> dict[str, dict[str, float]]:
    """Milliseconds of one question at a time, ours and the library's; the second time that each is asked."""
    ours = []
    for text in [*asked, *asked]:
        began = time.perf_counter()
        await encoder.encode([text])
        ours.append((time.perf_counter() - began) * 1000)
    found = {"freshet": ours, "library": bare.questions(asked, "fp32")}
    if "fp16" in bare.networks:
        found["library_fp16"] = bare.questions(asked, "fp16")
    return {
        name: {"p50": round(median(waits), 2), "p95": round(float(np.percentile(waits, 95)), 2)}
        for name, waits in ((name, of[len(asked) :]) for name, of in found.items())
    }


def ratios(rates: dict[str, list[float]]) -> dict[str, float]:
    """Of each round, then the middle: a round's measures saw the same machine."""
    return {
        f"{a}/{b}": round(median(x / y for x, y in zip(rates[a], rates[b], strict=True)), 3)
        for a, b in RATIOS
        if a in rates and b in rates
    }


def _publish(found: dict[str, Any]) -> None:
    report.save("embed-gpu", found)
    notes = {name: str(ratio) for name, ratio in found["ratios"].items()}
    notes |= {name: str(found[name]) for name in ("query_ms", "min_cosine", "gpu_busy", "calls") if name in found}
    gpu = ", ".join(found["machine"]["gpus"]) or "no GPU"
    report.show(f"The encoder on {gpu}", "chunks/s", found["spread"], notes)
    report.plot("embed-gpu", f"The encoder on {gpu}, {found['model']}", "chunks/s", found["spread"])
