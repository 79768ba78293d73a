"""Weaviate takes no writes, as when its disk is nearly full; searches go on."""

import asyncio
from dataclasses import dataclass

import httpx

from chaos.faults.process import OfProgram
from chaos.faults.site import Site

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ReadOnly(OfProgram):
    """Every shard of every collection refuses writes."""

    instant: bool = False

    async def inject(self, site: Site) -> None:
        await asyncio.to_thread(set_shards, site, self.target, "READONLY")

    async def heal(self, site: Site) -> None:
        await site.until_well(self.target)

        def not_ready() -> str | None:
            set_shards(site, self.target, "READY")
            wrong = sorted(set(shards(site, self.target).values()) - {"READY"})
            return f"shards are {', '.join(wrong)}" if wrong else None

        await site.until(not_ready, f"{self.target} does not take writes again")


def read_only(target: str = "weaviate") -> ReadOnly:
    """It says so to whoever writes."""
    return ReadOnly("read-only", target)


def shards(site: Site, target: str) -> dict[tuple[str, str], str]:
    """Status by collection and shard; each tenant has a shard of its own."""
    with _client(site, target) as http:
        collections = http.get("/schema").raise_for_status().json().get("classes") or []
        return {
            (each["class"], shard["name"]): shard["status"]
            for each in collections
            for shard in http.get(f"/schema/{each['class']}/shards").raise_for_status().json()
        }


def set_shards(site: Site, target: str, status: str) -> None:
    """Give every shard this status, where it has another one."""
    with _client(site, target) as http:
        for (collection, shard), now in shards(site, target).items():
            if now != status:
                http.put(f"/schema/{collection}/shards/{shard}", json={"status": status}).raise_for_status()


def _client(site: Site, target: str) -> httpx.Client:
    """Past the proxies."""
    return httpx.Client(base_url=f"http://127.0.0.1:{site.port(target, 'http')}/v1", timeout=_SECONDS)
