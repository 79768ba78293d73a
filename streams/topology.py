"""The map: which stages there are, what each reads, in which order a document and a question pass them.

topics of your own -> map -> documents, where FRESHET_SOURCES names some
documents -> chunk -> chunks -> embed -> vectors -> index -> index-events
index-events -> purge, where FRESHET_EDGE_URLS names edges
queries -> retrieve -> retrievals -> generate -> answers -> deliver -> webhooks -> notify -> endpoints of tenants

A stage gets a topic of its own only where it needs its own batch size, scale or replay.
"""

from dataclasses import dataclass

from topics import registry
from topics.spec import TopicSpec


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage and the topic it reads."""

    name: str
    reads: TopicSpec


STAGES = (
    StageSpec("map", registry.SOURCES),
    StageSpec("chunk", registry.DOCUMENTS),
    StageSpec("embed", registry.CHUNKS),
    StageSpec("index", registry.VECTORS),
    StageSpec("purge", registry.INDEX_EVENTS),
    StageSpec("retrieve", registry.QUERIES),
    StageSpec("generate", registry.RETRIEVALS),
    StageSpec("deliver", registry.ANSWERS),
    StageSpec("notify", registry.WEBHOOKS),
)
BY_NAME = {stage.name: stage for stage in STAGES}
