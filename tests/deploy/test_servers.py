"""The servers' settings and supervisord's."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from deploy.local import parts
from deploy.local.copies import Copies
from deploy.local.fetch_jars import coordinates
from deploy.local.parts import Parts
from deploy.local.plan import make_plan
from deploy.local.ports import Ports
from deploy.local.servers import kafka_settings, server_programs
from deploy.local.state import State
from deploy.local.supervisor import settings_text

FAKE_PARTS = Parts(java="/opt/java", kafka_libs=Path("/opt/libs"), weaviate=Path("/opt/weaviate"), redis="/opt/redis")


def test_kafka_listens_on_loopback_only(tmp_path: Path) -> None:
    """Neither the clients' nor the controller's listener is reachable from outside."""
    settings = dict(line.split("=", 1) for line in kafka_settings(Ports(), tmp_path).splitlines())
    assert all(re.fullmatch(r"\w+://127\.0\.0\.1:\d+", one) for one in settings["listeners"].split(","))
    assert settings["auto.create.topics.enable"] == "false"
    assert int(settings["message.max.bytes"]) > 8 * 1024 * 1024
    assert int(settings["group.min.session.timeout.ms"]) <= 10_000


def test_kafka_tells_its_proxy_to_those_who_come_through_it(tmp_path: Path) -> None:
    """There is a listener for the proxy, and only there is its address told."""
    text = kafka_settings(Ports(9000), tmp_path, proxy="127.0.0.1:9091")
    settings = dict(line.split("=", 1) for line in text.splitlines())
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9021,PROXIED://127.0.0.1:9091"
    assert settings["listeners"].endswith(",PROXIED://127.0.0.1:9039")
    assert "proxied" in server_programs(Ports(9000), tmp_path, FAKE_PARTS, kafka_proxy="127.0.0.1:9091")[0].ports


def test_each_of_three_brokers_tells_its_own_proxy(tmp_path: Path) -> None:
    """One address for all would lead every client to one of them."""
    addresses = [f"127.0.0.1:{9091 + n}" for n in range(3)]
    programs = server_programs(Ports(9000), tmp_path, FAKE_PARTS, Copies(3, 1), ",".join(addresses))
    brokers = [program for program in programs if "proxied" in program.ports]
    assert len({program.ports["proxied"] for program in brokers}) == 3
    for program, address in zip(brokers, addresses, strict=True):
        text = Path(program.command[-1]).read_text()
        assert f",PROXIED://{address}\n" in text
    with pytest.raises(ValueError, match="zip"):
        server_programs(Ports(9000), tmp_path, FAKE_PARTS, Copies(3, 1), addresses[0])


def test_redis_roles_differ(tmp_path: Path) -> None:
    """The state is written to disk and never evicted; the cache forgets by use and writes nothing."""
    server_programs(Ports(), tmp_path, FAKE_PARTS)
    state, cache = ((tmp_path / f"redis-{role}.conf").read_text().splitlines() for role in ("state", "cache"))
    assert {"appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction", "bind 127.0.0.1"} <= set(state)
    assert {"appendonly no", "maxmemory-policy allkeys-lru", "maxmemory 256mb", "bind 127.0.0.1"} <= set(cache)


def test_every_declared_port_is_used(tmp_path: Path) -> None:
    """What is checked for being free is what the server will open."""
    for program in server_programs(Ports(9000), tmp_path, FAKE_PARTS):
        settings = " ".join([*program.command, *program.environment.values()])
        settings += "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
        for port in program.ports.values():
            assert re.search(rf"\b{port}\b", settings), (program.name, port)


def test_supervisord_can_read_its_settings(tmp_path: Path) -> None:
    """Odd characters in the path survive, all programs are kept alive, and workers are stopped before servers."""
    state = State(tmp_path / "100% odd folder")
    programs = server_programs(Ports(), state.folder, FAKE_PARTS)
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.read_string(settings_text(state, programs))
    assert parser["program:kafka"]["autorestart"] == "true"
    assert "100%% odd folder/kafka/server.properties" in parser["program:kafka"]["command"]
    assert parser["group:servers"]["programs"] == "kafka,weaviate,redis-state,redis-cache"


def test_servers_do_not_see_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the user's reaches the workers and no server; a variable meant for another Weaviate reaches none."""
    monkeypatch.setattr("deploy.local.plan.locate", lambda *_: FAKE_PARTS)
    user = {"PATH": "/bin", "LLM_API_KEY": "secret", "RAFT_JOIN": "other", "PYTHONDONTWRITEBYTECODE": "1"}
    plan = make_plan(State(tmp_path), user)
    assert plan.environment["generate"]["FRESHET_LLM_API_KEY"] == "secret"
    assert plan.environment["generate"]["PATH"] == "/bin"
    assert "secret" not in "".join(plan.environment["kafka"].values())
    assert plan.environment["weaviate"]["RAFT_JOIN"] == "node1"
    assert not any("PYTHONDONTWRITEBYTECODE" in environment for environment in plan.environment.values())
    assert "secret" not in plan.settings


def test_external_servers_are_not_started(tmp_path: Path) -> None:
    """With STACK=external there are workers and a gateway, no servers, and no part is looked for."""
    user = {
        "STACK": "external",
        "FRESHET_BROKERS": "k:1",
        "FRESHET_WEAVIATE_URL": "http://w:1",
        "FRESHET_WEAVIATE_GRPC": "w:2",
        "FRESHET_REDIS_STATE_URL": "redis://r:1",
        "FRESHET_REDIS_CACHE_URL": "redis://r:2",
    }
    plan = make_plan(State(tmp_path), user)
    assert plan.external
    assert {program.group for program in plan.programs} == {"gateway", "workers"}


def test_one_version_of_kafka() -> None:
    """The poms, the checksums and the names of the parts speak of the same Kafka."""
    here = parts.HERE
    assert f"org.apache.kafka:kafka_2.13:{parts.KAFKA_VERSION}" in coordinates(here / "kafka-pom.xml")
    assert f"kafka_2.13-{parts.KAFKA_VERSION}.jar" in (here / "kafka.sha256").read_text()
    assert f"org.apache.kafka:connect-runtime:{parts.KAFKA_VERSION}" in coordinates(parts.CONNECT_POM)
    assert f"connect-runtime-{parts.KAFKA_VERSION}.jar" in (here / "connect.sha256").read_text()


def test_set_up_needs_the_standard_library_only() -> None:
    """What runs before anything is installed imports nothing that must be installed."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import deploy.local.verbs; "
        "print([n for n, m in sys.modules.items() if 'site-packages' in (getattr(m, '__file__', '') or '')])"
    )
    python = getattr(__import__("sys"), "_base_executable", None) or "python3"
    done = subprocess.run(
        [python, "-I", "-S", "-c", code, str(parts.HERE.parents[1])], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
