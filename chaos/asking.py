"""Questions that are jobs: with a key, followed, told to an endpoint, some asked again when they have ended."""

import asyncio
import random
import time

import httpx

from chaos.history import Delivery, History
from chaos.jobs import Client, Job
from chaos.receiver import Receiver

DEADLINE = 30.0  # seconds of each job
GRACE = 60.0  # what ended while every door was shut is told of when one opens again
AGAIN = 0.3  # of the jobs are asked a second time


class Asking:
    """Jobs at a steady pace, whatever becomes of them."""

    def __init__(self, http: httpx.AsyncClient, history: History, webhook: str) -> None:
        self._client = Client(http, DEADLINE, GRACE)
        self._history, self._webhook, self._random = history, webhook, random.Random(history.seed)
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event, pause: float) -> None:
        """Ask until stopped."""
        while not stop.is_set():
            number = len(self._history.jobs)
            key = f"seed-{self._history.seed}-{self._history.began:.3f}-{number}"
            job = Job("campaign", time.monotonic(), DEADLINE, key=key, webhook=self._webhook)
            self._history.jobs.append(job)
            task = asyncio.create_task(self._live(job, f"What is known of matter {number}?"))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            await asyncio.sleep(pause)

    async def settle(self) -> None:
        """Until each has ended or was given up."""
        await asyncio.gather(*self._running)

    async def _live(self, job: Job, question: str) -> None:
        again = self._random.random() < AGAIN
        await self._client.live(job, question)
        if again and job.final is not None:
            await self._client.post(job, question)


async def endpoint(http: httpx.AsyncClient, url: str, receiver: Receiver) -> str:
    """Make an endpoint for webhooks of this receiver; gives its id."""
    made = (await http.post("/v1/webhooks", json={"url": url})).raise_for_status().json()
    receiver.secret = made["secret"]
    return str(made["id"])


def deliveries_of(receiver: Receiver) -> list[Delivery]:
    """What arrived, on the clock of the history."""
    ahead = time.time() - time.monotonic()
    statuses = {"taken": 204, "500": 500, "503": 503}
    return [
        Delivery(a.job_id, a.message_id, a.at - ahead, statuses.get(a.answered, 0), a.kind, a.body, a.verified)
        for a in receiver.arrivals
    ]
