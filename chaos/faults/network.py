"""The way to a server, or to a language model, is slow, narrow, broken or silent."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import grpc  # type: ignore[import-untyped]

from chaos.faults.site import Site
from chaos.proxies import KAFKA, LLM, Proxies
from deploy.local import health

KINDS: Final[Mapping[str, Callable[[Proxies, str], None]]] = {
    "latency": lambda proxies, name: proxies.slow(150, name, jitter=100),
    "reset": lambda proxies, name: proxies.reset(name),
    "timeout": lambda proxies, name: proxies.hang_up(1500, name),
    "black-hole": lambda proxies, name: proxies.swallow(name),
    "bandwidth": lambda proxies, name: proxies.narrow(32, name),
    "refuse": lambda proxies, name: proxies.refuse(name),
}


@dataclass(frozen=True, slots=True)
class Link:
    """One kind of trouble on the way between ours and one server."""

    kind: str
    target: str
    instant: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.target}"

    def lacks(self, site: Site) -> str | None:
        return None if self.target in site.proxies.addresses else f"no proxy stands before {self.target}"

    async def inject(self, site: Site) -> None:
        await asyncio.to_thread(KINDS[self.kind], site.proxies, self.target)

    async def heal(self, site: Site) -> None:
        await asyncio.to_thread(site.proxies.heal, self.target)
        await site.until(lambda: through(site, self.target), f"{self.target} does not answer through its proxy")


def through(site: Site, target: str) -> str | None:
    """What is wrong with the way to a server; None: it answers."""
    address = site.proxies.addresses[target]
    if target == "weaviate-grpc":
        return _grpc_answer(address)
    if target == LLM:
        return health.http_answer(f"http://{address}/v1/models")
    if target in KAFKA:
        return health.kafka_answer(address)
    if target == "weaviate":
        return health.http_answer(f"http://{address}/v1/.well-known/ready")
    return health.redis_answer(f"redis://{address}")


def _grpc_answer(address: str) -> str | None:
    """The standard health check of gRPC, without a message, asks for all of a server."""
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            check(b"", timeout=2.0)
        except grpc.RpcError as error:
            return f"no answer ({error.code().name})"
    return None
