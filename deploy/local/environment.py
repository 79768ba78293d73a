"""The environment that workers, gateway and tests get from the local stack.

Comes in: the ports and the user's environment.  Goes out: the `FRESHET_*` variables of section 7 of the design.
Refused: `STACK=external` with an address missing.  Pure, so asking twice gives the same answer.
"""

from collections.abc import Mapping

from deploy.local.copies import BROKERS, STORES, copies_from
from deploy.local.ports import Ports

EXTERNAL_ADDRESSES = (
    "FRESHET_BROKERS",
    "FRESHET_WEAVIATE_URL",
    "FRESHET_WEAVIATE_GRPC",
    "FRESHET_REDIS_STATE_URL",
    "FRESHET_REDIS_CACHE_URL",
)
# Short names for the command line of make; the application itself reads only FRESHET_*.
_SHORT_NAMES = {
    "LLM_URL": "FRESHET_LLM_URL",
    "LLM_MODEL": "FRESHET_LLM_MODEL",
    "LLM_API_KEY": "FRESHET_LLM_API_KEY",
}
KAFKA_PROXY = "FRESHET_KAFKA_PROXY"  # host:port of what stands before each broker, which it must tell its clients
# Else glibc takes an arena for each of a dozen threads, and each keeps what its largest batch needed: a worker that
# retrieves held 200 MB that way.
ALLOCATOR = {"MALLOC_ARENA_MAX": "2"}
# How to run the stack, not how a process behaves.
_STACK_ONLY = ("FRESHET_PORT_BASE", "FRESHET_WORKERS", KAFKA_PROXY, BROKERS, STORES)
# Without bytecode files an import of the encoder costs 15 s instead of 6; the other PYTHON ones belong to the shell
# that started us, and make's would have a nested make wait for our job slots.
_NOT_FOR_CHILDREN = ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")


class MissingAddress(ValueError):
    """`STACK=external` was asked for without saying where a system is."""


def is_external(user: Mapping[str, str]) -> bool:
    """Whether the user brings Kafka, Weaviate and Redis."""
    return user.get("STACK", "").strip().lower() == "external"


def is_proxied(user: Mapping[str, str]) -> bool:
    """Whether the systems are ours, and some are reached through what stands in front of them."""
    return user.get("STACK", "").strip().lower() == "proxied"


def addresses(ports: Ports, user: Mapping[str, str]) -> dict[str, str]:
    """Where the five systems are: on loopback, or where the user says."""
    if is_external(user):
        missing = [name for name in EXTERNAL_ADDRESSES if not user.get(name)]
        if missing:
            raise MissingAddress(f"STACK=external needs {', '.join(missing)}")
        return {name: user[name] for name in EXTERNAL_ADDRESSES}
    copies = copies_from(user)
    brokers = [ports.broker(node)[0] for node in range(1, copies.brokers + 1)]
    http, grpc, *_ = zip(*(ports.store(node) for node in range(1, copies.stores + 1)), strict=True)
    of = brokers, http, grpc, [ports.redis_state], [ports.redis_cache]
    own = addresses_at(*(",".join(f"127.0.0.1:{port}" for port in those) for those in of))
    return {name: user.get(name) or at for name, at in own.items()} if is_proxied(user) else own


def addresses_at(kafka: str, weaviate: str, weaviate_grpc: str, redis_state: str, redis_cache: str) -> dict[str, str]:
    """The five addresses, given as `host:port`, of brokers and stores perhaps several, as `FRESHET_*` variables."""
    return {
        "FRESHET_BROKERS": kafka,
        "FRESHET_WEAVIATE_URL": ",".join(f"http://{each}" for each in weaviate.split(",")),
        "FRESHET_WEAVIATE_GRPC": weaviate_grpc,
        "FRESHET_REDIS_STATE_URL": f"redis://{redis_state}/0",
        "FRESHET_REDIS_CACHE_URL": f"redis://{redis_cache}/0",
    }


def local_environment(ports: Ports, user: Mapping[str, str]) -> dict[str, str]:
    """All `FRESHET_*` settings of a process beside this stack: the user's own, then what the stack decides."""
    settings = {name: value for name, value in user.items() if name.startswith("FRESHET_") and value}
    for name in _STACK_ONLY:
        settings.pop(name, None)
    settings.update({long: user[short] for short, long in _SHORT_NAMES.items() if user.get(short)})
    settings.update(addresses(ports, user))
    if not is_external(user) and (brokers := copies_from(user).brokers) > 1:
        settings.setdefault("FRESHET_REPLICATION", str(brokers))
    settings["FRESHET_GATEWAY_HOST"] = "127.0.0.1"
    settings["FRESHET_GATEWAY_PORT"] = str(ports.gateway)
    return settings


def child_environment(user: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without what harms a child of ours."""
    return {name: value for name, value in user.items() if name not in _NOT_FOR_CHILDREN}
