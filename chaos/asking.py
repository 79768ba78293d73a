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
LOOK = 0.5  # seconds between looks at the endpoint
AGAIN = 0.3  # of the jobs are asked a second time


class Endpoint:
    """A receiver as the system knows it; set up anew where the state Redis has lost it."""

    def __init__(self, http: httpx.AsyncClient, url: str, receiver: Receiver) -> None:
        self._http, self._url, self._receiver = http, url, receiver
        self.id = ""

    async def set_up(self) -> None:
        """Make it."""
        made = (await self._http.post("/v1/webhooks", json={"url": self._url})).raise_for_status().json()
        self.id, self._receiver.secret = made["id"], made["secret"]

    async def keep(self, stop: asyncio.Event) -> None:
        """Look after it until stopped."""
        while not stop.is_set():
            try:
                if (await self._http.get(f"/v1/webhooks/{self.id}")).status_code == 404:
                    await self.set_up()
            except (httpx.HTTPError, OSError):
                pass  # asked again
            await asyncio.sleep(LOOK)

    async def remove(self) -> None:
        """Nobody listens any more."""
        (await self._http.delete(f"/v1/webhooks/{self.id}")).raise_for_status()


class Asking:
    """Jobs at a steady pace, whatever becomes of them."""

    def __init__(self, http: httpx.AsyncClient, history: History, endpoint: Endpoint) -> None:
        self._client = Client(http, DEADLINE, GRACE)
        self._history, self._endpoint, self._random = history, endpoint, random.Random(history.seed)
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event, pause: float) -> None:
        """Ask until stopped."""
        while not stop.is_set():
            number = len(self._history.jobs)
            key = f"seed-{self._history.seed}-{self._history.began:.3f}-{number}"
            job = Job("campaign", time.monotonic(), DEADLINE, key=key, webhook=self._endpoint.id)
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


def deliveries_of(receiver: Receiver) -> list[Delivery]:
    """What arrived, on the clock of the history."""
    ahead = time.time() - time.monotonic()
    statuses = {"taken": 204, "500": 500, "503": 503}
    return [
        Delivery(a.job_id, a.message_id, a.at - ahead, statuses.get(a.answered, 0), a.kind, a.body, a.verified)
        for a in receiver.arrivals
    ]
