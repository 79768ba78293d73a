"""Redis is flushed, killed, rolled back, replaced or away, under writers and readers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from connectors.state.redis_manifests import RedisManifests
from connectors.state.redis_view import RedisView
from tests.flow.readers import World
from tests.own_redis import OwnRedis

pytestmark = pytest.mark.servers


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path)
    server.start()
    yield server
    server.freeze(thaw=True)
    server.kill()


@pytest.fixture
async def world(server: OwnRedis) -> AsyncIterator[World]:
    settings = server.settings(prefix="lost")
    manifests, view = RedisManifests(settings), RedisView(settings)
    await manifests.open()
    await view.open()
    yield World(manifests, view)
    await manifests.close()
    await view.close()


async def flushed(server: OwnRedis) -> None:
    with server.client() as client:
        client.flushall()


async def lost_the_last_second(server: OwnRedis) -> None:
    server.kill()
    server.start("older")


async def rolled_back_far(server: OwnRedis) -> None:
    server.kill()
    server.start("first")


async def replaced(server: OwnRedis) -> None:
    server.kill()
    server.start("another")


async def without_persistence(server: OwnRedis) -> None:
    server.kill()
    server.start("bare", persists=False)
    await asyncio.sleep(0.3)
    server.kill()
    server.start("bare", persists=False)


async def silent(server: OwnRedis) -> None:
    server.freeze()
    await asyncio.sleep(1.5)
    server.freeze(thaw=True)


async def gone(server: OwnRedis) -> None:
    server.kill()
    await asyncio.sleep(0.8)
    server.start()


@pytest.mark.parametrize(
    "happens", [flushed, lost_the_last_second, rolled_back_far, replaced, without_persistence, silent, gone]
)
async def test_writers_resume_and_readers_stay_right(
    server: OwnRedis, world: World, happens: Callable[[OwnRedis], Awaitable[None]]
) -> None:
    """Writers stop and go on by themselves; no look shows an older version than was announced, nor a part of one."""
    runs = [*(keeper.run for keeper in (*world.keepers, world.tail)), world.readable.probe]
    tasks = world.tasks
    tasks += [asyncio.create_task(run()) for run in (*runs, world.keep_writing, world.keep_reading)]
    try:
        await world.until(20)
        server.copy("first")
        await world.until(60)
        server.copy("older")
        await world.until(20)
        pauses, from_log = world.pauses, world.from_log
        for running in tasks[:2]:  # the keepers: or they might be faster than the writer's next step
            running.cancel()
        await asyncio.gather(*tasks[:2], return_exceptions=True)
        await happens(server)
        if happens is not silent:
            async with asyncio.timeout(10):
                while world.pauses == pauses:
                    await asyncio.sleep(0.01)
        tasks[:2] = [asyncio.create_task(keeper.run()) for keeper in world.keepers]
        await world.until(60)
        assert world.from_log > from_log
        looks = world.looks
        async with asyncio.timeout(10):
            while world.looks < looks + 20 or world.readable._away.is_set():
                await asyncio.sleep(0.01)
        world.stopping = True
        async with asyncio.timeout(10):
            await tasks[-2]
            for keeper in world.keepers:
                await keeper.caught_up()
        await world.settled()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    world.judge()
    assert world.slowest < 1.5
