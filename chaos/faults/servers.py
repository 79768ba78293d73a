"""A server is restarted or killed, and a Redis loses what it had, all of it or the newest part."""

import asyncio
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import redis

from chaos.faults.process import End, OfProgram
from chaos.faults.site import Site

AGE = 4.0  # seconds that a rolled back Redis has lost


def restart(target: str) -> End:
    """It is asked to end, and writes down what it has."""
    return End("restart", target, signal.SIGTERM)


def flush(target: str) -> "Flush":
    """Nothing is left."""
    return Flush("flush", target)


def roll_back(target: str) -> "RollBack":
    """The newest is gone."""
    return RollBack("rollback", target)


@dataclass(frozen=True, slots=True)
class Flush(OfProgram):
    """A Redis forgets everything."""

    instant: bool = True

    async def inject(self, site: Site) -> None:
        def empty() -> None:
            with client(site, self.target) as server:
                server.flushall(asynchronous=False)

        await asyncio.to_thread(empty)


@dataclass(frozen=True, slots=True)
class RollBack(OfProgram):
    """A Redis comes back with what it had some seconds ago, as from a backup, or as a replica that was behind.

    The role that keeps a log is put back by its log, the other one by a snapshot, which it reads as it starts.
    """

    instant: bool = True

    async def inject(self, site: Site) -> None:
        data = site.stack.state.folder / "data" / self.target
        older = data.with_name(f"{self.target}.older")
        await asyncio.to_thread(self._keep, site, data, older)
        await asyncio.sleep(AGE)
        await asyncio.to_thread(self._put_back, site, data, older)

    async def heal(self, site: Site) -> None:
        data = site.stack.state.folder / "data" / self.target
        newer = data.with_name(f"{self.target}.newer")
        if not data.exists():  # it broke off in between
            newer.rename(data)
        await site.until_well(self.target)
        (data / "dump.rdb").unlink(missing_ok=True)  # else the next start would roll it back again
        shutil.rmtree(newer, ignore_errors=True)

    def _keep(self, site: Site, data: Path, older: Path) -> None:
        shutil.rmtree(older, ignore_errors=True)
        with client(site, self.target) as server:
            if server.config_get("appendonly")["appendonly"] == "yes":
                server.config_set("appendfsync", "always")  # the next write takes all before it to the disk
                server.set("chaos:written", "1", ex=1)
                server.config_set("appendfsync", "everysec")
            else:
                server.save()
        shutil.copytree(data, older)

    def _put_back(self, site: Site, data: Path, older: Path) -> None:
        newer = data.with_name(f"{self.target}.newer")
        shutil.rmtree(newer, ignore_errors=True)
        site.stack.stop(self.target)
        data.rename(newer)
        older.rename(data)
        site.stack.start(self.target)


def client(site: Site, target: str) -> redis.Redis:
    """Of a Redis of the stack, past the proxies."""
    return redis.Redis(port=site.port(target, "redis"), decode_responses=True, socket_timeout=10)
