"""Kafka, Weaviate and Redis that let nobody in without a login and an encrypted connection.

The programs are those of the local stack; only their settings are other ones.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local import health
from deploy.local.cache import cache_folder
from deploy.local.parts import Parts, locate
from deploy.local.ports import Ports
from deploy.local.servers import kafka, kafka_settings, redis_settings, weaviate
from tests.certificates import Authority
from tests.tls_door import tls_door

USER = "freshet"
_READY = 40.0  # seconds
_CLUSTER = "ZnJlc2hldC1zZWN1cmVkMQ"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


@dataclass(frozen=True)
class Secured:
    """Running servers.  ``environment`` reaches them, each secret by a file of its own; ``secrets`` are all of them."""

    folder: Path
    environment: Mapping[str, str]
    secrets: Mapping[str, str]


@contextlib.contextmanager
def secured_servers(folder: Path, base: int) -> Iterator[Secured]:
    """Start them on ports from ``base``; returns when all are ready."""
    ports, parts = Ports(base), locate(cache_folder(os.environ), os.environ)
    authority, passwords = Authority(), {name: secrets.token_urlsafe(24) for name in ("kafka", "weaviate", "redis")}
    certificate, key = authority.server()
    pem, ca = folder / "server.pem", folder / "ca.pem"
    pem.write_text(key + certificate)
    (folder / "server.crt").write_text(certificate)
    (folder / "server.key").write_text(key)
    ca.write_text(authority.pem)
    for name, password in passwords.items():
        (folder / f"{name}.secret").write_text(password + "\n")
    environment = {
        "FRESHET_BROKERS": f"127.0.0.1:{ports.kafka}",
        "FRESHET_SECURITY_PROTOCOL": "SASL_SSL",
        "FRESHET_SASL_USERNAME": USER,
        "FRESHET_SASL_PASSWORD_FILE": str(folder / "kafka.secret"),
        "FRESHET_BROKERS_CA_FILE": str(ca),
        "FRESHET_WEAVIATE_URL": f"https://127.0.0.1:{ports.weaviate}",
        "FRESHET_WEAVIATE_GRPC": f"127.0.0.1:{ports.weaviate_grpc}",
        "FRESHET_WEAVIATE_API_KEY_FILE": str(folder / "weaviate.secret"),
        "SSL_CERT_FILE": str(ca),
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(ca),
        "FRESHET_REDIS_STATE_URL": f"rediss://{USER}@127.0.0.1:{ports.redis_state}/0",
        "FRESHET_REDIS_STATE_PASSWORD_FILE": str(folder / "redis.secret"),
        "FRESHET_REDIS_CA_FILE": str(ca),
        "FRESHET_REDIS_CACHE_URL": f"redis://:{passwords['redis']}@127.0.0.1:{ports.redis_cache}/0",
    }
    acl = f"user default off\nuser {USER} on >{passwords['redis']} ~* &* +@all\n"
    commands = [
        _weaviate(ports, folder, parts, passwords["weaviate"]),
        _redis(folder, "state", base + 31, parts, acl),
        _redis(folder, "cache", ports.redis_cache, parts, f"requirepass {passwords['redis']}\n"),
    ]
    with contextlib.ExitStack() as stack:
        for command, around in commands:
            stack.enter_context(_running(folder, command, around))
        stack.enter_context(tls_door(pem, base + 31, ports.redis_state))
        stack.enter_context(_running(folder, _kafka(ports, folder, parts, pem, passwords["kafka"]), {}))
        _await(f"127.0.0.1:{ports.kafka}", environment)
        yield Secured(folder, environment, passwords)


def _kafka(ports: Ports, folder: Path, parts: Parts, pem: Path, password: str) -> tuple[str, ...]:
    """Users are made while the folder is formatted: there is no broker yet that could let anybody in to make them."""
    program = kafka(ports, folder, parts)
    scram = f'{_SCRAM} required username="{USER}" password="{password}";'
    changed = {
        "listeners": f"SASL_SSL://127.0.0.1:{ports.kafka},CONTROLLER://127.0.0.1:{ports.kafka_controller}",
        "advertised.listeners": f"SASL_SSL://127.0.0.1:{ports.kafka}",
        "inter.broker.listener.name": "SASL_SSL",
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{_PLAIN} required user_{USER}="{password}";',
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": pem,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": folder / "ca.pem",
    }
    settings = folder / "kafka" / "server.properties"
    more = "".join(f"{name}={value}\n" for name, value in changed.items())
    settings.write_text(kafka_settings(ports, folder / "data" / "kafka") + more)  # the later line counts
    scrams = [f"{kind}=[name={USER},password={password}]" for kind in ("SCRAM-SHA-256", "SCRAM-SHA-512")]
    arguments = ["format", "-t", _CLUSTER, "-c", str(settings), *(word for each in scrams for word in ("-S", each))]
    tool = [parts.java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{parts.kafka_libs}/*"]
    subprocess.run([*tool, "kafka.tools.StorageTool", *arguments], check=True, capture_output=True, timeout=60)
    return program.command


def _weaviate(ports: Ports, folder: Path, parts: Parts, key: str) -> tuple[tuple[str, ...], dict[str, str]]:
    program = weaviate(ports, folder, parts)
    binary, port = program.command[0], str(ports.weaviate)
    files = ["--tls-certificate", str(folder / "server.crt"), "--tls-key", str(folder / "server.key")]
    return (binary, "--scheme", "https", "--tls-host", "127.0.0.1", "--tls-port", port, *files), {
        **program.environment,
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": key,
        "AUTHENTICATION_APIKEY_USERS": USER,
        "AUTHORIZATION_ADMINLIST_ENABLED": "true",
        "AUTHORIZATION_ADMINLIST_USERS": USER,
        "GRPC_CERT_FILE": str(folder / "server.crt"),
        "GRPC_KEY_FILE": str(folder / "server.key"),
    }


def _redis(folder: Path, name: str, port: int, parts: Parts, login: str) -> tuple[tuple[str, ...], dict[str, str]]:
    data = folder / "data" / f"redis-{name}"
    data.mkdir(parents=True)
    settings = folder / f"redis-{name}.conf"
    settings.write_text(redis_settings(port, data, {"maxmemory-policy": "noeviction"}) + login)
    return (parts.redis, str(settings)), {}


@contextlib.contextmanager
def _running(folder: Path, command: tuple[str, ...], around: Mapping[str, str]) -> Iterator[None]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("FRESHET_", "KAFKA_"))}
    with (folder / f"server-{Path(command[0]).name}-{len(list(folder.iterdir()))}.log").open("wb") as log:
        process = subprocess.Popen(command, env={**bare, **around}, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


def _await(brokers: str, environment: Mapping[str, str]) -> None:
    """Until everybody listens; whether they let us in is the tests' affair."""
    until = time.monotonic() + _READY
    waiting: dict[str, Callable[[], str | None]] = {
        "kafka": lambda: health.kafka_listens(brokers),
        "weaviate": lambda: health.http_answer(f"{environment['FRESHET_WEAVIATE_URL']}/v1/.well-known/ready"),
        "state": lambda: health.redis_answer(environment["FRESHET_REDIS_STATE_URL"]),
        "cache": lambda: health.redis_answer(environment["FRESHET_REDIS_CACHE_URL"]),
    }
    while waiting:
        wrong = {name: said for name, ask in waiting.items() if (said := ask())}
        assert time.monotonic() < until, wrong
        waiting = {name: waiting[name] for name in wrong}
        time.sleep(0.1)


def clear(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
