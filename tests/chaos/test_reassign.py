"""Partitions move among three real brokers, and are where they were when it is healed."""

import os
import shutil
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from chaos.faults import FAULTS, Site
from chaos.faults.reassign import in_sync, leaders, replicas
from chaos.proxies import Proxies
from deploy.local import stack
from deploy.local.environment import local_environment
from deploy.local.own_stack import OwnStack, process_environment
from deploy.local.state import state_folder
from runtime.settings import Settings

pytestmark = [pytest.mark.servers]
PORT_BASE = "19400"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Three brokers with one topic of ours; the other servers, which come with them, are not needed."""
    state = state_folder(state_folder().folder / "reassign")
    base = os.environ.get("FRESHET_FAULTS_PORT_BASE", PORT_BASE)
    user = process_environment({"FRESHET_PORT_BASE": base, "FRESHET_STACK_BROKERS": "3"})
    up = stack.up(state, user, print, servers_only=True)
    try:
        environment = local_environment(up.ports, user)
        found = Site(OwnStack(state, environment), Proxies({}, None), Settings.from_env(environment))  # type: ignore[arg-type]
        admin, topic = found.admin(), f"{found.settings.kafka.prefix}.moved"
        admin.create_topics([NewTopic(topic, 6, 3)])[topic].result(30)
        yield found
    finally:
        stack.down(state, print)
        shutil.rmtree(state.folder)


@pytest.mark.parametrize("name", ["elect:kafka", "reassign:kafka"])
async def test_partitions_move(site: Site, name: str) -> None:
    """Every one has another leader, which has lost its replica or not; all is as it was afterwards."""
    fault = next(one for one in FAULTS if one.name == name)
    assert fault.lacks(site) is None
    before = replicas(site)
    assert len(before) >= 6
    led = {at: brokers[0] for at, brokers in before.items()}
    await site.until(lambda: None if leaders(site) == led else "no", "the first of each leads", 30)  # it is new
    await fault.inject(site)
    assert all(leader != led[at] for at, leader in leaders(site).items())
    left = {len(brokers) for brokers in replicas(site).values()}
    assert left == ({2} if name.startswith("reassign") else {3})
    await fault.heal(site)
    await fault.heal(site)
    assert replicas(site) == before
    assert leaders(site) == led
    assert in_sync(site) == {at: set(brokers) for at, brokers in before.items()}
