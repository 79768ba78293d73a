"""Where the time of a question goes."""

import time


class Laps:
    """Adds up milliseconds by step."""

    def __init__(self, timings: dict[str, float]) -> None:
        self._timings, self._last = timings, time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self._timings[step] = round(self._timings.get(step, 0.0) + (now - self._last) * 1000, 2)
        self._last = now
