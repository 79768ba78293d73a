"""All settings: one frozen tree, read once from the environment and handed down as values.

Every value is ``FRESHET_*``; a value may also lie in a file (``FRESHET_<NAME>_FILE``, for mounted secrets).
docs/settings.md is generated from the descriptions here.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from runtime.sources import Source, read_sources

PREFIX = "FRESHET_"


class SettingsError(ValueError):
    """A setting that cannot be used; the message names the variable."""


class _Branch(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kafka(_Branch):
    """The log."""

    brokers: str = Field("127.0.0.1:9092", description="Bootstrap addresses, `host:port`, comma-separated.")
    prefix: str = Field(
        "freshet",
        pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,40}$",
        description="In front of every topic, group, key, collection.",
    )
    partitions: int = Field(
        4, ge=1, le=4096, description="Partitions of the first `documents`, of `queries` and all between."
    )
    reply_partitions: int = Field(4, ge=1, le=65535, description="Partitions of `answers`, shared out among gateways.")
    replication: int = Field(1, ge=1, le=9, description="Replication factor of topics that we create.")
    delete_retention_ms: int = Field(30 * 86400_000, ge=1, description="How long deletes stay readable in the log, ms.")
    request_timeout: float = Field(30.0, gt=0, le=600, description="Longest wait for a broker's acknowledgement, s.")
    session_timeout: float = Field(
        10.0, ge=1, le=300, description="A silent worker loses its partitions after this, s."
    )
    commit_interval: float = Field(
        0.5, gt=0, le=60, description="Seconds between commits: what may come twice after a crash."
    )
    poison_limit: int = Field(
        4, ge=2, le=100, description="Deliveries that may kill a worker before a record is dead-lettered."
    )
    retry_delay: float = Field(
        10.0, ge=0.05, le=3600, description="Seconds that a record whose failure is unclear waits for its next try."
    )
    retry_attempts: int = Field(
        12, ge=1, le=1000, description="Such tries, failed while other records passed, before it is dead-lettered."
    )


class Weaviate(_Branch):
    """The vector store."""

    url: str = Field("http://127.0.0.1:8080", description="HTTP address.")
    grpc: str = Field("127.0.0.1:50051", description="gRPC address, `host:port`.")
    api_key: SecretStr | None = Field(None, description="API key.")
    timeout: float = Field(10.0, gt=0, le=300, description="Longest wait for one request, s.")
    insert_timeout: float = Field(60.0, gt=0, le=600, description="Longest wait for one batch of writes, s.")


class Redis(_Branch):
    """State (what must not be evicted) and cache (what may be)."""

    state_url: str = Field(
        "redis://127.0.0.1:6379/0", description="State: manifests, delivery counts. noeviction, AOF."
    )
    cache_url: str = Field("redis://127.0.0.1:6379/1", description="Cache: embeddings. allkeys-lru, no AOF.")
    timeout: float = Field(5.0, gt=0, le=60, description="Longest wait for one request, s.")
    embedding_ttl: int = Field(30 * 86400, ge=60, description="Seconds that a cached vector is kept unread.")


class Encoder(_Branch):
    """Text to vectors."""

    model: str = Field("all-MiniLM-L6-v2", description="A sentence-transformers model: name, or path of its folder.")
    backend: str = Field(
        "auto",
        pattern=r"^(auto|cuda-fp16|openvino-bf16|openvino-fp32|torch-bf16|torch-fp32)$",
        description="`auto` takes the fastest whose cosine to fp32 stays at or above 0.999.",
    )
    batch_tokens: int = Field(8192, ge=256, description="Tokens (with padding) that one forward pass may hold.")
    threads: int = Field(0, ge=0, description="CPU threads; 0 leaves the choice to the backend.")
    export_dir: Path | None = Field(None, description="Where exported models are kept; default is the user's cache.")


class Documents(_Branch):
    """The document lane."""

    generation: str = Field("g1", pattern=r"^[a-z0-9][a-z0-9_]{0,30}$", description="Generation that workers serve.")
    buckets: int = Field(1, ge=1, le=1024, description="Physical tenants per tenant in the vector store.")
    tenants: str = Field("default", description="Known tenants, comma-separated.")
    chunk_tokens: int = Field(200, ge=32, le=4096, description="Most tokens in a chunk.")
    part_bytes: int = Field(
        192 * 1024, ge=4096, description="Most bytes in one part of a version in internal topics, vectors included."
    )
    max_document_bytes: int = Field(
        8 * 1024 * 1024 - 4096, ge=1024, description="Largest document accepted at the door."
    )
    max_metadata_keys: int = Field(64, ge=0, le=512, description="Most metadata keys on one document.")
    max_filterable_keys: int = Field(256, ge=0, le=2048, description="Most distinct metadata keys in a generation.")
    batch: int = Field(32, ge=1, le=1024, description="Records that a stage takes at once.")
    linger: float = Field(0.005, ge=0, le=5, description="Seconds that a stage waits for a batch to fill.")
    stale_after: float = Field(
        300.0, gt=0, description="A passage is stale when a newer version is this old in the log, s."
    )
    sources: str = Field(
        "", description="Topics of your own to take documents from, and their mapping: TOML or JSON (docs/sources.md)."
    )

    @field_validator("sources")
    @classmethod
    def _readable(cls, text: str) -> str:
        read_sources(text)
        return text


class Queries(_Branch):
    """The query lane."""

    k: int = Field(5, ge=1, le=100, description="Passages for a question that does not say.")
    max_k: int = Field(50, ge=1, le=1000, description="Most passages that a question may ask for.")
    deadline: float = Field(30.0, gt=0, le=3600, description="Seconds that a question may take when it does not say.")
    max_question_chars: int = Field(4000, ge=1, description="Longest question.")
    in_flight: int = Field(16, ge=1, le=1024, description="Questions that a worker handles at once.")
    min_score: float = Field(
        0.3, ge=-1, le=1, description="Passages less similar (cosine) than this do not count as found."
    )
    tail: bool = Field(
        True,
        description="Each retrieval worker keeps all manifests in memory too, about 3 KB for a document of 5 chunks,"
        " and answers from them while Redis is away.",
    )
    freshness_wait: float = Field(5.0, ge=0, description="Longest wait for `at_least` before answering labelled, s.")


class Llm(_Branch):
    """The language model; without a URL answers are extractive."""

    url: str | None = Field(None, description="OpenAI-compatible endpoint, e.g. `http://127.0.0.1:8000/v1`.")
    model: str | None = Field(None, description="Model name to ask for.")
    api_key: SecretStr | None = Field(None, description="API key.")
    max_tokens: int = Field(512, ge=1, description="Most tokens in an answer.")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature.")
    first_token_timeout: float = Field(20.0, gt=0, description="Longest silence before or between tokens, s.")


class Gateway(_Branch):
    """The door."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    replica: int = Field(0, ge=0, description="Number of this gateway among its replicas.")
    replicas: int = Field(1, ge=1, description="How many gateways share the reply partitions.")
    max_in_flight: int = Field(256, ge=1, description="Questions under way before 429.")


class Worker(_Branch):
    """One process."""

    slot: str = Field(
        "0", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Stable name of this worker among its lane's."
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of /metrics on loopback; 0 means none.")
    metrics_host: str = Field("127.0.0.1", description="Address of /metrics.")
    log_level: str = Field("INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged.")


# Variables are FRESHET_<branch>_<field>; these branches stand without their own name.
_BARE = frozenset({"kafka", "documents", "worker"})


class Settings(_Branch):
    """The whole tree."""

    kafka: Kafka = Kafka()
    weaviate: Weaviate = Weaviate()
    redis: Redis = Redis()
    encoder: Encoder = Encoder()
    documents: Documents = Documents()
    queries: Queries = Queries()
    llm: Llm = Llm()
    gateway: Gateway = Gateway()
    worker: Worker = Worker()

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the environment once; :class:`SettingsError` names each variable that is wrong."""
        env = os.environ if env is None else env
        tree: dict[str, dict[str, str]] = {}
        known = set()
        for branch, name, variable in cls.variables():
            known |= {variable, f"{variable}_FILE"}
            value = _read(env, variable)
            if value is not None:
                tree.setdefault(branch, {})[name] = value
        for variable in env:
            if variable.startswith(PREFIX) and variable not in known | _FOREIGN:
                raise SettingsError(f"{variable} is not a setting: `freshet settings` lists all")
        try:
            settings = cls.model_validate(tree)
        except ValidationError as error:
            told = [(e["loc"][:2], e["msg"].removeprefix("Value error, ")) for e in error.errors()]
            lines = [f"{variable_of(*map(str, place))}: {message}" for place, message in told]
            raise SettingsError("; ".join(lines)) from None
        _ = settings.sources  # complains
        return settings

    @classmethod
    def variables(cls) -> Iterator[tuple[str, str, str]]:
        """(branch, field, variable) of every setting."""
        for branch, field in cls.model_fields.items():
            assert isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            for name in field.annotation.model_fields:
                yield branch, name, variable_of(branch, name)

    def describe(self, env: Mapping[str, str] | None = None) -> Iterator[tuple[str, Any, str, str]]:
        """(variable, value, source, description) of every setting; secrets stay hidden."""
        env = os.environ if env is None else env
        for branch, name, variable in self.variables():
            part = getattr(self, branch)
            source = "environment" if variable in env else "file" if f"{variable}_FILE" in env else "default"
            yield variable, getattr(part, name), source, type(part).model_fields[name].description or ""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Topics of the user's own; :class:`SettingsError` for one of ours, which would be read in a circle."""
        found = read_sources(self.documents.sources)
        for source in found:
            if source.topic.startswith(f"{self.kafka.prefix}."):
                raise SettingsError(f"FRESHET_SOURCES: topic {source.topic} is one of Freshet's own")
        return found

    @property
    def tenants(self) -> frozenset[str]:
        return frozenset(t.strip() for t in self.documents.tenants.split(",") if t.strip())


# FRESHET_* variables that other parts of the installation read.
_FOREIGN = frozenset({"FRESHET_PORT_BASE", "FRESHET_WORKERS", "FRESHET_CACHE_DIR", "FRESHET_TEST_STATE"})


def variable_of(branch: str, name: str) -> str:
    if branch == "worker" and name == "slot":
        return f"{PREFIX}WORKER_SLOT"
    return f"{PREFIX}{name}".upper() if branch in _BARE else f"{PREFIX}{branch}_{name}".upper()


def _read(env: Mapping[str, str], variable: str) -> str | None:
    path = env.get(f"{variable}_FILE")
    if path is not None and variable not in env:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise SettingsError(f"{variable}_FILE: cannot read {path}: {error.strerror}") from None
    return env.get(variable)
