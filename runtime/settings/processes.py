"""Settings of the gateway and of a process."""

from pathlib import Path

from pydantic import Field, SecretStr

from runtime.settings.branch import Branch


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
    log_level: str = Field("INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged.")
