"""An edge cache in a dict.  Same contract as the one told by HTTP."""

from collections.abc import Sequence

from connectors.errors import Transient


class MemoryPurger:
    """:class:`connectors.search_ports.Purger`; ``held`` has the keys that each copy bears."""

    name = "memory"

    def __init__(self) -> None:
        self.held: dict[str, frozenset[str]] = {}
        self.away = False

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def purge(self, keys: Sequence[str]) -> None:
        if self.away:
            raise Transient("edge is away", reason="edge")
        self.held = {name: bears for name, bears in self.held.items() if bears.isdisjoint(keys)}
