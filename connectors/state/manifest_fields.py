"""How a manifest is written into the fields of a Redis HASH, and read back.  Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from connectors.errors import Permanent
from connectors.ports import Flip, Manifest, ManifestChunk
from connectors.view_ports import Announced
from topics.documents import DocumentHead, LastSeen, Status
from topics.identity import Version

STATUS_FIELDS: Final = ("version", "deleted", "done", "head", "last_seen", "indexed_at", "doubted")
CHUNK: Final = "c:"  # in front of a chunk id

_HEAD = msgspec.json.Decoder(DocumentHead)
_SEEN = msgspec.json.Decoder(LastSeen)
_IDS = msgspec.json.Decoder(tuple[str, ...])


def encode(value: object) -> str:
    """JSON text."""
    return msgspec.json.encode(value).decode()


def flip_arguments(flip: Flip) -> list[Any]:
    """Arguments of :data:`connectors.state.manifest_scripts.FLIP`."""
    status: Status = "deleted" if flip.deleted else "indexed"
    seen = LastSeen(version=flip.version, status=status, at=flip.indexed_at)
    head = "" if flip.head is None else encode(flip.head)
    arguments: list[Any] = [flip.expected or "", flip.version, "1" if flip.deleted else "0", head]
    arguments += [encode(flip.doomed), encode(seen), flip.indexed_at, flip.ref.doc_id, flip.view, flip.edition]
    return arguments + chunk_lines((id_, chunk.hash, chunk.section) for id_, chunk in flip.chunks.items())


def apply_arguments(announced: Announced, refusal_ttl: int) -> list[Any]:
    """Arguments of :data:`connectors.state.view_scripts.APPLY`."""
    event, seen = announced.event, announced.event.last_seen
    place = Version.parse(seen.version)
    arguments: list[Any] = [announced.partition, announced.since, announced.offset, announced.offset + 1]
    arguments += [event.version or "", "1" if event.state == "deleted" else "0"]
    arguments += ["" if event.head is None else encode(event.head), encode(seen), seen.version, event.indexed_at]
    arguments += [event.doc_id, f"{event.tenant}/{event.doc_id}"]
    arguments += [f"{place.epoch}.{announced.partition}", place.offset, refusal_ttl]
    return arguments + chunk_lines((ref.id, ref.hash, ref.section) for ref in event.manifest)


def chunk_lines(chunks: Iterable[tuple[str, str, str | None]]) -> list[str]:
    """Field and line of each (id, hash, section), in order; read back by :func:`chunk_of`."""
    lines: list[str] = []
    for ordinal, (chunk_id, digest, section) in enumerate(chunks):
        lines += (CHUNK + chunk_id, f"{ordinal}|{digest}" if section is None else f"{ordinal}|{digest}|{section}")
    return lines


def head_of(text: str) -> DocumentHead:
    """The document's head; :class:`Permanent` when it is not ours."""
    try:
        return _HEAD.decode(text)
    except msgspec.MsgspecError as error:
        raise _damaged(error) from error


def seen_of(text: str) -> LastSeen:
    """An outcome; :class:`Permanent` when it is not ours."""
    try:
        return _SEEN.decode(text)
    except msgspec.MsgspecError as error:
        raise _damaged(error) from error


def chunk_of(line: str) -> tuple[int, ManifestChunk]:
    """Ordinal and chunk of ``ordinal|hash|section``: a section may hold any character, without one there is no bar."""
    ordinal, digest, *section = line.split("|", 2)
    return int(ordinal), ManifestChunk(digest, section[0] if section else None)


def manifest_of(fields: Mapping[str, str | None], view: str) -> Manifest:
    """A manifest from as many of its fields as were read, and the view they were read from."""
    try:
        named = [(name[len(CHUNK) :], line) for name, line in fields.items() if line and name.startswith(CHUNK)]
        lines = sorted(((*chunk_of(line), chunk_id) for chunk_id, line in named), key=lambda line: line[0])
        head, seen = fields.get("head"), fields.get("last_seen")
        return Manifest(
            version=fields.get("version"),
            deleted=fields.get("deleted") == "1",
            done=fields.get("done") != "0",
            head=_HEAD.decode(head) if head else None,
            chunks={chunk_id: chunk for _, chunk, chunk_id in lines},
            doomed=_IDS.decode(fields.get("doomed") or "[]"),
            last_seen=_SEEN.decode(seen) if seen else None,
            indexed_at=int(fields.get("indexed_at") or 0),
            doubted=fields.get("doubted") == "1",
            view=view,
        )
    except (ValueError, msgspec.MsgspecError) as error:
        raise _damaged(error) from error


def waiting_of(text: str | None) -> Sequence[tuple[str, int]]:
    """(version, ms since 1970) of the versions in the log that were not yet visible when last looked at, in order."""
    if not text:
        return []
    return [(version, int(at)) for version, _, at in (entry.partition("|") for entry in text.split(","))]


def _damaged(error: Exception) -> Permanent:
    return Permanent(f"a manifest in Redis is damaged ({error}): rebuild the view", reason="damaged")
