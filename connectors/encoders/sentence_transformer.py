"""Encoder on torch, in this process, on CUDA or the CPU; any model sentence-transformers can load.

Importing it is cheap; torch and sentence-transformers are imported when the model is loaded (6 s and more).
"""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from connectors.encoders.batches import plan
from connectors.encoders.forward import Forward, forward
from connectors.encoders.threaded import ThreadedEncoder
from connectors.encoders.weights import Weights
from connectors.errors import Permanent
from connectors.ports import Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

CUDA = ("cuda-fp16", "cuda-bf16", "cuda-tf32")
BACKENDS = (*CUDA, "torch-bf16", "torch-fp32")
PASS_TOKENS = 16_384
_CPU_PASS_TOKENS = 8192  # beyond it a pass on a CPU only takes longer


class SentenceTransformerEncoder(ThreadedEncoder):
    """A sentence-transformers model; ``dimension`` is known once it is loaded."""

    def __init__(self, weights: Weights, backend: str, *, batch_tokens: int = PASS_TOKENS, threads: int = 0) -> None:
        """``backend`` is one of :data:`BACKENDS`; ``threads`` 0 leaves torch's choice."""
        super().__init__(weights.model_id, backend, 0)
        self._weights = weights
        self._threads = threads
        self._cuda = backend in CUDA
        self._batch_tokens = batch_tokens if self._cuda else min(batch_tokens, _CPU_PASS_TOKENS)
        self.parallel = 2 if self._cuda else 1  # texts of one call are tokenised while the GPU has those of another
        self._network: Any = None
        self._forward: Forward | None = None

    def _load(self) -> None:
        import torch

        if self._cuda and not torch.cuda.is_available():
            raise Permanent(f"{self.backend} was asked for, but torch finds no CUDA device", reason="device")
        if self._threads:
            torch.set_num_threads(self._threads)
        network = load_network(self._weights, "cuda" if self._cuda else "cpu")
        if self.backend == "cuda-fp16":
            network.half()
        elif self.backend == "cuda-bf16":
            network.bfloat16()
        elif self.backend == "cuda-tf32":
            torch.backends.cuda.matmul.allow_tf32 = True
        self._network, self._forward = network.eval(), forward(network, self._batch_tokens)
        self.dimension = len(network.encode("dimension", show_progress_bar=False))

    def _run(self, texts: list[str]) -> Vectors:
        with self._precision():  # around all passes: within it the weights are cast once
            return self._forward(texts) if self._forward else self._by_library(texts)

    def _by_library(self, texts: list[str]) -> Vectors:
        """Any model at all, by sentence-transformers' own way from text to vector."""
        # Lengths in words and characters would do for sorting, but only tokens bound a pass on Chinese or on code.
        tokens = self._network.tokenizer(texts, truncation=True, max_length=self._network.max_seq_length)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for positions in plan([len(row) for row in tokens["input_ids"]], self._batch_tokens):
            found = self._network.encode(
                [texts[position] for position in positions],
                batch_size=len(positions),
                convert_to_tensor=True,
                show_progress_bar=False,
            )
            vectors[positions] = found.float().cpu().numpy()
        return vectors

    def _precision(self) -> AbstractContextManager[Any]:
        """Autocast keeps norms and sums in fp32: with all of MiniLM in bf16 the least cosine to fp32 was 0.996."""
        import torch

        if self.backend == "torch-bf16":
            return torch.autocast("cpu", dtype=torch.bfloat16)
        return nullcontext()


def load_network(weights: Weights, device: str, **options: Any) -> "SentenceTransformer":
    """The sentence-transformers model itself.  Raises :class:`Permanent` where it cannot be loaded."""
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(str(weights.folder), device=device, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise Permanent(f"sentence-transformers cannot load {weights.name}: {error}", reason="model") from error
