"""Texts through a sentence-transformers network with nothing between the passes that a GPU would wait for.

``SentenceTransformer.encode`` tokenises a batch in Python, runs it, fetches its vectors and only then takes the next.
Here texts are tokenised once, some thousands at a time and while the device is busy with those before; ids go over in
one copy a pass, vectors come back in one copy a call.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from connectors.encoders.batches import plan
from connectors.encoders.captured import WIDEST, Captured, captured, rounded, row_count
from connectors.ports import Vectors
from runtime.logs import logger

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

AHEAD = 1024  # texts that are tokenised, and sorted by length, together
_TOKENIZERS = 2  # slices under way: one is read out in Python while the cores are at the other
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
        self._window = int(network.max_seq_length or tokenizer.model_max_length)
        self._tokenizer.enable_truncation(self._window)
        self._launching = threading.Lock()  # no network promises to bear two threads
        self._captured: Captured | None = captured(network)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """One vector a text, in order, as the network gives them."""
        import torch

        found: list[Any] = []
        order: list[int] = []
        with torch.inference_mode():
            for rows in self._tokenised(texts):
                start = len(order)
                for positions in plan([self._width(row) for row in rows], self._batch_tokens):
                    found.append(self._pass([rows[position] for position in positions]))
                    order += (start + position for position in positions)
            fetched = torch.cat(found).float().cpu().numpy()
        vectors = np.empty_like(fetched)
        vectors[order] = fetched
        return vectors

    def _tokenised(self, texts: Sequence[str]) -> Iterator[list[NDArray[np.int64]]]:
        """Ids of each text, a slice of the texts at a time, the next being made while the caller has this one."""
        slices = [texts[start : start + AHEAD] for start in range(0, len(texts), AHEAD)]
        if len(slices) == 1:
            yield self._rows(slices[0])
            return
        with ThreadPoolExecutor(_TOKENIZERS, thread_name_prefix="tokenizer") as ahead:
            coming = deque(ahead.submit(self._rows, slice_) for slice_ in slices[:_TOKENIZERS])
            for following in [*slices[_TOKENIZERS:], *[None] * _TOKENIZERS]:
                rows = coming.popleft().result()
                if following is not None:
                    coming.append(ahead.submit(self._rows, following))
                yield rows

    def _rows(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        found = [encoding.ids or [self._pad] for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        ends = [*accumulate(map(len, found))]
        flat = np.fromiter(chain.from_iterable(found), dtype=np.int64, count=ends[-1])  # half the time of one by one
        return [flat[start:end] for start, end in pairwise([0, *ends])]

    def _pass(self, rows: Sequence[NDArray[np.int64]]) -> Any:
        """Vectors of rows that come longest first, on the device; they may still be in the making."""
        width = self._width(rows[0])
        if self._captured and width <= WIDEST:
            both = padded(rows, (row_count(len(rows), width, self._batch_tokens), width), self._pad)
            with self._launching:
                return self._captured(both)[: len(rows)]
        ids, mask = self._sent(padded(rows, (len(rows), width), self._pad))
        with self._launching:
            return self._network({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]

    def _width(self, row: NDArray[np.int64]) -> int:
        return rounded(len(row), self._window) if self._captured else len(row)

    def _sent(self, both: NDArray[np.int64]) -> Any:
        """On the device, or on the way there."""
        import torch

        tensor, device = torch.from_numpy(both), self._network.device
        return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def padded(rows: Sequence[NDArray[np.int64]], size: tuple[int, int], pad: int) -> NDArray[np.int64]:
    """Ids and mask of the rows, and of as many more of one token as are wanting to this size."""
    both = np.zeros((2, *size), dtype=np.int64)
    both[0] = pad
    both[1, :, 0] = 1  # a row of nothing has no mean
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    there = np.arange(size[1]) < lengths[:, None]
    both[0, : len(rows)][there] = np.concatenate(rows)
    both[1, : len(rows)] = there
    return both


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
