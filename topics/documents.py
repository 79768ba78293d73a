"""Records of the document lane.

``documents`` -> chunk -> ``chunks.<gen>`` -> embed -> ``vectors.<gen>`` -> index -> ``index-events.<gen>``

A record is a whole document version.  Downstream of ``documents`` a version may take several parts (key
``tenant/doc_id#n`` from 0); the last part lists every chunk of the version.  A null value at part 0 deletes the
document, at a later part it retires a part that a shorter version no longer has.
"""

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

MetadataValue: TypeAlias = bool | int | float | str | list[str]
Metadata: TypeAlias = dict[str, MetadataValue]
Status: TypeAlias = Literal["indexed", "deleted", "rejected", "dead-lettered"]


class Document(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a producer writes as JSON to ``documents``; as small as ``{"text": "..."}``.

    ``access`` lists the principals who may see it; empty means everyone within the tenant.  ``metadata`` is flat:
    string, number, boolean, RFC 3339 date (as a string) or list of strings; it can be filtered on.
    """

    text: str
    media_type: str = "text/plain"
    title: str | None = None
    uri: str | None = None
    metadata: Metadata = {}
    access: list[str] = []
    published_at: datetime | None = None


class Chunk(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One passage of a document version.

    ``text_hash`` names its vector, ``hash`` its identity (:func:`topics.identity.identity_hash`); ``vector`` is
    little-endian float32 and absent before the embed stage.
    """

    ordinal: int
    text: str
    text_hash: str
    hash: str
    vector: bytes | None = None


class ChunkRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A chunk as manifests list it: its id, the hash of all that is stored on it, and the headings above it."""

    id: str
    hash: str
    section: str | None = None


class DocumentHead(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is known of a document version besides its text.  Times are ms since 1970."""

    title: str | None = None
    uri: str | None = None
    media_type: str | None = None
    metadata: Metadata = {}
    access: list[str] = []
    published_at: int


class DocumentPart(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One part of a document version, in ``chunks.<gen>`` without and in ``vectors.<gen>`` with vectors.

    ``outline`` is on the last part only and lists all chunks of the version in order; its ids are those the chunks
    get if they are new (a chunk that the document has already keeps the id it was born with).
    """

    tenant: str
    doc_id: str
    version: str
    head: DocumentHead
    part: int = 0
    parts: int = 1
    chunks: list[Chunk]
    outline: list[ChunkRef] | None = None


class DocumentRefused(msgspec.Struct, kw_only=True):
    """A version that will not be indexed, at key ``tenant/doc_id#refused``; lets freshness tokens end."""

    tenant: str
    doc_id: str
    version: str
    status: Literal["rejected", "dead-lettered"]
    reason: str


class DocumentDeferred(msgspec.Struct, kw_only=True):
    """Work on a version waits for another try, at key ``tenant/doc_id#deferred-...``; null when it came to its end.

    Freshness tokens stay open in between.
    """

    tenant: str
    doc_id: str
    version: str
    stage: str
    reason: str


class LastSeen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest version that reached an outcome, visible or not."""

    version: str
    status: Status
    reason: str | None = None
    at: int


class IndexEvent(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is visible of one document: the truth of which Redis is a view.  Never null: deletes stay on record.

    ``version`` is the version that is visible (or that deleted the document), ``manifest`` its chunks in order:
    a search hit counts if and only if its id is listed here.
    """

    tenant: str
    doc_id: str
    state: Literal["current", "deleted", "absent"]
    version: str | None
    head: DocumentHead | None = None
    manifest: list[ChunkRef] = []
    indexed_at: int
    last_seen: LastSeen
