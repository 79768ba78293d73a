"""Who asks at a door that is somebody else's: with API keys, or by the header that a door without keys believes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

NOBODY = "chaos-nobody"  # whom no key has: what is for this principal alone must never be shown
OPEN = ("chaos-ann", "chaos-bob")  # at a door without keys
_PRINCIPALS, _KEY = "Freshet-Principals", "X-API-Key"


@dataclass(frozen=True)
class Askers:
    """``key`` publishes and asks as everyone; ``others`` are keys that each have the principal of that name."""

    key: str | None = field(default=None, repr=False)
    others: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def asking(self) -> list[str]:
        """Principals that questions are asked as; the empty one sees what everyone may."""
        return ["", *(self.others if self.key else OPEN)]

    @property
    def named(self) -> list[str]:
        """Principals that documents are for, where they are not for everyone."""
        return [*self.others, NOBODY] if self.key else list(OPEN)

    async def sign(self, request: httpx.Request) -> None:
        """Show the key of whoever asks; a key says by itself which principals it has."""
        if self.key is not None:
            principal = request.headers.pop(_PRINCIPALS, "")
            request.headers[_KEY] = self.others.get(principal, self.key)
