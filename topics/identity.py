"""Who a document is, which version of it, and where it lies: keys, versions, tokens, chunk ids, hashes.

Everything here is a pure function.  These formats are public contract (docs/topics.md); they are dear to change.
"""

import hashlib
import re
import secrets
import time
import uuid
from collections.abc import Collection, Sequence
from urllib.parse import quote, unquote

import msgspec
from aiokafka.partitioner import murmur2

DEFAULT_TENANT = "default"
MAX_DOC_ID_BYTES = 1024
PUBLIC = "*"  # stored in place of an empty access list, so that one filter serves both cases
_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NAMESPACE = uuid.UUID("6f0f2a5c-5f4e-5d0c-9a51-0d6f6c1b7a11")  # ours; any fixed value does


class IdentityError(ValueError):
    """A key, id, version or token that breaks the contract; the message says what to do."""


class DocumentRef(msgspec.Struct, frozen=True, order=True):
    """A document: its tenant and its id within the tenant."""

    tenant: str
    doc_id: str

    @property
    def path(self) -> str:
        """``tenant/doc_id``, the name under which stores and hashes know it."""
        return f"{self.tenant}/{self.doc_id}"


class Version(msgspec.Struct, frozen=True, order=True):
    """Place of a document's record in ``documents``: later place, newer version."""

    epoch: int
    offset: int

    def __str__(self) -> str:
        """Fixed width, so that texts order as versions do (a store's numbers may be doubles)."""
        return f"{self.epoch:05d}.{self.offset:019d}"

    @classmethod
    def parse(cls, text: str) -> "Version":
        epoch, dot, offset = text.partition(".")
        if not (dot and epoch.isdecimal() and offset.isdecimal()):
            raise IdentityError(f"not a document version: {text!r}")
        return cls(int(epoch), int(offset))


class Token(msgspec.Struct, frozen=True, order=True):
    """Freshness token: "at least as fresh as this record of ``documents``"."""

    epoch: int
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.partition}.{self.offset}"

    @property
    def version(self) -> Version:
        return Version(self.epoch, self.offset)

    @classmethod
    def parse(cls, text: str) -> "Token":
        parts = text.split(".")
        if len(parts) != 3 or not all(p.isascii() and p.isdecimal() and len(p) < 19 for p in parts):
            raise IdentityError(f"not a freshness token: {text[:80]!r} (use the token that publishing returned)")
        return cls(*map(int, parts))


def check_tenant(tenant: str) -> str:
    if not _TENANT.fullmatch(tenant):
        raise IdentityError(
            f"tenant {tenant[:80]!r}: use 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit"
        )
    return tenant


def check_doc_id(doc_id: str) -> str:
    if not doc_id:
        raise IdentityError("document id is empty")
    if any(ord(c) < 32 or ord(c) == 127 for c in doc_id):
        raise IdentityError("document id has control characters")
    try:
        size = len(doc_id.encode())
    except UnicodeEncodeError:
        raise IdentityError("document id is not valid Unicode") from None
    if size > MAX_DOC_ID_BYTES:
        raise IdentityError(f"document id has more than {MAX_DOC_ID_BYTES} bytes")
    return doc_id


def document_key(ref: DocumentRef) -> bytes:
    """Key in ``documents``: the id alone for the default tenant, ``@tenant/id`` for any other.

    An id of the default tenant that itself begins with ``@`` is written ``@default/@...``.
    """
    if ref.tenant == DEFAULT_TENANT and not ref.doc_id.startswith("@"):
        return ref.doc_id.encode()
    return f"@{ref.tenant}/{ref.doc_id}".encode()


def parse_document_key(key: bytes | None, tenants: Collection[str]) -> DocumentRef:
    """The document that a key of ``documents`` names; :class:`IdentityError` tells what is wrong with it."""
    if key is None:
        raise IdentityError("record has no key: the key is the document id")
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise IdentityError("record key is not UTF-8") from None
    tenant, doc_id = DEFAULT_TENANT, text
    if text.startswith("@"):
        tenant, slash, doc_id = text[1:].partition("/")
        if not slash:
            raise IdentityError(f"key {text[:80]!r} begins with @ but has no tenant: write @tenant/id or @default/@id")
    if tenant not in tenants:
        raise IdentityError(f"tenant {tenant[:80]!r} is unknown here: add it to FRESHET_TENANTS")
    return DocumentRef(tenant, check_doc_id(doc_id))


def part_key(ref: DocumentRef, part: int | str) -> bytes:
    """Key of one part of a version in the internal topics: percent-encoded ``tenant/doc_id``, ``#``, part number."""
    return f"{quote(ref.path, safe='/')}#{part}".encode()


def parse_part_key(key: bytes | None) -> tuple[DocumentRef, str]:
    """Document and part that a key of the internal topics names; :class:`IdentityError` for any other key."""
    try:
        path, _, part = (key or b"").decode().rpartition("#")
        tenant, _, doc_id = unquote(path, errors="strict").partition("/")
        return DocumentRef(check_tenant(tenant), check_doc_id(doc_id)), part
    except (UnicodeDecodeError, IdentityError) as error:
        raise IdentityError(f"key {(key or b'')[:80]!r} is not that of a document's part: {error}") from None


def event_key(ref: DocumentRef) -> bytes:
    """Key of a document's one record in ``index-events``: percent-encoded ``tenant/doc_id``."""
    return quote(ref.path, safe="/").encode()


def parse_event_key(key: bytes | None) -> DocumentRef:
    """The document that a key of ``index-events`` names; :class:`IdentityError` for any other key."""
    try:
        tenant, _, doc_id = unquote((key or b"").decode(), errors="strict").partition("/")
        return DocumentRef(check_tenant(tenant), check_doc_id(doc_id))
    except (UnicodeDecodeError, IdentityError) as error:
        raise IdentityError(f"key {(key or b'')[:80]!r} is not that of a document: {error}") from None


def surrogate_key(ref: DocumentRef) -> str:
    """What a copy of passages bears for each document behind it, to be purged by; safe in any header."""
    return f"d-{digest(ref.path.encode())[:16]}"


def generation_key(generation: str) -> str:
    """What every copy of passages bears besides."""
    return f"g-{generation}"


def partition_of(key: bytes, partitions: int) -> int:
    """Partition of a key as Java, Connect and aiokafka choose it (librdkafka: ``partitioner=murmur2_random``)."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def chunk_id(generation: str, ref: DocumentRef, born: Version, ordinal: int) -> str:
    """Id of a chunk object: where and when it was born; never reused for another text."""
    return str(uuid.uuid5(_NAMESPACE, f"{generation}\n{ref.path}\n{born}\n{ordinal}"))


def digest(*parts: bytes) -> str:
    """128-bit BLAKE2 of length-prefixed parts, as 32 hexadecimal digits."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.hexdigest()


def text_hash(text: str) -> str:
    """Names a vector: same model and text, same vector."""
    return digest(text.encode("utf-8", "surrogatepass"))


def identity_hash(text_digest: str, access: Sequence[str], metadata: object, repeat: int = 0) -> str:
    """Names everything stored on a chunk object, so that a change of access or metadata is a change of the object.

    ``repeat`` counts earlier chunks of the same version with the same text: hashes are unique within a document.
    """
    shared = msgspec.json.encode([sorted(set(access)), metadata, repeat], order="deterministic")
    return digest(text_digest.encode(), shared)


def mint_job_id(partition: int, now: float | None = None) -> str:
    """Unguessable job id that tells any gateway where the job's answer lies and since when (36 hex digits)."""
    millis = int((time.time() if now is None else now) * 1000)
    return f"{millis:012x}{partition:04x}{secrets.token_hex(10)}"


def job_place(job_id: str) -> tuple[int, int]:
    """Reply partition and start time (ms since 1970) of a job; :class:`IdentityError` for a malformed id."""
    if not re.fullmatch(r"[0-9a-f]{36}", job_id):
        raise IdentityError("not a job id")
    return int(job_id[12:16], 16), int(job_id[:12], 16)
