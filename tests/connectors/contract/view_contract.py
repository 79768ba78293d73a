"""What every manifest view must do."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from connectors.errors import Transient
from connectors.ports import Manifest, ManifestStore
from connectors.view_ports import Announced, ManifestView
from streams.documents.diff import event_of
from tests.connectors.contract.manifest_contract import HEAD, REF, at, flip
from topics.documents import ChunkRef, IndexEvent, LastSeen, Status
from topics.identity import DocumentRef, Token

OTHER = DocumentRef("acme", "other")
Lose = Callable[[], None]


def event(version: int, *ids: str, ref: DocumentRef = REF, deleted: bool = False) -> IndexEvent:
    """What the index stage announces of :func:`tests.connectors.contract.manifest_contract.flip`."""
    return IndexEvent(
        tenant=ref.tenant,
        doc_id=ref.doc_id,
        state="deleted" if deleted else "current",
        version=at(version),
        head=None if deleted else HEAD,
        manifest=[ChunkRef(id=chunk_id, hash=f"hash-{chunk_id}") for chunk_id in ids],
        indexed_at=1000 + version,
        last_seen=LastSeen(version=at(version), status="deleted" if deleted else "indexed", at=1000 + version),
    )


def refusal(version: int, status: Status = "rejected", ref: DocumentRef = REF) -> IndexEvent:
    """What is announced of a document that never had a version to be seen."""
    seen = LastSeen(version=at(version), status=status, reason="no text", at=int(time.time() * 1000))
    return IndexEvent(tenant=ref.tenant, doc_id=ref.doc_id, state="absent", version=None, indexed_at=0, last_seen=seen)


def in_order(*events: IndexEvent, partition: int = 0, first: int = 0) -> list[Announced]:
    """These events, one behind the other in the log."""
    return [Announced(partition, first + n, first + n, each) for n, each in enumerate(events)]


class ViewContract:
    """Subclasses give ``manifests`` and ``view`` of one empty view, not whole, and ``lose``, as of a flushed server."""

    @staticmethod
    async def whole(view: ManifestView, **offsets: int) -> bool:
        return await view.declare_whole((await view.state()).server, {int(p[1:]): o for p, o in offsets.items()})

    async def test_nothing_is_told_unless_whole(self, manifests: ManifestStore, view: ManifestView) -> None:
        """What is empty or behind tells nothing and takes no flip, and says why; declared whole it does both."""
        state = await view.state()
        assert (state.whole, state.offsets, state.overtaken) == (False, {}, {})

        calls: list[tuple[Callable[[], Awaitable[object]], object]] = [
            (lambda: manifests.read([REF]), [Manifest()]),
            (lambda: manifests.status([REF]), [Manifest()]),
            (lambda: manifests.visible([(REF, "c1")]), [None]),
            (lambda: manifests.page("acme", None, 10), []),
            (lambda: manifests.pending([REF]), [None]),
            (lambda: manifests.watermarks(), {}),
            (lambda: manifests.standing(), ({}, None)),
            (lambda: manifests.refusals([Token(1, 0, 1)]), {}),
            (lambda: manifests.flip([flip(1)]), [True]),
        ]
        for call, _ in calls:
            with pytest.raises(Transient) as told:
                await call()
            assert told.value.reason == "view"
        assert await self.whole(view)
        assert [await call() for call, _ in calls] == [answer for _, answer in calls]

    async def test_an_event_makes_the_manifest(self, manifests: ManifestStore, view: ManifestView) -> None:
        """Version, head, chunks in order, last outcome and the list of documents come from the event alone."""
        told = event(7, "c2", "c1", "c0")
        told.manifest[1] = ChunkRef(id="c1", hash="h1", section="A|B > \u00dc")
        assert await view.apply(in_order(told, event(8, ref=OTHER, deleted=True)))
        assert (await view.state()).offsets == {0: 2}
        assert await self.whole(view, p0=2)
        manifest, gone = await manifests.read([REF, OTHER])
        assert event_of(REF, manifest, manifest.last_seen or LastSeen(version="", status="indexed", at=0)) == told
        assert (manifest.done, manifest.doomed, manifest.doubted) == (True, (), False)
        assert (gone.version, gone.deleted, gone.done, gone.chunks) == (at(8), True, True, {})
        assert await manifests.page("acme", None, 10) == [REF.doc_id]
        [seen] = await manifests.visible([(REF, "c1")])
        assert seen is not None and (seen.version, seen.section, seen.head) == (at(7), "A|B > \u00dc", HEAD)
        assert 0 <= seen.age < 30

    async def test_a_version_that_was_flipped_to_again(self, manifests: ManifestStore, view: ManifestView) -> None:
        """Of two manifests of a version, as a repair leaves them in the log, the one that was made last comes back."""
        mended, removed = event(1, "c2"), event(2, ref=OTHER, deleted=True)
        mended.indexed_at += 1
        removed.indexed_at += 1
        strange = event(2, "x1", ref=OTHER)
        assert await view.apply(in_order(event(1, "c1"), strange, mended, removed, event(1, "c1")))
        assert await self.whole(view)
        kept, gone = await manifests.read([REF, OTHER])
        assert (list(kept.chunks), kept.doubted) == (["c2"], False)
        assert (gone.deleted, gone.chunks, gone.last_seen) == (True, {}, removed.last_seen)
        assert await manifests.page("acme", None, 10) == [REF.doc_id]

    async def test_ten_thousand_chunks(self, manifests: ManifestStore, view: ManifestView) -> None:
        """A long manifest comes in whole and in order, in place of another."""
        ids = [f"n{n}" for n in range(10_000)]
        assert await view.apply(in_order(event(1, "c1"), event(2, *ids)))
        assert await self.whole(view)
        assert list((await manifests.read([REF]))[0].chunks) == ids

    async def test_offsets_go_with_the_events(self, manifests: ManifestStore, view: ManifestView) -> None:
        """What was applied is known and changes nothing; behind something that is missing nothing is applied."""
        first, second, third = in_order(event(1, "c1"), event(2, "c2"), event(3, "c3"))
        assert await view.apply([first, second]) and await view.apply([first]) and await view.apply([second])
        assert not await view.apply([Announced(0, 3, 3, event(4, "c4"))])
        assert not await view.apply([Announced(1, 1, 1, event(9, ref=OTHER))])
        assert (await view.state()).offsets == {0: 2}
        assert await view.apply([third, Announced(0, 3, 90, event(5, "c5"))])  # compaction left the rest out
        assert (await view.state()).offsets == {0: 91}
        assert await self.whole(view)
        assert [m.version for m in await manifests.read([REF, OTHER])] == [at(5), None]

    async def test_whole_is_what_has_all(self, view: ManifestView, lose: Lose) -> None:
        """Nobody declares whole what has not applied what he saw applied, nor for another server."""
        server = (await view.state()).server
        await view.apply(in_order(event(1)))
        assert not await view.declare_whole("another", {0: 1})
        assert not await view.declare_whole(server, {0: 2})
        lose()
        assert not await view.declare_whole(server, {0: 1})
        await view.apply(in_order(event(1)))
        assert await view.declare_whole(server, {0: 1}) and await view.declare_whole(server, {0: 1})
        assert (await view.state()).whole

    async def test_older_events_change_nothing(self, manifests: ManifestStore, view: ManifestView) -> None:
        """A version never goes back; the document counts as overtaken until the current one is announced again."""
        await view.apply(in_order(event(5, "c5"), event(3, "c3"), event(1, ref=OTHER)))
        assert (await view.state()).overtaken == {REF: 0}
        assert await self.whole(view)
        [before] = await manifests.read([REF])
        assert (before.version, list(before.chunks)) == (at(5), ["c5"])
        await view.apply(in_order(event(5, "c5"), first=3))
        assert (await view.state()).overtaken == {}
        assert await manifests.read([REF]) == [before]

    async def test_what_its_writer_owes_is_left_to_it(self, manifests: ManifestStore, view: ManifestView) -> None:
        """An older event in front of a flip that is not announced yet is nothing to worry about."""
        assert await self.whole(view)
        await manifests.flip([flip(5, doomed=("x",))])
        await view.apply(in_order(event(3)))
        assert (await view.state()).overtaken == {}
        await view.apply(in_order(event(5, "c1", "c2"), first=1))
        [manifest] = await manifests.read([REF])
        assert (manifest.version, manifest.done, manifest.doomed) == (at(5), False, ("x",))
        await manifests.finish({REF: at(5)})
        await view.apply(in_order(refusal(4), first=2))
        assert (await view.state()).overtaken == {REF: 0}

    async def test_two_manifests_of_one_version(self, manifests: ManifestStore, view: ManifestView) -> None:
        """Of two writers' manifests of one version the one that was flipped to stays, and is announced again."""
        assert await self.whole(view)
        await manifests.flip([flip(5)])
        await manifests.finish({REF: at(5)})
        other = event(5, "x1")
        other.indexed_at += 1
        await view.apply(in_order(event(5, "c1", "c2"), other))
        assert (await view.state()).overtaken == {REF: 0}
        assert list((await manifests.read([REF]))[0].chunks) == ["c1", "c2"]

    async def test_a_lost_flip_comes_back_in_doubt(self, manifests: ManifestStore, view: ManifestView) -> None:
        """An event that a whole view did not flip to is visible, and its writer may flip to it once more."""
        await view.apply(in_order(event(1, "c1")))
        assert await self.whole(view)
        await view.apply(in_order(event(2, "c2"), first=1))
        [manifest] = await manifests.read([REF])
        assert (manifest.version, manifest.doubted) == (at(2), True)
        assert (await manifests.visible([(REF, "c2")]))[0] is not None
        assert await manifests.flip([flip(2, 2)]) == [True]

    async def test_a_flip_holds_in_the_view_that_was_read(
        self, manifests: ManifestStore, view: ManifestView, lose: Lose
    ) -> None:
        """A writer that read before a loss does not flip after it, though the same version is current again."""
        await view.apply(in_order(event(1, "c1")))
        assert await self.whole(view)
        [manifest] = await manifests.read([REF])
        stale = replace(flip(2, 1), view=manifest.view)
        lose()
        with pytest.raises(Transient, match="view"):
            await manifests.flip([stale])
        await view.apply(in_order(event(1, "c1")))
        assert await self.whole(view)
        with pytest.raises(Transient, match="view"):
            await manifests.flip([stale])
        [manifest] = await manifests.read([REF])
        assert manifest.version == at(1)
        assert await manifests.flip([replace(stale, view=manifest.view)]) == [True]

    async def test_outcomes_come_back(self, manifests: ManifestStore, view: ManifestView) -> None:
        """Last outcomes, refusals and watermarks are restored from events; newer ones are never overwritten."""
        old = refusal(3, ref=DocumentRef("acme", "long ago"))
        old.last_seen = LastSeen(version=at(3), status="rejected", at=1)
        await view.apply(in_order(event(5, "c5"), refusal(9), old))
        await view.apply(in_order(event(12, "c2", ref=OTHER), event(11, "c1", ref=OTHER), partition=2))
        assert await self.whole(view)
        assert await manifests.watermarks() == {(1, 0): 9, (1, 2): 12} == (await manifests.standing())[0]
        found = await manifests.refusals([Token(1, 0, 9), Token(1, 0, 3), Token(1, 0, 5)])
        assert {token: seen.reason for token, seen in found.items()} == {Token(1, 0, 9): "no text"}
        [manifest] = await manifests.status([REF])
        assert (manifest.version, manifest.last_seen and manifest.last_seen.version) == (at(5), at(9))
        await view.apply(in_order(event(5, "c5"), refusal(8), first=3))
        assert await manifests.status([REF]) == [manifest]

    async def test_shown_is_not_called_refused(self, manifests: ManifestStore, view: ManifestView) -> None:
        """A redriven version counts as indexed, in whatever order the events of it come."""
        await view.apply(in_order(refusal(5, "dead-lettered"), event(5, "c5"), refusal(5, "dead-lettered")))
        assert await self.whole(view)
        [manifest] = await manifests.status([REF])
        assert manifest.last_seen is not None and manifest.last_seen.status == "indexed"

    async def test_a_whole_view_leaves_watermarks_to_the_writers(
        self, manifests: ManifestStore, view: ManifestView
    ) -> None:
        """An event may come before older versions of its batch are visible: it ends no wait by itself."""
        assert await self.whole(view)
        await view.apply(in_order(event(5, "c5")))
        assert await manifests.watermarks() == {}

    async def test_reset_forgets_what_events_tell(self, manifests: ManifestStore, view: ManifestView) -> None:
        """After a reset all is built again from the first event; what no event tells is gone."""
        await view.apply(in_order(event(1, "c1")))
        assert await self.whole(view)
        await manifests.flip([flip(7, ref=OTHER)])
        await view.reset()
        state = await view.state()
        assert (state.whole, state.offsets) == (False, {})
        with pytest.raises(Transient):
            await manifests.read([REF])
        assert not await view.apply(in_order(event(2, "c2"), first=1))
        assert await view.apply(in_order(event(1, "c1"), event(2, "c2")))
        assert await self.whole(view)
        assert [m.version for m in await manifests.read([REF, OTHER])] == [at(2), None]
        assert await manifests.page("acme", None, 10) == [REF.doc_id]

    async def test_side_by_side(self, manifests: ManifestStore, view: ManifestView) -> None:
        """Several that apply the same log at once end as one would."""
        log = in_order(*(event(n + 1, f"c{n}") for n in range(30)))

        async def keep(step: int) -> None:
            for first in range(0, len(log), step):
                assert await view.apply(log[first : first + step])
                await asyncio.sleep(0)

        await asyncio.gather(keep(1), keep(3), keep(7))
        assert await self.whole(view, p0=30)
        [manifest] = await manifests.read([REF])
        assert (manifest.version, list(manifest.chunks)) == (at(30), ["c29"])
        assert (await view.state()).overtaken == {}
