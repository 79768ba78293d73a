"""Settings of edges: caches in front of the gateway that keep passages and are told what to forget."""

from pydantic import Field, SecretStr, field_validator

from runtime.secrets import check_public
from runtime.settings.branch import Branch

# A response that began before a change may come to an edge after the purge, so purging is repeated once none can be
# under way any more: what an edge may keep left the gateway within KEPT_WITHIN of the question, and has the rest of
# PURGED_AGAIN for the way.
KEPT_WITHIN = 1.0  # seconds
PURGED_AGAIN = 3.0


class Edge(Branch):
    """Edges: Varnish, a CDN."""

    urls: str = Field(
        "",
        description="Where edges are told to forget, comma-separated. None: nothing is purged, and no copy is "
        "used without asking (docs/edge.md).",
    )
    method: str = Field("PURGE", pattern=r"^[A-Z]{1,16}$", description="Method of such a request.")
    header: str = Field(
        "Surrogate-Key", pattern=r"^[A-Za-z0-9-]{1,64}$", description="Its header with the keys, blanks between them."
    )
    secret_header: str = Field(
        "Freshet-Edge-Secret", pattern=r"^[A-Za-z0-9-]{1,64}$", description="Its header with the secret."
    )
    secret: SecretStr | None = Field(None, description="What proves to edges that it is we who tell them.")
    timeout: float = Field(5.0, gt=0, le=60, description="Longest wait for an edge, s.")
    promote_after: int = Field(
        10, ge=1, description="A question that is asked so often in a day (UTC) may be kept by edges without asking."
    )
    max_age: int = Field(
        120, ge=1, le=86400, description="For how long, s: also how old a copy can get at worst, should purging fail."
    )

    @field_validator("urls")
    @classmethod
    def _public(cls, urls: str) -> str:
        for url in filter(None, map(str.strip, urls.split(","))):
            check_public("FRESHET_EDGE_SECRET")(url)
            if not url.startswith(("http://", "https://")):
                raise ValueError("an edge is named by an address that begins with http:// or https://")
        return urls

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(filter(None, map(str.strip, self.urls.split(","))))
