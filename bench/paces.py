"""Two ways of putting load on something, and what is kept of each request.

Closed loop: so many clients, each asking again when it has its answer.  Open loop: requests at times that are drawn
beforehand and do not wait for answers; each is timed from when it should have been sent, so a stall is charged to all
that it kept waiting.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

KEEP_EVERY = 5  # answers whose steps are kept: decoding all would cost the client more than asking

Ask: TypeAlias = Callable[[str], Awaitable[bytes]]  # raises where the answer is none


@dataclass
class Taken:
    """Milliseconds of every answer, a sample of the answers, and what went wrong."""

    ms: list[float] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Percentiles, rate, errors."""
        found: dict[str, Any] = {"answers": len(self.ms), "errors": len(self.errors), "reasons": self.errors[:3]}
        found["per_s"] = round(len(self.ms) / self.seconds, 1) if self.seconds else 0.0
        if self.ms:
            for q in (50, 95, 99):
                found[f"p{q}_ms"] = round(float(np.percentile(self.ms, q)), 2)
            found["max_ms"] = round(max(self.ms), 2)
        return found


async def closed(ask: Ask, questions: Iterator[str], clients: int, seconds: float) -> Taken:
    """So many clients for so long."""
    taken, began = Taken(), time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - began < seconds:
            await _timed(ask, next(questions), time.perf_counter(), taken)

    await asyncio.gather(*(client() for _ in range(clients)))
    taken.seconds = time.perf_counter() - began
    return taken


async def opened(ask: Ask, questions: Iterator[str], rate: float, seconds: float, seed: int) -> Taken:
    """So many a second, at random times (a Poisson process): what independent people do."""
    draw, taken = random.Random(seed), Taken()
    began = at = time.perf_counter()
    tasks = []
    while (at := at + draw.expovariate(rate)) < began + seconds:
        if (pause := at - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(_timed(ask, next(questions), at, taken)))
    await asyncio.gather(*tasks)
    taken.seconds = time.perf_counter() - began
    return taken


async def _timed(ask: Ask, question: str, since: float, taken: Taken) -> None:
    try:
        answer = await ask(question)
    except Exception as error:  # any way of not answering is an error of what is measured, and is counted
        taken.errors.append(f"{type(error).__name__}: {error}"[:300])
        return
    taken.ms.append((time.perf_counter() - since) * 1000)
    if len(taken.ms) % KEEP_EVERY == 1:
        taken.answers.append(answer)
