"""The adapters in memory fulfil the same contracts as the servers."""

import pytest

from connectors.memory.deliveries import MemoryDeliveries
from connectors.memory.embeddings import MemoryEmbeddings
from connectors.memory.lanes import MemoryLanes
from connectors.memory.manifests import MemoryManifests
from connectors.memory.store import MemoryStore
from tests.connectors.contract.delivery_contract import DeliveryContract
from tests.connectors.contract.embedding_contract import EmbeddingContract
from tests.connectors.contract.lane_contract import LaneContract
from tests.connectors.contract.manifest_contract import ManifestContract
from tests.connectors.contract.store_contract import DIMENSION, StoreContract


class TestManifests(ManifestContract):
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


class TestStore(StoreContract):
    """The contract."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(DIMENSION)
