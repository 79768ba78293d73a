"""The three servers of the local stack, four processes, or up to eight: their settings and command lines.

Comes in: the ports, the state folder and where the parts are.  Goes out: settings files and the programs to run.
Everything listens on loopback, but for two ports of Weaviate, which has no setting for them (see `weaviate`).
Rewriting the files is harmless: they depend on the arguments alone; the data beside them is not touched.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.local.cache import ensure, remove_tree
from deploy.local.copies import Copies, node_name
from deploy.local.failures import StepFailed
from deploy.local.parts import KAFKA_VERSION, Parts
from deploy.local.ports import Ports
from deploy.local.programs import Program

_ONE = Copies()
_KAFKA_CLUSTER = "ZnJlc2hldC1sb2NhbC0wMQ"  # 22 characters of base64, as Kafka wants an id: "freshet-local-01"
_LARGEST_MESSAGE = 9 * 1024 * 1024  # a document of 8 MiB, its key, headers and frame

# What holds wherever one node of each serves Freshet: here and in deploy/compose.
KAFKA_ONE_NODE: dict[str, object] = {
    "auto.create.topics.enable": "false",
    # Every internal topic has one replica, and few partitions, whose creation would delay the first join.
    "default.replication.factor": 1,
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 2,
    "group.initial.rebalance.delay.ms": 0,
    "message.max.bytes": _LARGEST_MESSAGE,
    "replica.fetch.max.bytes": _LARGEST_MESSAGE,
}
# Of three, one may be away: what two have written is kept, and nothing is taken that only one would have.
_KAFKA_THREE_NODES: dict[str, object] = {
    name: 3 if name.endswith("replication.factor") else 2 if name.endswith("min.isr") else value
    for name, value in KAFKA_ONE_NODE.items()
} | {
    "min.insync.replicas": 2,
    # After it a dead broker's partitions get other leaders, 9 s by default; the gateway refuses a question after 5 s.
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
}
WEAVIATE_ONE_NODE: dict[str, object] = {
    "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
    "CLUSTER_HOSTNAME": "node1",
    "RAFT_JOIN": "node1",
    "RAFT_BOOTSTRAP_EXPECT": 1,
    "RAFT_TIMEOUTS_MULTIPLIER": 1,  # by default one node waits 7 s for peers it does not have: ready in 3 s, not 10
    "GRPC_MAX_MESSAGE_SIZE": 64 * 1024 * 1024,
    "DISABLE_TELEMETRY": "true",
    "AUTOSCHEMA_ENABLED": "false",  # else an insert after a dropped collection silently makes a wrong one
    "DEFAULT_VECTORIZER_MODULE": "none",
    "ENABLE_MODULES": "",
    "QUERY_DEFAULTS_LIMIT": 25,
    "LOG_LEVEL": "warning",
}
# Of three on one machine: ports differ from node to node, and a dead one is noticed in 3 s, as on a local network.
_WEAVIATE_THREE_NODES: dict[str, object] = {
    "CLUSTER_IN_LOCALHOST": "true",
    "CLUSTER_BIND_ADDR": "127.0.0.1",
    "RAFT_BOOTSTRAP_EXPECT": 3,
    "RAFT_TIMEOUTS_MULTIPLIER": 3,  # three share two cores: a leader that is late by a second is not gone
    "ASYNC_REPLICATION_FREQUENCY": "5s",  # between comparisons with the others; 30 s by default
    "GOMEMLIMIT": "768MiB",
}
REDIS_EVERYWHERE = {"save": '""', "databases": "16", "loglevel": "notice"}
REDIS_ROLES: dict[str, dict[str, str]] = {
    # Manifests, jobs and keys: nothing may be dropped for space, and at most a second may be lost.
    "redis-state": {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"},
    "redis-cache": {"appendonly": "no", "maxmemory": "256mb", "maxmemory-policy": "allkeys-lru"},
}


def kafka_settings(ports: Ports, data: Path, node: int = 1, count: int = 1, proxy: str = "") -> str:
    """A node that is broker and controller, tuned to be up fast and to lose nobody's time in tests.

    Clients go to the address that Kafka tells them: whoever comes through a proxy is told the proxy's.
    """
    client, controller = ports.broker(node)
    voters = ((each, ports.broker(each)[1]) for each in range(1, count + 1))
    through = f",PROXIED://127.0.0.1:{ports.proxied(node)}" if proxy else ""
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": ",".join(f"{each}@127.0.0.1:{port}" for each, port in voters),
        "listeners": f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}{through}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{client}" + (f",PROXIED://{proxy}" if proxy else ""),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data,
        **(KAFKA_ONE_NODE if count == 1 else _KAFKA_THREE_NODES),
        "group.min.session.timeout.ms": 1000,  # tests of a dead worker use short sessions; ours are about 10 s
        "log.segment.bytes": 64 * 1024 * 1024,
        "log.retention.check.interval.ms": 60_000,
        "log.cleaner.threads": 1,
        "log.cleaner.dedupe.buffer.size": 32 * 1024 * 1024,  # 128 MiB by default, a quarter of the heap we give
        "num.network.threads": 2,
        "num.io.threads": 4,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def kafka(ports: Ports, state: Path, parts: Parts, node: int = 1, count: int = 1, proxy: str = "") -> Program:
    """Write a broker's settings and give its command line."""
    name = node_name("kafka", node, count)
    folder = state / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.properties").write_text(kafka_settings(ports, state / "data" / name, node, count, proxy))
    client, controller = ports.broker(node)
    return Program(
        name=name,
        group="servers",
        command=(
            parts.java,
            "-Xms256m",
            "-Xmx512m" if count == 1 else "-Xmx256m",
            "-XX:+UseSerialGC",  # it shares two cores with the encoder: no threads that collect or compile much
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
            "-cp",
            f"{parts.kafka_libs}/*",
            "kafka.Kafka",
            str(folder / "server.properties"),
        ),
        ports={"client": client, "controller": controller} | ({"proxied": ports.proxied(node)} if proxy else {}),
        bare=True,
    )


def format_kafka(state: Path, parts: Parts, cache: Path, count: int) -> None:
    """Give every broker's data folder its identity, once."""
    for node in range(1, count + 1):
        _identify(state / "data" / node_name("kafka", node, count), parts, cache, node, count)


def _identify(data: Path, parts: Parts, cache: Path, node: int, count: int) -> None:
    """Let Kafka's own tool make it, 2 to 3 s of Java.

    Its output depends on the node's number and not on the stack, nor on how many nodes that has, since who votes is
    said in the settings; so it is kept as a part and copied.  Stacks share the identities, which is harmless, since
    they never meet.
    """
    if data.is_dir():
        return

    def build(work: Path, out: Path, _lock: int) -> None:
        settings = work / "server.properties"
        settings.write_text(kafka_settings(Ports(), out / "data", node, count))
        (out / "data").mkdir()
        _format(parts, settings)

    number = "" if node == 1 else f"-{node}"
    formatted = ensure(cache, f"kafka-{KAFKA_VERSION}-formatted{number}", build)
    half = data.with_name(f"{data.name}.half")  # renamed when whole, so a killed copy is never taken for a data folder
    remove_tree(half)
    shutil.copytree(formatted / "data", half)
    half.rename(data)


def _format(parts: Parts, settings: Path) -> None:
    tool = [parts.java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    arguments = ["format", "-t", _KAFKA_CLUSTER, "-c", str(settings)]
    done = subprocess.run(
        [*tool, "-cp", f"{parts.kafka_libs}/*", "kafka.tools.StorageTool", *arguments],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines() or ["it printed nothing"]
        raise StepFailed(f"Kafka could not prepare its data folder ({said[-1]}).")


def weaviate(ports: Ports, state: Path, parts: Parts, node: int = 1, count: int = 1) -> Program:
    """A store's command line.  It takes all settings from its environment.

    Its gRPC and data ports listen on every interface: Weaviate 1.39.0 has no setting for those two.
    """
    name = node_name("weaviate", node, count)
    data = state / "data" / name
    data.mkdir(parents=True, exist_ok=True)
    http, grpc, gossip, inner, raft, raft_calls = ports.store(node)
    settings: dict[str, object] = {
        "PERSISTENCE_DATA_PATH": data,
        **WEAVIATE_ONE_NODE,
        "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
        "CLUSTER_BIND_ADDR": "127.0.0.1",
        "CLUSTER_GOSSIP_BIND_PORT": gossip,
        "CLUSTER_DATA_BIND_PORT": inner,
        "RAFT_PORT": raft,
        "RAFT_INTERNAL_RPC_PORT": raft_calls,
        "GRPC_PORT": grpc,
        "GO_PROFILING_DISABLE": "true",  # else it opens port 6060, and two stacks would fight for it
        "GOMEMLIMIT": "1536MiB",  # it holds 20k chunks in 400 MB; past this Go collects harder, it does not fail
        "DISK_USE_READONLY_PERCENTAGE": 97,  # a developer's full-ish disk is no reason to refuse writes
        "DISK_USE_WARNING_PERCENTAGE": 95,
    }
    if count > 1:
        settings.pop("CLUSTER_ADVERTISE_ADDR")  # it would be taken for a wide area network, and wait accordingly
        all_ = {each: ports.store(each) for each in range(1, count + 1)}
        settings |= _WEAVIATE_THREE_NODES | {
            "CLUSTER_HOSTNAME": f"node{node}",
            "CLUSTER_JOIN": ",".join(f"127.0.0.1:{of[2]}" for each, of in all_.items() if each != node),
            "RAFT_JOIN": ",".join(f"node{each}:{of[4]}" for each, of in all_.items()),
        }
    return Program(
        name=name,
        group="servers",
        command=(str(parts.weaviate), "--host", "127.0.0.1", "--port", str(http), "--scheme", "http"),
        ports={
            "http": http,
            "grpc": grpc,
            "gossip": gossip,
            "data": inner,
            "raft": raft,
            "raft-calls": raft_calls,
        },
        environment={name: str(value) for name, value in settings.items()},
        bare=True,
    )


def redis_settings(port: int, data: Path, role: Mapping[str, str]) -> str:
    """Settings common to both roles, then the role's own."""
    common = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": f'"{data}"',
        "daemonize": "no",
        "tcp-backlog": "128",
        **REDIS_EVERYWHERE,
    }
    return "".join(f"{name} {value}\n" for name, value in {**common, **role}.items())


def redis(name: str, port: int, state: Path, parts: Parts) -> Program:
    """Write one Redis role's settings and give its command line."""
    data = state / "data" / name
    data.mkdir(parents=True, exist_ok=True)
    settings = state / f"{name}.conf"
    settings.write_text(redis_settings(port, data, REDIS_ROLES[name]))
    return Program(name, "servers", (parts.redis, str(settings)), {"redis": port}, {}, bare=True)


def server_programs(
    ports: Ports, state: Path, parts: Parts, copies: Copies = _ONE, kafka_proxy: str = ""
) -> list[Program]:
    """All servers, their settings written; of proxies there is one for each broker, or none."""
    proxies = kafka_proxy.split(",") if kafka_proxy else [""] * copies.brokers
    return [
        *(
            kafka(ports, state, parts, node, copies.brokers, proxy)
            for node, proxy in zip(range(1, copies.brokers + 1), proxies, strict=True)
        ),
        *(weaviate(ports, state, parts, node, copies.stores) for node in range(1, copies.stores + 1)),
        redis("redis-state", ports.redis_state, state, parts),
        redis("redis-cache", ports.redis_cache, state, parts),
    ]
