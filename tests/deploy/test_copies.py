"""Stacks of three brokers and three stores."""

from collections import Counter
from pathlib import Path

import pytest

from deploy.local.copies import Copies, copies_from
from deploy.local.environment import local_environment
from deploy.local.failures import StepFailed
from deploy.local.plan import make_plan
from deploy.local.ports import Ports
from deploy.local.servers import server_programs
from deploy.local.state import State
from runtime.settings import Settings
from tests.deploy.test_servers import FAKE_PARTS

THREE = {"FRESHET_STACK_BROKERS": "3", "FRESHET_STACK_STORES": "3"}


def settings_of(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def test_three_brokers_vote_and_keep_three_copies(tmp_path: Path) -> None:
    """Every broker has a number and ports of its own, knows all voters, and waits for two copies of every topic."""
    programs = server_programs(Ports(9000), tmp_path, FAKE_PARTS, Copies(3, 1))
    brokers = [program for program in programs if program.name.startswith("kafka")]
    assert [program.name for program in brokers] == ["kafka-1", "kafka-2", "kafka-3"]
    found = [settings_of(tmp_path / program.name / "server.properties") for program in brokers]
    assert [settings["node.id"] for settings in found] == ["1", "2", "3"]
    assert {settings["controller.quorum.voters"] for settings in found} == {
        "1@127.0.0.1:9022,2@127.0.0.1:9065,3@127.0.0.1:9067"
    }
    assert len({settings["log.dirs"] for settings in found}) == 3
    for settings in found:
        factors = {name: value for name, value in settings.items() if name.endswith("replication.factor")}
        assert len(factors) == 4 and set(factors.values()) == {"3"}
        insync = {name: value for name, value in settings.items() if name.endswith((".min.isr", "insync.replicas"))}
        assert len(insync) == 3 and set(insync.values()) == {"2"}
    assert all("-Xmx256m" in program.command for program in brokers)


def test_three_stores_find_each_other(tmp_path: Path) -> None:
    """Every store has a name, ports and data of its own, and is told of all the others."""
    programs = server_programs(Ports(9000), tmp_path, FAKE_PARTS, Copies(1, 3))
    stores = [program for program in programs if program.name.startswith("weaviate")]
    assert [program.environment["CLUSTER_HOSTNAME"] for program in stores] == ["node1", "node2", "node3"]
    assert {program.environment["RAFT_JOIN"] for program in stores} == {"node1:9027,node2:9072,node3:9078"}
    gossip = [program.ports["gossip"] for program in stores]
    for program in stores:
        others = {f"127.0.0.1:{port}" for port in gossip if port != program.ports["gossip"]}
        assert set(program.environment["CLUSTER_JOIN"].split(",")) == others
        assert program.ports["raft-calls"] == program.ports["raft"] + 1  # Weaviate counts on it on one machine
    assert len({program.environment["PERSISTENCE_DATA_PATH"] for program in stores}) == 3


def test_no_server_shares_a_port_with_another(tmp_path: Path) -> None:
    """Eight servers, one owner for each port, all within the span of a stack."""
    programs = server_programs(Ports(9000), tmp_path, FAKE_PARTS, Copies(3, 3))
    assert len(programs) == 8
    counted = Counter(port for program in programs for port in program.ports.values())
    assert set(counted.values()) == {1}
    assert all(9000 <= port < 9100 for port in counted)


def test_the_application_learns_all_addresses() -> None:
    """Workers know every broker and every store, and ask for topics and objects in three copies."""
    settings = Settings.from_env(local_environment(Ports(9000), THREE))
    assert settings.kafka.brokers == "127.0.0.1:9021,127.0.0.1:9064,127.0.0.1:9066"
    assert (settings.kafka.replication, settings.kafka.insync) == (3, 2)
    assert [each.url for each in settings.weaviate.each] == [f"http://127.0.0.1:{port}" for port in (9023, 9068, 9074)]
    assert [each.grpc for each in settings.weaviate.each] == [f"127.0.0.1:{port}" for port in (9024, 9069, 9075)]
    assert settings.weaviate.copies == 3
    asked = Settings.from_env(local_environment(Ports(9000), {**THREE, "FRESHET_REPLICATION": "2"}))
    assert asked.kafka.replication == 2


def test_a_process_takes_the_environment_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What says how many there are is no unknown setting to workers and commands beside the stack."""
    monkeypatch.setattr("deploy.local.plan.locate", lambda *_: FAKE_PARTS)
    environment = make_plan(State(tmp_path), THREE).environment["gateway"]
    assert Settings.from_env(environment).kafka.replication == 3


def test_one_of_each_is_as_ever(tmp_path: Path) -> None:
    """Without being asked for more, names, copies and settings are those of one server."""
    programs = server_programs(Ports(9000), tmp_path, FAKE_PARTS, copies_from({}))
    assert [program.name for program in programs] == ["kafka", "weaviate", "redis-state", "redis-cache"]
    assert settings_of(tmp_path / "kafka" / "server.properties")["offsets.topic.replication.factor"] == "1"
    settings = Settings.from_env(local_environment(Ports(9000), {}))
    assert (settings.kafka.replication, settings.kafka.insync, settings.weaviate.copies) == (1, 1, 1)


@pytest.mark.parametrize("count", ["2", "0", "three", "-3"])
def test_other_counts_are_refused(count: str) -> None:
    """Two of three votes are a majority, one of two is none."""
    with pytest.raises(StepFailed, match="FRESHET_STACK_BROKERS is 1 or 3"):
        copies_from({"FRESHET_STACK_BROKERS": count})


@pytest.mark.parametrize(("had", "asked"), [("kafka", THREE), ("weaviate-1", {}), ("weaviate", THREE)])
def test_data_of_another_number_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, had: str, asked: dict[str, str]
) -> None:
    """A folder that one server wrote is not continued by three, nor the other way round; what to do is said."""
    monkeypatch.setattr("deploy.local.plan.locate", lambda *_: FAKE_PARTS)
    (tmp_path / "data" / had).mkdir(parents=True)
    with pytest.raises(StepFailed, match=r"--brokers, --stores.*--state.*make clean"):
        make_plan(State(tmp_path), asked)


def test_each_broker_has_its_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One proxy for three brokers is refused: all would tell its address."""
    monkeypatch.setattr("deploy.local.plan.locate", lambda *_: FAKE_PARTS)
    with pytest.raises(StepFailed, match="a proxy for each broker, 3 in all"):
        make_plan(State(tmp_path), {**THREE, "FRESHET_KAFKA_PROXY": "127.0.0.1:9091"})
