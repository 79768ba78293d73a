"""What faults work on, and how they wait for it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka.admin import AdminClient

from chaos.proxies import Proxies
from deploy.local import health
from deploy.local.own_stack import OwnStack
from deploy.local.supervisor import Process, Supervisor
from runtime.brokers import librdkafka_options
from runtime.settings import Kafka, Settings
from topics.registry import group_of

DEADLINE = 60.0  # seconds for a program to be back
_LOOK_EVERY = 0.1
_ADMIN_SECONDS = 10.0


class NotBack(Exception):
    """Something is not as it should be by its deadline; the message says what, and what its log ends with."""


@dataclass(frozen=True, slots=True)
class Site:
    """A running system: its programs, what stands between them, how it is set up; ``seed`` is the run's.

    Servers are looked at past the proxies, so that one fault does not hide whether another one is healed.
    """

    stack: OwnStack
    proxies: Proxies
    settings: Settings
    seed: int = 0

    @property
    def programs(self) -> dict[str, dict[str, Any]]:
        """Every program of the stack: its group and ports, by name."""
        found: dict[str, dict[str, Any]] = self.stack.state.plan().get("programs", {})
        return found

    def process(self, name: str) -> Process | None:
        """A program as the supervisor sees it now."""
        supervisor = Supervisor.connect(self.stack.state)
        return next((p for p in supervisor.processes() if p.name == name), None) if supervisor else None

    def pid(self, name: str) -> int:
        """Process id of a program that must run."""
        process = self.process(name)
        if process is None or process.pid is None:
            raise NotBack(f"{name} does not run")
        return process.pid

    def port(self, name: str, use: str) -> int:
        """A port of a program, by what it is used for."""
        found: int = self.programs[name]["ports"][use]
        return found

    @property
    def kafka(self) -> Kafka:
        """Settings of a client of Kafka that goes past the proxies."""
        ports = (planned["ports"] for planned in self.programs.values())
        brokers = ",".join(f"127.0.0.1:{each['client']}" for each in ports if "client" in each)
        return self.settings.kafka.model_copy(update={"brokers": brokers})

    def admin(self) -> AdminClient:
        """Of Kafka, past the proxies."""
        return AdminClient(librdkafka_options(self.kafka) | {"log_level": 0})

    def members(self, lane: str) -> dict[str, int]:
        """Who works for a lane, and how many partitions each has; KafkaException while nobody can tell."""
        group = group_of(self.settings.kafka.prefix, lane, self.settings.documents.generation)
        admin = self.admin()  # kept until the answer is there: a client that is let go answers nothing
        found = admin.describe_consumer_groups([group], request_timeout=_ADMIN_SECONDS)[group].result()
        return {m.group_instance_id or m.member_id: len(m.assignment.topic_partitions) for m in found.members}

    def wrong(self, name: str) -> str | None:
        """What is wrong with a program; None: it runs and answers."""
        process = self.process(name)
        if process is None or process.state != "RUNNING":
            return process.state.lower() if process else "unknown to the supervisor"
        planned = self.programs[name]
        if planned["group"] == "servers":
            return _server_wrong(planned["ports"])
        if planned["group"] == "gateway":  # whether it is ready depends on others, which may be struck too
            return health.http_answer(f"http://127.0.0.1:{planned['ports']['http']}/healthz")
        return health.application_answer(planned["group"], planned["ports"])

    async def until(self, wrong: Callable[[], str | None], what: str, seconds: float = DEADLINE) -> None:
        """Wait until nothing is wrong."""
        deadline = time.monotonic() + seconds
        while (found := await asyncio.to_thread(wrong)) is not None:
            if time.monotonic() > deadline:
                raise NotBack(f"{what} after {seconds:g} s: {found}")
            await asyncio.sleep(_LOOK_EVERY)

    async def until_well(self, name: str, seconds: float = DEADLINE) -> None:
        """Wait until a program runs and answers, and start it where somebody stopped it."""
        await asyncio.to_thread(self._start_if_stopped, name)
        try:
            await self.until(lambda: self.wrong(name), f"{name} is not back", seconds)
        except NotBack as error:
            raise NotBack("\n    ".join([str(error), *self.stack.state.tail(name)])) from None

    def _start_if_stopped(self, name: str) -> None:
        process = self.process(name)
        if process is not None and process.state in ("STOPPED", "EXITED", "FATAL"):
            self.stack.start(name)


def _server_wrong(ports: dict[str, int]) -> str | None:
    if "client" in ports:
        return health.kafka_answer(f"127.0.0.1:{ports['client']}")
    if "redis" in ports:
        return health.redis_answer(f"redis://127.0.0.1:{ports['redis']}")
    return health.http_answer(f"http://127.0.0.1:{ports['http']}/v1/.well-known/ready")
