"""Clients that leave while they wait: nobody will read the answer, so nobody should pay for it.

Only where the protocol has no way back to a job: whoever asks natively, or with an idempotency key, may come again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from connectors.errors import ConnectorError
from gateway.cancelling import Canceller
from gateway.jobs import Job
from gateway.problems import Problem
from runtime.logs import logger

TURNS = 5  # of the loop: a request and its connection's end, come together, are read in one turn after the other
_log = logger("gateway.leaving")
T = TypeVar("T")


class Leaving:
    """Cancels the jobs of clients that left, but for those that are to be kept."""

    def __init__(self, canceller: Canceller) -> None:
        self._canceller = canceller
        self._cancelling: set[asyncio.Task[None]] = set()

    async def finished(self, job: Job, traceparent: str | None, *, keep: bool = False) -> None:
        """Wait for the end of a job; whoever gives up waiting has left."""
        try:
            await job.finished(job.seconds_left() + 1)
        except asyncio.CancelledError:
            self.left(job, traceparent, keep=keep)
            raise

    async def streamed(
        self, job: Job, traceparent: str | None, pieces: AsyncIterator[bytes], *, keep: bool = False
    ) -> AsyncIterator[bytes]:
        """Pass on what is streamed of a job, to its end or until the client leaves."""
        whole = False
        try:
            async for piece in pieces:
                yield piece
            whole = True
        finally:
            if not whole:
                self.left(job, traceparent, keep=keep)

    def left(self, job: Job, traceparent: str | None, *, keep: bool = False) -> None:
        """Cancel a job beside all else."""
        if job.final is None and not keep:
            task = asyncio.get_running_loop().create_task(self._cancel(job, traceparent))
            self._cancelling.add(task)
            task.add_done_callback(self._cancelling.discard)

    async def _cancel(self, job: Job, traceparent: str | None) -> None:
        with suppress(Problem):  # it has ended meanwhile
            try:
                await self._canceller.cancel(job, traceparent)
            except ConnectorError as error:
                _log.warning("a job whose client left goes on to its end", reason=str(error))

    async def close(self) -> None:
        """Cancel no more."""
        for task in self._cancelling:
            task.cancel()
        await asyncio.gather(*self._cancelling, return_exceptions=True)


async def refuse_if_gone(receive: Callable[[], Awaitable[Any]]) -> None:
    """Raise where the client has left already; its request must have been read, or have no body.

    A gateway that stood still for long finds requests that were given up and made again elsewhere.  To publish such a
    document now would put what is old on top of what is newer.
    """
    leaving = asyncio.ensure_future(_gone(receive))
    try:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if leaving.done():
            raise Problem("malformed", "the client left before its request was begun")
    finally:
        leaving.cancel()


async def unless_gone(receive: Callable[[], Awaitable[Any]], work: Awaitable[T]) -> T:
    """Do it for as long as the client is there; its request must have been read to the end."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Problem("malformed", "the client left before the answer was complete")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
