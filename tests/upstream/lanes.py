"""A lane: topics of its own, and the plain Faust workers a test runs on them, judged by trace and commits."""

import inspect
import json
import multiprocessing
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tests.upstream.worker import Body, Run, main

SECONDS = 40.0  # the longest wait for anything: all lanes start at once, on few cores

# Each worker is a process of its own, forked from one that has imported Faust already.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.upstream.worker"])


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a lane's first worker runs, and the words that lie in its topic when it starts."""

    body: Body
    words: tuple[str | bytes, ...]
    settings: Mapping[str, Any]
    concurrency: int = 1
    transport: str = "faust"
    cython: bool = True
    partitions: int = 1  # the words go round
    topic: Mapping[str, str] = field(default_factory=dict)
    start: bool = True


def scenario(body: Body, *words: str | bytes, **more: Any) -> pytest.MarkDecorator:
    """Give a test its lane.  Names that a scenario does not know are settings of Faust's."""
    own = {name: more.pop(name) for name in list(more) if name in Scenario.__dataclass_fields__}
    return pytest.mark.scenario(Scenario(body, words, more, **own))


def scenarios(**named: pytest.MarkDecorator) -> pytest.MarkDecorator:
    """Run a test once for each of several lanes."""
    return pytest.mark.parametrize(
        "lane", [pytest.param(name, marks=mark, id=name) for name, mark in named.items()], indirect=True
    )


def lives_with(place: Any, text: str) -> None:
    """The place of ours that lives with the pinned behaviour still exists, and still holds this text."""
    assert text in inspect.getsource(place), f"{place.__qualname__} has no {text!r} any more"


def until(condition: Callable[[], Any], what: object = "", seconds: float = SECONDS) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, str(what)
        time.sleep(0.03)


def stays(condition: Callable[[], Any], seconds: float = 0.7) -> bool:
    """Whether it holds for a while: seven commit intervals, unless told otherwise."""
    deadline = time.monotonic() + seconds
    while condition():
        if time.monotonic() > deadline:
            return True
        time.sleep(0.03)
    return False


class Worker:
    """One worker process."""

    def __init__(self, run: Run) -> None:
        run.folder.mkdir()
        self._folder, self.group = run.folder, run.group
        self._process = processes.Process(target=main, args=(run,), daemon=True)
        self._process.start()

    def numbers(self, what: str) -> list[int]:
        """The numbers of the values to which this happened, in its order."""
        trace = self._folder / "trace"
        lines = trace.read_text().splitlines() if trace.exists() else []
        return [int(line.split()[-1]) for line in lines if line.startswith(f"{what} ")]

    @property
    def started(self) -> list[int]:
        return self.numbers("started")

    @property
    def done(self) -> list[int]:
        return self.numbers("done")

    @property
    def log(self) -> str:
        log = self._folder / "log"
        return log.read_text() if log.exists() else ""

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def open_gate(self) -> None:
        """Let the values that say ``wait`` go on, and those that say ``raise`` pass."""
        (self._folder / "gate").touch()

    def kill(self) -> None:
        self._process.kill()
        self._process.join(SECONDS)

    def terminate(self) -> None:
        """Ask it to stop, and do not wait."""
        self._process.terminate()

    def code(self) -> int | None:
        """The exit code, once it has ended."""
        self._process.join(SECONDS)
        return self._process.exitcode


class Broker:
    """The real broker, and the tests' own clients of it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.admin = AdminClient({"bootstrap.servers": address})
        self.producer = Producer({"bootstrap.servers": address, "linger.ms": 0})


class Lane:
    """Topics and a group of its own."""

    def __init__(self, scenario: Scenario, broker: Broker, folder: Path) -> None:
        self.scenario, self.broker, self._folder, self._sent = scenario, broker, folder, 0
        self.name = f"upstream-{secrets.token_hex(4)}"
        self.run = Run(
            scenario.body, self.name, f"{self.name}-out", self.name, broker.address, folder, scenario.settings,
            scenario.concurrency, scenario.transport, scenario.cython,
        )  # fmt: skip
        self.workers: list[Worker] = []

    def topics(self) -> list[NewTopic]:
        return [
            NewTopic(self.name, self.scenario.partitions, 1, config=dict(self.scenario.topic)),
            NewTopic(self.run.output, 1, 1, config={"max.message.bytes": "2000"}),
        ]

    def value(self, word: str) -> bytes:
        self._sent += 1
        return json.dumps({"n": self._sent - 1, "do": word}).encode()

    def send(self, *words: str | bytes, key: bytes = b"key") -> None:
        """Write values, one to each partition in turn; bytes go as they are."""
        for n, word in enumerate(words):
            value = self.value(word) if isinstance(word, str) else word
            self.broker.producer.produce(self.name, value, key, n % self.scenario.partitions)
        assert self.broker.producer.flush(10) == 0

    def start(self, **changes: Any) -> Worker:
        """Start a worker; the changes are to the run."""
        run = replace(self.run, folder=self._folder / str(len(self.workers)), **changes)
        self.workers.append(Worker(run))
        return self.workers[-1]

    def restart(self, **changes: Any) -> Worker:
        """Start a worker whose gate is open: it does all it is given, and shows what comes again."""
        worker = self.start(**changes)
        worker.open_gate()
        return worker

    @property
    def first(self) -> Worker:
        return self.workers[0]

    def committed(self, partition: int = 0, group: str | None = None) -> int | None:
        """The group's offset on the broker."""
        name, place = group or self.name, TopicPartition(self.name, partition)
        asked = ConsumerGroupTopicPartitions(name, [place])
        (found,) = self.broker.admin.list_consumer_group_offsets([asked])[name].result(10).topic_partitions
        return None if found.offset < 0 else int(found.offset)

    def until_committed(self, offset: int, partition: int = 0, group: str | None = None) -> None:
        until(lambda: self.committed(partition, group) == offset, f"no commit of {offset}: {self}")

    def group(self) -> Any:
        """What the broker says of the group."""
        return self.broker.admin.describe_consumer_groups([self.name])[self.name].result(10)

    def __str__(self) -> str:
        said = [f"worker {n}: {w.started} done {w.done}\n{w.log}" for n, w in enumerate(self.workers)]
        return "\n".join([f"committed {self.committed()}", *said])

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
