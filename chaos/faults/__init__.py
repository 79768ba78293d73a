"""Faults: each a small type and its name in the list."""

from typing import Protocol

from chaos.faults.kill import Kill
from chaos.faults.site import Site


class Fault(Protocol):
    """Something that is done to the system on purpose, and undone.

    ``instant``: nothing is held, heal follows inject at once and waits for what was struck.
    """

    @property
    def name(self) -> str:
        """KIND:TARGET."""

    @property
    def instant(self) -> bool: ...

    def lacks(self, site: Site) -> str | None:
        """Why it cannot be done here; None: it can."""

    async def inject(self, site: Site) -> None: ...

    async def heal(self, site: Site) -> None:
        """Everything as before; harmless when nothing was injected; waits, with a deadline, until programs run."""


FAULTS: tuple[Fault, ...] = tuple(Kill(name) for name in ("chunk", "embed", "index", "retrieve", "gateway"))
