"""The ports: what stages and gateway may ask of the outside.

Every method may raise :class:`connectors.errors.ConnectorError` and nothing else.  ``open`` may be called again
after a failure; ``close`` is safe at any time.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from topics.documents import DocumentHead, LastSeen, Metadata
from topics.identity import DocumentRef, Token
from topics.queries import Filter, Passage, Usage

Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Texts to unit vectors."""

    model: str  # names model, weights and pooling: vectors of equal names may be compared
    backend: str  # e.g. openvino-bf16
    dimension: int

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimension), unit length, in the order of the texts; never blocks the loop."""


class EmbeddingCache(Protocol):
    """Vectors by (model, text hash).  May forget at any time; must never return another text's vector."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def get(self, model: str, hashes: Sequence[str]) -> list[bytes | None]:
        """Little-endian float32, or None where unknown."""

    async def put(self, model: str, vectors: Mapping[str, bytes]) -> None:
        """Remember."""


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """Chunk as the vector store holds it.  Everything here is covered by the identity hash."""

    id: str
    ref: DocumentRef
    ordinal: int
    text: str
    access: tuple[str, ...]  # never empty: PUBLIC stands for everyone
    metadata: Metadata
    vector: Sequence[float] | Vectors


@dataclass(frozen=True, slots=True)
class Hit:
    """A search hit, not yet checked against the manifest.  ``score`` is cosine similarity, or BM25 of a keyword hit.

    ``version``: the version it belongs to, where the index knows; then it counts only while that one is current.
    ``words``: the share of the question's words, by weight, that a keyword hit holds.  ``ordinal``: its
    place in the version, where it is not known yet by which id the manifest lists it.
    """

    id: str
    ref: DocumentRef
    text: str
    score: float
    version: str | None = None
    words: float | None = None
    ordinal: int | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A chunk object as it lies in the store, for who checks it.

    ``imprint`` stands for access list and metadata as they are stored, see :meth:`VectorStore.imprint`; ``text`` is
    None, and imprint and vector are not known, where only ids were asked for.  ``written_at`` is ms since 1970.
    """

    id: str
    ref: DocumentRef
    written_at: int
    text: str | None = None
    imprint: str = ""
    vector: bool = False  # whether there is one, of the right length


class VectorStore(Protocol):
    """Chunk objects of one generation.  Holds garbage as well as what is visible: only manifests decide."""

    async def open(self) -> None:
        """Connect; create the generation's collection if it is missing."""

    async def close(self) -> None: ...

    async def upsert(self, chunks: Sequence[StoredChunk]) -> None:
        """Write all; raises :class:`Permanent` naming the first object that can never be written."""

    async def delete(self, refs: Mapping[DocumentRef, Sequence[str]]) -> None:
        """Delete objects by id; ids that are not there are fine."""

    async def existing(self, refs: Mapping[DocumentRef, Sequence[str]]) -> set[str]:
        """Those of the ids that are stored."""

    async def search(
        self, tenant: str, vector: Vectors, limit: int, principals: Sequence[str], where: Filter
    ) -> list[Hit]:
        """Nearest objects of a tenant that any of the principals (or everyone) may see, best first."""

    def walk(self, tenant: str, *, whole: bool) -> AsyncIterator[list[StoredObject]]:
        """Every object of a tenant once, in pages, in any order; of those written or deleted meanwhile perhaps not."""

    async def objects(self, refs: Mapping[DocumentRef, Sequence[str]], *, whole: bool) -> list[StoredObject]:
        """Those of the ids that are stored, whichever document they say they belong to."""

    def imprint(self, access: Sequence[str], metadata: Metadata) -> str:
        """What :meth:`walk` says of an object that was written with these; what a store cannot tell apart is equal."""

    async def ready(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Manifest:
    """Current state of one document as Redis holds it.

    ``version`` None means never indexed.  ``done`` False: flipped, but event and clean-up are still owed.
    ``doomed`` lists chunk ids of the replaced version that clean-up must delete.  ``doubted``: an audit found that the
    objects are not what they should be, so the same version may be written and flipped to once more.  ``view`` names
    the view that it was read from: a flip holds in that one only.
    """

    version: str | None = None
    deleted: bool = False
    done: bool = True
    head: DocumentHead | None = None
    chunks: Mapping[str, "ManifestChunk"] = field(default_factory=dict)  # by id, in order
    doomed: tuple[str, ...] = ()
    last_seen: LastSeen | None = None
    indexed_at: int = 0
    doubted: bool = False
    view: str = field(default="", compare=False)

    @property
    def edition(self) -> str:
        """Tells manifests of one version apart, and whether it is in doubt."""
        return f"{self.indexed_at}{'?' if self.doubted else ''}"


@dataclass(frozen=True, slots=True)
class ManifestChunk:
    """One line of a manifest."""

    hash: str
    section: str | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """Make a version the visible one, if and only if ``expected`` is still current, in the view and ``edition`` given.

    A version in doubt is flipped to once more, so the version alone does not say which chunks the manifest lists.
    """

    ref: DocumentRef
    expected: str | None
    version: str
    deleted: bool
    head: DocumentHead | None
    chunks: Mapping[str, ManifestChunk]
    doomed: tuple[str, ...]
    indexed_at: int
    view: str = ""  # empty: any view that is whole
    edition: str = ""  # empty: any


@dataclass(frozen=True, slots=True)
class Visible:
    """What the manifest says of one hit: its document's version, head, and the headings above the chunk."""

    version: str
    head: DocumentHead
    section: str | None
    age: float  # seconds since the flip to this version, by the clock of whoever arbitrates flips
    stale_since: int | None = None  # ms since 1970: since when the log is known to hold a newer version


class ManifestStore(Protocol):
    """Manifests of one generation, and the arbiter of the flip.  Versions only go up.

    It is a view of ``index-events``.  What it tells comes from a view that is whole: one that lost something and has
    not caught up raises :class:`Transient` with the reason ``view``, and so does a flip.
    """

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def read(self, refs: Sequence[DocumentRef]) -> list[Manifest]:
        """Whole manifests, in order."""

    async def status(self, refs: Sequence[DocumentRef]) -> list[Manifest]:
        """As :meth:`read`, without ``chunks`` and ``doomed``: cheap however long the document."""

    async def flip(self, flips: Sequence[Flip]) -> list[bool]:
        """Compare and set, each by itself; False where another version had become current.

        Raises :class:`Transient` when the view was lost since ``expected`` was read; some may have passed before.
        """

    async def finish(self, refs: Mapping[DocumentRef, str]) -> None:
        """Mark versions done (event published, clean-up made); a version that is no longer current is left alone."""

    async def see(self, ref: DocumentRef, seen: LastSeen) -> None:
        """Record an outcome that makes nothing visible; older than the last one seen is ignored."""

    async def visible(self, hits: Sequence[tuple[DocumentRef, str]]) -> list[Visible | None]:
        """Manifest check of (document, chunk id) pairs in one round trip; None where the hit does not count."""

    async def accepted(self, versions: Mapping[DocumentRef, tuple[str, int]]) -> None:
        """Remember (version, ms since 1970) as known to be in the log, for status ``pending`` and for staleness."""

    async def pending(self, refs: Sequence[DocumentRef]) -> list[tuple[str, int] | None]:
        """Newest (version, ms since 1970) known to be in the log, where remembered."""

    async def doubt(self, refs: Mapping[DocumentRef, str]) -> None:
        """Let these versions, where still current, be flipped to once more; what readers see does not change."""

    async def advance(self, tokens: Sequence[Token]) -> None:
        """Every version up to these has reached its outcome, deferred ones apart.  Only goes up."""

    async def defer(self, token: Token, work: str) -> None:
        """A piece of work on a version waits for another try: watermarks stay below it until it is settled."""

    async def settle(self, token: Token, work: str) -> None:
        """That piece of work has come to its end."""

    async def deferred(self, token: Token) -> set[str]:
        """Work on this version that waits."""

    async def watermarks(self) -> dict[tuple[int, int], int]:
        """By (epoch, partition) of ``documents``: up to which offset every version has reached its outcome."""

    async def distrust(self, why: str) -> None:
        """Nothing here counts as current until an audit has found it so; of several reasons the last is kept."""

    async def distrusted(self) -> str | None:
        """Why not, if so."""

    async def standing(self) -> tuple[dict[tuple[int, int], int], str | None]:
        """Watermarks, and why nothing counts as current if so, in one round trip."""

    async def trust(self, why: str) -> None:
        """An audit found all as it should be; a reason that came since it began stays."""

    async def refuse(self, token: Token, seen: LastSeen) -> None:
        """Remember, for a day, that this very version was refused, so that whoever holds its token learns why."""

    async def refusals(self, tokens: Sequence[Token]) -> dict[Token, LastSeen]:
        """Those of the tokens whose versions were refused."""

    async def widen(self, parts: Mapping[DocumentRef, int]) -> dict[DocumentRef, int]:
        """Remember the most parts a document ever had downstream (1 unless told); returns what it was before."""

    async def page(self, tenant: str, after: str | None, limit: int) -> list[str]:
        """Ids of a tenant's visible documents in code-point order of UTF-8, beginning behind ``after``."""


@dataclass(frozen=True, slots=True)
class LoggedRecord:
    """A record of a topic, read without a group; ``timestamp`` is ms since 1970."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    timestamp: int


class TopicLog(Protocol):
    """One topic read from any place, again and again; joins no group, commits nothing."""

    async def open(self) -> None:
        """Connect; raises :class:`Transient` while broker or topic is not there."""

    async def close(self) -> None: ...

    async def identity(self) -> str:
        """Names this very topic, as far as can be told apart from one of the same name that is made later."""

    async def starts(self) -> dict[int, int]:
        """First offset that each partition still has."""

    async def ends(self) -> dict[int, int]:
        """Offset behind the last readable record of each partition."""

    async def read(self, places: Mapping[int, int], seconds: float) -> tuple[list[LoggedRecord], dict[int, int]]:
        """Records from these places (partition -> offset) on, in order within a partition, and where to go on.

        Returns as soon as there are some, nothing new after ``seconds``.  The places to go on from may be ahead of the
        last record by what compaction and transactions left out, so reading to :meth:`ends` always comes to an end.
        """


class DeliveryLedger(Protocol):
    """How often a record was begun and not finished, remembered outside the process."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def counts(self, lane: str, places: Sequence[tuple[str, int, int]]) -> list[int]:
        """How often each (topic, partition, offset) was begun and not finished."""

    async def begin(self, lane: str, places: Sequence[tuple[str, int, int]]) -> list[int]:
        """Count a delivery of each (topic, partition, offset); returns how often each had been begun before."""

    async def finish(self, lane: str, places: Sequence[tuple[str, int, int]]) -> None:
        """Forget them."""


@dataclass(frozen=True, slots=True)
class PausedLane:
    """A lane that stands still: which of its workers says so, since when (ms since 1970), and why."""

    worker: str
    since: int
    reason: str


class LaneBoard(Protocol):
    """Where workers say that their lanes stand still."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def pause(self, lane: str, paused: PausedLane) -> None:
        """Say so; it is forgotten after a few seconds, unless it is said again."""

    async def resume(self, lane: str, worker: str) -> None:
        """Take it back, if it was this worker who said it last."""

    async def paused(self, lanes: Sequence[str]) -> dict[str, PausedLane]:
        """Those of the lanes that stand still."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer's text.

    ``dropped`` stands on the first piece: how many passages, from the last one on, the model did not get to see.
    ``usage`` stands on a later one, without text, where the endpoint counts tokens.
    """

    text: str
    dropped: int = 0
    usage: Usage | None = None


class AnswerModel(Protocol):
    """Writes an answer from passages.

    Cites passage i (from 1) as ``[i]``.  Raises :class:`Transient` while nothing was yielded or in mid-stream.
    """

    name: str

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def stream(self, question: str, passages: Sequence[Passage], seconds: float) -> AsyncGenerator[Delta, None]:
        """Yield the answer's text piece by piece, within ``seconds``."""


class Endpoint(AnswerModel, Protocol):
    """An answer model that is elsewhere, and may be away.  ``provider`` is whose protocol it speaks."""

    provider: str

    async def probe(self, seconds: float) -> None:
        """Return if it answers; raises as :meth:`stream` does."""
