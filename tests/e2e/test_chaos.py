"""`freshet chaos` against a real installation: sound it finds nothing, and it leaves nothing behind."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from chaos.history import History
from chaos.manners import MANNERS
from chaos.removal import visible
from chaos.target import Plan, run
from tests.e2e.conftest import DEADLINE, System

pytestmark = pytest.mark.servers
OTHERS = "chaos/of-others"


async def left(system: System, prefix: str) -> list[str]:
    async with httpx.AsyncClient(base_url=system.stack.door, timeout=DEADLINE) as http:
        return await visible(http, prefix)


async def test_a_sound_installation(system: System, tmp_path: Path) -> None:
    """Over HTTP and Kafka, beside a fault of the operator's: nothing is broken, nothing is left."""
    marks, told = tmp_path / "marks", list[str]()
    plan = Plan(
        system.stack.door, f"t{time.time_ns():x}", 7, 4, 45, tmp_path / "out", kafka=system.settings, mark_file=marks,
        rest=0.1,
    )  # fmt: skip

    async def operate() -> None:
        while not told:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        await asyncio.to_thread(system.put, OTHERS, "This document is somebody else's.")
        await asyncio.to_thread(system.kill, "chunk")
        marks.write_text("kill-9:chunk\n")

    operating = asyncio.create_task(operate())
    found = await run(plan, asyncio.Event(), told.append)
    await operating
    assert {name: broken for name, broken in found.violations.items() if broken} == {}
    assert found.removal.left == {} and await left(system, plan.prefix) == []
    status = await asyncio.to_thread(system.http.get, f"/v1/documents/{OTHERS}")
    assert status.json()["status"] == "indexed", "what it did not make is still there"
    faults = {window.fault for window in found.history.windows}
    assert len({manner.name for manner in MANNERS} & faults) > 1 and "kill-9:chunk" in faults
    history = History.load(plan.out)
    assert len(history.writes) > 10 and {write.door for write in history.writes} == {"http", "kafka"}
    assert any(job.final for job in history.jobs) and history.probes and found.removal.removed > 10
