"""Redis fulfils the contract of a manifest view, through everything that can happen to a server."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.errors import Transient
from connectors.state.redis_manifests import RedisManifests
from connectors.state.redis_view import RedisView
from runtime.settings import Settings
from tests.connectors.contract.manifest_contract import REF, at, flip
from tests.connectors.contract.view_contract import Lose, ViewContract, event, in_order
from tests.own_redis import OwnRedis

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own(shared: OwnRedis) -> Settings:
    return shared.settings(prefix=f"t{secrets.token_hex(4)}")


@pytest.fixture
async def manifests(own: Settings) -> AsyncIterator[RedisManifests]:
    store = RedisManifests(own)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def view(own: Settings) -> AsyncIterator[RedisView]:
    view = RedisView(own)
    await view.open()
    yield view
    await view.close()


class TestView(ViewContract):
    """The contract."""

    @pytest.fixture
    def lose(self, shared: OwnRedis) -> Lose:
        def lose() -> None:
            with shared.client() as client:
                client.flushall()

        return lose

    async def test_a_reset_is_closed_to_others(self, view: RedisView) -> None:
        """While keys are being deleted nobody applies, which could be deleted again, nor declares whole."""
        await view._close()
        assert not await view.apply(in_order(event(1)))
        assert not await self.whole(view)
        await view.reset()
        assert await view.apply(in_order(event(1))) and await self.whole(view)

    async def test_generations_share_nothing(self, own: Settings, view: RedisView) -> None:
        """A reset of one generation leaves another as it is."""
        other = RedisView(own, "g2")
        await other.open()
        await other.apply(in_order(event(1, "c1")))
        assert await self.whole(other, p0=1)
        await view.reset()
        assert (await other.state()).whole
        await other.close()


async def restart(server: OwnRedis) -> None:
    server.kill()
    server.start()


async def rolled_back(server: OwnRedis) -> None:
    server.kill()
    server.start("older")


async def replaced(server: OwnRedis) -> None:
    server.kill()
    server.start("another")


async def demoted(server: OwnRedis) -> None:
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")


async def promoted_again(server: OwnRedis) -> None:
    """As after a failover and back: the same process all the time, and data that another server sent."""
    await demoted(server)
    with server.client() as client:
        client.replicaof("NO", "ONE")


async def flushed(server: OwnRedis) -> None:
    with server.client() as client:
        client.flushall()


@pytest.mark.parametrize("happens", [restart, rolled_back, replaced, demoted, promoted_again, flushed])
async def test_whatever_happens_is_noticed(server: OwnRedis, happens: Callable[[OwnRedis], Awaitable[None]]) -> None:
    """Reads and flips stop, by connections that were open before too; what was read before is never flipped from."""
    settings = server.settings(prefix="loss")
    manifests, view = RedisManifests(settings), RedisView(settings)
    await manifests.open()
    await view.open()
    await view.apply(in_order(event(1, "c1")))
    assert await view.declare_whole((await view.state()).server, {0: 1})
    server.copy("older")
    [before] = await manifests.read([REF])
    assert await manifests.flip([flip(2, 1)]) == [True]
    await happens(server)
    for call in (manifests.read([REF]), manifests.visible([(REF, "c1")]), manifests.watermarks()):
        with pytest.raises(Transient):
            await call
    for stale in (replace(flip(3, 2), view=before.view), flip(3, 2), replace(flip(3, 1), view=before.view)):
        with pytest.raises(Transient):
            await manifests.flip([stale])
    if happens is not demoted:
        state = await view.state()
        assert not state.whole
        await view.apply(in_order(event(1, "c1")))
        await view.apply(in_order(event(2, "c2"), first=1))
        assert await view.declare_whole(state.server, {0: 2})
        assert (await manifests.read([REF]))[0].version == at(2)
        with pytest.raises(Transient):
            await manifests.flip([replace(flip(3, 2), view=before.view)])
    await manifests.close()
    await view.close()
