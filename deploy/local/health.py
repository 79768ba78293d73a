"""Ask each process whether it can do its work.

Comes in: a program's name and the ports or addresses.  Goes out: None when it is well, else a few words on
what is wrong.  Asks only; an answer takes at most about two seconds.
"""

import http.client
import socket
import urllib.parse
from collections.abc import Mapping

_PATIENCE_S = 2.0


def http_answer(url: str) -> str | None:
    """None when the address answers 200."""
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", parts.path or "/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from {url} ({type(error).__name__})"
    finally:
        connection.close()
    return None if status == 200 else f"{url} answers {status}"


def redis_answer(url: str) -> str | None:
    """None when the Redis at this address answers a PING, or says that it wants a password first."""
    parts = urllib.parse.urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 6379), _PATIENCE_S) as connection:
            if parts.scheme == "rediss":
                return None  # encrypted: that the port is open must do here
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
    except OSError as error:
        return f"no answer ({type(error).__name__})"
    return None if answer.startswith((b"+PONG", b"-NOAUTH")) else answer.decode(errors="replace").strip()


def kafka_listens(brokers: str) -> str | None:
    """None when one of the comma-separated brokers takes a connection."""
    for broker in brokers.split(","):
        host, _, port = broker.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S).close()
        except (OSError, ValueError):
            continue
        return None
    return f"nobody listens at {brokers}"


def kafka_answer(broker: str) -> str | None:
    """None when this broker gives its metadata, with a controller and itself among the brokers."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    if wrong := kafka_listens(broker):
        return wrong  # at once, where librdkafka would try until its patience is over
    client = AdminClient({"bootstrap.servers": broker, "log_level": 0, "socket.timeout.ms": 2000})
    try:
        found = client.list_topics(timeout=_PATIENCE_S)
    except KafkaException as error:
        return f"no metadata ({error.args[0].name()})"
    itself = any(str(each.port) == broker.rpartition(":")[2] for each in found.brokers.values())
    return None if itself and found.controller_id >= 0 else "no controller yet"


def server_answer(ports: Mapping[str, int]) -> str | None:
    """None when this server of the stack, with these ports, is ready."""
    if "client" in ports:
        return kafka_answer(f"127.0.0.1:{ports['client']}")
    if "http" in ports:
        return weaviate_answer(f"http://127.0.0.1:{ports['http']}")
    return redis_answer(f"redis://127.0.0.1:{ports['redis']}")


def external_answer(name: str, addresses: Mapping[str, str]) -> str | None:
    """None when the user's own server of this name, at one of these `FRESHET_*` addresses, is ready."""
    if name == "kafka":  # it may want a login, which the workers have and this probe has not
        return kafka_listens(addresses["FRESHET_BROKERS"])
    if name == "weaviate":
        answers = [weaviate_answer(url.strip()) for url in addresses["FRESHET_WEAVIATE_URL"].split(",")]
        return None if None in answers else answers[0]
    return redis_answer(addresses["FRESHET_REDIS_STATE_URL" if name == "redis-state" else "FRESHET_REDIS_CACHE_URL"])


def weaviate_answer(url: str) -> str | None:
    """None when this Weaviate says that it is ready."""
    return http_answer(f"{url}/v1/.well-known/ready")


def application_answer(group: str, ports: Mapping[str, int]) -> str | None:
    """None when the gateway is ready, or when a worker shows its metrics."""
    if group == "gateway":
        return http_answer(f"http://127.0.0.1:{ports['http']}/readyz")
    return http_answer(f"http://127.0.0.1:{ports['metrics']}/metrics")
