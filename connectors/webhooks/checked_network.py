"""A network that leads to checked addresses only.

The name is resolved here, each address is judged, and the connection goes to one of those that were judged: a name
server that says something else a moment later is not asked again.  TLS and the Host header still see the name.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias

import httpcore

from runtime.targets import Policy, Target

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]


class Unresolved(OSError):
    """A name that leads nowhere."""


class SystemResolver:
    """Addresses of a host by the system's resolver, in threads of its own: names that hang hold up nobody else."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "resolver")

    async def __call__(self, host: str, port: int) -> list[str]:
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        except (OSError, UnicodeError) as error:  # no such name, or one that no resolver takes
            raise Unresolved(f"{host} cannot be resolved: {error}") from None
        return list(dict.fromkeys(str(address[4][0]) for address in found))

    def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects where ``policy`` allows for this scheme; raises :class:`runtime.targets.Forbidden` elsewhere."""

    def __init__(self, policy: Policy, scheme: str, resolve: Resolve) -> None:
        self._policy, self._scheme, self._resolve = policy, scheme, resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """To the first of the checked addresses that answers."""
        target = Target(self._scheme, host.removesuffix("."), port)
        addresses = self._policy.check_addresses(target, await self._resolve(host, port))
        failed: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in addresses:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        assert failed is not None, "there is an address, or it was forbidden"
        raise failed

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise NotImplementedError("endpoints are not called by sockets of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
