"""supervisord, changed in four points for a stack that is tested by killing it.

Run as `python -m deploy.local.keeper -c FILE`.
1. It looks every 0.1 s instead of every second: a worker killed with -9 is started again at once.
2. It never gives up, and waits at most two seconds between tries, however often a program failed.
3. Children get their environment from a file, read at each start: no quoting, and no secrets in the settings file.
4. Each start is written to a journal, so that children that outlive a killed supervisor can be found and stopped.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from supervisor import events  # type: ignore[import-untyped, unused-ignore]
from supervisor.options import ServerOptions  # type: ignore[import-untyped, unused-ignore]
from supervisor.process import ProcessStates  # type: ignore[import-untyped, unused-ignore]
from supervisor.supervisord import Supervisor  # type: ignore[import-untyped, unused-ignore]

from deploy.local.state import State

_LOOK_EVERY_S = 0.1


class Options(ServerOptions):  # type: ignore[misc, unused-ignore]
    """Points 1, 3 and 4: how supervisord waits, forks and starts."""

    def __init__(self, state: State) -> None:
        """Shorten the wait of whichever poller this system has."""
        super().__init__()
        self.state = state
        self.starting = ""
        wait = self.poller.poll
        self.poller.poll = lambda timeout: wait(min(timeout, _LOOK_EVERY_S))

    def fork(self) -> int:
        """Fork, and write the child down."""
        pid = os.fork()
        if pid:
            self.state.record_child(pid, self.starting)
        return pid

    def execve(self, filename: str, argv: list[str], env: dict[str, str]) -> None:
        """Start the program with the environment that the stack wrote for it."""
        written: dict[str, dict[str, str]] = json.loads(self.state.environment_file.read_text())
        os.execve(filename, argv, written[env["SUPERVISOR_PROCESS_NAME"]])


class Keeper(Supervisor):  # type: ignore[misc, unused-ignore]
    """Point 2, and the name of what is being started for point 4."""

    def runforever(self) -> None:
        """Follow starts; supervisord forgets earlier followers when it begins to run."""
        events.subscribe(events.ProcessStateStartingEvent, self._starting)
        super().runforever()

    def _starting(self, event: Any) -> None:
        self.options.starting = event.process.config.name

    def reap(self, once: bool = False, recursionguard: int = 0) -> None:
        """Collect dead children, then forget how often those that failed have failed."""
        super().reap(once, recursionguard)
        for group in self.process_groups.values():
            for process in group.processes.values():
                if process.state == ProcessStates.BACKOFF:
                    process.backoff = 1  # the next wait is this plus one, in seconds


def main() -> None:
    """Run until told to stop."""
    settings = Path(sys.argv[sys.argv.index("-c") + 1])
    options = Options(State(settings.parent))
    options.realize(sys.argv[1:], doc=__doc__)
    options.first, options.test = True, False
    Keeper(options).main()


if __name__ == "__main__":
    main()
