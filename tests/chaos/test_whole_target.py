"""`freshet chaos` against a whole installation: sound, it finds nothing; broken, it finds what is broken."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx

from chaos.history import History
from chaos.manners import MANNERS
from chaos.removal import visible
from chaos.target import Outcome, Plan, run
from deploy.local.own_stack import process_environment
from deploy.local.programs import ROOT
from streams.outcome import Record
from tests.chaos.played import Played, playing

DEADLINE = 60.0  # seconds
NAMES = {manner.name for manner in MANNERS}


async def left(url: str, prefix: str) -> list[str]:
    async with httpx.AsyncClient(base_url=url) as http:
        return await visible(http, prefix)


async def chaos(system: Played, out: Path, seconds: float = DEADLINE) -> Outcome:
    """One run, until each manner has been begun or the time is over; what it made must be gone."""
    told, stop = set[str](), asyncio.Event()

    def tell(line: str) -> None:
        told.add(line)
        if told >= NAMES:
            stop.set()

    async with playing(system) as url:
        plan = Plan(url, f"t{time.time_ns():x}", 7, seconds, 60, out, rest=0.05)
        found = await run(plan, stop, tell)
        assert found.removal.left == {} and await left(url, plan.prefix) == []
    return found


async def test_a_sound_installation(tmp_path: Path) -> None:
    """Every manner is tried, nothing is broken, nothing stays; the history can be judged again."""
    found = await chaos(Played(), tmp_path)
    assert {name: broken for name, broken in found.violations.items() if broken} == {}
    assert {window.fault for window in found.history.windows} == NAMES
    again = History.load(tmp_path)
    assert len(again.writes) > 50 and len(again.reads) > 50 and any(job.final for job in again.jobs)
    assert "lag" in found.unseen and "lost" not in found.unseen
    assert (tmp_path / "timeline.png").stat().st_size > 10_000


class Halving(Played):
    """Loses the second half of each text."""

    async def drain(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.value and record.value.startswith(b"{"):
                given = json.loads(record.value)
                given["text"] = given["text"][: len(given["text"]) // 2]
                record = replace(record, value=json.dumps(given).encode())
            await super().drain([record])


async def test_a_broken_installation(tmp_path: Path) -> None:
    """It shows parts of versions, which is told; what the run made is gone all the same."""
    found = await chaos(Halving(), tmp_path, seconds=5)
    assert "half" in {each.kind for each in found.violations["mixed"]}
    assert '"half"' in (tmp_path / "violations.json").read_text()


async def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    """The command stops, removes what it made, reports what it saw, and ends with 130."""
    async with playing(Played()) as url:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli", "chaos", "--target", url, "--yes", "--rate", "30", "--out", str(tmp_path),
            cwd=ROOT, env=process_environment({"PYTHONUNBUFFERED": "1"}), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        said = []
        async with asyncio.timeout(DEADLINE):
            async for line in child.stdout:
                said.append(line.decode())
                if line.decode().strip() in NAMES:
                    child.send_signal(signal.SIGINT)
                    break
            said += (await child.stdout.read()).decode().splitlines()
            assert await child.wait() == 130, "\n".join(said)
        prefix = next(line for line in said if "removing" in line).split("under ")[1].strip()
        assert prefix.startswith("chaos/") and await left(url, prefix) == []
    assert History.load(tmp_path).writes and any("changes acknowledged" in line for line in said)
