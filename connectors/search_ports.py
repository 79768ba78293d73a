"""Ports of what a question is answered from besides vectors; the others are in :mod:`connectors.ports`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from connectors.ports import Hit
from topics.documents import DocumentHead
from topics.identity import DocumentRef
from topics.queries import Filter, Turn


@dataclass(frozen=True, slots=True)
class KeywordState:
    """How far a keyword index is.  ``behind`` counts records of the log that it has yet to take in."""

    whole: bool  # False: catching up after a start, a rebuild or an outage, so hits may be missing
    versions: int = 0
    chunks: int = 0
    behind: int = 0


@dataclass(frozen=True, slots=True)
class KeywordChunk:
    """A chunk as keyword search keeps it.  ``id`` is the one that it has if it is new."""

    id: str
    text: str
    section: str | None = None


@dataclass(frozen=True, slots=True)
class KeywordHit:
    """A chunk of a document version; which version counts is for the manifest to say.

    ``words`` is the share of the question's words, by their rarity, that chunk and headings hold.
    """

    ref: DocumentRef
    version: str
    ordinal: int
    id: str
    text: str
    score: float
    words: float


class KeywordTable(Protocol):
    """Chunks of document versions by their words, and the places of the log they came from.

    Blocks for as long as the disk takes, so all but :meth:`search` is called in a thread, one call at a time.  May
    raise :class:`Transient` at any time: what is on disk cannot be read, and all is to be had again from the log.
    """

    @property
    def versions(self) -> Mapping[DocumentRef, Mapping[str, str]]:
        """By document and version, what it was made of; what was not committed included."""

    def open(self, log_name: str) -> dict[int, int]:
        """Places of the log of this name from which to read on; none where everything must be read.

        Raises :class:`Permanent` when another process has it.
        """

    def close(self) -> None: ...

    def forget(self) -> None:
        """Remove everything."""

    def add(
        self, ref: DocumentRef, version: str, made_of: str, head: DocumentHead, chunks: Sequence[KeywordChunk]
    ) -> None:
        """Add a whole version, in place of what it was before if it was there; seen after the next commit."""

    def remove(self, ref: DocumentRef, versions: Sequence[str]) -> None:
        """Remove versions of a document; seen after the next commit."""

    def commit(self, log_name: str, places: Mapping[int, int]) -> None:
        """Keep what was added and removed, and that it came from before these places."""

    @property
    def chunks(self) -> int:
        """Chunks that can be found, of old versions too."""

    def search(self, tenant: str, text: str, limit: int, principals: Sequence[str], where: Filter) -> list[KeywordHit]:
        """Best chunks of a tenant that any of the principals (or everyone) may see, best first."""

    def texts(self, ref: DocumentRef, version: str, ordinals: Sequence[int]) -> dict[int, str]:
        """Texts of a version by their places, of those that are there."""


class KeywordIndex(Protocol):
    """Keyword search of one generation.  Finds old versions as well as what is visible: only manifests decide.

    ``score`` of its hits is BM25, and ``version`` the version that a hit is known to belong to, if it is.
    """

    name: str  # e.g. tantivy
    stands_alone: bool  # whether it answers while the vector store is away

    async def open(self) -> None:
        """Connect, where there is something to connect to; what keeps itself opens by itself."""

    async def close(self) -> None: ...

    async def search(self, tenant: str, text: str, limit: int, principals: Sequence[str], where: Filter) -> list[Hit]:
        """As :meth:`KeywordTable.search`; ``text`` is what a person typed and never query syntax.

        Raises :class:`Transient` while nothing can be told.
        """

    async def texts(self, ref: DocumentRef, version: str, chunks: Mapping[int, str]) -> dict[int, str]:
        """Texts of chunks of a version by their places, of those that are there; given the ids that they have."""

    def state(self) -> KeywordState: ...


class Reranker(Protocol):
    """Judges question and passage together."""

    name: str

    async def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the question, in [0, 1] and in order; never blocks the loop."""


class Rewriter(Protocol):
    """Makes a follow-up question one that stands alone."""

    name: str

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def rewrite(self, question: str, history: Sequence[Turn], seconds: float) -> str:
        """The question as somebody would ask it who begins with it; perhaps none, or more than that: it is checked."""

    async def probe(self) -> None:
        """Whether it is there: raises :class:`Transient` where not."""


@dataclass(frozen=True, slots=True)
class HotState:
    """How much a hot cache holds; ``size`` in bytes of values."""

    entries: int
    size: int


class HotCache(Protocol):
    """Values by key for a few minutes, the last so many.  May forget at any time.

    Whoever reads an entry checks that what it came from is still current; eviction is housekeeping.
    """

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes, documents: Sequence[DocumentRef]) -> None:
        """Remember what came of these documents; the claim on it ends."""

    async def drop(self, key: str) -> None:
        """Forget one entry."""

    async def evict(self, documents: Sequence[DocumentRef]) -> int:
        """Forget all that came of any of these; returns how many entries went."""

    async def purge(self, *, everywhere: bool = False) -> int:
        """Forget all of this generation, or of every one; returns how many entries went."""

    async def claim(self, key: str, seconds: float) -> tuple[bytes | None, bool]:
        """The entry; where there is none, whether it is ours to fill, for so long: nobody else has claimed it."""

    async def release(self, key: str) -> None:
        """Give the claim back."""

    async def state(self) -> HotState: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a question: how often it was asked today.  ``purging``: what changes is purged from edges right now."""

    asked: int
    purging: bool


class Promotions(Protocol):
    """What gateways and the purge lane must know of each other.  May forget at any time."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def count(self, question: str) -> Standing:
        """A question was asked once more; it is named by a hash of all that its passages depend on."""

    async def tell(self, *, purging: bool) -> None:
        """Said by purge workers, for a few seconds: one that says no outweighs all that say yes."""


class Purger(Protocol):
    """Tells an edge cache to forget what it holds by surrogate key.  Repeating is harmless."""

    name: str

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def purge(self, keys: Sequence[str]) -> None:
        """Forget everything that bears any of the keys; raises :class:`Transient` until all edges have said so."""
