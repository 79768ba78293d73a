"""The runner on real Kafka, with real processes that die: nothing lost, nothing blocked for ever."""

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from cli.topics import plans_of
from runtime.settings import Settings
from topics import provision, registry
from topics.spec import TopicSpec, dead_letters_of

pytestmark = pytest.mark.servers
ROOT = Path(__file__).resolve().parents[2]
MODES = ["batch", "window"]


class Lane:
    """One scripted worker on topics of its own."""

    def __init__(self, settings: Settings, environment: dict[str, str], mode: str, log: Path) -> None:
        self.settings, self._mode, self._log = settings, mode, log
        self.environment = os.environ | environment | {"FRESHET_PREFIX": settings.kafka.prefix}
        self._process: subprocess.Popen[bytes] | None = None
        self._producer = Producer({"bootstrap.servers": settings.kafka.brokers, "linger.ms": 0})
        provision.apply(AdminClient({"bootstrap.servers": settings.kafka.brokers}), plans_of(settings))

    def name(self, spec: TopicSpec) -> str:
        return spec.full_name(self.settings.kafka.prefix, self.settings.documents.generation)

    def send(self, *words: str | bytes, partition: int = 0) -> None:
        for word in words:
            value = word if isinstance(word, bytes) else word.encode()
            self._producer.produce(self.name(registry.CHUNKS), value, b"key", partition)
        assert self._producer.flush(10) == 0

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "tests.streams.scripted_worker", self._mode]
            self._process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stderr=log, stdout=log)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(20)

    def keep_running(self) -> None:
        """What a supervisor does."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def read(self, topic: str, count: int, seconds: float = 60.0) -> list[bytes]:
        """At least ``count`` distinct values of a topic, supervising the worker meanwhile."""
        consumer = Consumer(
            {"bootstrap.servers": self.settings.kafka.brokers, "group.id": "reader", "enable.auto.commit": False}
        )
        consumer.assign([TopicPartition(topic, p, 0) for p in range(self.settings.kafka.partitions)])
        values: list[bytes] = []
        until = time.monotonic() + seconds
        while len(set(values)) < count and time.monotonic() < until:
            self.keep_running()
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                values.append(message.value() or b"")
        consumer.close()
        return values

    def outputs(self, count: int, seconds: float = 60.0) -> list[bytes]:
        return self.read(self.name(registry.VECTORS), count, seconds)

    def dead_letters(self, count: int) -> list[bytes]:
        return self.read(self.name(dead_letters_of(registry.CHUNKS)), count)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


@pytest.fixture
def lanes(settings: Settings, server_environment: dict[str, str], tmp_path: Path) -> Iterator[list[Lane]]:
    """Empty; tests put their lanes in, so that every process ends with the test."""
    made: list[Lane] = []
    yield made
    for lane in made:
        lane.close()


@pytest.fixture(params=MODES)
def lane(
    request: pytest.FixtureRequest,
    settings: Settings,
    server_environment: dict[str, str],
    tmp_path: Path,
    lanes: list[Lane],
) -> Lane:
    kafka = settings.kafka.model_copy(update={"prefix": f"r{secrets.token_hex(4)}", "partitions": 2})
    environment = server_environment | {"FRESHET_PARTITIONS": "2"}
    made = Lane(settings.model_copy(update={"kafka": kafka}), environment, request.param, tmp_path / "log")
    lanes.append(made)
    return made


def test_kill_loses_nothing(lane: Lane) -> None:
    """Every record comes out although the worker is killed with -9 three times in the middle of its work."""
    words = [f"sleep:0.0{random.randrange(10)}#{n}" for n in range(200)]
    words = [word.replace("#", "") + f"{n:03d}" for n, word in enumerate(words)]
    lane.send(*words)
    for _ in range(3):
        lane.start()
        time.sleep(2.5)
        lane.kill()
    assert set(lane.outputs(200)) == {word.encode() for word in words}
    assert not lane.read(lane.name(dead_letters_of(registry.CHUNKS)), 1, seconds=1)


def test_sigterm_loses_nothing(lane: Lane) -> None:
    """A graceful stop in the middle of the work leaves what was unfinished for the next start."""
    words = [f"sleep:0.02{n:03d}" for n in range(100)]
    lane.send(*words)
    lane.start()
    time.sleep(3)
    assert lane.kill(signal.SIGTERM) == 0
    assert set(lane.outputs(100)) == {word.encode() for word in words}


@pytest.mark.parametrize("word", ["kill", "raise"])
def test_poison_is_set_aside(lane: Lane, word: str) -> None:
    """A record that ends its worker every time becomes a dead letter; its neighbours pass."""
    lane.environment["FRESHET_POISON_LIMIT"] = "2"  # soon; with it, two kills from outside would blame an innocent
    lane.send("ok1", word, "ok2", "ok3")
    found = lane.outputs(4)
    assert {b"ok1", b"ok2", b"ok3", b"refused:dead-lettered"} <= set(found)
    assert lane.dead_letters(1) == [word.encode()]


def test_refused_records_pass_by(lane: Lane) -> None:
    """What cannot be read or can never work becomes a dead letter at once; nothing behind it waits."""
    lane.send("ok1", b"\xff\xfe", "permanent", "ok2")
    assert {b"ok1", b"ok2", b"refused:rejected", b"refused:dead-lettered"} <= set(lane.outputs(4))
    assert set(lane.dead_letters(2)) == {b"\xff\xfe", b"permanent"}


def test_outage_pauses(lane: Lane, tmp_path: Path) -> None:
    """While something is away the lane waits, and goes on by itself; nothing is dead-lettered."""
    away = tmp_path / "away"
    away.touch()
    lane.send(f"away:{away}", "ok1")
    assert f"away:{away}".encode() not in lane.outputs(2, seconds=6)
    away.unlink()
    assert {b"ok1", f"away:{away}".encode()} == set(lane.outputs(2))
    assert not lane.read(lane.name(dead_letters_of(registry.CHUNKS)), 1, seconds=1)


@pytest.mark.parametrize("lane", ["window"], indirect=True)
def test_slow_head_survives_kill(lane: Lane) -> None:
    """A slow record at the head of the window is not passed by a commit: after kill -9 it comes again."""
    lane.send("sleep:6", *(f"ok{n}" for n in range(7)))
    lane.start()
    assert {f"ok{n}".encode() for n in range(7)} <= set(lane.outputs(7, seconds=5.5))
    lane.kill()
    assert b"sleep:6" in lane.outputs(8)


@pytest.mark.parametrize("lane", ["window"], indirect=True)
def test_window_is_bounded(lane: Lane) -> None:
    """Behind a stuck head at most the window's size of records is taken, so that a crash repeats no more."""
    lane.send("sleep:30", *(f"ok{n}" for n in range(50)))
    lane.start()
    assert len(set(lane.outputs(50, seconds=6))) == 7  # in_flight is 8, one of which is stuck
