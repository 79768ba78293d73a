"""Forward passes as CUDA graphs: recorded once for each shape, then replayed without Python between the kernels.

A pass of a small model keeps Python busy for 5 ms, whatever is in it: as long as a question takes, and longer than a
GPU has work with a thousand tokens.  Shapes are few, so that few are recorded: rows and tokens are rounded up.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.logs import logger

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

ROWS = (1, 4, 16, 64)
WIDEST = 512  # tokens; wider passes are few and long
QUESTIONS = (
    (1, 16),
    (1, 32),
    (1, 48),
    (1, 64),
    (1, 96),
    (1, 128),
    (4, 32),
    (4, 48),
    (16, 32),
    (16, 48),
)  # recorded before anybody waits

_log = logger(__name__)


def rounded(width: int, window: int) -> int:
    """Tokens of a row, so that lengths are few: in steps of 16 up to 64, of 32 beyond, and none past the window."""
    step = 16 if width <= 64 else 32
    return max(width, min(-(-width // step) * step, window))


def row_count(rows: int, width: int, budget: int) -> int:
    """Rows of the pass to record for one of so many: within the budget where that one is."""
    most = max(rows, budget // width)
    return next((some for some in ROWS if rows <= some < most), most)


class Captured:
    """Recordings of one network.  Not for two threads at once."""

    def __init__(self, network: "SentenceTransformer") -> None:
        import torch

        self._torch, self._network = torch, network
        self._graphs: dict[tuple[int, int], tuple[Any, Any, Any]] = {}
        self._pool = torch.cuda.graph_pool_handle()  # of all: one is replayed at a time, and its vectors copied out
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(self, both: NDArray[np.int64]) -> Any:
        """Vectors on the device of ids and mask, which have one of the shapes above."""
        size = (both.shape[1], both.shape[2])
        if size not in self._graphs:
            self._graphs[size] = self._record(size)
        graph, static, vectors = self._graphs[size]
        static.copy_(self._torch.from_numpy(both).pin_memory(), non_blocking=True)
        graph.replay()
        return vectors.clone()

    def _record(self, size: tuple[int, int]) -> tuple[Any, Any, Any]:
        torch = self._torch
        static = torch.ones((2, *size), dtype=torch.int64, device="cuda")
        inputs = {"input_ids": static[0], "attention_mask": static[1]}
        graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._network(dict(inputs))  # what is set up on a first pass must not be recorded
            self._stream.synchronize()
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                vectors = self._network(dict(inputs))["sentence_embedding"]
            finally:
                graph.capture_end()
        torch.cuda.current_stream().wait_stream(self._stream)
        return graph, static, vectors


def captured(network: "SentenceTransformer") -> Captured | None:
    """None where the network does not bear it; what questions need is recorded."""
    import torch

    if network.device.type != "cuda":
        return None
    made = Captured(network)
    try:
        with torch.inference_mode():
            for rows, width in QUESTIONS:
                made(np.ones((2, rows, width), dtype=np.int64))
        torch.cuda.synchronize()
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:  # e.g. it looks at what it has computed
        _log.info("passes are not recorded", why=str(error))
        return None
    return made
