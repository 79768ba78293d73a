"""`freshet llm` with a worker's follower at the other end, through the real Kafka and Redis."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner, Result

from cli.__main__ import app
from connectors import build
from runtime.clock import SystemClock
from runtime.settings import Settings
from streams.queries.citations import Cited
from streams.queries.ladder import Rung
from streams.queries.versions import Following, Versions
from tests.flow.test_ladder import Away, Scripted
from topics.control import LlmVersions
from topics.queries import Usage

pytestmark = pytest.mark.servers


@contextmanager
def worker(settings: Settings, *names: str) -> Iterator[Versions]:
    """What a generate worker does beside its questions."""
    rungs = [Rung(Away(name=name), SystemClock()) for name in names]
    versions = Versions([*rungs, Rung(Scripted(), SystemClock())], LlmVersions(lead=names[0]))
    begun, stop = threading.Event(), threading.Event()

    async def follow() -> None:
        board = build.llm_board(settings)
        following = Following(versions, build.control_log(settings), board, f"worker of {names}")
        await following.open()
        await board.open()
        await following.tell_once()
        tasks = [asyncio.create_task(run()) for run in (following.run, following.tell)]
        begun.set()
        await asyncio.to_thread(stop.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await following.close()

    thread = threading.Thread(target=asyncio.run, args=(follow(),))
    thread.start()
    assert begun.wait(20)
    try:
        yield versions
    finally:
        stop.set()
        thread.join(20)


@pytest.fixture
def llm(topics_made: Settings, server_environment: dict[str, str]) -> "Command":
    return Command(server_environment | {"FRESHET_PREFIX": topics_made.kafka.prefix, "COLUMNS": "250"})


class Command:
    """The command with its environment."""

    def __init__(self, environment: Mapping[str, str | None]) -> None:
        ours: dict[str, str | None] = {name: None for name in os.environ if name.startswith("FRESHET_")}
        self._environment = ours | dict(environment)

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["llm", *words], env=self._environment)

    def well(self, *words: str) -> str:
        done = self(*words)
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())


def test_a_version_from_canary_to_leader_and_back(topics_made: Settings, llm: Command) -> None:
    """Each command returns when the worker has followed; what cannot be done is said, and changes nothing."""
    until = time.monotonic() + 20
    while "NOT_LEADER" in (told := llm("promote", "b").output) and time.monotonic() < until:
        time.sleep(0.2)  # the topic was made a moment ago
    assert "no generate worker has told" in told
    with worker(topics_made, "a", "b") as versions:
        refused = llm("canary", "c")
        assert refused.exit_code == 1 and "does not know c" in refused.output and "Known there: a, b" in refused.output
        assert "a leads, b has 5%" in llm.well("canary", "b")
        assert versions.now.shares == {"b": 0.05}
        cited = Cited(1)
        cited.add("As [1] and [2] say.")
        versions.rungs[1].figures.tried("ok")
        versions.rungs[1].figures.tried("timeout")
        versions.rungs[1].figures.wrote(Usage(1000, 50), 0.2, 1.2, cited)
        assert "b leads" in llm.well("promote", "b")
        assert (versions.now.lead, versions.now.previous) == ("b", "a")
        versions.rungs[1].figures.wrote(Usage(1000, 50), 0.2, 1.2, cited)
        versions.rungs[1].figures.tried("ok")
        again = llm("promote", "b")
        assert again.exit_code == 1 and "leads already" in again.output
        assert "a leads" in llm.well("rollback")
        assert versions.now.lead == "a"
        shown = llm.well("status")
        assert "100%, leads" in shown and "1 generate workers, 0 of them have yet to follow" in shown


def test_what_versions_do_is_told_beside_each_other(topics_made: Settings, llm: Command) -> None:
    """Answers, failures, times, tokens and citations, since the last change."""
    with worker(topics_made, "a", "b") as versions:
        llm.well("canary", "b", "--share", "0.5")
        cited = Cited(1)
        cited.add("As [1] and [2] say.")
        for rung, seconds in ((versions.rungs[0], 0.4), (versions.rungs[1], 1.2)):
            rung.figures.tried("ok")
            rung.figures.wrote(Usage(1000, 50), 0.2, seconds, cited)
        versions.rungs[1].figures.tried("timeout")
        until = time.monotonic() + 20
        while "timeout 1" not in llm.well("status") and time.monotonic() < until:
            time.sleep(0.1)
        lines = [line for line in llm("status").output.splitlines() if "│" in line]
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
        assert rows[0][:6] == ["a", "50%, leads", "1", "", "≤ 500 ms", "≤ 500 ms"]
        assert rows[0][6:] == ["≤ 250 ms", "1000 in, 50 out", "1.0 an answer", "1"]
        assert rows[1][:6] == ["b", "50%", "1", "timeout 1", "≤ 2000 ms", "≤ 2000 ms"]


def test_without_kafka_it_says_so(llm: Command) -> None:
    """In a sentence."""
    away = Command(llm._environment | {"FRESHET_BROKERS": "127.0.0.1:9"})("status")
    assert away.exit_code == 1 and "127.0.0.1:9" in away.output and "Traceback" not in away.output
