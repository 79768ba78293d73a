"""What keeps a view of ``index-events``: the port, beside those of :mod:`connectors.ports`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from topics.documents import IndexEvent
from topics.identity import DocumentRef


@dataclass(frozen=True, slots=True)
class Announced:
    """An index event and its place in the log; between ``since`` and ``offset`` lies no other event."""

    partition: int
    since: int
    offset: int
    event: IndexEvent


@dataclass(frozen=True, slots=True)
class ViewState:
    """How far a view is.

    ``server`` names this run of whoever keeps it: another name after a restart, a failover, a replacement.
    ``offsets`` say from where on each partition of ``index-events`` is yet to be applied; what is not listed, from 0.
    ``overtaken``: documents whose last event in the log is older than what is current, and its partition.
    """

    server: str
    whole: bool
    offsets: Mapping[int, int]
    overtaken: Mapping[DocumentRef, int]


class ManifestView(Protocol):
    """Makes a :class:`ManifestStore` a view of ``index-events``.  Several may work on one side by side."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def state(self) -> ViewState: ...

    async def apply(self, events: Sequence[Announced]) -> bool:
        """Apply events in order, each with its offset in one step; ones that were applied before change nothing.

        False when the view lacks something before one of them: it was lost, and that one is not applied.  A version
        that is newer than the current one replaces it, done and owing nothing; into a view that is whole it comes in
        doubt, since its flip was lost.  One that is older, or another manifest of the same version, leaves a current
        version that is done where it is, and the document counts as overtaken until the current one is announced again.
        Refusals come back as far as events tell: the newest outcome of each document.  While the view is not whole
        watermarks do as well: for a partition the newest outcome of all, though a batch that was under way may have
        settled it before an older one.  Deferrals do not come back.
        """

    async def declare_whole(self, server: str, offsets: Mapping[int, int]) -> bool:
        """Let it be read and flipped in, if this is still that run and everything before the offsets is applied."""

    async def reset(self) -> None:
        """Forget all that events tell; it is not whole until they were applied again."""
