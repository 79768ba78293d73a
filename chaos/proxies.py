"""What stands between the application and its servers, so that connections can be broken: Toxiproxy.

Each server of a local stack that is named gets a proxy on a port of its own; `settings` are what the stack must be told
so that every process of ours goes through them.
"""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from chaos.workers import end
from deploy.local.cache import cache_folder
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
_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Proxies:
    """Proxies that run."""

    settings: Mapping[str, str]
    _http: httpx.Client

    def refuse(self, *names: str) -> None:
        """Cut what is open, and refuse what comes, as a server that is not there."""
        for name in names:
            self._post(f"/proxies/{name}", {"enabled": False})

    def swallow(self, *names: str) -> None:
        """Take everything and answer nothing, as a network that drops packets."""
        for name in names:
            for stream in ("upstream", "downstream"):
                toxic = {"name": f"hole-{stream}", "type": "timeout", "stream": stream, "attributes": {"timeout": 0}}
                self._post(f"/proxies/{name}/toxics", toxic)

    def slow(self, milliseconds: int, *names: str) -> None:
        """Delay every answer."""
        for name in names:
            toxic = {"name": "slow", "type": "latency", "stream": "downstream", "attributes": {"latency": milliseconds}}
            self._post(f"/proxies/{name}/toxics", toxic)

    def heal(self) -> None:
        """All as it should be."""
        self._http.post("/reset").raise_for_status()

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        self._http.post(path, json=body).raise_for_status()


@contextmanager
def proxies(base: int, names: Sequence[str], log: Path) -> Iterator[Proxies]:
    """Run proxies in front of these servers of the stack at that port base; they end with the block."""
    set_up(os.environ, ("toxiproxy",))
    program = cache_folder(os.environ) / "parts" / f"toxiproxy-{TOXIPROXY_VERSION}" / "server"
    ports, settings = Ports(base), {"STACK": "proxied"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        command = [str(program), "-host", "127.0.0.1", "-port", str(base + _OFFSET)]
        child = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{base + _OFFSET}", timeout=_SECONDS) as http:
            _until_ready(http, child)
            for number, name in enumerate(names, 1):
                own, variable, form = _PLACES[name]
                at = f"127.0.0.1:{base + _OFFSET + number}"
                body = {"name": name, "listen": at, "upstream": f"127.0.0.1:{getattr(ports, own)}"}
                http.post("/proxies", json=body).raise_for_status()
                settings[variable] = form.format(at)
            yield Proxies(settings, http)
    finally:
        end(child, _SECONDS)


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
