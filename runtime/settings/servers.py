"""Settings of the servers that are talked to."""

import re
from typing import Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from runtime.endpoints import NAME, Endpoint, read_endpoints
from runtime.secrets import check_certificates, check_public, without_password
from runtime.settings.branch import Branch


class Kafka(Branch):
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
    min_insync: int | None = Field(
        None,
        ge=1,
        le=9,
        description="Copies that must have a record before it counts as written, of topics that we create; one fewer "
        "than FRESHET_REPLICATION when absent.",
    )
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

    @property
    def insync(self) -> int:
        """Copies that must have a record before it counts as written."""
        return self.min_insync or max(1, self.replication - 1)

    @model_validator(mode="after")
    def _copies(self) -> Self:
        if self.insync > self.replication:
            raise ValueError(
                f"FRESHET_MIN_INSYNC={self.min_insync} copies can never have a record where there are "
                f"FRESHET_REPLICATION={self.replication}"
            )
        return self

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


class Weaviate(Branch):
    """The vector store."""

    url: str = Field(
        "http://127.0.0.1:8080",
        description="HTTP address; with https gRPC is encrypted as well. Several, comma-separated, are nodes of one "
        "cluster, each with a copy of every object (docs/replicas.md).",
    )
    grpc: str = Field("127.0.0.1:50051", description="gRPC address, `host:port`; as many, in the same order.")
    replication: int | None = Field(
        None, ge=1, le=9, description="Copies of each object; as many as there are addresses when absent."
    )
    api_key: SecretStr | None = Field(None, description="API key.")
    timeout: float = Field(10.0, gt=0, le=300, description="Longest wait for one request, s.")
    insert_timeout: float = Field(60.0, gt=0, le=600, description="Longest wait for one batch of writes, s.")

    @field_validator("url")
    @classmethod
    def _public(cls, urls: str) -> str:
        for url in urls.split(","):
            check_public("FRESHET_WEAVIATE_API_KEY")(url)
        return urls

    @model_validator(mode="after")
    def _nodes(self) -> Self:
        urls, grpcs = self.url.split(","), self.grpc.split(",")
        if len(urls) != len(grpcs):
            raise ValueError(
                f"FRESHET_WEAVIATE_URL names {len(urls)} nodes and FRESHET_WEAVIATE_GRPC {len(grpcs)}: each has both"
            )
        if len(urls) > 1 and self.copies != len(urls):
            raise ValueError(
                f"FRESHET_WEAVIATE_URL names {len(urls)} nodes, each of which must hold every object, and "
                f"FRESHET_WEAVIATE_REPLICATION is {self.replication}: leave it out"
            )
        return self

    @property
    def copies(self) -> int:
        """Of each object."""
        return self.replication or self.url.count(",") + 1

    @property
    def each(self) -> tuple[Self, ...]:
        """The same settings for each node by itself."""
        addresses = zip(self.url.split(","), self.grpc.split(","), strict=True)
        return tuple(self.model_copy(update={"url": url.strip(), "grpc": at.strip()}) for url, at in addresses)


class Redis(Branch):
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


class Llm(Branch):
    """The language models; without a URL and without endpoints answers are extractive."""

    url: str | None = Field(None, description="OpenAI-compatible endpoint, e.g. `http://127.0.0.1:8000/v1`.")
    model: str | None = Field(None, description="Model name to ask for.")
    api_key: SecretStr | None = Field(None, description="API key.")
    endpoints: SecretStr | None = Field(
        None,
        description="Several endpoints, by name, in place of the one above: TOML or JSON (docs/llm.md); what one does"
        " not say is as below.",
    )
    max_tokens: int = Field(512, ge=1, description="Most tokens in an answer.")
    context_tokens: int | None = Field(
        None, ge=256, description="Context window of the model; unset, it is asked for at `/v1/models`."
    )
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature.")
    first_token_timeout: float = Field(20.0, gt=0, description="Longest silence before or between tokens, s.")

    _public = field_validator("url")(check_public("FRESHET_LLM_API_KEY"))

    @model_validator(mode="after")
    def _either(self) -> Self:
        if self.endpoints is not None and self.url:
            raise ValueError("FRESHET_LLM_URL and FRESHET_LLM_ENDPOINTS are both set: which one holds is not guessed")
        try:
            _ = self.versions
        except ValueError as error:
            raise ValueError(f"FRESHET_LLM_ENDPOINTS: {error}") from None
        return self

    @property
    def versions(self) -> tuple[Endpoint, ...]:
        """Every endpoint, in the order of the ladder."""
        asked = {name: getattr(self, name) for name in ("max_tokens", "context_tokens", "temperature")}
        asked["first_token_timeout"] = self.first_token_timeout
        if self.endpoints is not None:
            return read_endpoints(self.endpoints.get_secret_value(), tuple(asked.items()))
        if not self.url:
            return ()
        model = self.model or "default"
        name = model if re.match(NAME, model) else "default"
        return (Endpoint(name=name, url=self.url, model=model, api_key=self.api_key, **asked),)
