"""Re-ranker on sentence-transformers: any cross-encoder that it can load, by name or folder, in a thread of its own.

It loads beside everything else, torch included (6 s and more), and raises :class:`Transient` until then.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from connectors.encoders.batches import clean
from connectors.errors import Permanent, Transient, Unclear


class CrossEncoderReranker:
    """:class:`connectors.search_ports.Reranker`."""

    def __init__(self, model: str) -> None:
        self.name = model
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reranker")
        self._network: Any = None

    async def load(self) -> None:
        """Load, and then stay.  Raises :class:`Permanent` where the model cannot be used."""
        self._network = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Let the thread go; a pass under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def score(self, question: str, texts: Sequence[str]) -> list[float]:
        if self._network is None:
            raise Transient(f"the re-ranker {self.name} is being loaded", reason="loading")
        pairs = [(question, text) for text in map(clean, texts)]
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._score, pairs)

    def _load(self) -> Any:
        from sentence_transformers import CrossEncoder

        try:
            network = CrossEncoder(self.name)
        except (OSError, ValueError) as error:
            raise Permanent(
                f"FRESHET_RERANK_MODEL={self.name} cannot be loaded: {str(error)[:300]}", reason="model"
            ) from error
        if network.num_labels != 1:
            raise Permanent(
                f"FRESHET_RERANK_MODEL={self.name} gives {network.num_labels} scores a pair: one is needed",
                reason="model",
            )
        return network

    def _score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        import torch

        try:
            scores = self._network.predict(list(pairs), activation_fn=torch.nn.Sigmoid(), show_progress_bar=False)
        except RuntimeError as error:
            raise Unclear(f"the re-ranker failed: {str(error)[:300]}", reason="reranker") from error
        return [float(score) for score in scores]
