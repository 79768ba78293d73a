"""What every in-process encoder shares: threads of its own, so that event loop and heartbeats never wait."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from connectors.encoders.batches import clean
from connectors.errors import ConnectorError, Permanent, Unclear
from connectors.ports import Vectors

_T = TypeVar("_T")
MOST_JOINED = 16  # single texts that share a pass: half the time of each, and a pass is over in 25 ms on two cores


class ThreadedEncoder(ABC):
    """An :class:`connectors.ports.Encoder` whose work runs in threads of its own.

    Up to ``parallel`` calls run at once, others queue up; a cancelled caller does not stop the pass under way.
    Calls with one text (questions) that come while one of them runs share the pass after it.  None waits for others.
    """

    parallel = 1

    def __init__(self, model: str, backend: str, dimension: int) -> None:
        self.model = model
        self.backend = backend
        self.dimension = dimension
        self._thread: ThreadPoolExecutor | None = None
        self._loaded = False
        self._singles: list[tuple[str, asyncio.Future[Vectors]]] = []
        self._joining: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Load the model, off the loop.  Raises :class:`Permanent` where its files cannot be used."""
        await self._in_thread(self.load)

    async def close(self) -> None:
        """Finish the pass under way and let the thread go; a later call opens again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown, cancel_futures=True)

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """Float32 of shape (len(texts), dimension), unit length, in order; texts beyond the window are cut.

        Raises :class:`Unclear` where the backend fails, :class:`Permanent` where a vector is not a number.
        """
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        batch = list(texts)
        if len(batch) > 1:
            return await self._in_thread(lambda: self.encode_now(batch))
        alone: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        self._singles.append((batch[0], alone))
        if self._joining is None or self._joining.done():
            self._joining = asyncio.create_task(self._join())
        return await alone

    async def _join(self) -> None:
        """Encode what waits, several texts in a pass, until nothing does."""
        while self._singles:
            taken, self._singles = self._singles[:MOST_JOINED], self._singles[MOST_JOINED:]
            wanted = [(text, alone) for text, alone in taken if not alone.done()]  # the others were cancelled
            try:
                if not await self._pass(wanted):
                    for each in wanted:  # one text must not fail the others
                        await self._pass([each])
            except asyncio.CancelledError:  # the encoder was closed
                for _, alone in (*wanted, *self._singles):
                    alone.cancel()
                self._singles = []
                raise

    async def _pass(self, wanted: Sequence[tuple[str, "asyncio.Future[Vectors]"]]) -> bool:
        """Encode and tell; False where that failed and there are several that it may be the fault of."""
        texts = [text for text, _ in wanted]
        if not texts:
            return True
        try:
            vectors = await self._in_thread(lambda: self._unit(self._run_few, texts))
        except Exception as error:
            if len(wanted) > 1:
                return False
            for _, alone in wanted:
                if not alone.done():
                    alone.set_exception(error)
            return True
        for row, (_, alone) in enumerate(wanted):
            if not alone.done():
                alone.set_result(vectors[row : row + 1])
        return True

    def load(self) -> None:
        """Load the model in the calling thread; repeating is free."""
        if not self._loaded:
            self._load()
            self._loaded = True

    def encode_now(self, texts: Sequence[str]) -> Vectors:
        """As :meth:`encode`, in the calling thread: for measurements, and for threads that are there already."""
        return self._unit(self._run, texts)

    def _unit(self, run: Callable[[list[str]], Vectors], texts: Sequence[str]) -> Vectors:
        self.load()
        vectors = run([clean(text) for text in texts])
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(norms).all():
            raise Permanent(f"{self.model} on {self.backend} gave a vector that is not a number", reason="encoder")
        unit: Vectors = vectors / np.maximum(norms, 1e-12)
        return unit

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(self.parallel, thread_name_prefix="encoder")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except ConnectorError:
            raise
        except (RuntimeError, MemoryError) as error:  # what torch and OpenVINO raise, memory that is short included
            raise Unclear(f"{self.backend} failed: {error}", reason="encoder") from error

    @abstractmethod
    def _load(self) -> None:
        """Load; raise :class:`Permanent` where files are missing or unfit."""

    @abstractmethod
    def _run(self, texts: list[str]) -> Vectors:
        """Float32 vectors of any length, one row a text, in order; ``texts`` is not empty."""

    def _run_few(self, texts: list[str]) -> Vectors:
        """The same for questions that came together, which somebody waits for."""
        return self._run(texts)
