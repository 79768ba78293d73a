"""All topics.  No topic name is spelled anywhere else."""

from dataclasses import replace
from functools import cache

from topics.control import Epoch, Generation, LlmVersions
from topics.documents import Document, DocumentDeferred, DocumentPart, DocumentRefused, IndexEvent
from topics.queries import AnswerEvent, Cancelled, Question, Retrieval
from topics.spec import DAY, HOUR, TopicSpec, dead_letters_of, retries_of
from topics.webhooks import Notification

_LARGE = {"max.message.bytes": str(8 * 1024 * 1024)}
_NULL_PART = "At part 0 it deletes the document, at a later part it retires one that a shorter version no longer has."
_DOCUMENT_PART = "percent-encoded `tenant/doc_id`, `#`, part number; partition of the document"

DOCUMENTS = TopicSpec(
    name="documents",
    purpose="The source of truth: every document's latest version. Any producer may write here. "
    "After a move to more partitions: `documents.2` and so on, one topic an epoch.",
    key="document id (`@tenant/` in front for a tenant other than `default`); partition by murmur2",
    records=(Document,),
    writers=("any producer", "gateway", "map"),
    readers=("chunk",),
    compacted=True,
    null="It deletes the document.",
    config=_LARGE,
)
CHUNKS = TopicSpec(
    name="chunks.{gen}",
    purpose="Document versions as clean, chunked text.",
    key=_DOCUMENT_PART,
    records=(DocumentPart, DocumentRefused, DocumentDeferred),
    writers=("chunk",),
    readers=("embed",),
    compacted=True,
    null=_NULL_PART,
    config=_LARGE,
)
VECTORS = TopicSpec(
    name="vectors.{gen}",
    purpose="Document versions with a vector per chunk.",
    key=_DOCUMENT_PART,
    records=(DocumentPart, DocumentRefused, DocumentDeferred),
    writers=("embed",),
    readers=("index",),
    compacted=True,
    null=_NULL_PART,
    config=_LARGE,
)
INDEX_EVENTS = TopicSpec(
    name="index-events.{gen}",
    purpose="What is visible: one record per document with its current version and manifest. A public interface.",
    key="percent-encoded `tenant/doc_id`; partition of the document",
    records=(IndexEvent,),
    writers=("index",),
    readers=("retrieve", "purge", "gateway", "any consumer"),
    compacted=True,
    config=_LARGE,
)
CONTROL = TopicSpec(
    name="control",
    purpose="State of each generation, epochs of `documents`, which language model leads.",
    key="kind/name",
    records=(Generation, Epoch, LlmVersions),
    writers=("cli",),
    readers=("every worker",),
    compacted=True,
    single_partition=True,
)
# Gateways look jobs up by time: one record of a clock that was ahead would hide all that come after it.
BY_THE_BROKER = {"message.timestamp.type": "LogAppendTime"}
QUERIES = TopicSpec(
    name="queries",
    purpose="Questions that wait for retrieval.",
    key="job id",
    records=(Question,),
    writers=("gateway",),
    readers=("retrieve",),
    retention_ms=DAY,
    config=BY_THE_BROKER,
)
RETRIEVALS = TopicSpec(
    name="retrievals",
    purpose="Questions with their passages, waiting for generation.",
    key="job id",
    records=(Retrieval,),
    writers=("retrieve",),
    readers=("generate",),
    retention_ms=DAY,
)
QUERIES_BATCH = replace(
    QUERIES, name="queries.batch", purpose="Questions for which nobody waits: taken while no other waits."
)
RETRIEVALS_BATCH = replace(
    RETRIEVALS, name="retrievals.batch", purpose="Their passages, taken while no other question waits for generation."
)
ANSWERS = TopicSpec(
    name="answers",
    purpose="Everything a job says: stages, passages, tokens, the answer. The job's memory until retention ends.",
    key="job id; partition chosen by the gateway that accepted the job",
    records=(AnswerEvent,),
    writers=("retrieve", "generate", "gateway"),
    readers=("deliver",),
    followers=("gateway",),
    retention_ms=DAY,
    replies=True,
    config=BY_THE_BROKER,
)

# Read from its beginning at every start, so it is kept no longer than a question may live, and little longer than that.
CANCELS = TopicSpec(
    name="cancels",
    purpose="Jobs that were cancelled, for workers to stop at once. What the job says of it is in `answers`.",
    key="job id",
    records=(Cancelled,),
    writers=("gateway",),
    readers=(),
    followers=("retrieve", "generate"),
    retention_ms=2 * HOUR,
    single_partition=True,
    config={"segment.ms": str(HOUR)},
)
WEBHOOKS = TopicSpec(
    name="webhooks",
    purpose="What endpoints of tenants are to be told: how a job ended.",
    key="job id; partition by murmur2",
    records=(Notification,),
    writers=("deliver",),
    readers=("notify",),
)

# Stands for the topics of the user's own, which FRESHET_SOURCES names: they are not ours to make.
SOURCES = TopicSpec(
    name="sources",
    purpose="Topics of your own that are mapped to documents.",
    key="yours",
    records=(),
    writers=("you",),
    readers=("map",),
    config=_LARGE,
)

PURGE = "purge"  # reads index-events, where FRESHET_EDGE_URLS names edges
LANES = (DOCUMENTS, CHUNKS, VECTORS, QUERIES, RETRIEVALS, ANSWERS, WEBHOOKS)
# A question has a deadline and an asker who is told: only documents are tried again later.
RETRIES = {spec.name: retries_of(spec) for spec in (DOCUMENTS, CHUNKS, VECTORS)}
# Beside a stage's own topic: what waits while that has anything to do.
BATCH = {QUERIES.name: QUERIES_BATCH, RETRIEVALS.name: RETRIEVALS_BATCH}
# All that waits for a stage, by name: where it waits, and for which stage.
QUEUES = {stage: (spec, stage) for spec in LANES for stage in spec.readers} | {
    f"{stage}.{kind}": (spec, stage)
    for kind, specs in (("retry", RETRIES), ("batch", BATCH))
    for spec in specs.values()
    for stage in spec.readers
}
QUEUES[PURGE] = (INDEX_EVENTS, PURGE)
ALL: tuple[TopicSpec, ...] = (
    *LANES,
    *BATCH.values(),
    INDEX_EVENTS,
    CONTROL,
    CANCELS,
    *RETRIES.values(),
    *(dead_letters_of(spec) for spec in (SOURCES, *LANES)),
)


@cache
def documents_of(epoch: int) -> TopicSpec:
    """``documents`` of an epoch: the first bears the name alone, the others their number behind it."""
    return DOCUMENTS if epoch == 1 else replace(DOCUMENTS, name=f"{DOCUMENTS.name}.{epoch}")


def group_of(prefix: str, stage: str, generation: str) -> str:
    """Consumer group of a lane; whoever reads a topic of one generation is a group of that generation.

    ``documents`` is read by every generation from its own beginning, so its reader bears the generation's name too.
    """
    per_generation = any(stage in spec.readers and (spec is DOCUMENTS or "{gen}" in spec.name) for spec in LANES)
    return f"{prefix}.{stage}.{generation}" if per_generation or stage == PURGE else f"{prefix}.{stage}"
