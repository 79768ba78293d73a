"""The single list of the local stack's ports.

One number moves them all: `FRESHET_PORT_BASE` (8000 when unset) is the gateway's port and every other one is a fixed
distance away, so two copies on one machine run side by side when their bases are at least 100 apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_BASE = 8000
SPAN = 100  # ports from the base on that one stack may use
# Where the second and third broker and store lie, when there are three: two ports of each broker, six of each store.
_MORE_BROKERS, _MORE_STORES = 64, 68
# Worker slots report metrics on +10 to +20, and, when there are more than eleven of them, from +40 on around those.
_METRICS_OFFSETS = (*range(10, 21), *range(40, _MORE_BROKERS), *range(80, SPAN))


class BadPortBase(ValueError):
    """The port base cannot be used; the message says what can."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Every port of one local stack, derived from its base."""

    base: int = DEFAULT_BASE

    def __post_init__(self) -> None:
        """Refuse a base whose ports would be privileged or out of range."""
        if not 1024 <= self.base <= 65536 - SPAN:
            raise BadPortBase(f"FRESHET_PORT_BASE must lie between 1024 and {65536 - SPAN}, not {self.base}")

    @property
    def gateway(self) -> int:
        """The HTTP door."""
        return self.base

    @property
    def kafka(self) -> int:
        """Kafka's listener for clients."""
        return self.base + 21

    @property
    def kafka_controller(self) -> int:
        """Kafka's controller listener, used by the broker itself."""
        return self.base + 22

    @property
    def weaviate(self) -> int:
        """Weaviate's HTTP interface."""
        return self.base + 23

    @property
    def weaviate_grpc(self) -> int:
        """Weaviate's gRPC interface."""
        return self.base + 24

    @property
    def weaviate_inner(self) -> tuple[int, int, int, int]:
        """Weaviate's own traffic: gossip, data, raft and raft's remote calls."""
        return (self.base + 25, self.base + 26, self.base + 27, self.base + 28)

    @property
    def redis_state(self) -> int:
        """The Redis that keeps manifests, jobs and idempotency keys."""
        return self.base + 29

    @property
    def redis_cache(self) -> int:
        """The Redis that may forget."""
        return self.base + 30

    def proxied(self, node: int) -> int:
        """Of a broker, counted from 1: the listener for what stands in front of it, where something does."""
        return self.base + 40 - node

    def broker(self, node: int) -> tuple[int, int]:
        """Of a broker, counted from 1: the port for clients and the controller's."""
        first = self.kafka if node == 1 else self.base + _MORE_BROKERS + 2 * (node - 2)
        return first, first + 1

    def store(self, node: int) -> tuple[int, int, int, int, int, int]:
        """Of a store, counted from 1: HTTP, gRPC, gossip, data, raft and raft's remote calls."""
        first = self.weaviate if node == 1 else self.base + _MORE_STORES + 6 * (node - 2)
        return first, first + 1, first + 2, first + 3, first + 4, first + 5

    def metrics(self, position: int) -> int:
        """Where the worker slot at this position of the plan reports its metrics."""
        if position >= len(_METRICS_OFFSETS):
            raise BadPortBase(f"at most {len(_METRICS_OFFSETS)} worker slots fit in one local stack")
        offset: int = _METRICS_OFFSETS[position]
        return self.base + offset


def ports_from(environment: Mapping[str, str]) -> Ports:
    """Read the port base; an empty value counts as unset, as make passes it on."""
    text = environment.get("FRESHET_PORT_BASE", "").strip()
    if not text:
        return Ports()
    if not text.isdecimal():
        raise BadPortBase(f"FRESHET_PORT_BASE must be a number, not {text!r}")
    return Ports(int(text))
