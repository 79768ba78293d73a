"""Encoder on OpenVINO's CPU runtime: no torch, no sentence-transformers, up in about a second.

In: the folder that `export.py` made (graph, tokenizer, report).  Runs transformer, mean or cls pooling, normalise;
whatever else a model has is refused at export.  Equal to torch fp32 within the cosine that the report states.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from connectors.encoders.batches import plan
from connectors.encoders.report import GRAPH, TOKENIZER, Report
from connectors.encoders.threaded import ThreadedEncoder
from connectors.errors import Permanent
from connectors.ports import Vectors

PRECISIONS = {"openvino-bf16": "bf16", "openvino-fp32": "f32"}
# Tokens in one pass: its activations stay in the cache of a core (8,192 and more was 4 to 10% slower), and the last
# passes of a batch are soon done (2,048 made no difference beyond the noise).
PASS_TOKENS = 1024
FEW_TOKENS = 384  # in a pass of questions: a long one goes alone, rather than that short ones are padded to its length
_SILENCE = 120.0  # seconds for the passes of one call
_CLIP = 64  # characters per token of the window that are looked at first: a book need not be tokenized for its start


class _Job:
    """One call's passes, as they come back from the runtime's threads."""

    def __init__(self, vectors: Vectors, passes: int) -> None:
        self.vectors = vectors
        self.error: Exception | None = None
        self.ended = threading.Event()
        self._left, self._lock = passes, threading.Lock()

    def one_less(self) -> None:
        with self._lock:
            self._left -= 1
            if not self._left:
                self.ended.set()


class OpenVinoEncoder(ThreadedEncoder):
    """Dynamic shapes, compiled twice: for one pass on all cores, and (when first needed) for many passes at once.

    A question is one pass: 4 ms on two cores.  Many passes run one to a core, without a barrier after each operation:
    13 to 19% less CPU time a text than one after the other (measured on two cores beside other processes).
    """

    parallel = 2

    def __init__(
        self, folder: Path, report: Report, backend: str, *, batch_tokens: int = PASS_TOKENS, threads: int = 0
    ) -> None:
        """``batch_tokens`` bounds a pass, ``threads`` 0 means all cores."""
        super().__init__(report.model, backend, report.dimension)
        self._folder = folder
        self._report = report
        self._batch_tokens = min(batch_tokens, PASS_TOKENS)
        self._threads = threads
        self._request: Any = None
        self._queue: Any = None
        self._feeding, self._asking = threading.Lock(), threading.Lock()
        self._tokenizer: Any = None
        self._inputs: frozenset[str] = frozenset()

    def _load(self) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(self._folder / TOKENIZER))
            compiled = self._compile("LATENCY")
        except Exception as error:  # tokenizers raises Exception itself
            raise Permanent(f"the export of {self.model} cannot be loaded: {error}", reason="model") from error
        self._tokenizer.enable_truncation(self._report.window)
        self._tokenizer.no_padding()
        self._inputs = frozenset(name for port in compiled.inputs for name in port.names)
        self._request = compiled.create_infer_request()

    def _compile(self, hint: str) -> Any:
        import openvino

        config = {"INFERENCE_PRECISION_HINT": PRECISIONS[self.backend], "PERFORMANCE_HINT": hint}
        if self._threads:
            config["INFERENCE_NUM_THREADS"] = str(self._threads)
        return openvino.Core().compile_model(self._folder / GRAPH, "CPU", config)

    def _run(self, texts: list[str]) -> Vectors:
        rows = self._tokenize(texts)
        vectors = np.full((len(rows), self.dimension), np.nan, dtype=np.float32)  # a row left out is found out
        passes = plan([len(row) for row in rows], self._batch_tokens)
        if len(passes) == 1:
            self._run_in_turn(passes, rows, vectors)
        else:
            self._run_many(passes, rows, vectors)
        return vectors

    def _run_few(self, texts: list[str]) -> Vectors:
        rows = self._tokenize(texts)
        vectors = np.full((len(rows), self.dimension), np.nan, dtype=np.float32)
        self._run_in_turn(plan([len(row) for row in rows], FEW_TOKENS), rows, vectors)
        return vectors

    def _run_in_turn(self, passes: Sequence[list[int]], rows: Sequence[list[int]], vectors: Vectors) -> None:
        """Fill ``vectors`` pass by pass, each on all cores."""
        with self._asking:
            for positions in passes:
                lines = [rows[position] for position in positions]
                self._request.infer(self._feed(lines), share_inputs=True)
                vectors[positions] = self._pooled(self._request, lines)

    def _run_many(self, passes: Sequence[list[int]], rows: Sequence[list[int]], vectors: Vectors) -> None:
        """Fill ``vectors`` pass by pass, as many at once as the runtime advises.

        The passes of the next call are handed in while the last of this one still run, so that no core waits.
        """
        job = _Job(vectors, len(passes))
        with self._feeding:
            queue = self._open_queue()
            try:
                for positions in passes:
                    lines = [rows[position] for position in positions]
                    queue.start_async(self._feed(lines), (job, positions, lines))
            except BaseException:
                self._queue = None  # some of its requests may still be busy
                raise
        if not job.ended.wait(_SILENCE):
            self._queue = None
            queue.wait_all()  # raises what went wrong in the runtime, which calls nobody back then
            raise RuntimeError(f"no result within {_SILENCE:.0f} s")
        if job.error is not None:
            raise job.error

    def _open_queue(self) -> Any:
        import openvino

        if self._queue is None:
            self._queue = openvino.AsyncInferQueue(self._compile("THROUGHPUT"))

            def finished(request: Any, work: "tuple[_Job, list[int], list[list[int]]]") -> None:
                job, positions, lines = work
                try:
                    job.vectors[positions] = self._pooled(request, lines)
                except Exception as error:  # told to the one who waits: the runtime would keep it for the next call
                    job.error = error
                job.one_less()

            self._queue.set_callback(finished)
        return self._queue

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut at the window, at least one."""
        limit = self._report.window * _CLIP
        encodings = self._tokenizer.encode_batch_fast([text[:limit] for text in texts])
        rows = []
        for text, encoding in zip(texts, encodings, strict=True):
            if len(text) > limit and not encoding.overflowing:  # few tokens in many characters: look at all of it
                encoding = self._tokenizer.encode(text)
            rows.append(encoding.ids or [self._report.pad_id])
        return rows

    def _feed(self, rows: Sequence[list[int]]) -> dict[str, Any]:
        """The model's inputs for one pass; rows come longest first."""
        shape = (len(rows), len(rows[0]))
        ids = np.full(shape, self._report.pad_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros(shape, dtype=np.int64)}
        return {name: feed[name] for name in self._inputs if name in feed}

    def _pooled(self, request: Any, rows: Sequence[list[int]]) -> Vectors:
        """One vector a row out of a finished request, in memory of its own."""
        hidden: Vectors = request.get_output_tensor(0).data
        if self._report.pooling == "cls":
            return hidden[:, 0].copy()
        return np.stack([hidden[number, : len(row)].mean(axis=0) for number, row in enumerate(rows)])
