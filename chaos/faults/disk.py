"""The disk of a server is full.

A limit on the size of files would say something else than a full disk does, and end some servers by its signal.  So the
server's data are moved to a small file system of its own, in memory, which is then filled to the last block: what the
server is told is ENOSPC, by a real file system.  That takes root; the server is stopped for the move, there and back.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from chaos.faults.process import OfProgram, missing
from chaos.faults.site import Site
from chaos.faults.store import read_only

_ROOM = 32 * 1024 * 1024  # for what a server writes while it starts, before the disk is filled
_BALLAST = "ballast"
_MAY_MOUNT = 1 << 21  # CAP_SYS_ADMIN


@dataclass(frozen=True, slots=True)
class DiskFull(OfProgram):
    """Not a byte more can be written to where a server keeps its data."""

    instant: bool = False

    def lacks(self, site: Site) -> str | None:
        if not _may_mount():
            return "a file system of its own takes root, on Linux"
        return missing(site, self.target)

    async def inject(self, site: Site) -> None:
        await asyncio.to_thread(self._move_out, site)
        await site.until_well(self.target)
        await asyncio.to_thread(_fill, self._data(site) / _BALLAST)

    async def heal(self, site: Site) -> None:
        """Give it space, wait until it is well by itself, and bring its data back to where they were."""
        ballast = self._data(site) / _BALLAST
        if ballast.exists():
            os.truncate(ballast, 0)
            await site.until_well(self.target)
            if self.target.startswith("weaviate"):  # it stays read-only until somebody says otherwise
                await read_only(self.target).heal(site)
            await asyncio.to_thread(self._move_home, site)
        await asyncio.to_thread(self._tidy, site)
        await site.until_well(self.target)

    def _move_out(self, site: Site) -> None:
        data, home = self._data(site), self._beside(site, "home")
        site.stack.stop(self.target)
        data.rename(home)
        data.mkdir()
        used = sum(path.lstat().st_blocks * 512 for path in home.rglob("*"))
        _run("mount", "-t", "tmpfs", "-o", f"size={used + _ROOM},mode=0700", "freshet-chaos", str(data))
        _run("cp", "-a", "--sparse=always", f"{home}/.", str(data))
        (data / _BALLAST).touch()  # from here on these are its data
        site.stack.start(self.target)

    def _move_home(self, site: Site) -> None:
        data, fresh = self._data(site), self._beside(site, "fresh")
        site.stack.stop(self.target)
        shutil.rmtree(fresh, ignore_errors=True)
        _run("cp", "-a", "--sparse=always", str(data), str(fresh))
        (fresh / _BALLAST).unlink()
        _run("umount", str(data))  # from here on those are

    def _tidy(self, site: Site) -> None:
        """Put what counts in its place, wherever a move has ended or broken off."""
        data, home, fresh = self._data(site), self._beside(site, "home"), self._beside(site, "fresh")
        if not home.exists():
            return
        if data.is_mount():  # with half a copy in it
            _run("umount", str(data))
        if data.exists():
            data.rmdir()
        (fresh if fresh.exists() else home).rename(data)
        shutil.rmtree(home, ignore_errors=True)

    def _data(self, site: Site) -> Path:
        return site.stack.state.folder / "data" / self.target

    def _beside(self, site: Site, what: str) -> Path:
        return self._data(site).with_name(f"{self.target}.{what}")


def _fill(path: Path) -> None:
    """Write until there is no space left, in ever smaller pieces."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for size in (1 << 20, 1 << 12):
            while True:
                try:
                    os.write(handle, b"\\0" * size)
                except OSError:  # no space: that is what it is for
                    break
    finally:
        os.close(handle)


def disk_full(target: str) -> DiskFull:
    """Its data move, and the room is filled."""
    return DiskFull("disk-full", target)


def _may_mount() -> bool:
    if sys.platform != "linux":
        return False
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(effective.split()[1], 16) & _MAY_MOUNT)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
