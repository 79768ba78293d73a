"""Manifests in a dict: for tests, and for a worker's own view of the log.  Same contract as Redis."""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.errors import Transient
from connectors.ports import Flip, Manifest, Visible
from connectors.state.watermarks import below
from topics.documents import LastSeen
from topics.identity import DocumentRef, Token

_NEVER = Manifest()


class MemoryManifests:
    """:class:`connectors.ports.ManifestStore`.  No step awaits in its middle, so each is atomic on one loop.

    Whole from the start, unless told otherwise; :class:`connectors.memory.view.MemoryView` makes it a view.
    """

    def __init__(self, *, whole: bool = True) -> None:
        self._run, self._declared = 1, 1  # which run of the "server" this is, how often it was declared whole
        self._view = "run1 1" if whole else ""
        self._offsets: dict[int, int] = {}
        self._overtaken: dict[DocumentRef, int] = {}
        self._manifests: dict[DocumentRef, Manifest] = {}
        self._flipped: dict[DocumentRef, float] = {}  # when, by the monotonic clock
        self._waiting: dict[DocumentRef, list[tuple[str, int]]] = {}
        self._watermarks: dict[tuple[int, int], int] = {}
        self._deferred: set[tuple[Token, str]] = set()
        self._refused: dict[Token, LastSeen] = {}
        self._parts: dict[DocumentRef, int] = {}
        self._unaudited: str | None = None

    def lose(self) -> None:
        """Forget everything, as a flushed server does."""
        self._take(vars(MemoryManifests(whole=False)), self._run)

    def save(self) -> dict[str, Any]:
        """All that is kept, as it is now."""
        return copy.deepcopy(vars(self))

    def roll_back(self, saved: Mapping[str, Any]) -> None:
        """Go back to what was saved, as a server does that starts from an older copy."""
        self._take(copy.deepcopy(dict(saved)), self._run + 1)

    def _take(self, state: Mapping[str, Any], run: int) -> None:
        vars(self).update({**state, "_run": run, "_declared": self._declared})

    @property
    def _server(self) -> str:
        return f"run{self._run}"

    @property
    def _whole(self) -> bool:
        return self._view.partition(" ")[0] == self._server

    def _check(self) -> None:
        if not self._whole:
            raise Transient("the view in memory is not whole: it is being rebuilt from index-events", reason="view")

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do; what was stored stays, as it would in a server."""

    async def read(self, refs: Sequence[DocumentRef]) -> list[Manifest]:
        self._check()
        return [replace(self._manifests.get(ref, _NEVER), view=self._view) for ref in refs]

    async def status(self, refs: Sequence[DocumentRef]) -> list[Manifest]:
        return [replace(manifest, chunks={}, doomed=()) for manifest in await self.read(refs)]

    async def flip(self, flips: Sequence[Flip]) -> list[bool]:
        if any(flip.view not in ("", self._view) for flip in flips):
            raise Transient("the view in memory is not the one that was read", reason="view")
        self._check()
        return [self._flip(flip) for flip in flips]

    def _flip(self, flip: Flip) -> bool:
        current = self._manifests.get(flip.ref, _NEVER)
        if current.version != flip.expected or flip.version < (current.version or ""):
            return False
        if flip.version == current.version and not current.doubted:
            return False
        if flip.edition not in ("", current.edition):
            return False
        seen = LastSeen(version=flip.version, status="deleted" if flip.deleted else "indexed", at=flip.indexed_at)
        if current.last_seen is not None and current.last_seen.version > flip.version:
            seen = current.last_seen
        self._flipped[flip.ref] = time.monotonic()
        self._manifests[flip.ref] = Manifest(
            version=flip.version,
            deleted=flip.deleted,
            done=False,
            head=flip.head,
            chunks=dict(flip.chunks),
            doomed=flip.doomed,
            last_seen=seen,
            indexed_at=flip.indexed_at,
        )
        return True

    async def finish(self, refs: Mapping[DocumentRef, str]) -> None:
        for ref, version in refs.items():
            current = self._manifests.get(ref, _NEVER)
            if current.version == version:
                self._manifests[ref] = replace(current, done=True, doomed=())

    async def see(self, ref: DocumentRef, seen: LastSeen) -> None:
        current = self._manifests.get(ref, _NEVER)
        last = current.last_seen
        if last is not None and (
            last.version > seen.version or (last.version == seen.version and last.status in ("indexed", "deleted"))
        ):
            return
        self._manifests[ref] = replace(current, last_seen=seen)

    async def visible(self, hits: Sequence[tuple[DocumentRef, str]]) -> list[Visible | None]:
        self._check()
        return [self._visible(ref, chunk_id) for ref, chunk_id in hits]

    def _visible(self, ref: DocumentRef, chunk_id: str) -> Visible | None:
        current = self._manifests.get(ref, _NEVER)
        chunk = current.chunks.get(chunk_id)
        if current.version is None or current.deleted or current.head is None or chunk is None:
            return None
        since = next((at for version, at in self._waiting.get(ref, ()) if version > current.version), None)
        return Visible(current.version, current.head, chunk.section, time.monotonic() - self._flipped[ref], since)

    async def accepted(self, versions: Mapping[DocumentRef, tuple[str, int]]) -> None:
        for ref, entry in versions.items():
            current = self._manifests.get(ref, _NEVER).version or ""
            waiting = self._waiting.get(ref, [])
            if not waiting or entry[0] > waiting[-1][0]:
                self._waiting[ref] = [*(w for w in waiting if w[0] > current), entry]

    async def pending(self, refs: Sequence[DocumentRef]) -> list[tuple[str, int] | None]:
        self._check()
        return [self._waiting[ref][-1] if ref in self._waiting else None for ref in refs]

    async def doubt(self, refs: Mapping[DocumentRef, str]) -> None:
        for ref, version in refs.items():
            current = self._manifests.get(ref, _NEVER)
            if current.version == version:
                self._manifests[ref] = replace(current, doubted=True)

    async def advance(self, tokens: Sequence[Token]) -> None:
        for token in tokens:
            place = (token.epoch, token.partition)
            self._watermarks[place] = max(token.offset, self._watermarks.get(place, -1))

    async def defer(self, token: Token, work: str) -> None:
        self._deferred.add((token, work))

    async def settle(self, token: Token, work: str) -> None:
        self._deferred.discard((token, work))

    async def deferred(self, token: Token) -> set[str]:
        return {work for deferred, work in self._deferred if deferred == token}

    async def watermarks(self) -> dict[tuple[int, int], int]:
        self._check()
        return below(self._watermarks, (token for token, _ in self._deferred))

    async def distrust(self, why: str) -> None:
        self._unaudited = why

    async def distrusted(self) -> str | None:
        return self._unaudited

    async def standing(self) -> tuple[dict[tuple[int, int], int], str | None]:
        return await self.watermarks(), self._unaudited

    async def trust(self, why: str) -> None:
        if self._unaudited == why:
            self._unaudited = None

    async def refuse(self, token: Token, seen: LastSeen) -> None:
        self._refused[token] = seen

    async def refusals(self, tokens: Sequence[Token]) -> dict[Token, LastSeen]:
        self._check()
        return {token: self._refused[token] for token in tokens if token in self._refused}

    async def widen(self, parts: Mapping[DocumentRef, int]) -> dict[DocumentRef, int]:
        before = {ref: self._parts.get(ref, 1) for ref in parts}
        self._parts |= {ref: max(count, before[ref]) for ref, count in parts.items()}
        return before

    async def page(self, tenant: str, after: str | None, limit: int) -> list[str]:
        self._check()
        ids = (ref.doc_id for ref, m in self._manifests.items() if ref.tenant == tenant and m.version and not m.deleted)
        behind = "" if after is None else after  # no id is empty
        return sorted(doc_id for doc_id in ids if doc_id > behind)[: max(limit, 0)]
