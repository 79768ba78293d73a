"""What keeps manifests a view of the log, and what an index stage makes of a flip that was lost."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from connectors.errors import Transient
from connectors.memory.manifests import MemoryManifests
from connectors.memory.topic_log import MemoryTopicLog
from connectors.memory.view import MemoryView
from connectors.ports import Manifest
from streams.documents.view import View
from tests.connectors.contract.manifest_contract import REF, at, flip
from tests.connectors.contract.view_contract import OTHER, event
from tests.flow.readers import World
from topics.codec import decode, encode
from topics.documents import IndexEvent
from topics.identity import DocumentRef, event_key


def append(log: MemoryTopicLog, *events: IndexEvent, partition: int = 0) -> None:
    for each in events:
        log.append(partition, event_key(DocumentRef(each.tenant, each.doc_id)), encode(each), {}, 1)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    manifests = MemoryManifests(whole=False)
    world = World(manifests, MemoryView(manifests))
    yield world
    for task in world.tasks:
        task.cancel()
    await asyncio.gather(*world.tasks, return_exceptions=True)


def manifests_of(world: World) -> MemoryManifests:
    assert isinstance(world.manifests, MemoryManifests)
    return world.manifests


async def start(world: World, *keepers: View) -> None:
    world.tasks += [asyncio.create_task(keeper.run()) for keeper in keepers or world.keepers[:1]]
    async with asyncio.timeout(5):
        while not (await world.view.state()).whole:
            await asyncio.sleep(0)


async def until_current(world: World, version: int, ref: DocumentRef = REF) -> None:
    async with asyncio.timeout(5):
        while manifests_of(world)._manifests.get(ref, Manifest()).version != at(version):
            await asyncio.sleep(0.001)


async def test_all_of_the_log_comes_before_whole(world: World) -> None:
    """A new view is whole once it holds what was in the log, every partition of it, and follows from there."""
    for n in range(1200):
        append(world.events, event(n + 1, f"c{n}"), partition=n % 3)
    append(world.events, event(9000, ref=OTHER), partition=2)
    await start(world)
    assert [m.version for m in await world.manifests.read([REF, OTHER])] == [at(1200), at(9000)]
    append(world.events, event(1201, "new"))
    await until_current(world, 1201)


async def test_full_collections_pass_by_what_was_rebuilt(world: World) -> None:
    """A view in memory holds objects by the hundred thousand: no question waits until they have all been walked."""
    gc.unfreeze()
    append(world.events, *(event(n + 1, f"c{n}", ref=DocumentRef("default", f"d/{n}")) for n in range(50)))
    await start(world)
    try:
        async with asyncio.timeout(5):
            while not gc.get_freeze_count():
                await asyncio.sleep(0)
        kept = manifests_of(world)._manifests
        walked = {id(each) for each in gc.get_objects()}
        assert len(kept) == 50 and not any(id(manifest.chunks) in walked for manifest in kept.values())
    finally:
        gc.unfreeze()


async def test_a_loss_in_the_middle_begins_again(world: World) -> None:
    """What is lost while it is being caught up with is caught up with again."""
    append(world.events, *(event(n + 1, f"c{n}") for n in range(20)))
    apply, losses = world.view.apply, [3, 9]

    async def losing(events: Sequence[Any]) -> bool:
        for each in events:
            if not await apply([each]):
                return False
            if losses and each.offset == losses[0]:
                losses.pop(0)
                manifests_of(world).lose()
        return True

    world.view.apply = losing  # type: ignore[method-assign]
    await start(world)
    assert not losses
    assert (await world.manifests.read([REF]))[0].version == at(20)


async def test_a_server_that_changes_meanwhile_is_not_declared_whole(world: World) -> None:
    """Declared whole is the run of the server that was caught up with, not the one that took its place."""
    append(world.events, event(1, "c1"), event(2, "c2"))
    empty, read = manifests_of(world).save(), world.events.read
    swaps = 1

    async def swapping(places: Any, seconds: float) -> Any:
        nonlocal swaps
        found = await read(places, seconds)
        if swaps:
            swaps -= 1
            manifests_of(world).roll_back(empty)
        return found

    world.events.read = swapping  # type: ignore[method-assign]
    await start(world)
    assert swaps == 0 and (await world.manifests.read([REF]))[0].version == at(2)


async def test_a_log_that_is_shorter_than_the_view_is_not_followed(world: World) -> None:
    """A view of another, longer log is neither kept nor thrown away: an operator is told what to do."""
    append(world.events, event(1, "c1"), event(2, "c2"))
    await start(world)
    for task in world.tasks:
        task.cancel()
    manifests_of(world).roll_back(manifests_of(world).save())
    with pytest.raises(Transient, match="view rebuild"):
        await View("elsewhere", MemoryTopicLog(1), world.view).catch_up()
    state = await world.view.state()
    assert (state.whole, state.offsets) == (False, {0: 2})


async def test_what_is_no_event_is_passed_over(world: World) -> None:
    """Garbage in the log neither stops the view nor leaves a gap."""
    append(world.events, event(1, "c1"))
    world.events.append(0, b"x", b"garbage", {}, 1)
    world.events.append(0, b"x", None, {}, 1)
    append(world.events, event(2, "c2"))
    await start(world)
    assert (await world.manifests.read([REF]))[0].version == at(2)


async def test_a_zombies_event_is_put_right(world: World) -> None:
    """Behind an older event that a stalled writer left at the end, the current manifest is announced once more."""
    await start(world, *world.keepers)
    assert await world.manifests.flip([flip(5)]) == [True]
    await world.manifests.finish({REF: at(5)})
    append(world.events, event(5, "c1", "c2"), event(3, "c3"))
    async with asyncio.timeout(5):
        while not world.all:
            await asyncio.sleep(0.001)
    last = decode(world.events._records[0][-1].value or b"", IndexEvent)
    assert (last.version, [chunk.id for chunk in last.manifest]) == (at(5), ["c1", "c2"])
    async with asyncio.timeout(5):
        while (await world.view.state()).overtaken:
            await asyncio.sleep(0.001)


async def test_a_zombies_event_from_before_the_loss_is_put_right(world: World) -> None:
    """The same when it is found while catching up, though the view could not be read at that moment."""
    append(world.events, event(5, "c1", "c2"), event(3, "c3"))
    await start(world)
    async with asyncio.timeout(5):
        while not world.all:
            await asyncio.sleep(0.001)
    assert decode(world.events._records[0][-1].value or b"", IndexEvent).version == at(5)


async def test_a_view_that_lags_announces_nothing(world: World) -> None:
    """Events that come by after their successors were flipped to and announced are not out of order."""
    read = world.events.read

    async def one(places: Any, seconds: float) -> Any:
        records, _ = await read(places, seconds)
        return records[:1], {**places, **{r.partition: r.offset + 1 for r in records[:1]}}

    world.events.read = one  # type: ignore[method-assign]
    await start(world)
    for n in range(1, 40):
        assert await world.manifests.flip([flip(n, n - 1 or None)]) == [True]
        await world.manifests.finish({REF: at(n)})
    append(world.events, *(event(n, "c1", "c2") for n in range(1, 40)))
    append(world.events, event(50, ref=OTHER))
    await until_current(world, 50, OTHER)
    await asyncio.sleep(0)
    assert not (await world.view.state()).overtaken and not world.all


async def test_a_lost_flip_is_done_again_before_anything_is_deleted(world: World) -> None:
    """When Redis loses a flip that is being announced, clean-up waits: what a later version keeps is still there."""
    await start(world)
    first = await world.vectors("d", "# One\n\nThis part stays.\n\n# Two\n\nThis one will go.")
    await world.write(first)
    await until_current_version(world)
    old = manifests_of(world).save()
    publish, rolled = world.publish, 0

    async def losing(outputs: Any) -> None:
        nonlocal rolled
        if not rolled:
            rolled += 1
            manifests_of(world).roll_back(old)
            state = await world.view.state()
            assert await world.view.declare_whole(state.server, state.offsets)
            assert (await world.manifests.read([DocumentRef("default", "d")]))[0].doomed == ()
        await publish(outputs)

    world.index._publish = losing
    deleted: list[Any] = []
    delete = world.lanes.store.delete

    async def noting(refs: Any) -> None:
        [manifest] = await world.manifests.read([DocumentRef("default", "d")])
        deleted.append(set().union(*refs.values()) & set(manifest.chunks))
        await delete(refs)

    world.lanes.store.delete = noting  # type: ignore[method-assign]
    await world.write(await world.vectors("d", "# One\n\nThis part stays."))
    assert rolled == 1 and not any(deleted) and world.pauses >= 1
    await world.settled()


async def test_a_flip_that_comes_back_by_its_event_is_not_trusted(world: World) -> None:
    """Another writer may have deleted what the lost flip kept: all its objects are written once more."""
    await start(world)
    await world.write(await world.vectors("d", "# One\n\nThis part stays."))
    await until_current_version(world)
    old, kept = manifests_of(world).save(), list(world.lanes.store._chunks)
    publish, rolled = world.publish, 0

    async def losing(outputs: Any) -> None:
        nonlocal rolled
        rolled += 1
        if rolled == 1:
            manifests_of(world).roll_back(old)
            state = await world.view.state()
            assert await world.view.declare_whole(state.server, state.offsets)
        await publish(outputs)
        if rolled == 1:
            await until_current_version(world)
            await world.lanes.store.delete({DocumentRef("default", "d"): [chunk_id for _, chunk_id in kept]})

    world.index._publish = losing
    await world.write(await world.vectors("d", "---\n\n# One\n\nThis part stays."))
    assert rolled == 2
    await world.settled()


async def until_current_version(world: World) -> None:
    """Wait until the view has applied all that is in the log."""
    ends = await world.events.ends()
    async with asyncio.timeout(5):
        while (await world.view.state()).offsets != {p: end for p, end in ends.items() if end}:
            await asyncio.sleep(0.001)
