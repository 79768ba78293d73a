"""What every manifest store must do."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from connectors.ports import Flip, Manifest, ManifestChunk, ManifestStore, Visible
from tests.connectors.contract.lookalikes import LOOKALIKES
from topics.documents import DocumentHead, LastSeen
from topics.identity import DocumentRef, Token, Version

REF = DocumentRef("acme", "guides/start")
HEAD = DocumentHead(title="Start", metadata={"lang": "en", "n": 3}, access=["staff"], published_at=1)


def at(offset: int) -> str:
    return str(Version(1, offset))


def chunks(*ids: str) -> dict[str, ManifestChunk]:
    return {chunk_id: ManifestChunk(f"hash-{chunk_id}") for chunk_id in ids}


def flip(
    version: int,
    expected: int | None = None,
    ref: DocumentRef = REF,
    *,
    deleted: bool = False,
    has: Mapping[str, ManifestChunk] | None = None,
    doomed: tuple[str, ...] = (),
) -> Flip:
    return Flip(
        ref=ref,
        expected=None if expected is None else at(expected),
        version=at(version),
        deleted=deleted,
        head=None if deleted else HEAD,
        chunks={} if deleted else chunks("c1", "c2") if has is None else has,
        doomed=doomed,
        indexed_at=1000 + version,
    )


class ManifestContract:
    """Subclasses give a fixture ``manifests``: an open, empty store."""

    async def test_unknown_document_reads_as_never_indexed(self, manifests: ManifestStore) -> None:
        """A document nobody wrote has no version, owes nothing and shows nothing."""
        assert await manifests.read([REF]) == [Manifest()]
        assert await manifests.status([REF]) == [Manifest()]
        assert await manifests.visible([(REF, "c1")]) == [None]
        assert await manifests.pending([REF]) == [None]

    async def test_nothing_asked_nothing_answered(self, manifests: ManifestStore) -> None:
        """Empty questions are fine everywhere."""
        assert await manifests.read([]) == []
        assert await manifests.status([]) == []
        assert await manifests.visible([]) == []
        assert await manifests.pending([]) == []
        assert await manifests.flip([]) == []
        assert await manifests.widen({}) == {}
        await manifests.finish({})
        await manifests.accepted({})
        await manifests.advance([])
        await manifests.doubt({})
        assert await manifests.refusals([]) == {}

    async def test_flip_reads_back_whole(self, manifests: ManifestStore) -> None:
        """A flip is read back as it was written, chunks in order, odd sections included."""
        has = {
            "c2": ManifestChunk("h2", "Intro > A|B"),
            "c1": ManifestChunk("h1", ""),
            "c0": ManifestChunk("h0"),
            "c9": ManifestChunk("h9", "\u00dcber|\n"),
        }
        assert await manifests.flip([flip(7, has=has, doomed=("old",))]) == [True]
        [manifest] = await manifests.read([REF])
        assert manifest == Manifest(
            version=at(7),
            deleted=False,
            done=False,
            head=HEAD,
            chunks=has,
            doomed=("old",),
            last_seen=LastSeen(version=at(7), status="indexed", at=1007),
            indexed_at=1007,
        )
        assert list(manifest.chunks) == list(has)

    async def test_status_is_read_without_chunks(self, manifests: ManifestStore) -> None:
        """Status tells all but chunks and doomed."""
        await manifests.flip([flip(7, doomed=("old",))])
        [status], [whole] = await manifests.status([REF]), await manifests.read([REF])
        assert (status.chunks, status.doomed) == ({}, ())
        assert (status.version, status.done, status.head, status.last_seen, status.indexed_at) == (
            whole.version,
            whole.done,
            whole.head,
            whole.last_seen,
            whole.indexed_at,
        )

    @pytest.mark.parametrize(
        ("current", "expected", "version", "passes"),
        [
            (None, None, 5, True),
            (None, 4, 5, False),
            (5, 5, 6, True),
            (5, None, 6, False),
            (5, 4, 6, False),
            (5, 6, 7, False),
            (5, 5, 5, False),
            (5, 5, 4, False),
            (5, None, 4, False),
        ],
    )
    async def test_flip_compares_and_sets(
        self, manifests: ManifestStore, current: int | None, expected: int | None, version: int, passes: bool
    ) -> None:
        """A flip passes if exactly the expected version is current and the new one is later; else nothing changes."""
        if current is not None:
            assert await manifests.flip([flip(current, doomed=("x",))]) == [True]
        before = await manifests.read([REF])
        assert await manifests.flip([flip(version, expected, has=chunks("new"))]) == [passes]
        [after] = await manifests.read([REF])
        assert [after] == before if not passes else (after.version, list(after.chunks)) == (at(version), ["new"])

    async def test_versions_order_by_number(self, manifests: ManifestStore) -> None:
        """Offset 10 is later than offset 9, and a later epoch later than any offset."""
        assert await manifests.flip([flip(9)]) == [True]
        assert await manifests.flip([flip(10, 9)]) == [True]
        later = Flip(REF, at(10), str(Version(2, 0)), False, HEAD, {}, (), 0)
        assert await manifests.flip([later]) == [True]

    async def test_of_concurrent_flips_one_wins(self, manifests: ManifestStore) -> None:
        """Of many writers that read the same version one gets through, and its chunks are what is stored."""
        await manifests.flip([flip(1)])
        writers = [flip(2 + n, 1, has=chunks(f"w{n}")) for n in range(8)]
        results = await asyncio.gather(*(manifests.flip([writer]) for writer in writers))
        assert sum(result == [True] for result in results) == 1
        [manifest] = await manifests.read([REF])
        assert list(manifest.chunks) == [f"w{results.index([True])}"]

    async def test_equal_versions_of_two_writers_one_wins(self, manifests: ManifestStore) -> None:
        """Two workers that process the same record flip it once."""
        results = await asyncio.gather(*(manifests.flip([flip(1, has=chunks(w))]) for w in ("a", "b")))
        assert sorted(results) == [[False], [True]]

    async def test_each_flip_of_a_batch_stands_alone(self, manifests: ManifestStore) -> None:
        """In one call some flips pass and others do not."""
        refs = [DocumentRef("acme", f"d{n}") for n in range(3)]
        await manifests.flip([flip(5, ref=refs[1])])
        assert await manifests.flip([flip(6, ref=ref) for ref in refs]) == [True, False, True]

    async def test_visible_counts_only_current_chunks(self, manifests: ManifestStore) -> None:
        """Chunks of the current version count; old ones, unknown ones and those of other documents do not."""
        other = DocumentRef("acme", "other")
        await manifests.flip([flip(1, has=chunks("old", "kept")), flip(3, ref=other, has=chunks("theirs"))])
        await manifests.flip([flip(2, 1, has={"kept": ManifestChunk("h", "Part 1"), "new": ManifestChunk("h")})])
        hits = [(REF, "new"), (REF, "old"), (other, "theirs"), (REF, "theirs"), (REF, "kept"), (REF, "version")]
        seen = await manifests.visible(hits)
        assert [v and replace(v, age=0) for v in seen] == [
            Visible(at(2), HEAD, None, 0),
            None,
            Visible(at(3), HEAD, None, 0),
            None,
            Visible(at(2), HEAD, "Part 1", 0),
            None,
        ]

    async def test_age_counts_from_the_flip(self, manifests: ManifestStore) -> None:
        """What is visible tells how long ago its version was flipped to, whatever was flipped before."""
        await manifests.flip([flip(1)])
        await asyncio.sleep(0.2)
        [first] = await manifests.visible([(REF, "c1")])
        began = time.monotonic()
        await manifests.flip([flip(2, 1)])
        [second] = await manifests.visible([(REF, "c1")])
        assert first is not None and second is not None
        assert 0.15 < first.age < 30
        assert -0.002 <= second.age <= time.monotonic() - began + 0.002

    async def test_deleted_shows_nothing(self, manifests: ManifestStore) -> None:
        """After a delete nothing of the document counts, its version stays, and a later version brings it back."""
        await manifests.flip([flip(1)])
        assert await manifests.flip([flip(2, 1, deleted=True, doomed=("c1", "c2"))]) == [True]
        assert await manifests.visible([(REF, "c1")]) == [None]
        [manifest] = await manifests.read([REF])
        assert (manifest.deleted, manifest.version, manifest.chunks) == (True, at(2), {})
        assert manifest.last_seen == LastSeen(version=at(2), status="deleted", at=1002)
        assert await manifests.flip([flip(1)]) == [False]
        assert await manifests.flip([flip(3, 2)]) == [True]
        assert (await manifests.visible([(REF, "c1")]))[0] is not None

    async def test_lookalike_ids_are_different_documents(self, manifests: ManifestStore) -> None:
        """Ids that differ in case, Unicode form, slashes or punctuation stay apart, as do two tenants' equal ids."""
        refs = [DocumentRef(tenant, doc_id) for tenant in ("acme", "acme-2") for doc_id in LOOKALIKES]
        flips = [flip(n + 1, ref=ref, has=chunks(f"c{n}")) for n, ref in enumerate(refs)]
        assert await manifests.flip(flips) == [True] * len(refs)
        assert [m.version for m in await manifests.read(refs)] == [at(n + 1) for n in range(len(refs))]
        seen = await manifests.visible([(ref, f"c{n}") for n, ref in enumerate(refs)])
        assert [v and v.version for v in seen] == [at(n + 1) for n in range(len(refs))]
        assert await manifests.page("acme", None, 1000) == sorted(LOOKALIKES)

    async def test_ten_thousand_chunks(self, manifests: ManifestStore) -> None:
        """A manifest of 10,000 chunks goes in and comes out whole, and shrinks to nothing left over."""
        many = {secrets.token_hex(16): ManifestChunk(secrets.token_hex(16), f"Part {n}") for n in range(10_000)}
        assert await manifests.flip([flip(1, has=many, doomed=tuple(many))]) == [True]
        [manifest] = await manifests.read([REF])
        assert list(manifest.chunks.items()) == list(many.items())
        assert manifest.doomed == tuple(many)
        assert await manifests.flip([flip(2, 1, has=chunks("c1"))]) == [True]
        assert list((await manifests.read([REF]))[0].chunks) == ["c1"]
        assert await manifests.visible([(REF, next(iter(many)))]) == [None]

    async def test_finish_clears_what_is_owed(self, manifests: ManifestStore) -> None:
        """Finishing the current version marks it done and empties doomed; doing so twice changes nothing."""
        await manifests.flip([flip(1, doomed=("x",))])
        for _ in range(2):
            await manifests.finish({REF: at(1)})
            [manifest] = await manifests.read([REF])
            assert (manifest.done, manifest.doomed, list(manifest.chunks)) == (True, (), ["c1", "c2"])

    async def test_finish_leaves_other_versions_alone(self, manifests: ManifestStore) -> None:
        """Finishing a version that is no longer, or was never, current changes nothing."""
        await manifests.flip([flip(1)])
        await manifests.flip([flip(2, 1, doomed=("x",))])
        unknown = DocumentRef("acme", "unknown")
        await manifests.finish({REF: at(1), unknown: at(1)})
        manifest, nothing = await manifests.read([REF, unknown])
        assert (manifest.done, manifest.doomed) == (False, ("x",))
        assert nothing == Manifest()

    async def test_see_never_goes_down(self, manifests: ManifestStore) -> None:
        """The last outcome seen only moves to later versions, and makes nothing visible."""
        refused = LastSeen(version=at(5), status="rejected", reason="no text", at=9)
        await manifests.see(REF, refused)
        await manifests.see(REF, LastSeen(version=at(4), status="dead-lettered", at=10))
        [manifest] = await manifests.read([REF])
        assert (manifest.version, manifest.last_seen, manifest.done) == (None, refused, True)
        assert await manifests.visible([(REF, "c1")]) == [None]
        assert await manifests.page("acme", None, 10) == []

    async def test_see_outlives_an_older_flip(self, manifests: ManifestStore) -> None:
        """A version that overtakes a refused later one becomes visible; the refusal stays the last outcome seen."""
        refused = LastSeen(version=at(5), status="rejected", at=9)
        await manifests.see(REF, refused)
        assert await manifests.flip([flip(4)]) == [True]
        assert (await manifests.status([REF]))[0].last_seen == refused
        assert await manifests.flip([flip(6, 4)]) == [True]
        last = (await manifests.status([REF]))[0].last_seen
        assert last is not None and (last.version, last.status) == (at(6), "indexed")

    async def test_see_of_a_redriven_version(self, manifests: ManifestStore) -> None:
        """A dead-lettered version that is redriven becomes indexed; what is indexed is not called refused again."""
        await manifests.see(REF, LastSeen(version=at(5), status="dead-lettered", at=9))
        assert await manifests.flip([flip(5)]) == [True]
        await manifests.see(REF, LastSeen(version=at(5), status="dead-lettered", at=12))
        last = (await manifests.status([REF]))[0].last_seen
        assert last == LastSeen(version=at(5), status="indexed", at=1005)

    async def test_pending_keeps_the_newest(self, manifests: ManifestStore) -> None:
        """The newest accepted version is remembered, whatever order they arrive in."""
        other = DocumentRef("acme", "other")
        await manifests.accepted({REF: (at(5), 50), other: (at(1), 10)})
        await manifests.accepted({REF: (at(4), 40)})
        assert await manifests.pending([other, REF, DocumentRef("acme", "none")]) == [(at(1), 10), (at(5), 50), None]

    async def test_stale_since_the_oldest_version_not_yet_visible(self, manifests: ManifestStore) -> None:
        """A hit is stale since the log held something newer: not earlier, and not since the latest of several."""

        async def since() -> int | None:
            [hit] = await manifests.visible([(REF, "c1")])
            assert hit is not None
            return hit.stale_since

        await manifests.accepted({REF: (at(1), 10)})
        await manifests.flip([flip(1)])
        assert await since() is None
        await manifests.accepted({REF: (at(2), 20)})
        await manifests.accepted({REF: (at(3), 30)})
        assert await since() == 20
        await manifests.flip([flip(2, 1)])
        assert await since() == 30
        await manifests.accepted({REF: (at(4), 40)})
        assert await since() == 30
        await manifests.flip([flip(4, 2)])
        assert await since() is None

    async def test_many_waiting_versions_keep_oldest_and_newest(self, manifests: ManifestStore) -> None:
        """A long backlog of one document neither grows without bound nor forgets its ends."""
        await manifests.flip([flip(1)])
        for n in range(2, 200):
            await manifests.accepted({REF: (at(n), n)})
        [hit] = await manifests.visible([(REF, "c1")])
        assert hit is not None and hit.stale_since == 2
        assert await manifests.pending([REF]) == [(at(199), 199)]

    async def test_watermarks_only_go_up(self, manifests: ManifestStore) -> None:
        """A watermark is kept per epoch and partition, compared as a number, and never moves back."""
        assert await manifests.watermarks() == {}
        await manifests.advance([Token(1, 0, 10), Token(1, 3, 7), Token(2, 0, 1)])
        await manifests.advance([Token(1, 0, 9), Token(1, 3, 8)])
        assert await manifests.watermarks() == {(1, 0): 10, (1, 3): 8, (2, 0): 1}

    async def test_watermarks_stay_below_what_is_deferred(self, manifests: ManifestStore) -> None:
        """A version that waits for another try holds its partition's watermark until all its work is settled."""
        await manifests.defer(Token(1, 0, 5), "embed-0")
        await manifests.defer(Token(1, 0, 5), "embed-1")
        await manifests.defer(Token(1, 0, 8), "index-0")
        await manifests.defer(Token(1, 3, 0), "chunk")
        await manifests.advance([Token(1, 0, 10), Token(1, 3, 7)])
        assert await manifests.watermarks() == {(1, 0): 4}
        assert await manifests.deferred(Token(1, 0, 5)) == {"embed-0", "embed-1"}
        assert await manifests.deferred(Token(1, 0, 50)) == set()
        await manifests.settle(Token(1, 0, 5), "embed-0")
        await manifests.settle(Token(1, 3, 0), "chunk")
        assert await manifests.watermarks() == {(1, 0): 4, (1, 3): 7}
        await manifests.settle(Token(1, 0, 5), "embed-1")
        await manifests.settle(Token(1, 0, 5), "embed-1")
        assert await manifests.watermarks() == {(1, 0): 7, (1, 3): 7}

    async def test_refusals_are_told_by_token(self, manifests: ManifestStore) -> None:
        """Whoever holds the token of a refused version learns why; other tokens say nothing."""
        seen = LastSeen(version=at(5), status="rejected", reason="no text | at all", at=9)
        await manifests.refuse(Token(1, 2, 5), seen)
        assert await manifests.refusals([Token(1, 2, 5), Token(1, 1, 5), Token(1, 2, 6)]) == {Token(1, 2, 5): seen}

    async def test_doubt_lets_a_version_come_once_more(self, manifests: ManifestStore) -> None:
        """A doubted version stays visible, may be flipped to again exactly once, and no older one may."""
        await manifests.flip([flip(5)])
        await manifests.finish({REF: at(5)})
        await manifests.doubt({REF: at(4), DocumentRef("acme", "unknown"): at(1)})
        assert await manifests.flip([flip(5, 5)]) == [False]
        await manifests.doubt({REF: at(5)})
        assert (await manifests.read([REF]))[0].doubted
        assert (await manifests.visible([(REF, "c1")]))[0] is not None
        assert await manifests.flip([flip(4, 5)]) == [False]
        again = flip(5, 5, has=chunks("c3"))
        assert await manifests.flip([again, again]) == [True, False]
        [manifest] = await manifests.read([REF])
        assert (manifest.doubted, manifest.done, list(manifest.chunks)) == (False, False, ["c3"])

    async def test_widen_returns_what_was_before(self, manifests: ManifestStore) -> None:
        """The most parts ever had is remembered, 1 unless told."""
        other = DocumentRef("globex", REF.doc_id)
        assert await manifests.widen({REF: 12, other: 1}) == {REF: 1, other: 1}
        assert await manifests.widen({REF: 3, other: 2}) == {REF: 12, other: 1}
        assert await manifests.widen({REF: 1, other: 1}) == {REF: 12, other: 2}

    async def test_pages_cover_visible_documents_in_order(self, manifests: ManifestStore) -> None:
        """Pages hold a tenant's visible documents in order of their bytes, each once, deleted ones left out."""
        ids = sorted(["a", "B", "b/1", "b", "\u00e9", "\U0001f600", "\uffee", "z"])
        await manifests.flip([flip(1, ref=DocumentRef("acme", doc_id)) for doc_id in ids])
        await manifests.flip([flip(1, ref=DocumentRef("globex", "theirs"))])
        await manifests.flip([flip(2, 1, ref=DocumentRef("acme", "b"), deleted=True)])
        await manifests.see(DocumentRef("acme", "refused"), LastSeen(version=at(1), status="rejected", at=1))
        ids.remove("b")
        pages: list[str] = []
        after = None
        for _ in ids:  # more than enough pages
            page = await manifests.page("acme", after, 3)
            assert len(page) <= 3
            pages, after = pages + page, page[-1] if page else after
        assert pages == ids
        assert await manifests.page("acme", "b", 1) == ["b/1"]
        assert await manifests.page("acme", None, 0) == []
        assert await manifests.page("nobody", None, 5) == []

    async def test_reopening_keeps_what_was_stored(self, manifests: ManifestStore) -> None:
        """Closing twice and opening again is safe and loses nothing."""
        await manifests.flip([flip(1)])
        await manifests.close()
        await manifests.close()
        await manifests.open()
        await manifests.open()
        assert (await manifests.status([REF]))[0].version == at(1)
