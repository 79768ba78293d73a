"""Readers against a writer, with a worker killed in between: the short form of `python -m chaos atomicity`."""

import asyncio
import secrets

import httpx
import pytest

from chaos.checks import judge
from chaos.documents import Author
from chaos.history import History
from chaos.traffic import Traffic
from tests.e2e.conftest import System

pytestmark = pytest.mark.servers
SECONDS = 10.0


async def test_no_answer_is_mixed_or_half(system: System) -> None:
    """Every answer shows one whole version that the reader may see, none older than what was visible before."""
    history, stop, seed = History(), asyncio.Event(), 5
    own = secrets.token_hex(4)
    await asyncio.to_thread(system.put, f"statements/{own}/first", "The lane has just been started and is awake now.")
    author = Author(seed, [f"statements/{own}/{n}" for n in range(6)], ["ann", "bob"])
    async with httpx.AsyncClient(base_url=system.stack.door, timeout=15) as http:
        traffic = Traffic(http, history, author, seed)
        work = [asyncio.create_task(traffic.write(stop, 0.05))]
        work += [asyncio.create_task(traffic.read(stop, 0.01)) for _ in range(2)]
        await asyncio.sleep(SECONDS / 2)
        await asyncio.to_thread(system.kill, "index")
        await asyncio.sleep(SECONDS / 2)
        stop.set()
        await asyncio.gather(*work)
        await traffic.settle()
    assert judge(history) == []
    shown = [read for read in history.reads if read.result == "ok" and len(read.passages) > 1]
    assert len(history.writes) > 10 and len(shown) > 5  # a busy machine does less, and must still do something
