"""A program ends without a word."""

import asyncio
from dataclasses import dataclass

from chaos.faults.site import Site

BACK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL; the supervisor starts the program again."""

    target: str
    instant: bool = True

    @property
    def name(self) -> str:
        return f"kill-9:{self.target}"

    def lacks(self, site: Site) -> str | None:
        return None if self.target in site.stack.state.plan()["programs"] else f"no {self.target} runs"

    async def inject(self, site: Site) -> None:
        await asyncio.to_thread(site.stack.send, self.target)

    async def heal(self, site: Site) -> None:
        async with asyncio.timeout(BACK_SECONDS):
            while not await asyncio.to_thread(site.stack.pid, self.target):
                await asyncio.sleep(0.2)
