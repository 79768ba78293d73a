"""Streamed answers through the log beside the endpoint itself: time to the first token, gaps, tokens a second.

An endpoint that writes 50 tokens a second for each stream, at 1, 16 and 64 streams; with `--model` a real vLLM that
has one core, and all of ours another, at 1, 4 and 16.  Passages are searched for each time: nothing comes of a cache.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from bench import corpus, machine, report
from bench.askers import new_questions
from bench.cpu import Cpu
from bench.installation import PORT_BASE, Installation, installation
from bench.library import settings_option
from bench.paced import paced
from bench.streams import Streams, Way, follow, percentile
from connectors.models.prompt import prompt
from deploy.local.cache import cache_folder
from deploy.local.programs import ROOT
from deploy.local.vllm import python_of, serving
from runtime.settings import Settings
from topics.queries import Passage

OURS = ("gateway", "retrieve", "generate", "deliver")
PACED, VLLM = (1, 16, 64), (1, 4, 16)
TOKENS, RATE = 300, 50  # of an answer; a second
ENOUGH = 16  # streams
PROMPTS = 200
DOCUMENTS = 60
_VLLM = ("--served-model-name", "bench", "--max-model-len", "4096", "--no-enable-prefix-caching")
console = Console(highlight=False)


def run(arguments: Sequence[str]) -> None:
    """Publish, measure, write and print."""
    parser = argparse.ArgumentParser(prog="python -m bench stream", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12, help="of each measurement (default 12)")
    parser.add_argument("--streams", type=int, nargs="+", help="how many at once (default 1 16 64, vLLM 1 4 16)")
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"of each answer (default {TOKENS})")
    parser.add_argument("--model", type=Path, help="folder of a model, for a real vLLM in place of the paced endpoint")
    settings_option(parser)
    options = parser.parse_args(arguments)
    base = int(os.environ.get("FRESHET_PORT_BASE", PORT_BASE))
    with ExitStack() as stack:
        endpoint = (
            _vllm(options.model, base + 95)
            if options.model
            else paced(base + 95, "--tokens", str(options.tokens), "--rate", str(RATE))
        )
        llm = stack.enter_context(endpoint)
        limits = {
            "FRESHET_LLM_MAX_TOKENS": str(options.tokens),
            "FRESHET_QUERIES_K": "2",
            "FRESHET_QUERIES_MIN_SCORE": "-1",
            "FRESHET_QUERIES_MIN_WORDS": "0",
            "FRESHET_QUERIES_DEADLINE": "120",
            "FRESHET_QUERIES_IN_FLIGHT": str(2 * max(PACED)),  # acknowledged in order: who is done waits for the oldest
        }
        freshet = stack.enter_context(installation(llm | limits | dict(options.set)))
        pool = stack.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
        asyncio.run(_publish(freshet))
        if options.model:
            _apart(freshet, pool)
        trial = _Trial(freshet, pool, Settings.from_env({**freshet.stack.environment}), options.tokens)
        trial.run(options.streams or (VLLM if options.model else PACED), options.seconds, bool(options.model))
    name = "stream-vllm" if options.model else "stream"
    report.save(
        name,
        {
            "measures": trial.figures,
            "seconds": options.seconds,
            "tokens": options.tokens,
            "machine": machine.features(),
        },
    )
    trial.show()


async def _publish(freshet: Installation) -> None:
    documents: dict[str, bytes | None] = {d.id: d.text.encode() for d in corpus.documents(limit=DOCUMENTS)}
    await freshet.wait(await asyncio.to_thread(freshet.publish, documents))


@contextmanager
def _vllm(model: Path, port: int) -> Iterator[dict[str, str]]:
    """A real vLLM; its threads are as many as the one core that it will have."""
    python, log = python_of(cache_folder(os.environ)), ROOT / ".freshet" / "bench-vllm.log"
    user = {**os.environ, "VLLM_CPU_OMP_THREADS_BIND": str(_last_core())}
    with serving(python, model, port, log, user, print, *_VLLM) as url:
        yield {"FRESHET_LLM_URL": url, "FRESHET_LLM_MODEL": "bench"}


def _last_core() -> int:
    return max(os.sched_getaffinity(0))


def _apart(freshet: Installation, pool: ProcessPoolExecutor) -> None:
    """vLLM has one core, and everything else the others."""
    pool.submit(os.getpid).result()  # so that it is there
    others = os.sched_getaffinity(0) - {_last_core()}
    own = psutil.Process()
    stack = [psutil.Process(pid) for name in freshet.stack.state.plan()["programs"] if (pid := freshet.stack.pid(name))]
    for process in (own, *own.children(recursive=True), *stack):
        theirs = {_last_core()} if "vllm" in " ".join(process.cmdline()).lower() else others
        for thread in process.threads():
            os.sched_setaffinity(thread.id, theirs)


class _Trial:
    def __init__(self, freshet: Installation, pool: ProcessPoolExecutor, settings: Settings, tokens: int) -> None:
        self._freshet, self._pool, self._settings, self._tokens = freshet, pool, settings, tokens
        self.figures: dict[str, dict[str, Any]] = {}
        texts = [d.text for d in corpus.documents(limit=DOCUMENTS)]
        self._questions = list(itertools.islice(new_questions(texts, seed=1), 5000))
        self._tokens_of_a_character = 1.0

    def run(self, streams: Sequence[int], seconds: float, saturating: bool) -> None:
        """Each number of streams, direct and through the log."""
        length = 10.0 if saturating else self._tokens / RATE
        llm = self._settings.llm
        direct = Way(str(llm.url), True, str(llm.model), self._tokens)
        asked = self._messages()
        through = Way(self._freshet.stack.door, False)
        follow_ = self._pool.submit(follow, through, self._questions, 4, 3.0, 0.1).result()  # warm
        console.print(f"warm: {follow_.streams} streams, errors {follow_.errors[:2]}")
        for count in streams:
            apart = min(length / count, 0.5)
            long = seconds if count >= ENOUGH else 4 * seconds  # or too few streams begin in it
            for name, way in (("direct", direct), ("through the log", through)):
                with Cpu(self._freshet.stack, self._pool.submit(os.getpid).result()) as cpu:
                    told = asked if way.direct else self._questions
                    found = self._pool.submit(follow, way, told, count, long, apart).result()
                self._note(f"{name}, {count}", found, cpu)

    def _messages(self) -> list[str]:
        """What the endpoint is told through the log, for questions that are not asked there."""
        found = []
        with httpx.Client(base_url=self._freshet.stack.door, timeout=30) as http:
            for question in self._questions[-PROMPTS:]:
                response = http.post("/v1/retrieve", json={"question": question}).raise_for_status()
                passages = msgspec.convert(response.json()["passages"], list[Passage])
                system, user = prompt(question, passages)
                told = [{"role": "system", "content": system}, {"role": "user", "content": user}]
                found.append(msgspec.json.encode(told).decode())
        return found

    def _note(self, name: str, found: Streams, cpu: Cpu) -> None:
        used = sum(cpu.cores.get(program, 0.0) for program in OURS)
        if name.startswith("direct") and found.characters:
            self._tokens_of_a_character = found.pieces / found.characters
        per_second = found.characters * self._tokens_of_a_character / found.seconds
        self.figures[name] = {
            "streams": found.streams,
            "errors": len(found.errors),
            "reasons": found.errors[:3],
            "first_p50_ms": percentile(found.first, 0.5),
            "first_p99_ms": percentile(found.first, 0.99),
            "passages_p50_ms": percentile(found.retrieval, 0.5),
            "gap_p50_ms": percentile(found.gaps, 0.5),
            "gap_p99_ms": percentile(found.gaps, 0.99),
            "tokens_per_s": round(per_second, 1),
            "cpu_s_per_1000_tokens": round(used / per_second * 1000, 3) if per_second else None,
            "cores": cpu.cores,
        }
        console.print(f"{name}: {self.figures[name]}")

    def show(self) -> None:
        """As a table, with what the log adds."""
        table = Table("streams", "first p50 ms", "of it passages", "first p99", "gap p99 ms", "tokens/s", "CPU s/1000")
        keys = (
            "first_p50_ms",
            "passages_p50_ms",
            "first_p99_ms",
            "gap_p99_ms",
            "tokens_per_s",
            "cpu_s_per_1000_tokens",
        )
        for name, f in self.figures.items():
            table.add_row(name, *(str(f[key]) for key in keys))
        console.print(table)
        for name, f in self.figures.items():
            if name.startswith("direct"):
                other = self.figures[name.replace("direct", "through the log")]
                console.print(f"{name.split(', ')[1]} streams: {_added(f, other)}")


def _added(direct: Mapping[str, Any], through: Mapping[str, Any]) -> str:
    first = through["first_p50_ms"] - direct["first_p50_ms"]
    gap = through["gap_p99_ms"] - direct["gap_p99_ms"]
    ratio = through["tokens_per_s"] / direct["tokens_per_s"]
    return f"first token {first:+.1f} ms at the median, gap {gap:+.1f} ms at p99, {ratio:.2f} of the tokens a second"
