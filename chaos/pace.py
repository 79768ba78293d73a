"""No more than so much a second, whoever asks."""

import asyncio
import time

import httpx


class Pace:
    """Places in time, given away one after the other; who takes many waits for the last of them."""

    def __init__(self, rate: float) -> None:
        self._rate, self._free = rate, time.monotonic()

    def burst(self, seconds: float) -> int:
        """How many come together when so many seconds are saved up."""
        return max(2, round(self._rate * seconds))

    async def take(self, count: int = 1) -> None:
        """Wait for so many places."""
        self._free = max(self._free, time.monotonic()) + count / self._rate
        await asyncio.sleep(self._free - time.monotonic())

    async def hold(self, request: httpx.Request) -> None:
        """One place for each request of a client, whoever makes it."""
        del request
        await self.take()
