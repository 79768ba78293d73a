"""A scripted worker on topics of its own, as a process that tests start, kill and keep running."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import redis
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from cli.topics import plans_of
from deploy.local.own_stack import process_environment
from runtime.settings import Settings
from topics import provision, registry
from topics.registry import group_of
from topics.spec import TopicSpec, dead_letters_of

ROOT = Path(__file__).resolve().parents[2]


class Lane:
    """One scripted worker on topics of its own."""

    def __init__(self, settings: Settings, environment: dict[str, str], mode: str, log: Path) -> None:
        self.settings, self._mode, self._log = settings, mode, log
        self.environment = process_environment(environment | {"FRESHET_PREFIX": settings.kafka.prefix})
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

    def append(self, spec: TopicSpec, *records: tuple[bytes, dict[str, bytes]], partition: int = 0) -> None:
        """Values with headers, to any topic."""
        for value, headers in records:
            pairs: list[tuple[str, str | bytes | None]] = [*headers.items()]
            self._producer.produce(self.name(spec), value, b"key", partition, headers=pairs)
        assert self._producer.flush(10) == 0

    def pause(self, lane: str) -> str | None:
        """What its workers say of a lane that stands still."""
        with redis.Redis.from_url(self.settings.redis.state_url, decode_responses=True) as client:
            text = client.get(f"{self.settings.kafka.prefix}:{self.settings.documents.generation}:paused:{lane}")
            assert text is None or isinstance(text, str)
            return text

    def wait_for_pause(self, lane: str, paused: bool, seconds: float = 30.0) -> str | None:
        until = time.monotonic() + seconds
        while ((text := self.pause(lane)) is not None) is not paused:
            assert time.monotonic() < until, f"{lane}: {text}"
            self.keep_running()
            time.sleep(0.1)
        return text

    def freshet(self, *words: str) -> tuple[int, str]:
        """Exit code and output of the command line, for this lane's installation."""
        done = subprocess.run(
            [sys.executable, "-m", "cli", *words], cwd=ROOT, env=self.environment | {"COLUMNS": "200"}, text=True,
            capture_output=True, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout.strip() + done.stderr

    def read(self, topic: str, count: int, seconds: float = 60.0) -> list[bytes]:
        """At least ``count`` distinct values of a topic, supervising the worker meanwhile."""
        return [message.value() or b"" for message in self.messages(topic, count, seconds)]

    def messages(self, topic: str, count: int, seconds: float = 60.0) -> list[Message]:
        """As :meth:`read`, whole."""
        consumer = Consumer(
            {"bootstrap.servers": self.settings.kafka.brokers, "group.id": "reader", "enable.auto.commit": False}
        )
        consumer.assign([TopicPartition(topic, p, 0) for p in range(self.settings.kafka.partitions)])
        found: list[Message] = []
        until = time.monotonic() + seconds
        while len({message.value() for message in found}) < count and time.monotonic() < until:
            self.keep_running()
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                found.append(message)
        consumer.close()
        return found

    def committed(self, spec: TopicSpec, until: int, seconds: float = 20.0) -> int:
        """How far the worker's group has committed partition 0 of a topic, at the latest when it is as far as that."""
        group = group_of(self.settings.kafka.prefix, "embed", self.settings.documents.generation)
        reader = Consumer({"bootstrap.servers": self.settings.kafka.brokers, "group.id": group})
        limit, offset = time.monotonic() + seconds, -1
        while offset < until and time.monotonic() < limit:
            time.sleep(0.1)
            offset = reader.committed([TopicPartition(self.name(spec), 0)], timeout=10)[0].offset
        reader.close()
        return offset

    def outputs(self, count: int, seconds: float = 60.0) -> list[bytes]:
        return self.read(self.name(registry.VECTORS), count, seconds)

    def dead_letters(self, count: int) -> list[bytes]:
        return self.read(self.name(dead_letters_of(registry.CHUNKS)), count)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
