"""Manifests in memory as a view of ``index-events``.  Same contract as Redis."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from connectors.memory.manifests import MemoryManifests
from connectors.ports import Manifest, ManifestChunk
from connectors.view_ports import Announced, ViewState
from topics.documents import LastSeen
from topics.identity import DocumentRef, Token, Version

_DAY = 86400  # seconds


class MemoryView:
    """:class:`connectors.view_ports.ManifestView` of manifests in the same process.

    ``alone``: nobody flips in them, so that everything comes from the log: watermarks and refusals keep coming, no
    flip can be lost, and of two manifests of one version the later in the log counts.
    """

    def __init__(self, manifests: MemoryManifests, *, alone: bool = False) -> None:
        self._kept, self._alone = manifests, alone

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def state(self) -> ViewState:
        kept = self._kept
        return ViewState(kept._server, kept._whole, dict(kept._offsets), dict(kept._overtaken))

    async def apply(self, events: Sequence[Announced]) -> bool:
        applied = [self._apply(announced) for announced in events]
        return all(applied)

    def _apply(self, announced: Announced) -> bool:
        kept, event = self._kept, announced.event
        stored = kept._offsets.get(announced.partition, 0)
        if stored > announced.offset:
            return True
        if stored < announced.since:
            return False
        kept._offsets[announced.partition] = announced.offset + 1
        settled = kept._whole and not self._alone
        self._restore(announced.partition, event.last_seen, settled=settled)
        ref = DocumentRef(event.tenant, event.doc_id)
        current = kept._manifests.get(ref, Manifest())
        version, known = event.version or "", current.version or ""
        another = version == known and event.indexed_at != current.indexed_at
        kept._overtaken.pop(ref, None)
        # Doubt lets a version be flipped to again: of its manifests the one that was made last counts.
        again = bool(version) and another and (self._alone or (not settled and event.indexed_at > current.indexed_at))
        seen = _later(current.last_seen, event.last_seen, again=again)
        if version > known or again:
            kept._flipped[ref] = time.monotonic()
            kept._manifests[ref] = Manifest(
                version=event.version,
                deleted=event.state == "deleted",
                head=event.head,
                chunks={chunk.id: ManifestChunk(chunk.hash, chunk.section) for chunk in event.manifest},
                last_seen=seen,
                indexed_at=event.indexed_at,
                doubted=settled,
            )
            return True
        kept._manifests[ref] = replace(current, last_seen=seen)
        if known and current.done and (version < known or another):
            kept._overtaken[ref] = announced.partition
        return True

    def _restore(self, partition: int, seen: LastSeen, *, settled: bool) -> None:
        version = Version.parse(seen.version)
        token = Token(version.epoch, partition, version.offset)
        place = (token.epoch, partition)
        if not settled:
            self._kept._watermarks[place] = max(token.offset, self._kept._watermarks.get(place, -1))
        if seen.status in ("rejected", "dead-lettered") and seen.at / 1000 > time.time() - _DAY:
            self._kept._refused[token] = seen

    async def declare_whole(self, server: str, offsets: Mapping[int, int]) -> bool:
        kept = self._kept
        if server != kept._server or any(kept._offsets.get(p, 0) < offset for p, offset in offsets.items()):
            return False
        if not kept._whole:
            kept._declared += 1
            kept._view = f"{server} {kept._declared}"
        return True

    async def reset(self) -> None:
        kept = self._kept
        kept._view = ""
        for forgotten in (kept._manifests, kept._flipped, kept._offsets, kept._overtaken):
            forgotten.clear()


def _later(one: LastSeen | None, other: LastSeen, *, again: bool) -> LastSeen:
    """The newer outcome; what a version became visible with is not overwritten by its refusal."""
    shown = one is not None and one.status in ("indexed", "deleted")
    if one is not None and (one.version > other.version or (one.version == other.version and shown and not again)):
        return one
    return other
