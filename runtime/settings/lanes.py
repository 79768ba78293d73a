"""Settings of the document lane and the query lane."""

from pathlib import Path

from pydantic import Field, field_validator

from runtime.settings.branch import Branch
from runtime.sources import read_sources


class Encoder(Branch):
    """Text to vectors."""

    model: str = Field("all-MiniLM-L6-v2", description="A sentence-transformers model: name, or path of its folder.")
    backend: str = Field(
        "auto",
        pattern=r"^(auto|cuda-(fp16|bf16|tf32)|openvino-(bf16|fp32)|torch-(bf16|fp32))$",
        description="`auto` takes the fastest whose cosine to fp32 stays at or above 0.999, on a GPU if there is one.",
    )
    batch_tokens: int = Field(
        16_384, ge=256, description="Tokens (with padding) that one forward pass may hold; on a CPU fewer are taken."
    )
    threads: int = Field(0, ge=0, description="CPU threads; 0 leaves the choice to the backend.")
    export_dir: Path | None = Field(None, description="Where exported models are kept; default is the user's cache.")


class Documents(Branch):
    """The document lane."""

    generation: str = Field("g1", pattern=r"^[a-z0-9][a-z0-9_]{0,30}$", description="Generation that workers serve.")
    buckets: int = Field(1, ge=1, le=1024, description="Physical tenants per tenant in the vector store.")
    tenants: str = Field("default", description="Known tenants, comma-separated.")
    chunk_tokens: int = Field(200, ge=32, le=4096, description="Most tokens in a chunk.")
    part_bytes: int = Field(
        192 * 1024, ge=4096, description="Most bytes in one part of a version in internal topics, vectors included."
    )
    max_document_bytes: int = Field(
        8 * 1024 * 1024 - 4096, ge=1024, description="Largest document accepted at the door."
    )
    readers: int = Field(
        2, ge=1, le=64, description="Processes of a chunk worker that read PDF, Office, e-mail and CSV."
    )
    read_timeout: float = Field(30.0, gt=0, le=600, description="Longest that reading one such document may take, s.")
    read_memory_bytes: int = Field(
        1024 * 1024 * 1024, ge=256 * 1024 * 1024, description="Most memory of such a process (on Linux)."
    )
    max_metadata_keys: int = Field(64, ge=0, le=512, description="Most metadata keys on one document.")
    max_filterable_keys: int = Field(256, ge=0, le=2048, description="Most distinct metadata keys in a generation.")
    batch: int = Field(32, ge=1, le=1024, description="Records that a stage takes at once.")
    linger: float = Field(0.005, ge=0, le=5, description="Seconds that a stage waits for a batch to fill.")
    stale_after: float = Field(
        300.0, gt=0, description="A passage is stale when a newer version is this old in the log, s."
    )
    sources: str = Field(
        "", description="Topics of your own to take documents from, and their mapping: TOML or JSON (docs/sources.md)."
    )

    @field_validator("sources")
    @classmethod
    def _readable(cls, text: str) -> str:
        read_sources(text)
        return text


class Queries(Branch):
    """The query lane."""

    k: int = Field(5, ge=1, le=100, description="Passages for a question that does not say.")
    max_k: int = Field(50, ge=1, le=1000, description="Most passages that a question may ask for.")
    deadline: float = Field(30.0, gt=0, le=3600, description="Seconds that a question may take when it does not say.")
    max_question_chars: int = Field(4000, ge=1, description="Longest question.")
    in_flight: int = Field(16, ge=1, le=1024, description="Questions that a worker handles at once.")
    batch_in_flight: int = Field(
        2, ge=1, le=1024, description="Batch questions that a worker handles at once, beside those."
    )
    batch_deadline: float = Field(
        600.0, gt=0, le=86400, description="Seconds that a batch question may take when it does not say."
    )
    search_timeout: float = Field(
        0.5, gt=0, le=60, description="Longest wait for either search; then the other one answers alone, s."
    )
    fusion: str = Field(
        "rrf",
        pattern=r"^(rrf|weighted)$",
        description="How two rankings become one: `rrf`, by reciprocal ranks, or `weighted`, by scores.",
    )
    keyword_weight: float = Field(0.6, ge=0, le=1, description="Weight of a keyword score, where `weighted`.")
    vector_weight: float = Field(0.4, ge=0, le=1, description="Weight of a vector score, where `weighted`.")
    min_score: float = Field(
        0.3, ge=-1, le=1, description="A passage counts as found when it is as similar (cosine) as this ..."
    )
    min_words: float = Field(
        0.5, ge=0, le=1, description="... or holds this share of the question's words, weighted by their rarity."
    )
    neighbours: int = Field(
        0, ge=0, le=20, description="Chunks before and after that a passage gets too, from the keyword index."
    )
    tail: bool = Field(
        True,
        description="Each retrieval worker keeps all manifests in memory too, about 3 KB for a document of 5 chunks,"
        " and answers from them while Redis is away.",
    )
    history_turns: int = Field(10, ge=0, le=100, description="Most turns of a conversation sent along with a question.")
    history_chars: int = Field(8000, ge=0, le=100_000, description="Most characters of them together.")
    rewrite_timeout: float = Field(
        3.0,
        gt=0,
        le=60,
        description="Longest wait for the language model to make a follow-up question one that stands alone; then it is"
        " joined with the question before, labelled, s.",
    )
    embed_texts: int = Field(64, ge=1, le=256, description="Most texts that may be embedded at once.")
    embed_chars: int = Field(64_000, ge=1, le=128_000, description="Most characters of them together.")
    freshness_wait: float = Field(5.0, ge=0, description="Longest wait for `at_least` before answering labelled, s.")


class Jobs(Branch):
    """Jobs beside the log: for lists, for idempotency keys, and for answers that are older than what the log keeps."""

    ttl: int = Field(
        7 * 86400, ge=60, le=366 * 86400, description="Seconds that a job, its answer and its idempotency key are kept."
    )
    kept: int = Field(
        10_000, ge=1, description="Most jobs of a tenant that are kept, about 10 KB each; the oldest go first."
    )


class Keyword(Branch):
    """Keyword search."""

    engine: str = Field(
        "tantivy",
        pattern=r"^(tantivy|weaviate|none)$",
        description="`tantivy`: an index in each retrieval worker, built from the log. `weaviate`: its own BM25; the "
        "generation's collection must be made with it. `none`: vectors only.",
    )
    language: str = Field(
        "english",
        pattern=r"^(arabic|danish|dutch|english|finnish|french|german|greek|hungarian|italian|norwegian|portuguese"
        r"|romanian|russian|spanish|swedish|tamil|turkish|none)$",
        description="Stop words and stemmer; `none` for a mixture of languages.",
    )
    dir: Path | None = Field(
        None, description="Where indexes are kept; default is the user's cache. A lost one is built anew from the log."
    )


class Rerank(Branch):
    """Re-ranking by a cross-encoder."""

    model: str | None = Field(
        None, description="A sentence-transformers cross-encoder: name, or path of its folder. None: no re-ranking."
    )
    candidates: int = Field(20, ge=2, le=200, description="Passages that are judged for one question.")


class Cache(Branch):
    """The hot tier: passages of recent questions, in the Redis that may forget."""

    enabled: bool = Field(True, description="Whether passages are kept for questions that come again.")
    entries: int = Field(10_000, ge=1, le=10_000_000, description="Most questions that are kept, in a generation.")
    ttl: int = Field(300, ge=1, le=86400, description="Seconds until a new document reaches an old question.")
