"""Ports of what a question is answered from besides vectors; the others are in :mod:`connectors.ports`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from connectors.ports import Hit
from topics.identity import DocumentRef
from topics.queries import Filter


@dataclass(frozen=True, slots=True)
class KeywordState:
    """How far a keyword index is.  ``behind`` counts records of the log that it has yet to take in, where it knows."""

    whole: bool  # False: catching up after a start, a rebuild or an outage, so hits may be missing
    documents: int = 0
    chunks: int = 0
    behind: int | None = None


class KeywordIndex(Protocol):
    """Chunks of one generation by their words.  Holds old versions as well as what is visible: only manifests decide.

    ``score`` of its hits is BM25, and ``version`` the version that a hit is known to belong to, if it is.
    """

    name: str  # e.g. tantivy

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def search(self, tenant: str, text: str, limit: int, principals: Sequence[str], where: Filter) -> list[Hit]:
        """Best chunks of a tenant that any of the principals (or everyone) may see, best first.

        ``text`` is what a person typed and never query syntax.  Raises :class:`Transient` while nothing can be told.
        """

    async def state(self) -> KeywordState: ...


class Reranker(Protocol):
    """Judges question and passage together."""

    name: str

    async def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the question, in [0, 1] and in order; never blocks the loop."""


class HotCache(Protocol):
    """Values by key for a few minutes, the last so many.  May forget at any time.

    Whoever reads an entry checks that what it came from is still current; eviction is housekeeping.
    """

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes, documents: Sequence[DocumentRef]) -> None:
        """Remember what came of these documents."""

    async def evict(self, documents: Sequence[DocumentRef]) -> int:
        """Forget all that came of any of these; returns how many entries went."""

    async def purge(self, generation: str | None = None) -> int:
        """Forget all, or all of a generation; returns how many entries went."""

    async def lease(self, key: str, seconds: float) -> bool:
        """Whether it is ours to fill: nobody else has taken the lease within that time."""


class Purger(Protocol):
    """Tells an edge cache to forget what it holds by surrogate key.  Repeating is harmless."""

    name: str

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def purge(self, keys: Sequence[str]) -> None:
        """Forget everything that bears any of the keys; raises :class:`Transient` until all edges have said so."""
