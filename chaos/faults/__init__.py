"""Faults: each a small type, and its name in the list.

`inject` returns when the system has been struck, `heal` when what was struck runs and answers again.
"""

from typing import Final, Protocol

from chaos.faults.clock import Jump
from chaos.faults.disk import disk_full
from chaos.faults.network import KINDS, Link
from chaos.faults.process import kill, pause, pause_long, terminate
from chaos.faults.reassign import Reassign
from chaos.faults.scale import scale
from chaos.faults.servers import flush, restart, roll_back
from chaos.faults.site import NotBack, Site
from chaos.faults.store import read_only

__all__ = ("FAULTS", "Fault", "NotBack", "Site")


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


PROGRAMS: Final = ("gateway", "chunk", "embed", "index", "retrieve", "generate", "deliver", "notify", "map", "purge")
SERVERS: Final = ("kafka", "weaviate", "redis-state", "redis-cache")
CLOCKS: Final = PROGRAMS[:8]
HOUR: Final = 3600
LINKS: Final = ("kafka", "weaviate", "weaviate-grpc", "redis-state", "redis-cache", "llm")

FAULTS: Final[tuple[Fault, ...]] = (
    *(make(name) for make in (kill, terminate, pause, pause_long) for name in PROGRAMS),
    *(make(name) for make in (kill, restart) for name in SERVERS),
    *(make(name) for make in (flush, roll_back) for name in ("redis-state", "redis-cache")),
    *(Link(kind, name) for kind in KINDS for name in LINKS),
    read_only(),
    *(disk_full(name) for name in ("redis-state", "weaviate", "kafka")),
    *(Jump("clock-ahead", name, HOUR) for name in CLOCKS),
    *(Jump("clock-back", name, -HOUR) for name in CLOCKS),
    *(scale(name) for name in ("chunk", "embed", "index", "retrieve", "generate")),
    Reassign("elect", drop=False),
    Reassign("reassign", drop=True),
)
