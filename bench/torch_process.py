"""The measures that need torch, in a process of their own.

Torch beside OpenVINO in one process slowed OpenVINO by about 6%, which would have flattered Freshet.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from bench import one_by_one
from connectors.encoders.sentence_transformer import load_network
from connectors.encoders.weights import resolve
from connectors.ports import Vectors
from runtime.settings import Kafka

_WARM_UP = 16  # texts: first calls compile kernels for new shapes
_network: Any = None


@contextmanager
def torch_process(model: str, device: str) -> Iterator[ProcessPoolExecutor]:
    """One process with the model loaded; submit :func:`raw` and :func:`worker` to it."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_load, initargs=(model, device)) as pool:
        yield pool


def _load(model: str, device: str) -> None:
    global _network
    _network = load_network(resolve(model), device)
    _network.encode(["a text to warm up with"] * _WARM_UP, show_progress_bar=False)


def raw(texts: Sequence[str]) -> tuple[float, Vectors]:
    """Seconds of one call of sentence-transformers, and its unit vectors of shape (len(texts), dimension)."""
    start = time.perf_counter()
    vectors: Vectors = _network.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    return time.perf_counter() - start, vectors


def worker(kafka: Kafka, source: str, target: str, count: int) -> float:
    """Seconds of the brief's worker."""
    return one_by_one.seconds(kafka, _network, source, target, count)
