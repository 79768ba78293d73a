"""Each fault on a real system, which must feel it, and be whole again when it is healed."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import psutil
import pytest
import redis
from confluent_kafka import KafkaException

from bench.paced import paced
from chaos.faults import FAULTS, Fault, Site
from chaos.faults.clock import ahead
from chaos.faults.network import KINDS, Link, through
from chaos.faults.servers import client
from chaos.faults.site import NotBack
from chaos.faults.store import shards
from chaos.proxies import proxies
from cli.topics import plans_of
from deploy.local import stack
from deploy.local.environment import local_environment
from deploy.local.own_stack import OwnStack, process_environment
from deploy.local.state import state_folder
from runtime.settings import Settings
from topics import provision

pytestmark = [pytest.mark.servers]
PORT_BASE = "19300"
SESSION = 2.0
LINK = Link("refuse", "llm")
SERVERS = ("kafka", "weaviate", "redis-state", "redis-cache")
LINKED = ("kafka", "weaviate", "weaviate-grpc", "redis-state", "redis-cache")
RUN = (*SERVERS, "gateway", "chunk")


def fault(name: str) -> Fault:
    """By its name."""
    return next(one for one in FAULTS if one.name == name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Real servers, a gateway and one worker, proxies before everything, and a language model that writes."""
    base = os.environ.get("FRESHET_FAULTS_PORT_BASE", PORT_BASE)
    endpoint, log = int(base) + 89, tmp_path_factory.mktemp("faults") / "toxiproxy.log"
    state = state_folder(state_folder().folder / "faults")
    with paced(endpoint) as llm, proxies(int(base), LINKED, log, f"127.0.0.1:{endpoint}") as between:
        own = {"FRESHET_PORT_BASE": base, "FRESHET_SESSION_TIMEOUT": str(SESSION)}
        user = process_environment({**own, **llm, **between.settings})
        up = stack.up(state, user, print, servers_only=True)
        try:
            environment = local_environment(up.ports, user)
            found = Site(OwnStack(state, environment), between, Settings.from_env(environment))
            provision.apply(found.admin(), plans_of(found.settings))
            found.stack.start("gateway", "chunk")
            until = time.monotonic() + 60
            while wrong := found.wrong("gateway") or found.wrong("chunk"):
                assert time.monotonic() < until, wrong
                time.sleep(0.1)
            yield found
        finally:
            stack.down(state, print)


def members(site: Site) -> dict[str, int]:
    """Who reads `documents`, and how many of its partitions; nobody, while nobody can tell."""
    try:
        return site.members("chunk")
    except KafkaException:
        return {}


async def joined(site: Site) -> dict[str, int]:
    """Members once they have all partitions."""
    await eventually(lambda: sum(members(site).values()) >= site.settings.kafka.partitions, 30)
    return members(site)


async def eventually(true: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(true):
            await asyncio.sleep(0.05)


async def whole(site: Site) -> None:
    """Every program runs and answers, and so does everything through its proxy."""
    for name in RUN:
        await site.until(lambda name=name: site.wrong(name), name, 30)  # type: ignore[misc]
    for name in site.proxies.addresses:
        assert through(site, name) is None, name


async def test_healing_what_was_not_struck_is_harmless(site: Site) -> None:
    """Of every kind: twice is as good as once, and nothing is restarted by it."""
    struck = [one for one in FAULTS if one.name.split(":")[1] in (*RUN, *site.proxies.addresses)]
    once = {one.name.split(":")[0]: one for one in struck if one.lacks(site) is None}
    assert len(once) >= 15, "a full disk and jumping clocks are not possible everywhere, all else is"
    before = {name: site.pid(name) for name in RUN}
    for _ in range(2):
        await asyncio.gather(*(one.heal(site) for one in once.values()))
    assert {name: site.pid(name) for name in RUN} == before
    await whole(site)


async def end(site: Site, kind: str, name: str) -> None:
    """Its process is gone, and another one in its place answers."""
    process, one = psutil.Process(site.pid(name)), fault(f"{kind}:{name}")
    await one.inject(site)
    assert not process.is_running()
    await one.heal(site)
    assert site.pid(name) != process.pid


@pytest.mark.parametrize("kinds", [("kill-9", "sigterm"), ("sigterm", "kill-9")])
async def test_a_program_ends_and_comes_back(site: Site, kinds: tuple[str, str]) -> None:
    """Worker and gateway, killed and asked to end."""
    await asyncio.gather(end(site, kinds[0], "chunk"), end(site, kinds[1], "gateway"))
    await joined(site)
    await whole(site)


async def test_a_short_pause_costs_no_partition(site: Site) -> None:
    """The worker stands still, and is a member all the time."""
    before, process = await joined(site), psutil.Process(site.pid("chunk"))
    pausing = asyncio.create_task(fault("pause:chunk").inject(site))
    await eventually(lambda: process.status() == psutil.STATUS_STOPPED)
    while not pausing.done():
        assert await asyncio.to_thread(members, site) == before
    await fault("pause:chunk").heal(site)
    assert process.status() != psutil.STATUS_STOPPED
    assert members(site) == before
    await whole(site)


async def test_a_long_pause_costs_the_partitions(site: Site) -> None:
    """Kafka gives the worker up while it stands still; when it goes on it gets its partitions back."""
    before = await joined(site)
    pausing = asyncio.create_task(fault("pause-long:chunk").inject(site))
    await eventually(lambda: site.members("chunk") == {})
    assert not pausing.done()
    await pausing
    await fault("pause-long:chunk").heal(site)
    await eventually(lambda: members(site) == before, 30)
    await whole(site)


async def test_servers_end_and_come_back(site: Site) -> None:
    """Two are killed and two restarted, all at once; what the state's Redis has written down is still there."""
    kinds = {"kafka": "restart", "weaviate": "kill-9", "redis-state": "kill-9", "redis-cache": "restart"}
    with client(site, "redis-state") as server:
        server.config_set("appendfsync", "always")
        server.set("kept", "1")
        server.config_set("appendfsync", "everysec")

    await asyncio.gather(*(end(site, kind, name) for name, kind in kinds.items()))
    with client(site, "redis-state") as server:
        assert server.get("kept") == "1"
    await joined(site)
    await whole(site)


@pytest.mark.parametrize("name", ["redis-state", "redis-cache"])
async def test_a_redis_forgets(site: Site, name: str) -> None:
    """Everything in it is gone."""
    with client(site, name) as server:
        server.set("forgotten", "1")
        await fault(f"flush:{name}").inject(site)
        assert server.get("forgotten") is None
    await fault(f"flush:{name}").heal(site)
    await whole(site)


async def test_a_redis_is_rolled_back(site: Site) -> None:
    """What is older is there, what is newer is not, and the next restart rolls nothing back."""

    async def roll(name: str) -> None:
        with client(site, name) as server:
            server.set("older", "1")
        rolling = asyncio.create_task(fault(f"rollback:{name}").inject(site))
        older = site.stack.state.folder / "data" / f"{name}.older"
        await eventually(older.is_dir)
        await asyncio.sleep(0.5)  # until the copy is whole: it is a few kilobytes
        with client(site, name) as server:
            server.set("newer", "1")
        await rolling
        await fault(f"rollback:{name}").heal(site)
        with client(site, name) as server:
            assert (server.get("older"), server.get("newer")) == ("1", None)
            assert not list((site.stack.state.folder / "data" / name).glob("*.rdb"))

    await asyncio.gather(roll("redis-state"), roll("redis-cache"))
    await whole(site)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("latency", "bandwidth")])
async def test_a_way_is_broken(site: Site, kind: str) -> None:
    """Whoever goes through a proxy gets no answer, and a good one afterwards."""

    async def trouble(name: str) -> str | None:
        await fault(f"{kind}:{name}").inject(site)
        return await asyncio.to_thread(through, site, name)

    wrong = await asyncio.gather(*(trouble(name) for name in site.proxies.addresses))
    await asyncio.gather(*(fault(f"{kind}:{name}").heal(site) for name in site.proxies.addresses))
    assert None not in wrong, dict(zip(site.proxies.addresses, wrong, strict=True))
    await whole(site)


async def test_a_way_is_long(site: Site) -> None:
    """An answer takes at least 50 ms more, whatever is asked."""

    def seconds(name: str) -> float:
        took = []
        for _ in range(3):
            began = time.monotonic()
            assert through(site, name) is None
            took.append(time.monotonic() - began)
        return min(took)

    async def trouble(name: str) -> None:
        before = await asyncio.to_thread(seconds, name)
        await fault(f"latency:{name}").inject(site)
        assert await asyncio.to_thread(seconds, name) > before + 0.03, name
        await fault(f"latency:{name}").heal(site)

    await asyncio.gather(*(trouble(name) for name in site.proxies.addresses))
    await whole(site)


async def test_a_narrow_way(site: Site) -> None:
    """64 KiB take two seconds at 32 a second, and none afterwards."""
    host, port = site.proxies.addresses["redis-cache"].split(":")

    def seconds() -> float:
        with redis.Redis(host, int(port), socket_timeout=10) as server:
            began = time.monotonic()
            server.set("wide", "x" * 65536, ex=60)
            return time.monotonic() - began

    one = fault("bandwidth:redis-cache")
    await one.inject(site)
    assert await asyncio.to_thread(seconds) > 1.0
    await one.heal(site)
    assert await asyncio.to_thread(seconds) < 0.5


async def test_the_store_refuses_writes(site: Site) -> None:
    """A write through the store's own door is refused, and taken afterwards."""
    door, one = f"http://127.0.0.1:{site.port('weaviate', 'http')}/v1", fault("read-only:weaviate")
    async with httpx.AsyncClient(base_url=door, timeout=10) as http:

        async def write() -> httpx.Response:
            return await http.post("/objects", json={"class": "Struck", "vector": [1.0, 2.0]})

        await http.delete("/schema/Struck")  # what a run that was killed has left
        (await http.post("/schema", json={"class": "Struck", "vectorizer": "none"})).raise_for_status()
        await one.inject(site)
        refused = await write()
        await one.heal(site)
        assert refused.status_code >= 400
        assert "read-only" in refused.text
        assert set(shards(site, "weaviate").values()) == {"READY"}
        (await write()).raise_for_status()
        (await http.delete("/schema/Struck")).raise_for_status()


async def test_the_disk_of_the_state_is_full(site: Site) -> None:
    """Redis says so, refuses writes, takes them again when there is space, and has lost nothing when all is back."""
    one = fault("disk-full:redis-state")
    if why := one.lacks(site):
        pytest.skip(why)
    with client(site, "redis-state") as server:
        server.set("before", "1")
        await one.inject(site)

        def refused() -> bool:
            try:
                server.set("during", "x" * 8192)
            except redis.ResponseError as error:
                return "No space left on device" in str(error)
            return False

        await eventually(refused)
        await one.heal(site)
        server.set("after", "1")
        assert server.get("before") == "1"
    data = site.stack.state.folder / "data" / "redis-state"
    assert not data.is_mount()
    assert not (data / "ballast").exists()
    await whole(site)


async def test_a_clock_jumps(site: Site) -> None:
    """The worker's is an hour ahead and the gateway's an hour back, while they run; both are right afterwards."""
    if why := fault("clock-ahead:chunk").lacks(site):
        pytest.skip(why)
    jumps = {"chunk": ("clock-ahead:chunk", 3600), "gateway": ("clock-back:gateway", -3600)}

    async def jump(target: str, name: str, seconds: int) -> None:
        one = fault(name)
        await one.inject(site)
        pid = site.pid(target)
        assert ahead(site, target) == pytest.approx(seconds, abs=5)
        await eventually(lambda: target != "chunk" or sum(members(site).values()) > 0)
        assert site.pid(target) == pid
        await one.heal(site)
        assert ahead(site, target) == pytest.approx(0, abs=5)

    await asyncio.gather(*(jump(target, *how) for target, how in jumps.items()))
    await joined(site)
    await whole(site)


async def test_workers_are_scaled(site: Site) -> None:
    """Three share the partitions of one, who has them all again afterwards."""
    before = await joined(site)
    await fault("scale:chunk").inject(site)
    shared = members(site)
    await fault("scale:chunk").heal(site)
    assert len(shared) == 3
    assert sum(shared.values()) == sum(before.values())
    await eventually(lambda: members(site) == before, 30)


async def test_what_cannot_be_done_is_said(site: Site) -> None:
    """One broker has no partitions to move, and what does not run cannot be struck."""
    assert "one broker" in (fault("reassign:kafka").lacks(site) or "")
    assert "runs no purge" in (fault("kill-9:purge").lacks(site) or "")
    assert "no proxy" in (replace(LINK, target="nobody").lacks(site) or "")


async def test_what_does_not_come_back_is_told(site: Site) -> None:
    """By name, with the time that was given to it and the end of its log."""
    site.stack.stop("chunk")
    with pytest.raises(NotBack, match=r"(?s)chunk is not back after 0\.5 s: .*\n.*event"):
        await site.until_well("chunk", 0.5)
    await site.until_well("chunk")
