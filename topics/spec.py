"""What a topic is: name, record, key rule, retention, who writes and who reads."""

from dataclasses import dataclass, field

import msgspec

HOUR = 3600 * 1000  # ms
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic.  ``name`` lacks the prefix; ``{gen}`` in it stands for the generation."""

    name: str
    purpose: str
    key: str
    records: tuple[type[msgspec.Struct], ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]  # each a consumer group
    followers: tuple[str, ...] = ()  # who reads it too, without a group
    compacted: bool = False
    retention_ms: int = 7 * DAY
    single_partition: bool = False
    replies: bool = False  # partitioned by gateway, not by key
    null: str = ""  # what a record without a value says; empty where there is none
    config: dict[str, str] = field(default_factory=dict)

    def full_name(self, prefix: str, generation: str) -> str:
        return f"{prefix}.{self.name.format(gen=generation)}"

    def broker_config(self, delete_retention_ms: int) -> dict[str, str]:
        """Settings on the broker; what is not named here is left to the cluster."""
        if self.compacted:
            base = {"cleanup.policy": "compact", "delete.retention.ms": str(delete_retention_ms)}
        else:
            base = {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}
        return base | self.config


def dead_letters_of(spec: TopicSpec) -> TopicSpec:
    """The topic for what a stage could not take from ``spec``: original key, value and headers, plus the reason."""
    return TopicSpec(
        name=f"{spec.name}.dlq",
        purpose=f"Records of `{spec.name}` that were refused, with the reason in `__connect.errors.*` headers.",
        key=f"as in `{spec.name}`",
        records=(),
        writers=spec.readers,
        readers=("operator",),
        retention_ms=30 * DAY,
        replies=spec.replies,
        config=_with_room_for_headers(spec.config),
    )


def retries_of(spec: TopicSpec) -> TopicSpec:
    """The topic for what failed in the lane of ``spec`` and may pass later; each generation has its own."""
    name = spec.name if "{gen}" in spec.name else f"{spec.name}.{{gen}}"
    return TopicSpec(
        name=f"{name}.retry",
        purpose=f"Records of `{spec.name}` that wait for another try: as they came, plus `freshet-retry-*` headers.",
        key=f"as in `{spec.name}`",
        records=(),
        writers=(*spec.readers, "cli"),
        readers=spec.readers,
        retention_ms=30 * DAY,
        config=_with_room_for_headers(spec.config),
    )


def _with_room_for_headers(config: dict[str, str]) -> dict[str, str]:
    size = config.get("max.message.bytes")
    return {"max.message.bytes": str(int(size) + 64 * 1024)} if size else {}
