"""Wait until programs are ready; when one is not, say which, why, and what its log ends with."""

import shutil
import time
from collections import Counter
from collections.abc import Callable

from deploy.local.state import State

_CRASHES = 3  # starts after the first within one wait before it counts as a failure
_FULL_DISK = 200 * 1024 * 1024  # servers refuse writes or die at about this much

Tell = Callable[[str], None]


class StackFailed(Exception):
    """The stack could not be brought where it should be; the message is for the user."""


def wait_for(
    state: State, names: list[str], check: Callable[[str], str | None], patience_s: float, tell: Tell, *, watch: bool
) -> None:
    """Wait until every check passes; end early when a program keeps dying."""
    began = time.monotonic()
    starts_before = Counter(name for _, _, name in state.children())
    waiting = dict.fromkeys(names, "not asked yet")
    while waiting:
        for name in list(waiting):
            wrong = check(name)
            if wrong is None:
                del waiting[name]
                tell(f"{name}: ready after {time.monotonic() - began:.1f} s")
            else:
                waiting[name] = wrong
        starts = Counter(name for _, _, name in state.children())
        dying = [name for name in waiting if watch and starts[name] - starts_before[name] >= _CRASHES]
        if dying:
            raise StackFailed(_culprit(state, dying[0], f"{dying[0]} keeps ending as soon as it is started"))
        if waiting and time.monotonic() - began > patience_s:
            name, wrong = next(iter(waiting.items()))
            raise StackFailed(_culprit(state, name, f"{name} was not ready within {patience_s:.0f} s ({wrong})"))
        if waiting:
            time.sleep(0.1)


def _culprit(state: State, name: str, sentence: str) -> str:
    tail = state.tail(name)
    end = "\n".join(f"    {line}" for line in tail) if tail else "    (its log is empty)"
    disk = shutil.disk_usage(state.folder).free
    hint = " The disk is full: free some space and try again." if disk < _FULL_DISK else ""
    return f"{sentence}.{hint} The end of {state.log(name)}:\n{end}"
