"""What stands between the application and what it talks to, so that connections can be broken: Toxiproxy.

Each server of a local stack that is named gets a proxy on a port of its own; `settings` are what the stack must be told
so that every process of ours goes through them.
"""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from chaos.workers import end
from deploy.local.cache import cache_folder
from deploy.local.environment import KAFKA_PROXY
from deploy.local.install import set_up
from deploy.local.parts import TOXIPROXY_VERSION
from deploy.local.ports import Ports

_OFFSET: Final = 90  # the last ten ports of a stack, which workers reach only when there are fifty of them
_PLACES: Final = {  # by name: the stack's own port, and the setting that names its address
    "weaviate": ("weaviate", "FRESHET_WEAVIATE_URL", "http://{}"),
    "weaviate-grpc": ("weaviate_grpc", "FRESHET_WEAVIATE_GRPC", "{}"),
    "redis-state": ("redis_state", "FRESHET_REDIS_STATE_URL", "redis://{}/0"),
    "redis-cache": ("redis_cache", "FRESHET_REDIS_CACHE_URL", "redis://{}/0"),
}
KAFKA: Final = ("kafka", "kafka-1", "kafka-2", "kafka-3")  # the only one, or each of three
LLM: Final = "llm"  # a model's endpoint is none of the stack's: who asks for its proxy says where it is
_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Proxies:
    """Proxies that run; ``addresses`` are theirs, by name."""

    settings: Mapping[str, str]
    _http: httpx.Client
    addresses: Mapping[str, str] = field(default_factory=dict)

    def refuse(self, *names: str) -> None:
        """Cut what is open, and refuse what comes, as a server that is not there."""
        for name in names:
            self._post(f"/proxies/{name}", {"enabled": False})

    def swallow(self, *names: str) -> None:
        """Take everything and answer nothing, as a network that drops packets."""
        for name in names:
            self._spoil(name, "timeout", "upstream", timeout=0)
            self._spoil(name, "timeout", "downstream", timeout=0)

    def slow(self, milliseconds: int, *names: str, jitter: int = 0) -> None:
        """Delay every answer, by more or less."""
        for name in names:
            self._spoil(name, "latency", "downstream", latency=milliseconds, jitter=jitter)

    def hang_up(self, milliseconds: int, *names: str) -> None:
        """Hold back what is answered, and close the connection after a while."""
        for name in names:
            self._spoil(name, "timeout", "downstream", timeout=milliseconds)

    def reset(self, *names: str) -> None:
        """Break a connection, by a reset, as soon as something is said on it."""
        for name in names:
            self._spoil(name, "reset_peer", "upstream", timeout=0)

    def narrow(self, kilobytes: int, *names: str) -> None:
        """Let through so much a second, each way."""
        for name in names:
            self._spoil(name, "bandwidth", "upstream", rate=kilobytes)
            self._spoil(name, "bandwidth", "downstream", rate=kilobytes)

    def heal(self, *names: str) -> None:
        """These as they should be, or all of them."""
        if not names:
            self._http.post("/reset").raise_for_status()
        for name in names:
            for toxic in self._http.get(f"/proxies/{name}/toxics").raise_for_status().json():
                self._http.delete(f"/proxies/{name}/toxics/{toxic['name']}").raise_for_status()
            self._post(f"/proxies/{name}", {"enabled": True})

    def _spoil(self, name: str, kind: str, stream: str, **attributes: int) -> None:
        toxic = {"name": f"{kind}-{stream}", "type": kind, "stream": stream, "attributes": attributes}
        self._post(f"/proxies/{name}/toxics", toxic)

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        self._http.post(path, json=body).raise_for_status()


@contextmanager
def proxies(base: int, names: Sequence[str], log: Path, llm: str = "") -> Iterator[Proxies]:
    """Run proxies in front of these servers of the stack at that port base; they end with the block.

    ``llm`` is a model's endpoint, as host:port, which then has a proxy too.
    """
    set_up(os.environ, ("toxiproxy",))
    program = cache_folder(os.environ) / "parts" / f"toxiproxy-{TOXIPROXY_VERSION}" / "server"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        command = [str(program), "-host", "127.0.0.1", "-port", str(base + _OFFSET)]
        child = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{base + _OFFSET}", timeout=_SECONDS) as http:
            _until_ready(http, child)
            yield _made(http, base, names, llm)
    finally:
        end(child, _SECONDS)


def _made(http: httpx.Client, base: int, names: Sequence[str], llm: str) -> Proxies:
    ports, settings, addresses = Ports(base), {"STACK": "proxied"}, {}
    for number, name in enumerate([*names, *([LLM] if llm else [])], 1):
        addresses[name] = at = f"127.0.0.1:{base + _OFFSET + number}"
        upstream = llm
        if name in KAFKA:
            upstream = f"127.0.0.1:{ports.proxied(max(1, KAFKA.index(name)))}"
        elif name in _PLACES:
            own, variable, form = _PLACES[name]
            upstream = f"127.0.0.1:{getattr(ports, own)}"
            settings[variable] = form.format(at)
        else:
            settings["FRESHET_LLM_URL"] = f"http://{at}/v1"
        http.post("/proxies", json={"name": name, "listen": at, "upstream": upstream}).raise_for_status()
    if brokers := ",".join(at for name, at in addresses.items() if name in KAFKA):
        settings["FRESHET_BROKERS"] = settings[KAFKA_PROXY] = brokers
    return Proxies(settings, http, addresses)


def _until_ready(http: httpx.Client, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _SECONDS
    while True:
        try:
            http.get("/version").raise_for_status()
            return
        except httpx.HTTPError as error:
            if child.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Toxiproxy did not start: {error}") from None
            time.sleep(0.05)
