"""Any edge cache that forgets by HTTP request: Varnish, Fastly and others.

Delivery: at least once.  Every edge is told, whichever other fails; anything but a 2xx counts as not told, a refusal
too, since a purge that is given up leaves a stale copy.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from connectors.errors import Transient


@dataclass(frozen=True, slots=True)
class Edge:
    """How one edge is told; ``secrets`` are headers that prove who tells."""

    url: str
    method: str = "PURGE"
    header: str = "Surrogate-Key"
    between: str = " "  # keys; "|" where the edge takes them for a regular expression
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


class HttpPurger:
    """:class:`connectors.search_ports.Purger`.  ``room`` is how long a header of keys may be, in bytes."""

    name = "http"

    def __init__(self, edges: Sequence[Edge], *, timeout: float = 5.0, room: int = 4000) -> None:
        self._edges, self._timeout, self._room = edges, timeout, room
        self._http: httpx.AsyncClient | None = None

    async def open(self) -> None:
        self._http = httpx.AsyncClient(timeout=self._timeout, trust_env=False)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def purge(self, keys: Sequence[str]) -> None:
        failed = [error for error in await asyncio.gather(*(self._tell(edge, keys) for edge in self._edges)) if error]
        if failed:
            raise Transient("; ".join(failed), reason="edge")

    async def _tell(self, edge: Edge, keys: Sequence[str]) -> str | None:
        """What went wrong, if anything did."""
        assert self._http is not None, "open() first"
        for some in fitting(list(dict.fromkeys(keys)), len(edge.between), self._room):
            headers = {**edge.secrets, edge.header: edge.between.join(some)}
            try:
                answer = await self._http.request(edge.method, edge.url, headers=headers)
            except httpx.HTTPError as error:
                return f"edge {edge.url} is away: {type(error).__name__}"
            if not answer.is_success:
                return f"edge {edge.url} answered {answer.status_code}"
        return None


def fitting(keys: Sequence[str], gap: int, room: int) -> Iterator[list[str]]:
    """The keys in order, in parts that fit a header; a key is never cut."""
    part: list[str] = []
    size = 0
    for key in keys:
        if part and size + gap + len(key) > room:
            yield part
            part, size = [], 0
        size += len(key) + (gap if part else 0)
        part.append(key)
    if part:
        yield part
