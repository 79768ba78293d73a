"""Create or verify topics on a broker; the only file here that opens a socket.

Safe to repeat: existing topics are compared, and every difference is reported as drift.  Their settings are changed
where that is asked for, partitions never.
"""

import time
from dataclasses import dataclass, field

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from topics.registry import ALL
from topics.spec import TopicSpec

TIMEOUT = 30.0  # seconds, per request


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic as it should be on the broker."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]


@dataclass(slots=True)
class Provisioned:
    """What was done, and where the broker differs from the plan."""

    created: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)


def plan(
    prefix: str,
    generation: str,
    partitions: int,
    reply_partitions: int,
    replication: int,
    insync: int,
    delete_retention_ms: int,
) -> list[TopicPlan]:
    """Every topic of an installation with its partitions and settings."""
    plans = []
    for spec in ALL:
        count = 1 if spec.single_partition else reply_partitions if spec.replies else partitions
        name = spec.full_name(prefix, generation)
        plans.append(TopicPlan(name, count, replication, config_of(spec, insync, delete_retention_ms)))
    return plans


def config_of(spec: TopicSpec, insync: int, delete_retention_ms: int) -> dict[str, str]:
    """Settings of a topic; how many copies must have a record is left to the broker where one is enough."""
    durable = {"min.insync.replicas": str(insync)} if insync > 1 else {}
    return spec.broker_config(delete_retention_ms) | durable


def apply(admin: AdminClient, plans: list[TopicPlan], *, alter: bool = False) -> Provisioned:
    """Create what is missing, verify the rest; ``alter``: set those settings that differ."""
    result = Provisioned()
    existing = admin.list_topics(timeout=TIMEOUT).topics
    missing = [p for p in plans if p.name not in existing]
    if missing:
        new = [NewTopic(p.name, p.partitions, p.replication, config=p.config) for p in missing]
        for name, done in admin.create_topics(new, operation_timeout=TIMEOUT).items():
            try:
                done.result(TIMEOUT)
            except KafkaException as error:
                if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                    raise
                continue  # somebody else was quicker: verified below like any other
            result.created.append(name)
        existing = _seen(admin, plans)
    old = [p for p in plans if p.name not in result.created]
    resources = {ConfigResource(ResourceType.TOPIC, p.name): p for p in old}
    configs = admin.describe_configs(list(resources)) if resources else {}
    for resource, done in configs.items():
        topic, actual = resources[resource], done.result(TIMEOUT)
        wrong = {
            key: value
            for key, value in topic.config.items()
            if key not in actual or not _meets(key, actual[key].value, value)
        }
        if alter and wrong:
            _alter(admin, topic.name, wrong)
            result.altered.append(topic.name)
            wrong = {}
        differences = [
            f"{topic.name}: {key} is {actual[key].value if key in actual else 'unset'}, should be {value}"
            for key, value in wrong.items()
        ]
        count = len(existing[topic.name].partitions)
        if count != topic.partitions:
            differences.append(f"{topic.name}: {count} partitions, should be {topic.partitions}")
        result.drift += differences
        if not differences:
            result.verified.append(topic.name)
    return result


def _alter(admin: AdminClient, topic: str, settings: dict[str, str]) -> None:
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in settings.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(TIMEOUT)


def _seen(admin: AdminClient, plans: list[TopicPlan]) -> dict[str, TopicMetadata]:
    """Metadata of all topics, once the broker shows them: it does so a moment after it has made them."""
    until = time.monotonic() + TIMEOUT
    while True:
        topics = admin.list_topics(timeout=TIMEOUT).topics
        if all(plan.name in topics for plan in plans) or time.monotonic() > until:
            return topics
        time.sleep(0.05)


def _meets(key: str, actual: str | None, wanted: str) -> bool:
    """Whether a broker's setting is what we want; a topic may take larger messages, and ask for more copies."""
    if key in ("max.message.bytes", "min.insync.replicas") and actual is not None and actual.isdecimal():
        return int(actual) >= int(wanted)
    return actual == wanted
