"""All settings: one frozen tree, read once from the environment and handed down as values.

Every value is ``FRESHET_*``; a value may also lie in a file (``FRESHET_<NAME>_FILE``, for mounted secrets).
docs/settings.md is generated from the descriptions here.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from runtime.secrets import check_certificates, check_public, without_password
from runtime.sources import Source, read_sources

PREFIX = "FRESHET_"


class SettingsError(ValueError):
    """A setting that cannot be used; the message names the variable."""


class _Branch(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kafka(_Branch):
    """The log."""

    brokers: str = Field("127.0.0.1:9092", description="Bootstrap addresses, `host:port`, comma-separated.")
    security_protocol: str = Field(
        "PLAINTEXT",
        pattern=r"^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$",
        description="How brokers are spoken to: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    )
    sasl_mechanism: str = Field(
        "SCRAM-SHA-512",
        pattern=r"^(SCRAM-SHA-256|SCRAM-SHA-512|PLAIN)$",
        description="How we log in at brokers: SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN.",
    )
    sasl_username: str | None = Field(None, description="Kafka user.")
    sasl_password: SecretStr | None = Field(None, description="Password of the Kafka user.")
    brokers_ca: str | None = Field(
        None, description="Certificates, in PEM form, that brokers' must be signed by; the system's when absent."
    )
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

    _ca = field_validator("brokers_ca")(check_certificates)

    @model_validator(mode="after")
    def _login(self) -> Self:
        if self.sasl and not (self.sasl_username and self.sasl_password):
            raise ValueError(
                f"FRESHET_SECURITY_PROTOCOL={self.security_protocol} needs FRESHET_SASL_USERNAME and "
                "FRESHET_SASL_PASSWORD (or FRESHET_SASL_PASSWORD_FILE)"
            )
        if not self.sasl and (self.sasl_username or self.sasl_password):
            raise ValueError(
                f"FRESHET_SASL_USERNAME and FRESHET_SASL_PASSWORD would not be used: FRESHET_SECURITY_PROTOCOL is "
                f"{self.security_protocol}, not SASL_SSL"
            )
        if not self.tls and self.brokers_ca:
            raise ValueError(
                f"FRESHET_BROKERS_CA would not be used: FRESHET_SECURITY_PROTOCOL is {self.security_protocol}, "
                "neither SSL nor SASL_SSL"
            )
        return self

    @property
    def sasl(self) -> bool:
        return self.security_protocol.startswith("SASL")

    @property
    def tls(self) -> bool:
        return self.security_protocol.endswith("SSL")


class Weaviate(_Branch):
    """The vector store."""

    url: str = Field("http://127.0.0.1:8080", description="HTTP address; with https gRPC is encrypted as well.")
    grpc: str = Field("127.0.0.1:50051", description="gRPC address, `host:port`.")
    api_key: SecretStr | None = Field(None, description="API key.")
    timeout: float = Field(10.0, gt=0, le=300, description="Longest wait for one request, s.")
    insert_timeout: float = Field(60.0, gt=0, le=600, description="Longest wait for one batch of writes, s.")

    _public = field_validator("url")(check_public("FRESHET_WEAVIATE_API_KEY"))


class Redis(_Branch):
    """State (what must not be evicted) and cache (what may be)."""

    state_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="State: manifests, delivery counts. noeviction, AOF. `rediss://user@host:port/0` encrypts.",
    )
    state_password: SecretStr | None = Field(None, description="Password for it; one in the address is moved here.")
    cache_url: str = Field("redis://127.0.0.1:6379/1", description="Cache: embeddings. allkeys-lru, no AOF.")
    cache_password: SecretStr | None = Field(None, description="Password for it; one in the address is moved here.")
    ca: str | None = Field(
        None, description="Certificates, in PEM form, that a `rediss://` server's must be signed by."
    )
    timeout: float = Field(5.0, gt=0, le=60, description="Longest wait for one request, s.")
    embedding_ttl: int = Field(30 * 86400, ge=60, description="Seconds that a cached vector is kept unread.")

    _ca = field_validator("ca")(check_certificates)

    @model_validator(mode="before")
    @classmethod
    def _passwords(cls, given: Any) -> Any:
        """Addresses are shown in messages and tables: a password does not stay in one."""
        found = dict(given)
        for role in ("state", "cache"):
            if isinstance(url := found.get(f"{role}_url"), str):
                try:
                    found[f"{role}_url"], password = without_password(url)
                except ValueError as error:
                    raise ValueError(f"FRESHET_REDIS_{role.upper()}_URL: {error}") from None
                if password is not None and found.setdefault(f"{role}_password", password) != password:
                    raise ValueError(
                        f"FRESHET_REDIS_{role.upper()}_URL holds another password than "
                        f"FRESHET_REDIS_{role.upper()}_PASSWORD: leave it out of the address"
                    )
        return found


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
    readers: int = Field(
        2, ge=1, le=64, description="Processes of a chunk worker that read PDF, Office, e-mail and CSV."
    )
    read_timeout: float = Field(30.0, gt=0, le=600, description="Longest that reading one such document may take, s.")
    read_memory_bytes: int = Field(
        1024 * 1024 * 1024, ge=256 * 1024 * 1024, description="Most memory of such a process (on Linux)."
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
    context_tokens: int | None = Field(
        None, ge=256, description="Context window of the model; unset, it is asked for at `/v1/models`."
    )
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature.")
    first_token_timeout: float = Field(20.0, gt=0, description="Longest silence before or between tokens, s.")

    _public = field_validator("url")(check_public("FRESHET_LLM_API_KEY"))


class Gateway(_Branch):
    """The door."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    replica: int = Field(0, ge=0, description="Number of this gateway among its replicas.")
    replicas: int = Field(1, ge=1, description="How many gateways share the reply partitions.")
    max_in_flight: int = Field(256, ge=1, description="Questions under way before 429.")
    api_key: SecretStr | None = Field(None, description="API key that `freshet ask` and other commands show it.")


class Api(_Branch):
    """Who may come in by the gateway."""

    keys_file: Path | None = Field(
        None, description="API keys (`freshet keys`). Without it the gateway listens on loopback only."
    )
    behind_proxy: bool = Field(
        False,
        description="A proxy in front checks who comes in and sets `Freshet-Tenant` and `Freshet-Principals`: "
        "listen anywhere without keys.",
    )


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
    api: Api = Api()
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
            raise SettingsError("; ".join(map(_told, error.errors(include_input=False)))) from None
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
            value, field = getattr(part, name), type(part).model_fields[name]
            source = "environment" if variable in env else "file" if f"{variable}_FILE" in env else "default"
            if source == "default" and value != field.default:
                source = "address"
            if isinstance(value, str) and "\n" in value:
                value = f"({len(value.splitlines())} lines)"
            yield variable, value, source, field.description or ""

    @property
    def secrets(self) -> list[str]:
        """Every value that must not be shown."""
        parts = (getattr(self, branch) for branch in type(self).model_fields)
        values = (getattr(part, name) for part in parts for name in type(part).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]

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
    if path is None:
        return env.get(variable)
    if variable in env:
        raise SettingsError(f"{variable} and {variable}_FILE are both set: which one holds is not guessed")
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingsError(f"{variable}_FILE: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}_FILE: {path} is not UTF-8 text") from None


def _told(error: Any) -> str:
    """A complaint with its variable; one about several names them itself."""
    place, said = error["loc"], error["msg"].removeprefix("Value error, ")
    return said if len(place) < 2 else f"{variable_of(*map(str, place[:2]))}: {said}"
