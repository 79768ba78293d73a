"""Where the time of a question goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from runtime import tracing


class Laps:
    """Adds up milliseconds by step, of steps in a row and of such as run beside others."""

    def __init__(self, timings: dict[str, float]) -> None:
        self._timings, self._last = timings, time.perf_counter()

    def lap(self, step: str) -> None:
        """A step has ended, and began where the last one did."""
        now = time.perf_counter()
        self._add(step, now - self._last)
        self._last = now

    @contextmanager
    def taking(self, step: str) -> Iterator[None]:
        """A step for as long as the block takes; traces show it too."""
        began = time.perf_counter()
        try:
            with tracing.span(f"freshet.{step}"):
                yield
        finally:
            self._last = time.perf_counter()
            self._add(step, self._last - began)

    def _add(self, step: str, seconds: float) -> None:
        self._timings[step] = round(self._timings.get(step, 0.0) + seconds * 1000, 2)
