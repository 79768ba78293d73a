"""Partitions move: their leaders to other brokers, or their replicas too.

With one broker nothing of this exists; what moves there is the work of a consumer group (`scale.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest
from confluent_kafka import ElectionType, TopicPartition

from chaos.faults.site import NotBack, Site
from runtime.brokers import aiokafka_options

_SECONDS = 30.0
_TIMEOUT_MS = 10_000
OFFSETS = "__consumer_offsets"
Replicas: TypeAlias = dict[tuple[str, int], list[int]]  # brokers by topic and partition, the preferred leader first


@dataclass(frozen=True, slots=True)
class Reassign:
    """Every partition of ours gets the next of its brokers as leader; ``drop``: the one that led loses its replica."""

    kind: str
    drop: bool
    instant: bool = False
    _before: Replicas = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.kind}:kafka"

    def lacks(self, site: Site) -> str | None:
        brokers = sum("client" in planned["ports"] for planned in site.programs.values())
        return None if brokers > 1 else "there is one broker, and every partition is on it"

    async def inject(self, site: Site) -> None:
        now = await asyncio.to_thread(replicas, site)
        self._before.update({at: brokers for at, brokers in now.items() if len(brokers) > 1})
        first = 0 if self.drop else 1
        await self._move(site, {at: [*b[1:], *b[:first]] for at, b in self._before.items()})

    async def heal(self, site: Site) -> None:
        if self._before:
            await self._move(site, self._before)
            self._before.clear()

    async def _move(self, site: Site, wanted: Replicas) -> None:
        """Ask for it, wait until replicas have what they need, and give partitions to their preferred leaders."""
        async with _admin(site) as admin:
            await _reassign(admin, wanted)

        def elsewhere() -> str | None:
            now, synced = replicas(site), in_sync(site)
            left = [at for at in wanted if now.get(at) != wanted[at] or synced[at] != set(wanted[at])]
            return f"{len(left)} partitions have not moved, the first is {left[0]}" if left else None

        await site.until(elsewhere, "partitions are not where they should be", _SECONDS)
        await asyncio.to_thread(_elect, site, wanted)

        def led_by_another() -> str | None:
            now = leaders(site)
            left = [at for at in wanted if now.get(at) != wanted[at][0]]
            return f"{len(left)} partitions have another leader, the first is {left[0]}" if left else None

        await site.until(led_by_another, "preferred leaders do not lead", _SECONDS)


def replicas(site: Site) -> Replicas:
    """Of all topics of ours, and of the offsets of their groups."""
    return {at: list(partition.replicas) for at, partition in _partitions(site).items()}


def in_sync(site: Site) -> dict[tuple[str, int], set[int]]:
    """Which replicas have all that was acknowledged."""
    return {at: set(partition.isrs) for at, partition in _partitions(site).items()}


def leaders(site: Site) -> dict[tuple[str, int], int]:
    """Who leads."""
    return {at: partition.leader for at, partition in _partitions(site).items()}


def _partitions(site: Site) -> Mapping[tuple[str, int], Any]:
    prefix = site.settings.kafka.prefix
    topics = site.admin().list_topics(timeout=10).topics
    ours = {name: topic for name, topic in topics.items() if name.startswith(f"{prefix}.") or name == OFFSETS}
    return {(name, number): found for name, topic in ours.items() for number, found in topic.partitions.items()}


def _elect(site: Site, wanted: Replicas) -> None:
    """Errors tell that no election was needed, or show in who leads afterwards."""
    admin = site.admin()
    places = [TopicPartition(topic, number) for topic, number in wanted]
    admin.elect_leaders(ElectionType.PREFERRED, places, request_timeout=_SECONDS).result()


@asynccontextmanager
async def _admin(site: Site) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**aiokafka_options(site.kafka))
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _reassign(admin: AIOKafkaAdminClient, wanted: Replicas) -> None:
    """Kafka's own request, which neither client library has a method for."""
    topics: dict[str, list[tuple[int, list[int], dict[int, bytes]]]] = {}
    for (topic, number), brokers in wanted.items():
        topics.setdefault(topic, []).append((number, brokers, {}))
    request = AlterPartitionReassignmentsRequest(_TIMEOUT_MS, [(t, places, {}) for t, places in topics.items()], {})
    answer = await admin._send_to_controller(request)
    codes = {code for _, places, _ in answer.responses for _, code, _, _ in places} | {answer.error_code}
    if codes != {0}:
        raise NotBack(f"Kafka refuses to move partitions: codes {sorted(codes)}")
