"""How near to torch fp32 every backend comes on this machine, and how fast it is.

Cosine on 64 texts of eight languages, from nothing to well past the window; speed on 150-word texts, in rounds of
alternating order of which the quickest counts, since a busy machine only makes things slower.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from connectors.encoders.openvino import PRECISIONS, OpenVinoEncoder
from connectors.encoders.report import Measured, Report, has_bf16
from connectors.encoders.sentence_transformer import CUDA, SentenceTransformerEncoder
from connectors.encoders.threaded import ThreadedEncoder
from connectors.encoders.weights import Weights
from connectors.errors import ConnectorError
from runtime.logs import logger

_log = logger(__name__)

SAMPLES = 64
_TIMED, _TIMED_CUDA = 8, 2048  # texts in one timed round: a GPU shows how fast it is only when it is full
_ROUNDS = 3
_SENTENCES = (
    "The committed offset moves only after the write has been acknowledged by every replica in sync.",
    "Der Zug nach Lübeck fährt heute wegen Bauarbeiten zwanzig Minuten später ab, und zwar von Gleis sieben.",
    "La recette demande deux œufs, un peu de crème fraîche et beaucoup de patience devant le four.",
    "Los pescadores volvieron al puerto antes de la tormenta con las redes casi vacías.",
    "Сегодня утром на рынке продавали свежий хлеб, яблоки и мёд из соседней деревни.",
    "图书馆在星期一关闭,但是还书箱全天开放。",
    "会議は午後三時に始まり、資料は前日までに配布されます。",
    "يفتح المتحف أبوابه للزوار كل يوم ما عدا يوم الثلاثاء.",
    "for key, value in sorted(counts.items()): print(f'{key:>12} {value:8.3f}')",
    "ERROR 2024-03-01T12:44:09Z connection to 10.0.0.7:5432 refused (ECONNREFUSED), retry 3 of 5",
    "Contact: <b>support@example.com</b> &amp; +49 (0) 30 1234-567; order no. 88-1293/B, 19,95 € incl. VAT.",
    "🙂 thx!!! c u @ 8pm — don't forget the 🎂 & the ½ litre of café-au-lait…",
)


def samples() -> list[str]:
    """64 texts, the same every time: empty, one word, up to 420 words, each language alone and mixed."""
    words = " ".join(_SENTENCES * 8).split()
    alone = [*_SENTENCES, "", "offset", "don't", "naïve Café"]
    mixed = [" ".join(words[7 * n : 7 * n + 3 + (n * n) // 5]) for n in range(SAMPLES - len(alone))]
    return alone + mixed


def measure(
    folder: Path, made: Report, weights: Weights, machine: list[str], threads: int, progress: Callable[[str], None]
) -> dict[str, Measured]:
    """Every backend that this machine can run, torch fp32 (the measure of the others) included."""
    reference = SentenceTransformerEncoder(weights, "torch-fp32", threads=threads)
    texts = samples()
    progress("measuring torch-fp32")
    truth = reference.encode_now(texts)
    encoders: dict[str, ThreadedEncoder] = {reference.backend: reference}
    cosines = {reference.backend: 1.0}
    for encoder in _candidates(folder, made, weights, machine, threads):
        progress(f"measuring {encoder.backend}")
        try:
            cosines[encoder.backend] = round(float((encoder.encode_now(texts) * truth).sum(axis=1).min()), 6)
        except (ConnectorError, RuntimeError, MemoryError) as error:  # this machine cannot run it: so it is no choice
            _log.warning("encoder backend does not run here", backend=encoder.backend, error=str(error))
        else:
            encoders[encoder.backend] = encoder
    rates = _rates(encoders)
    return {name: Measured(cosine, rates[name]) for name, cosine in cosines.items()}


def _candidates(
    folder: Path, made: Report, weights: Weights, machine: list[str], threads: int
) -> list[ThreadedEncoder]:
    names = [*PRECISIONS] if made.refused is None else []
    found: list[ThreadedEncoder] = [OpenVinoEncoder(folder, made, name, threads=threads) for name in names]
    found.append(SentenceTransformerEncoder(weights, "torch-bf16", threads=threads))
    if not has_bf16(machine):
        found = [encoder for encoder in found if not encoder.backend.endswith("bf16")]
    if "cuda" in machine:
        found += [SentenceTransformerEncoder(weights, name, threads=threads) for name in CUDA]
    return found


def _rates(encoders: dict[str, ThreadedEncoder]) -> dict[str, float]:
    """Texts of 150 words a second."""
    words = " ".join(s for s in _SENTENCES if s.isascii()).split() * 8
    count = {name: _TIMED_CUDA if name in CUDA else _TIMED for name in encoders}
    texts = [" ".join(words[n % _TIMED : n % _TIMED + 150]) for n in range(max(count.values()))]
    best = dict.fromkeys(encoders, np.inf)
    for number in range(_ROUNDS):
        for name in list(encoders)[:: -1 if number % 2 else 1]:
            start = time.perf_counter()
            encoders[name].encode_now(texts[: count[name]])
            best[name] = min(best[name], time.perf_counter() - start)
    return {name: round(count[name] / seconds, 1) for name, seconds in best.items()}
