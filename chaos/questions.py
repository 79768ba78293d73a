"""Questions at a steady rate, each call recorded.

The rate holds whatever the answers take, so a slow answer is felt by nobody but its own asker; times count from the
moment a question was due.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx

MOST_OPEN = 512  # questions under way; more than that is an outage of ours, and counted as failed
SECONDS = 15.0  # each question's own limit


@dataclass
class Asked:
    """One question.  ``error`` None means that it was answered."""

    due: float
    took: float = 0.0
    error: str | None = None
    passages: int = 0
    degraded: list[str] = field(default_factory=list)


class Asker:
    """Asks by turns, for as long as told."""

    def __init__(self, http: httpx.AsyncClient, questions: Sequence[str], rate: float) -> None:
        self._http, self._pause = http, 1 / rate
        self._questions: Iterator[str] = itertools.cycle(questions)
        self.asked: list[Asked] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until stopped, then wait for what is under way."""
        open_: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not stop.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            asked = Asked(due)
            self.asked.append(asked)
            if len(open_) < MOST_OPEN:
                task = asyncio.create_task(self._ask(asked, next(self._questions)))
                open_.add(task)
                task.add_done_callback(open_.discard)
            else:
                asked.error = f"{MOST_OPEN} questions are under way"
            due += self._pause
        if open_:
            await asyncio.wait(open_, timeout=SECONDS + 5)

    async def _ask(self, asked: Asked, question: str) -> None:
        body = {"question": question, "k": 5, "timeout": SECONDS, "cache": False}
        try:
            response = await self._http.post("/v1/retrieve", json=body)
            if response.status_code == 200:
                found = response.json()
                asked.degraded, asked.passages = found["degraded"], len(found["passages"])
            else:
                asked.error = f"{response.status_code} {response.text[:200]}"
        except (httpx.HTTPError, OSError) as error:
            asked.error = repr(error)[:200]
        asked.took = time.monotonic() - asked.due
