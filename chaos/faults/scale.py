"""Workers of a lane are scaled from one to three, and back."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass, field

from confluent_kafka import KafkaException

from chaos.faults.process import OfProgram, missing
from chaos.faults.site import Site
from chaos.workers import STOP_SECONDS, end
from deploy.local.programs import ROOT

_MORE = 2


@dataclass(frozen=True, slots=True)
class Scale(OfProgram):
    """Two more workers join a lane's group, and leave it again; they are ours, the supervisor knows nothing of them."""

    instant: bool = False
    _running: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def lacks(self, site: Site) -> str | None:
        if site.settings.kafka.partitions <= _MORE:
            return f"{site.settings.kafka.partitions} partitions are too few for {_MORE + 1} workers"
        return missing(site, self.target)

    async def inject(self, site: Site) -> None:
        await asyncio.to_thread(self._start, site)
        await self._until_shared(site, 1 + _MORE)

    async def heal(self, site: Site) -> None:
        if self._running:
            await asyncio.gather(*(asyncio.to_thread(end, child, STOP_SECONDS) for child in self._running))
            self._running.clear()
            await self._until_shared(site, 1)
        await site.until_well(self.target)

    async def _until_shared(self, site: Site, count: int) -> None:
        def otherwise() -> str | None:
            try:
                found = site.members(self.target)
            except KafkaException as error:
                return str(error)
            return None if len(found) == count and all(found.values()) else f"its members are {found}"

        await site.until(otherwise, f"{self.target} is not shared by {count}")

    def _start(self, site: Site) -> None:
        written = json.loads(site.stack.state.environment_file.read_text())[self.target]
        command = [sys.executable, "-m", "streams", self.target]
        for slot in range(1, 1 + _MORE):
            settings = {**written, "FRESHET_WORKER_SLOT": str(slot), "FRESHET_METRICS_PORT": "0"}
            with site.stack.state.log(f"{self.target}-{slot}").open("ab") as log:
                self._running.append(subprocess.Popen(command, cwd=ROOT, env=settings, stdout=log, stderr=log))


def scale(target: str) -> Scale:
    """From one to three, and back."""
    return Scale("scale", target)
