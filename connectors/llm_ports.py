"""Port of what is told about versions of the language model."""

from collections.abc import Mapping
from typing import Protocol

import msgspec


class WorkerVersions(msgspec.Struct, frozen=True):
    """What a worker knows: its versions, which leads, who has a share, when that was said (ms; 0 by its settings)."""

    names: list[str]
    lead: str
    shares: dict[str, float]
    changed_at: int


class LlmBoard(Protocol):
    """Who knows which versions, and how each has done since the last change."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def tell(self, worker: str, versions: WorkerVersions) -> None:
        """Say so; it is forgotten after a few seconds, unless it is said again."""

    async def workers(self) -> dict[str, WorkerVersions]:
        """All that said so a moment ago."""

    async def count(self, since: int, version: str, figures: Mapping[str, float]) -> None:
        """Add to a version's figures since a change."""

    async def figures(self, since: int) -> dict[str, dict[str, float]]:
        """By version."""
