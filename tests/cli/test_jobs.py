"""`freshet jobs` and a question that is left, against a gateway that serves."""

import asyncio
import io
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from rich.console import Console
from typer.testing import CliRunner

from cli import jobs
from cli.ask import ask_live
from cli.door import Door
from connectors.job_ports import FinalEvent, JobRef, StoredJob
from connectors.memory.jobs import MemoryJobs
from connectors.memory.manifests import MemoryManifests
from gateway.app import create_app
from gateway.memory_log import MemoryLog
from runtime.settings import Settings
from tests.gateway.builders import door_settings
from topics.identity import mint_job_id

DEADLINE = 10.0  # seconds


class Served:
    """A gateway on the in-memory log and store, in a thread of its own."""

    def __init__(self) -> None:
        self.jobs = MemoryJobs()
        app = create_app(door_settings(), MemoryManifests(), MemoryLog(), jobs=self.jobs)
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until = time.monotonic() + DEADLINE
        while not self._server.started:
            assert time.monotonic() < until
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.environment = {"FRESHET_GATEWAY_PORT": str(port)}
        self.settings = Settings.from_env(self.environment)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(DEADLINE)

    def __call__(self, *words: str, code: int = 0) -> str:
        outside: dict[str, str | None] = {name: None for name in os.environ if name.startswith("FRESHET_")}
        environment = {**outside, **self.environment, "COLUMNS": "200"}
        result = CliRunner().invoke(jobs.app, list(words), env=environment)
        assert result.exit_code == code, result.output
        return result.output

    def keep(self, count: int) -> list[str]:
        """Jobs that have ended; their ids, the newest first."""
        ids = [mint_job_id(0, 1_700_000_000 + number) for number in range(count)]
        final = FinalEvent(type="answer", attempt="g", seq=1, offset=7, at=1_700_000_000_500)
        for job_id in ids:
            ref = JobRef("default", job_id)
            asyncio.run(self.jobs.put(StoredJob(ref=ref, question=f"Why {job_id[:12]}?")))
            ended = StoredJob(ref=ref, state="done", newest={"generate": "g"}, final=final, data={"text": "So."})
            asyncio.run(self.jobs.tell([ended]))
        return ids[::-1]


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    yield found
    found.stop()


def test_the_list_is_as_long_as_wanted(served: Served) -> None:
    """Newest first, over as many pages as it takes; a state that no job is in has none."""
    ids = served.keep(120)
    told = served("list", "--limit", "110")
    assert [line.split("│")[1].strip() for line in told.splitlines() if line.startswith("│")] == ids[:110]
    assert f"Why {ids[0][:12]}?" in told
    assert ids[0] not in served("list", "--state", "failed")


def test_one_job(served: Served) -> None:
    """One that is there is cancelled and shown; one that is not is told in a line."""
    with Door(served.settings) as door:
        job_id = door.post("/v1/queries", {"question": "why?"})["job_id"]
    assert served("show", job_id) == f"{job_id}  accepted\n"
    assert served("cancel", job_id) == f"{job_id}  cancelled\n"
    assert "cancelled: whoever asked" in served("show", job_id)
    assert "404" in served("cancel", mint_job_id(0), code=1)


def test_who_leaves_has_the_job_cancelled(served: Served) -> None:
    """Ctrl-C while the answer comes ends the work on it."""

    class Leaving(Door):
        def events(self, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
            yield next(super().events(job_id))
            raise KeyboardInterrupt

    with Leaving(served.settings) as door, pytest.raises(KeyboardInterrupt):
        ask_live(door, "why?", Console(file=io.StringIO()))
    [line] = [line for line in served("list", "--state", "accepted").splitlines() if "why?" in line]
    assert "cancelled" in served("show", line.split("│")[1].strip())
