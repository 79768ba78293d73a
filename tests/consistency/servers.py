"""The machine on real Weaviate and Redis: one connection for all runs, a tenant and a partition for each."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import httpx
import redis

from connectors.state.redis_manifests import RedisManifests
from connectors.state.redis_view import RedisView
from connectors.stores.weaviate import WeaviateStore
from connectors.stores.weaviate_schema import collection_name
from runtime.settings import Settings
from tests.consistency.editions import DIMENSION, GENERATION
from tests.consistency.lane import Place
from tests.consistency.machine import IndexMachine


class ServersMachine(IndexMachine):
    """:func:`on_servers` makes one that is connected."""

    loop_of_all: ClassVar[asyncio.AbstractEventLoop]
    manifests: ClassVar[RedisManifests]
    store: ClassVar[WeaviateStore]
    places: ClassVar[Iterator[Place]]

    def make_loop(self) -> asyncio.AbstractEventLoop:
        return self.loop_of_all

    def close_loop(self) -> None:
        """Others use it too."""

    def make_place(self) -> Place:
        return next(self.places)


@contextmanager
def on_servers(settings: Settings) -> Iterator[type[ServersMachine]]:
    """A machine for these servers; leaves nothing behind."""
    kafka = settings.kafka.model_copy(update={"prefix": f"m{secrets.token_hex(4)}"})
    own = settings.model_copy(update={"kafka": kafka})
    loop = asyncio.new_event_loop()
    manifests, view = RedisManifests(own, GENERATION), RedisView(own, GENERATION)
    store = WeaviateStore(own, model="m", dimension=DIMENSION, generation=GENERATION)

    async def reset(_: int) -> None:
        await view.reset()

    class Connected(ServersMachine):
        pass

    Connected.loop_of_all, Connected.manifests, Connected.store = loop, manifests, store
    Connected.places = (Place(manifests, store, f"t{n}", n, view, reset) for n in range(10**9))
    try:
        loop.run_until_complete(asyncio.wait_for(_open(manifests, view, store), 120))
        yield Connected
    finally:
        loop.run_until_complete(store.close())
        loop.run_until_complete(view.close())
        loop.run_until_complete(manifests.close())
        loop.close()
        _sweep(own)


async def _open(manifests: RedisManifests, view: RedisView, store: WeaviateStore) -> None:
    await manifests.open()
    await view.open()
    assert await view.declare_whole((await view.state()).server, {})
    await store.open()


def _sweep(settings: Settings) -> None:
    with redis.Redis.from_url(settings.redis.state_url) as client:
        for key in client.scan_iter(f"{settings.kafka.prefix}:*", count=1000):
            client.unlink(key)
    collection = collection_name(settings.kafka.prefix, GENERATION)
    httpx.delete(f"{settings.weaviate.url}/v1/schema/{collection}", timeout=60).raise_for_status()
