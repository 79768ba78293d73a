"""A program is killed, asked to end, or stands still for a while."""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass

from chaos.faults.site import Site

END_SECONDS = 30.0  # from a signal to the end of the program
SHORT, LONG = 0.4, 1.5  # pauses, as times the session timeout


@dataclass(frozen=True, slots=True)
class OfProgram:
    """What faults of one program share: the name, whether it is there, and that it must be well again."""

    kind: str
    target: str

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.target}"

    def lacks(self, site: Site) -> str | None:
        return missing(site, self.target)

    async def heal(self, site: Site) -> None:
        await site.until_well(self.target)


@dataclass(frozen=True, slots=True)
class End(OfProgram):
    """A signal that ends a program, which the supervisor starts again."""

    signal: signal.Signals
    instant: bool = True

    async def inject(self, site: Site) -> None:
        pid = await asyncio.to_thread(site.pid, self.target)
        os.kill(pid, self.signal)

        def still_there() -> str | None:
            process = site.process(self.target)
            return f"process {pid} runs on" if process is not None and process.pid == pid else None

        await site.until(still_there, f"{self.target} has not ended by {self.signal.name}", END_SECONDS)


@dataclass(frozen=True, slots=True)
class Pause(OfProgram):
    """SIGSTOP, and SIGCONT after a part of the session timeout, or more than all of it.

    A worker that stood still for longer has lost its partitions, and does not know it when it goes on.
    """

    sessions: float
    instant: bool = True

    async def inject(self, site: Site) -> None:
        pid = await asyncio.to_thread(site.pid, self.target)
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self.sessions * site.settings.kafka.session_timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):  # another fault may have ended it meanwhile
                os.kill(pid, signal.SIGCONT)


def kill(target: str) -> End:
    """It ends without a word."""
    return End("kill-9", target, signal.SIGKILL)


def terminate(target: str) -> End:
    """It is asked to end, and may finish what it does."""
    return End("sigterm", target, signal.SIGTERM)


def pause(target: str) -> Pause:
    """Nobody notices but who waits for it."""
    return Pause("pause", target, SHORT)


def pause_long(target: str) -> Pause:
    """Others take its work meanwhile."""
    return Pause("pause-long", target, LONG)


def missing(site: Site, target: str) -> str | None:
    """Why a program cannot be struck."""
    return None if target in site.programs else f"this stack runs no {target}"
