"""Texts through a sentence-transformers network with nothing between the passes that a GPU would wait for.

``SentenceTransformer.encode`` tokenises a batch in Python, runs it, fetches its vectors and only then takes the next.
Here texts are tokenised once, some thousands at a time and while the device is busy with those before; ids go over in
one copy a pass, vectors come back in one copy a call.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from connectors.encoders.batches import plan
from connectors.ports import Vectors
from runtime.logs import logger

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

AHEAD = 2048  # texts that are tokenised, and sorted by length, together
_LIKENESS = 0.9999  # cosine; the two ways differ by the rounding of fp16
_PROBES = ("dimension", "A longer text, so that the shorter is padded; its Capitals & signs matter to some models.")

_log = logger(__name__)


class Forward:
    """A network's passes.  May be called from several threads: one tokenises while the other's passes run."""

    def __init__(self, network: "SentenceTransformer", batch_tokens: int) -> None:
        from tokenizers import Tokenizer

        tokenizer: Any = network.tokenizer
        self._network, self._batch_tokens = network, batch_tokens
        self._pad = int(tokenizer.pad_token_id)
        # A copy: the network's own switches padding and truncation on and off, which a thread would feel in another.
        self._tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(network.max_seq_length or tokenizer.model_max_length))
        self._launching = threading.Lock()

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """One vector a text, in order, as the network gives them."""
        import torch

        with torch.inference_mode():
            found = [self._launch(rows) for rows in self._tokenised(texts)]
            vectors: Vectors = torch.cat(found).float().cpu().numpy()
        return vectors

    def _tokenised(self, texts: Sequence[str]) -> Iterator[list[NDArray[np.int64]]]:
        """Ids of each text, a slice of the texts at a time, the next being made while the caller has this one."""
        slices = [texts[start : start + AHEAD] for start in range(0, len(texts), AHEAD)]
        if len(slices) == 1:
            yield self._rows(slices[0])
            return
        with ThreadPoolExecutor(1, thread_name_prefix="tokenizer") as ahead:
            coming = ahead.submit(self._rows, slices[0])
            for following in [*slices[1:], None]:
                rows = coming.result()
                if following is not None:
                    coming = ahead.submit(self._rows, following)
                yield rows

    def _rows(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [np.array(encoding.ids or [self._pad], dtype=np.int64) for encoding in encodings]

    def _launch(self, rows: Sequence[NDArray[np.int64]]) -> Any:
        """Vectors on the device, in order; they may still be in the making."""
        import torch

        passes = plan([len(row) for row in rows], self._batch_tokens)
        found = []
        for positions in passes:
            ids, mask = self._padded([rows[position] for position in positions])
            with self._launching:  # no network promises to bear two threads
                found.append(self._network({"input_ids": ids, "attention_mask": mask})["sentence_embedding"])
        back = np.empty(len(rows), dtype=np.int64)
        back[np.concatenate(passes)] = np.arange(len(rows))
        return torch.cat(found)[torch.from_numpy(back).to(found[0].device)]

    def _padded(self, rows: Sequence[NDArray[np.int64]]) -> Any:
        """Ids and mask of a pass on the device; rows come longest first."""
        import torch

        both = np.zeros((2, len(rows), len(rows[0])), dtype=np.int64)
        both[0] = self._pad
        for number, row in enumerate(rows):
            both[0, number, : len(row)] = row
            both[1, number, : len(row)] = 1
        tensor = torch.from_numpy(both)
        device = self._network.device
        if device.type == "cuda":
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor.to(device)


def forward(network: "SentenceTransformer", batch_tokens: int) -> Forward | None:
    """None where this way does not give what sentence-transformers gives, which is tried: models have prompts, pad on
    the left, take more than ids and a mask, or have no tokenizer of this kind."""
    tokenizer: Any = network.tokenizer
    if not getattr(tokenizer, "is_fast", False) or tokenizer.pad_token_id is None:
        return None
    try:
        made = Forward(network, batch_tokens)
        ours = made(_PROBES)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, OverflowError) as error:
        _log.info("encoding by sentence-transformers alone", why=str(error))
        return None
    theirs = network.encode(list(_PROBES), convert_to_tensor=True, show_progress_bar=False).float().cpu().numpy()
    if ours.shape != theirs.shape or not np.isfinite(theirs).all():
        return None
    cosines = (ours * theirs).sum(axis=1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    return made if cosines.min() >= _LIKENESS else None
