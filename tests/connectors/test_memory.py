"""The adapters in memory fulfil the same contracts as the servers."""

import pytest

from connectors.memory.deliveries import MemoryDeliveries
from connectors.memory.embeddings import MemoryEmbeddings
from connectors.memory.jobs import MemoryJobs
from connectors.memory.keywords import MemoryKeywords
from connectors.memory.lanes import MemoryLanes
from connectors.memory.llm import MemoryLlmBoard
from connectors.memory.manifests import MemoryManifests
from connectors.memory.store import MemoryStore
from connectors.memory.view import MemoryView
from tests.connectors.contract.delivery_contract import DeliveryContract
from tests.connectors.contract.edition_contract import EditionContract
from tests.connectors.contract.embedding_contract import EmbeddingContract
from tests.connectors.contract.job_contract import JobContract
from tests.connectors.contract.keyword_contract import InStore, KeywordContract
from tests.connectors.contract.lane_contract import LaneContract
from tests.connectors.contract.llm_contract import LlmBoardContract
from tests.connectors.contract.manifest_contract import REF, ManifestContract, at
from tests.connectors.contract.store_contract import DIMENSION, StoreContract
from tests.connectors.contract.view_contract import Lose, ViewContract, event, in_order


class TestKeywords(KeywordContract):
    """The contract."""

    @pytest.fixture
    def keywords(self) -> InStore:
        store = MemoryStore(DIMENSION)
        return InStore(store, MemoryKeywords(store), DIMENSION)


class TestManifests(ManifestContract):
    """The contract."""

    @pytest.fixture
    def manifests(self) -> MemoryManifests:
        return MemoryManifests()


class TestView(ViewContract):
    """The contract."""

    @pytest.fixture
    def manifests(self) -> MemoryManifests:
        return MemoryManifests(whole=False)

    @pytest.fixture
    def view(self, manifests: MemoryManifests) -> MemoryView:
        return MemoryView(manifests)

    @pytest.fixture
    def lose(self, manifests: MemoryManifests) -> Lose:
        return manifests.lose

    async def test_a_rolled_back_copy_is_not_whole(self, manifests: MemoryManifests, view: MemoryView) -> None:
        """An older copy tells nothing until it has caught up from the offsets that it kept."""
        await view.apply(in_order(event(1, "c1")))
        saved = manifests.save()
        assert await self.whole(view) and await view.apply(in_order(event(2, "c2"), first=1))
        whole = manifests.save()
        for copy in (saved, whole):
            manifests.roll_back(copy)
            state = await view.state()
            assert not state.whole and 0 in state.offsets
        manifests.roll_back(saved)
        assert await view.apply(in_order(event(2, "c2"), first=1)) and await self.whole(view, p0=2)
        assert (await manifests.read([REF]))[0].version == at(2)

    async def test_alone_all_comes_from_the_log(self) -> None:
        """Where nobody flips, watermarks keep coming, nothing is in doubt, and the last word in the log counts."""
        manifests = MemoryManifests(whole=False)
        view = MemoryView(manifests, alone=True)
        assert await self.whole(view)
        other = event(5, "x1")
        other.indexed_at += 1
        await view.apply(in_order(event(5, "c1"), other, event(4, "c0")))
        [manifest] = await manifests.read([REF])
        assert (list(manifest.chunks), manifest.doubted) == (["x1"], False)
        assert await manifests.watermarks() == {(1, 0): 5}


class TestEditions(EditionContract):
    """The contract."""

    @pytest.fixture
    def manifests(self) -> MemoryManifests:
        return MemoryManifests()


class TestEmbeddings(EmbeddingContract):
    """The contract."""

    @pytest.fixture
    def embeddings(self) -> MemoryEmbeddings:
        return MemoryEmbeddings()

    async def test_forgets_the_longest_unused(self) -> None:
        """Beyond its capacity the cache drops what was used longest ago."""
        cache = MemoryEmbeddings(capacity=2)
        await cache.put("m", {"a": b"a", "b": b"b"})
        await cache.get("m", ["a"])
        await cache.put("m", {"c": b"c"})
        assert await cache.get("m", ["a", "b", "c"]) == [b"a", None, b"c"]


class TestDeliveries(DeliveryContract):
    """The contract."""

    @pytest.fixture
    def deliveries(self) -> MemoryDeliveries:
        return MemoryDeliveries()


class TestLanes(LaneContract):
    """The contract."""

    @pytest.fixture
    def board(self) -> MemoryLanes:
        return MemoryLanes()


class TestLlmBoard(LlmBoardContract):
    """The contract."""

    @pytest.fixture
    def llm_board(self) -> MemoryLlmBoard:
        return MemoryLlmBoard()


class TestStore(StoreContract):
    """The contract."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(DIMENSION)


class TestJobs(JobContract):
    """The contract."""

    @pytest.fixture
    def jobs(self) -> MemoryJobs:
        return MemoryJobs(kept=5)
