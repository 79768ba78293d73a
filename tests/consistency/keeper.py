"""Keeps the manifests a view of what was announced, step by step, as a worker does beside its stage."""

from typing import Any

from connectors.memory.manifests import MemoryManifests
from connectors.ports import ManifestStore
from connectors.view_ports import Announced, ManifestView
from streams.documents.diff import event_of
from topics.documents import IndexEvent


class Keeper:
    """Of one partition; ``events`` is what lies there, and grows."""

    def __init__(self, view: ManifestView, manifests: ManifestStore, partition: int, events: list[IndexEvent]) -> None:
        self._view, self._manifests, self._partition, self._events = view, manifests, partition, events

    async def follow(self) -> None:
        """Apply what is new, and announce once more what the log does not end on."""
        await self._apply()
        overtaken = (await self._view.state()).overtaken
        refs = [ref for ref, partition in overtaken.items() if partition == self._partition]
        for ref, manifest in zip(refs, await self._manifests.read(refs), strict=True):
            if manifest.done and manifest.last_seen is not None:
                self._events.append(event_of(ref, manifest, manifest.last_seen))

    async def _apply(self) -> None:
        state = await self._view.state()
        start = state.offsets.get(self._partition, 0)
        news = [
            Announced(self._partition, offset, offset, event)
            for offset, event in enumerate(self._events[start:], start)
        ]
        assert await self._view.apply(news)

    async def restore(self) -> None:
        """Make a view whole that was lost."""
        await self._apply()
        state = await self._view.state()
        assert await self._view.declare_whole(state.server, {self._partition: len(self._events)})


class Snapshots:
    """Copies of manifests in memory, and ways to lose what came after them."""

    def __init__(self, manifests: MemoryManifests) -> None:
        self._manifests = manifests
        self._saved: list[dict[str, Any]] = []

    def save(self) -> None:
        self._saved.append(self._manifests.save())

    async def lose(self, back: int) -> None:
        """All of it, or what came after one of the last copies; ``back`` 0 is all."""
        if back and self._saved:
            self._manifests.roll_back(self._saved[-min(back, len(self._saved))])
        else:
            self._manifests.lose()
