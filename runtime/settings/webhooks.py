"""Settings of webhooks."""

from functools import cached_property
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from runtime.secrets import check_certificates
from runtime.settings.branch import Branch
from runtime.targets import Policy


class Webhook(Branch):
    """Telling endpoints of tenants how their jobs ended."""

    allow: str = Field(
        "", description="Hosts, addresses and networks that may be called though they are not public, comma-separated."
    )
    ports: str = Field("443,8443", description="Ports that are called at public addresses, comma-separated.")
    key: SecretStr | None = Field(
        None,
        description="Endpoints' secrets are derived from it, 32 characters or more. Unset, a random one is kept in the"
        " state Redis. Another key means other secrets: rotate them all.",
    )
    ca: str | None = Field(
        None, description="Certificates, in PEM form, that endpoints' may be signed by besides those of public CAs."
    )
    timeout: float = Field(
        15.0, gt=0, le=60, description="Longest that one try may take, look-up of its name included, s."
    )
    retries: str = Field(
        "5,300,1800,7200,18000,36000,50400,72000,86400",
        description="Seconds before each further try of a delivery, comma-separated.",
    )
    retry_after: float = Field(86400.0, gt=0, description="Longest `Retry-After` of an endpoint that is honoured, s.")
    rotation: int = Field(
        86400, ge=0, le=30 * 86400, description="Seconds that an old secret signs beside the new one."
    )
    max_bytes: int = Field(
        64 * 1024, ge=1024, le=1024 * 1024, description="Largest answer that is sent along; a larger one is linked."
    )
    in_flight: int = Field(128, ge=1, le=4096, description="Deliveries that a worker has under way at once ...")
    per_endpoint: int = Field(8, ge=1, le=4096, description="... and of these to one endpoint.")
    max_waiting: int = Field(
        10_000, ge=1, description="Most deliveries that wait for one endpoint; further ones are dropped and counted."
    )
    log_entries: int = Field(1000, ge=1, description="Finished deliveries of an endpoint that are remembered ...")
    retention: int = Field(7 * 86400, ge=60, description="... and seconds that a delivery is kept after its last try.")

    _ca = field_validator("ca")(check_certificates)

    @field_validator("retries")
    @classmethod
    def _delays(cls, text: str) -> str:
        delays_of(text)
        return text

    @field_validator("key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < 32:
            raise ValueError("a key of fewer than 32 characters could be guessed: `openssl rand -hex 32` makes one")
        return key

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            _ = self.policy
        except ValueError as error:
            raise ValueError(f"FRESHET_WEBHOOK_ALLOW, FRESHET_WEBHOOK_PORTS: {error}") from None
        if max(self.delays, default=0.0) * 1.2 >= self.retention:
            raise ValueError("FRESHET_WEBHOOK_RETENTION is shorter than a delay of FRESHET_WEBHOOK_RETRIES")
        return self

    @cached_property
    def delays(self) -> tuple[float, ...]:
        """Before the second try, the third, and so on."""
        return delays_of(self.retries)

    @cached_property
    def policy(self) -> Policy:
        """What may be called."""
        return Policy.of(self.allow, self.ports)


def delays_of(text: str) -> tuple[float, ...]:
    """Read a schedule; ValueError where it is none."""
    try:
        delays = tuple(float(item) for item in text.split(",") if item.strip())
    except ValueError:
        raise ValueError("seconds, comma-separated, are meant") from None
    if not all(0 < delay <= 30 * 86400 for delay in delays):
        raise ValueError("each delay is more than 0 seconds and at most 30 days")
    return delays
