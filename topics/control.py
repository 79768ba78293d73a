"""Records of ``control``: the state of each generation, epochs of ``documents``, language models.  Key: kind/name."""

from typing import Literal

import msgspec


class Generation(msgspec.Struct, kw_only=True, omit_defaults=True, tag="generation", tag_field="kind"):
    """One way to index all documents: chunker, model, store settings; its topics and collection bear its name."""

    name: str
    state: Literal["building", "complete", "active", "retired"]
    canary: float = 0.0  # share of new documents, 0 to 1
    model: str
    chunk_tokens: int
    buckets: int  # physical tenants per tenant in the vector store: the scaling lever inside one cluster


class LlmVersions(msgspec.Struct, kw_only=True, omit_defaults=True, tag="llm", tag_field="kind"):
    """Which version of the language model leads, and what share of the questions ask another one first.

    ``previous`` is what a rollback goes back to.
    """

    lead: str
    shares: dict[str, float] = {}
    previous: str | None = None
    changed_at: int = 0  # ms since 1970; 0 while settings are all there is


class Epoch(msgspec.Struct, kw_only=True, tag="epoch", tag_field="kind"):
    """One incarnation of ``documents``: more partitions means a new topic and the next epoch.

    ``active_from`` (ms since 1970) is when writers move to it; null while it is prepared: read already, not written.
    """

    number: int
    topic: str
    partitions: int
    active_from: int | None = 0
