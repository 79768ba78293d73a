"""Jobs as a client lives through them: asked until taken in, followed to their end, resumed wherever they broke off.

Everything is written down as it came; what it means is said by :mod:`chaos.rungs`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

RECONNECT = 0.2  # seconds
GRACE = 5.0  # seconds behind the deadline until a client gives a job up
KEPT = ("text", "attempt", "model", "rung", "found", "degraded", "reason", "cached")  # of an event's data
_AWAY = (httpx.HTTPError, OSError)


@dataclass
class Event:
    """One server-sent event; ``at`` is on the clock of the run, ``connection`` counts those of the job from 0."""

    at: float
    connection: int
    type: str
    id: int | None
    data: dict[str, Any]


@dataclass
class Job:
    """One job.  ``asked`` counts requests until one was answered, ``busy`` those that were told to come again.

    ``ids`` are all that it was ever told under its idempotency ``key``: one, or it was taken in twice.
    """

    phase: str
    sent: float
    deadline: float  # seconds
    asked: int = 0
    busy: int = 0
    id: str | None = None
    taken: float | None = None
    error: str | None = None  # a request that was refused for good, or a stream that was
    events: list[Event] = field(default_factory=list)
    key: str = ""
    ids: list[str] = field(default_factory=list)
    webhook: str = ""  # id of the endpoint that is to be told

    @property
    def final(self) -> Event | None:
        """The event that ends it."""
        return next((event for event in self.events if event.type in ("answer", "error")), None)


class Client:
    """Asks and follows; the door may be away at any time."""

    def __init__(self, http: httpx.AsyncClient, deadline: float, grace: float = GRACE) -> None:
        self._http, self._deadline, self._grace = http, deadline, grace

    async def ask(self, question: str, phase: str) -> Job:
        """One job, from the question to its end or until it is given up."""
        job = Job(phase, time.monotonic(), self._deadline)
        await self.live(job, question)
        return job

    async def live(self, job: Job, question: str) -> None:
        """A job that was written down, from the question to its end or until it is given up."""
        while job.id is None and job.error is None and time.monotonic() < job.sent + 60:
            await self.post(job, question)
        if job.taken is not None:
            await self._follow(job, job.taken)

    async def post(self, job: Job, question: str) -> None:
        """Ask once; with a key whoever asks again is told of the same job."""
        body: dict[str, Any] = {"question": question, "k": 3, "cache": False, "timeout": self._deadline}
        body |= {"webhook": job.webhook} if job.webhook else {}
        job.asked += 1
        try:
            headers = {"Idempotency-Key": job.key} if job.key else {}
            response = await self._http.post("/v1/queries", json=body, headers=headers)
        except _AWAY:
            await asyncio.sleep(RECONNECT)
            return
        if response.status_code == 202:
            job.ids.append(response.json()["job_id"])
            job.id, job.taken = job.id or job.ids[0], job.taken or time.monotonic()
        elif response.status_code in (429, 503):
            job.busy += response.status_code == 429
            await asyncio.sleep(float(response.headers.get("Retry-After", "1")))
        else:
            job.error = f"{response.status_code} {response.text[:200]}"

    async def _follow(self, job: Job, taken: float) -> None:
        connection = 0
        while job.final is None and time.monotonic() < taken + job.deadline + self._grace:
            seen = [event.id for event in job.events if event.id is not None]
            headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
            try:
                async with asyncio.timeout(taken + job.deadline + self._grace - time.monotonic()):
                    async with self._http.stream("GET", f"/v1/queries/{job.id}/events", headers=headers) as response:
                        if response.status_code == 200:
                            async for event in events_of(response, connection):
                                job.events.append(event)
                        elif response.status_code not in (429, 503):
                            job.error = f"{response.status_code} {(await response.aread())[:200]!r}"
                            return
            except (*_AWAY, TimeoutError):
                pass  # the gateway is down, or this was the last moment
            connection += 1
            if job.final is None:
                await asyncio.sleep(RECONNECT)


async def events_of(response: httpx.Response, connection: int) -> AsyncIterator[Event]:
    """Events of a stream as they come, with what is looked at later."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif "data" in fields:
            data = msgspec.json.decode(fields["data"])
            place = int(fields["id"]) if "id" in fields else None
            kept = {name: data[name] for name in KEPT if name in data}
            yield Event(time.monotonic(), connection, fields.get("event", ""), place, kept)
            fields = {}
