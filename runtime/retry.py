"""The one backoff policy."""

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays with full jitter between half and whole, in seconds.  Without ``tries`` it never ends."""

    first: float = 0.1
    cap: float = 5.0
    factor: float = 2.0
    tries: int | None = None

    def delays(self) -> Iterator[float]:
        delay, done = self.first, 0
        while self.tries is None or done < self.tries:
            yield delay * random.uniform(0.5, 1.0)
            delay, done = min(self.cap, delay * self.factor), done + 1
