"""A whole system in one process that an audit can look at: the lane of the flow tests, its topics readable as logs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from connectors.memory.topic_log import MemoryTopicLog
from runtime.clock import ManualClock
from runtime.settings import Documents, Settings
from streams.audit.audit import Audit
from streams.audit.findings import Finding
from streams.audit.repair import Repair
from streams.audit.report import Report, read_findings
from streams.audit.sources import Progress, Sources
from streams.audit.tables import Tables
from streams.outcome import Output, Record
from tests.flow.inline import Lanes
from topics import registry
from topics.epochs import Epochs, first_epoch
from topics.identity import DocumentRef, document_key, partition_of
from topics.retry import Retry, without_retry
from topics.spec import TopicSpec

LOGGED = (registry.DOCUMENTS.name, registry.INDEX_EVENTS.name)


def quiet(step: str, done: int, total: int | None) -> None:
    """Progress that nobody looks at."""


@dataclass
class World(Lanes):
    """Lanes whose ``documents`` and ``index-events`` lie in topic logs as well."""

    settings: Settings = field(default_factory=lambda: Settings(documents=Documents(tenants="default,acme")))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.topics = {name: MemoryTopicLog(self.settings.kafka.partitions) for name in LOGGED}
        self.now = ManualClock(self.clock.now() + 7200)
        self.meanwhile: Callable[[], None] | None = None  # runs between the walk and the closer look

    def append(
        self, spec: TopicSpec, key: bytes | None, value: bytes | None, partition: int, headers: dict[str, bytes]
    ) -> Record:
        record = super().append(spec, key, value, partition, headers)
        if spec.name in self.topics:
            self.topics[spec.name].append(partition, key, value, headers, record.timestamp)
        return record

    def unheard(self, doc_id: str, value: bytes | None, tenant: str = "default") -> Record:
        """A record of ``documents`` that no stage has read."""
        key = document_key(DocumentRef(tenant, doc_id))
        return self.append(registry.DOCUMENTS, key, value, partition_of(key, self.settings.kafka.partitions), {})

    async def resend(self, outputs: Sequence[Output]) -> None:
        """What an audit sends through the lane once more, as the runner puts it together again."""
        for output in outputs:
            assert output.partition == partition_of(output.key, self.settings.kafka.partitions)
            was = Retry.of(output.headers)
            headers = without_retry(output.headers)
            await self.drain(
                [Record(was.topic, was.partition, was.offset, output.key, output.value, headers, was.timestamp, was)]
            )

    async def audit(
        self, *, repair: bool = False, whole: bool = True, grace: float = 3600.0, progress: Progress = quiet,
        tenants: frozenset[str] | None = None,
    ) -> tuple[Report, list[Finding]]:  # fmt: skip
        """Look, mend if wanted; the report and all findings that remain."""
        log, events = (self.topics[name] for name in LOGGED)
        epochs = Epochs([first_epoch(self.settings.kafka.prefix, self.settings.kafka.partitions)])
        with Tables() as tables:
            sources = Sources(
                tenants or self.settings.tenants, epochs, {1: log}, events, self.manifests, self.store, tables,
                progress, whole=whole,
            )  # fmt: skip
            audit = Audit(sources, tables, self.now, progress, whole=whole, grace=grace)
            report = Report("g1")
            await audit.run(report)
            if repair:
                kafka = self.settings.kafka
                await Repair(audit, self.resend, self.now, progress, kafka.partitions).run(report)
            return report, list(read_findings(tables))
