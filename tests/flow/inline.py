"""Whole lanes in one process: the real stages over in-memory adapters, walked record by record."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.memory.embeddings import MemoryEmbeddings
from connectors.memory.encoder import HashingEncoder
from connectors.memory.manifests import MemoryManifests
from connectors.memory.store import MemoryStore
from connectors.models.extractive import Extractive
from connectors.ports import AnswerModel
from runtime.clock import SystemClock
from runtime.settings import Settings
from streams.documents.chunk import Chunk
from streams.documents.embed import Embed
from streams.documents.formats.readers import Readers
from streams.documents.index import Index
from streams.outcome import Emit, Output, Record, Refuse
from streams.queries.answers import Answers
from streams.queries.condense import Condense
from streams.queries.generate import Generate
from streams.queries.legs import Legs
from streams.queries.manifests import Manifests
from streams.queries.retrieve import Retrieve
from streams.queries.search import Search
from streams.queries.vectors import Vectors
from streams.queries.versions import plain
from topics import registry
from topics.codec import decode, encode
from topics.control import Epoch
from topics.documents import IndexEvent
from topics.epochs import Epochs, first_epoch
from topics.headers import Hop
from topics.identity import DocumentRef, Token, document_key, mint_job_id, partition_of
from topics.queries import AnswerEvent, Question
from topics.spec import TopicSpec


def count_words(texts: Sequence[str]) -> list[int]:
    """A token counter that needs no model."""
    return [len(text.split()) for text in texts]


@dataclass
class Lanes:
    """All stages of one installation and the log between them."""

    settings: Settings = field(default_factory=Settings)
    log: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    refused: list[tuple[str, Record, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.encoder = HashingEncoder()
        self.manifests = MemoryManifests()
        self.store = MemoryStore(self.encoder.dimension)
        self.cache = MemoryEmbeddings()
        documents = self.settings.documents
        self.readers = Readers(documents)
        generation = documents.generation
        kafka = self.settings.kafka
        self.epochs = Epochs([first_epoch(kafka.prefix, kafka.partitions)])
        self.known(self.epochs)
        self.embed = Embed(self.encoder, self.cache)
        self.index = Index(generation, self.manifests, self.store, self.publish, self.clock)
        self.legs = Legs(self.encoder, self.store, None)
        search = Search(self.settings.queries, documents.stale_after, self.legs, self.clock)
        self.retrieve = Retrieve(
            self.settings.queries, generation, search, Manifests(self.manifests), self.publish, self.clock,
            condense=Condense(self.settings.queries, None, self.clock), vectors=Vectors(self.encoder, count_words),
        )  # fmt: skip
        self.writes()

    def writes(self, *models: AnswerModel, alone: bool = False, answers: Answers | None = None) -> None:
        """A generate stage with these models on its ladder, and quoting below them, unless they are alone."""
        ladder = [*models, *([] if alone else [Extractive(self.encoder)])]
        self.generate = Generate(self.settings.queries, plain(ladder, self.clock), self.publish, self.clock, answers)

    def known(self, epochs: Epochs) -> None:
        """A chunk stage that knows of these epochs."""
        self.epochs, settings = epochs, self.settings
        self.chunk = Chunk(
            settings.documents,
            settings.kafka,
            settings.tenants,
            count_words,
            self.manifests,
            2048,
            epochs,
            self.readers,
        )

    async def publish(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            self.append(output.spec, output.key, output.value, output.partition, dict(output.headers))

    def append(
        self, spec: TopicSpec, key: bytes | None, value: bytes | None, partition: int, headers: dict[str, bytes]
    ) -> Record:
        log = self.log[spec.name]
        offset = sum(record.partition == partition for record in log)
        name = spec.full_name(self.settings.kafka.prefix, self.settings.documents.generation)
        record = Record(name, partition, offset, key, value, headers, int(time.time() * 1000))
        log.append(record)
        return record

    async def _run(self, stage: Any, records: Sequence[Record]) -> None:
        for record, outcome in zip(records, await stage.step(records), strict=True):
            if isinstance(outcome, Emit):
                await self.publish(outcome.outputs)
            elif isinstance(outcome, Refuse):
                self.refused.append((record.topic, record, outcome.message))
                await self.publish(await stage.on_refused(record, "rejected", outcome.message))

    async def put(self, doc_id: str, value: bytes | None, tenant: str = "default", **headers: bytes) -> Token:
        """Publish one record and let the whole lane run dry."""
        record, token = self.write(self.epochs.newest, doc_id, value, tenant, **headers)
        await self.drain([record])
        return token

    def write(
        self, epoch: Epoch, doc_id: str, value: bytes | None, tenant: str = "default", **headers: bytes
    ) -> tuple[Record, Token]:
        """Publish one record to an epoch; what comes of it comes later."""
        key = document_key(DocumentRef(tenant, doc_id))
        partition = partition_of(key, epoch.partitions)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        record = self.append(registry.documents_of(epoch.number), key, value, partition, named)
        return record, Token(epoch.number, partition, record.offset)

    async def drain(self, records: Sequence[Record]) -> None:
        before = len(self.log[registry.CHUNKS.name])
        await self._run(self.chunk, records)
        await self.from_chunks(self.log[registry.CHUNKS.name][before:])

    async def from_chunks(self, records: Sequence[Record]) -> None:
        """The lane from ``chunks`` on."""
        before = len(self.log[registry.VECTORS.name])
        await self._run(self.embed, records)
        await self._run(self.index, self.log[registry.VECTORS.name][before:])

    def event(self, doc_id: str, tenant: str = "default") -> IndexEvent:
        """The last index event of a document."""
        events = [decode(r.value, IndexEvent) for r in self.log[registry.INDEX_EVENTS.name] if r.value]
        return [e for e in events if (e.tenant, e.doc_id) == (tenant, doc_id)][-1]

    async def ask(
        self, question: str, *, seconds: float = 10.0, tenant: str = "default", principals: Sequence[str] = (),
        deadline: float | None = None, **fields: Any,
    ) -> list[AnswerEvent]:  # fmt: skip
        """Ask and run both query stages; every event of the job.  ``deadline`` is by the clock of the stages."""
        now = time.time()
        job = mint_job_id(0)
        hop = Hop(
            job_id=job, deadline=int((deadline or now + seconds) * 1000), reply_partition=0, tenant=tenant,
            principals=list(principals),
        )  # fmt: skip
        body = encode(Question(question=question, asked_at=int(now * 1000), **fields))
        record = self.append(registry.QUERIES, job.encode(), body, 0, hop.headers())
        before = len(self.log[registry.RETRIEVALS.name])
        await self._settle(await self.retrieve.step(record), record)
        for retrieval in self.log[registry.RETRIEVALS.name][before:]:
            await self._settle(await self.generate.step(retrieval), retrieval)
        events = [decode(r.value or b"", AnswerEvent) for r in self.log[registry.ANSWERS.name]]
        return [event for event in events if event.job_id == job]

    async def _settle(self, outcome: Any, record: Record) -> None:
        if isinstance(outcome, Emit):
            await self.publish(outcome.outputs)
        elif isinstance(outcome, Refuse):
            self.refused.append((record.topic, record, outcome.message))
