"""What every manifest store must do about what is in doubt: versions, and everything."""

from dataclasses import replace

from connectors.ports import ManifestStore
from tests.connectors.contract.manifest_contract import REF, at, chunks, flip


class EditionContract:
    """Subclasses give a fixture ``manifests``: an open, empty store."""

    async def test_a_flip_holds_for_its_edition(self, manifests: ManifestStore) -> None:
        """Who diffed against another manifest of the same version, or before it was doubted, does not flip."""
        await manifests.flip([flip(5)])
        [plain] = await manifests.read([REF])
        await manifests.doubt({REF: at(5)})
        [doubted] = await manifests.read([REF])
        assert await manifests.flip([replace(flip(6, 5), edition=plain.edition)]) == [False]
        again = replace(flip(5, 5, has=chunks("c3")), indexed_at=plain.indexed_at + 1, edition=doubted.edition)
        assert await manifests.flip([again]) == [True]
        [after] = await manifests.read([REF])
        assert len({plain.edition, doubted.edition, after.edition}) == 3
        for earlier in (plain, doubted):
            assert await manifests.flip([replace(flip(6, 5), edition=earlier.edition)]) == [False]
        assert await manifests.flip([replace(flip(6, 5), edition=after.edition)]) == [True]

    async def test_distrust_lasts_until_an_audit(self, manifests: ManifestStore) -> None:
        """The last reason stands until an audit that began after it has found all well."""
        assert await manifests.distrusted() is None
        await manifests.trust("none")
        await manifests.distrust("first")
        await manifests.distrust("second")
        await manifests.trust("first")
        assert await manifests.distrusted() == "second" == (await manifests.standing())[1]
        await manifests.trust("second")
        assert await manifests.distrusted() is None
