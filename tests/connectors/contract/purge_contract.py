"""What every purger does."""

from typing import Protocol

import pytest

from connectors.errors import Transient
from connectors.search_ports import Purger


class Held(Protocol):
    """An edge as a test sees it."""

    held: dict[str, frozenset[str]]
    away: bool


class PurgeContract:
    """Inherit it and give fixtures ``edge`` (empty) and ``purger`` (open, and telling that edge)."""

    async def test_what_bears_a_key_is_forgotten(self, edge: Held, purger: Purger) -> None:
        """And nothing else; twice is as good as once, and no key is no purge."""
        edge.held = {"one": frozenset({"d-a", "d-b"}), "two": frozenset({"d-b"}), "three": frozenset({"d-aa"})}
        await purger.purge(["d-a"])
        await purger.purge(["d-a"])
        await purger.purge([])
        assert set(edge.held) == {"two", "three"}

    async def test_many_keys(self, edge: Held, purger: Purger) -> None:
        """As many as there are."""
        edge.held = {str(n): frozenset({f"d-{n:016x}"}) for n in range(2000)}
        await purger.purge([f"d-{n:016x}" for n in range(1999)])
        assert set(edge.held) == {"1999"}

    async def test_an_edge_that_is_away(self, edge: Held, purger: Purger) -> None:
        """Is told again by whoever is told so."""
        edge.held, edge.away = {"one": frozenset({"d-a"})}, True
        with pytest.raises(Transient):
            await purger.purge(["d-a"])
        edge.away = False
        await purger.purge(["d-a"])
        assert not edge.held
