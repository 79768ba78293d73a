"""Settings of the gateway and of a process."""

import re
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from pydantic import Field, SecretStr, field_validator, model_validator

from runtime.secrets import check_public
from runtime.settings.branch import Branch

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Gateway(Branch):
    """The door."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    replica: int = Field(0, ge=0, description="Number of this gateway among its replicas.")
    replicas: int = Field(1, ge=1, description="How many gateways share the reply partitions.")
    notify_stale_for: float = Field(
        600.0, gt=0, le=86400, description="Seconds for which a question with `notify_stale` has its answer watched."
    )
    max_in_flight: int = Field(256, ge=1, description="Interactive questions under way before 429.")
    max_batch: int = Field(1024, ge=1, description="Batch questions under way before 429.")
    tenant_share: float = Field(
        0.75, gt=0, le=1, description="Most of these that one tenant may have, where there are several."
    )
    max_queued: float = Field(
        15.0, gt=0, description="429 for interactive questions while one has waited so long for a worker, s."
    )
    api_key: SecretStr | None = Field(None, description="API key that `freshet ask` and other commands show it.")


class Api(Branch):
    """Who may come in by the gateway."""

    keys_file: Path | None = Field(
        None, description="API keys (`freshet keys`). Without it the gateway listens on loopback only."
    )
    behind_proxy: bool = Field(
        False,
        description="A proxy in front checks who comes in and sets `Freshet-Tenant` and `Freshet-Principals`: "
        "listen anywhere without keys.",
    )


class Worker(Branch):
    """One process."""

    slot: str = Field(
        "0", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Stable name of this worker among its lane's."
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of /metrics on loopback; 0 means none.")
    metrics_host: str = Field("127.0.0.1", description="Address of /metrics.")
    nice: int = Field(
        5, ge=0, le=19, description="How far a worker gives way to gateways and servers on the same machine (nice)."
    )
    log_level: str = Field("INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged.")


class Otlp(Branch):
    """Traces."""

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Where traces go, by OTLP over HTTP, e.g. `http://127.0.0.1:4318`. None: nothing is traced.",
    )
    headers: SecretStr | None = Field(None, description="Headers for it: `name=value`, comma-separated.")
    sample: float = Field(
        1.0, ge=0, le=1, description="Share of traces that are recorded; who sends a `traceparent` along has chosen."
    )
    document_ids: bool = Field(True, description="Whether spans name documents by their ids.")
    queue: int = Field(4096, ge=1, le=1_000_000, description="Spans that wait to be sent; more are dropped.")
    timeout: float = Field(5.0, gt=0, le=60, description="Longest wait for the collector, s; no lane waits.")

    _public = field_validator("endpoint")(check_public("FRESHET_OTLP_HEADERS"))

    @model_validator(mode="after")
    def _readable(self) -> Self:
        _ = self.sent_headers
        return self

    @property
    def address(self) -> str | None:
        """The endpoint with the path that OTLP has for traces."""
        if self.endpoint is None or self.endpoint.endswith("/v1/traces"):
            return self.endpoint
        return f"{self.endpoint.rstrip('/')}/v1/traces"

    @property
    def sent_headers(self) -> dict[str, str]:
        """Headers by name; a value may be percent-encoded."""
        text = self.headers.get_secret_value() if self.headers else ""
        found = {}
        for pair in filter(None, (each.strip() for each in text.split(","))):
            name, equals, value = pair.partition("=")
            if not (equals and _HEADER.fullmatch(name.strip())):
                raise ValueError("FRESHET_OTLP_HEADERS: write name=value, comma-separated")
            found[name.strip()] = unquote(value.strip())
        return found
