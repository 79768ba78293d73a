"""The clock of a program jumps while it runs, an hour ahead or back, and then to where it was.

By libfaketime, which is preloaded: the program is started again with it, on the right time, and then the file that it
reads its offset from is written.  Only the time of day moves; the clock that counts seconds, by which timeouts and
leases are measured, does not, as it does not on a real machine.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import httpx

from chaos.faults.process import OfProgram, missing
from chaos.faults.site import Site

_LIBRARIES: Final = ("usr/lib/*/faketime", "usr/lib/faketime", "usr/lib64/faketime", "usr/local/lib/faketime")
_ADDED: Final = (
    "LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE", "FAKETIME_CACHE_DURATION", "FAKETIME_DONT_FAKE_MONOTONIC", "NO_FAKE_STAT",
)  # fmt: skip
_WRITING: Final = threading.Lock()  # all programs' settings are one file, and clocks may jump side by side
_SLACK = 60.0  # seconds of difference that are no jump
_SHIM = Path(__file__).with_name("clock.c")


@dataclass(frozen=True, slots=True)
class Jump(OfProgram):
    """So many seconds ahead, or back where it is negative."""

    seconds: int
    instant: bool = False

    def lacks(self, site: Site) -> str | None:
        if library() is None:
            return "libfaketime is not installed: apt-get install faketime"
        if compiler() is None:
            return "there is no C compiler: apt-get install gcc libc6-dev"
        return missing(site, self.target)

    async def inject(self, site: Site) -> None:
        offset = self._offset(site)
        offset.parent.mkdir(exist_ok=True)
        offset.write_text("+0\\n")
        shim = await asyncio.to_thread(_shim, offset.parent)
        await self._restart(site, {
            "LD_PRELOAD": f"{library()}:{shim}",
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        })  # fmt: skip
        await self._jump(site, self.seconds)

    async def heal(self, site: Site) -> None:
        """Back while it runs, then started again without."""
        if self._offset(site).exists():
            try:
                await self._jump(site, 0)
            finally:
                await self._restart(site, {})
                self._offset(site).unlink()
        await site.until_well(self.target)

    async def _jump(self, site: Site, seconds: int) -> None:
        self._offset(site).write_text(f"{seconds:+d}\\n")

        def elsewhere() -> str | None:
            try:
                off = ahead(site, self.target)
            except httpx.TransportError as error:
                return repr(error)
            return None if abs(off - seconds) < _SLACK else f"it is {off:+.0f} s from here"

        await site.until(elsewhere, f"{self.target} has not jumped by {seconds:+d} s")

    async def _restart(self, site: Site, settings: dict[str, str]) -> None:
        def again() -> None:
            state = site.stack.state
            with _WRITING:
                written = json.loads(state.environment_file.read_text())
                own = {name: value for name, value in written[self.target].items() if name not in _ADDED}
                state.write(state.environment_file, json.dumps({**written, self.target: {**own, **settings}}))
            site.stack.stop(self.target)
            site.stack.start(self.target)

        await asyncio.to_thread(again)
        await site.until_well(self.target)

    def _offset(self, site: Site) -> Path:
        return site.stack.state.folder / "clock" / self.target


def library() -> Path | None:
    """Of those for programs with threads, the first that is there."""
    if sys.platform != "linux":
        return None
    return next((path for place in _LIBRARIES for path in Path("/").glob(f"{place}/libfaketimeMT.so.1")), None)


def compiler() -> str | None:
    """The machine's C compiler."""
    return shutil.which("cc") or shutil.which("gcc")


def _shim(folder: Path) -> Path:
    """What libfaketime lacks, made here."""
    made = folder / "clock.so"
    with _WRITING:
        if not made.exists():
            command = [compiler() or "cc", "-O2", "-shared", "-fPIC", "-o", str(made), str(_SHIM)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[:500]}")
    return made


def ahead(site: Site, target: str) -> float:
    """Seconds by which a program's clock is ahead of ours, as it tells by HTTP."""
    ports = site.programs[target]["ports"]
    told = httpx.get(f"http://127.0.0.1:{ports.get('http') or ports['metrics']}/healthz", timeout=5).headers["Date"]
    return parsedate_to_datetime(told).timestamp() - time.time()
