"""Records of the query lane.

gateway -> ``queries`` -> retrieve -> ``retrievals`` -> generate -> ``answers`` -> gateway

Job id, tenant, principals, deadline and reply partition travel as headers (:class:`topics.headers.Hop`).
"""

from typing import Any, Literal, TypeAlias

import msgspec

from topics.documents import Metadata

Mode: TypeAlias = Literal["answer", "retrieve", "embed"]
Role: TypeAlias = Literal["user", "assistant"]
Search: TypeAlias = Literal["hybrid", "vector", "keyword"]
StageName: TypeAlias = Literal["retrieve", "generate", "gateway"]  # the last one where a job was cancelled
EventType: TypeAlias = Literal["retrieving", "passages", "vectors", "generating", "token", "answer", "error"]
FilterScalar: TypeAlias = str | int | float | bool
FINAL: frozenset[str] = frozenset({"answer", "error"})  # event types after which a job says nothing more


class Condition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Condition on one metadata key; all that are given must hold.  ``any``/``all`` look into a list of strings."""

    eq: FilterScalar | None = None
    ne: FilterScalar | None = None
    gt: int | float | str | None = None
    gte: int | float | str | None = None
    lt: int | float | str | None = None
    lte: int | float | str | None = None
    any: list[str] | None = None
    all: list[str] | None = None


Filter: TypeAlias = dict[str, Condition]


class Turn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was said earlier in a conversation."""

    role: Role
    content: str


class Question(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A question on its way to retrieval; ``at_least`` holds freshness tokens.

    ``history`` is what was said before, oldest first: a follow-up question is made one that stands alone.  With the
    mode `embed` there is no question: ``texts`` are to be made vectors.

    ``explain`` asks for the scores of each passage, ``rerank`` False leaves re-ranking out where it is configured,
    ``cache`` False neither reads nor fills a cache, and ``model`` names the version of the language model to ask.
    ``notify_stale``: who asked wants to know when a document behind the answer changes.
    """

    question: str
    mode: Mode = "answer"
    k: int = 5
    search: Search = "hybrid"
    rerank: bool = True
    explain: bool = False
    cache: bool = True
    model: str | None = None
    notify_stale: bool = False
    filter: Filter = {}
    at_least: list[str] = []
    history: list[Turn] = []
    texts: list[str] = []
    asked_at: int


class Passage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A passage of a current document version, with what a citation needs.  ``published_at`` is ms since 1970.

    ``score`` orders passages: what ranked last, the re-ranker or else the fusion.  ``cosine`` is absent where the
    vector search did not find it, and ``words`` (the share of the question's words that it holds, by weight) where the
    keyword search did not.  ``scores`` explains the rank, when asked for.
    """

    doc_id: str
    version: str
    chunk_id: str
    text: str
    score: float
    cosine: float | None = None
    words: float | None = None
    scores: dict[str, float] = {}
    title: str | None = None
    uri: str | None = None
    section: str | None = None
    metadata: Metadata = {}
    published_at: int


class Lacking(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A version that ``at_least`` asked for and the answer has not: not there in time, or refused, and why."""

    token: str
    status: str  # not-fresh, rejected, dead-lettered
    reason: str | None = None


class Retrieval(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Passages for a question.  ``timings`` are milliseconds by step; ``degraded`` is empty when all was well.

    ``cache`` and ``model`` are the question's.  ``question`` is what was searched for; ``standalone`` says it once more
    where that is a follow-up question made one that stands alone.
    """

    question: str
    passages: list[Passage]
    generation: str
    degraded: list[str] = []
    lacking: list[Lacking] = []
    timings: dict[str, float] = {}
    cache: bool = True
    model: str | None = None
    standalone: str | None = None
    asked_at: int


class Embedded(msgspec.Struct, kw_only=True):
    """Some of the vectors that were asked for, from the ``first`` on: little-endian float32 in base64."""

    first: int
    vectors: list[bytes]


class Embedding(msgspec.Struct, kw_only=True):
    """What made the vectors, how many there are, and how many tokens the texts had."""

    model: str
    dimension: int
    count: int
    tokens: int


class Citation(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``marker`` is the number that stands in the answer's text as ``[n]``."""

    marker: int
    doc_id: str
    version: str
    chunk_id: str
    title: str | None = None
    uri: str | None = None
    section: str | None = None
    text: str


class Usage(msgspec.Struct, frozen=True):
    """Tokens that an answer took, as the model's endpoint counts them."""

    input_tokens: int
    output_tokens: int


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A finished answer and its receipt: which versions, which generation, how old, in how much time.

    ``model`` names the version of the language model that wrote it, and ``rung`` its place on the ladder: 0 is the one
    that the question was meant for.  ``cached`` says that it wrote the text a moment ago, to the same question and the
    same passages; then there is no ``usage``, as there is none where the endpoint does not count.
    ``cached`` says that ``model`` wrote the text a moment ago, to the same question and the same passages, and
    ``standalone`` to which question, where that is a follow-up question made one that stands alone.
    """

    text: str
    found: bool
    citations: list[Citation] = []
    model: str
    rung: int = 0
    cached: bool = False
    usage: Usage | None = None
    standalone: str | None = None
    generation: str
    documents: dict[str, str] = {}  # doc_id -> version, of the passages that were offered
    oldest_passage_seconds: float | None = None
    degraded: list[str] = []
    lacking: list[Lacking] = []
    timings: dict[str, float] = {}


class Cancelled(msgspec.Struct, kw_only=True):
    """A job that nobody wants any more: work on it ends.  ``at`` is ms since 1970."""

    job_id: str
    at: int


class AnswerEvent(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One event of a job in ``answers``.

    ``attempt`` is minted per delivery of the stage's work and ``seq`` counts within it: when a worker died in
    mid-stream and the work runs again, readers follow the attempt that began last in the log.
    """

    job_id: str
    tenant: str
    stage: StageName
    attempt: str
    seq: int
    type: EventType
    at: int
    data: dict[str, Any] = {}
