"""`python deploy/runtime_lock.py requirements.lock`: print the lock without what only developers need.

uv writes under each entry who asked for it ("# via"); kept is what the project itself asks for, directly or not.  So
an image is built from the one lock, hashes and all.  Needs the standard library only: it runs before anything is there.
"""

import re
import sys
from pathlib import Path

PROJECT = "freshet-rag (pyproject.toml)"  # a development group is "(pyproject.toml:dev)"


def runtime_lock(lock: str) -> str:
    """The entries that the project needs to run."""
    entries = [entry for entry in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.M) if "==" in entry]
    named = [(entry.split("==")[0].split("[")[0], entry) for entry in entries]
    askers = [set(re.findall(r"^ +# +(?:via )?(\S.*)$", entry, re.M)) for entry in entries]
    kept = {PROJECT}
    while more := {name for (name, _), by in zip(named, askers, strict=True) if by & kept} - kept:
        kept |= more
    return "".join(entry for name, entry in named if name in kept)


if __name__ == "__main__":
    sys.stdout.write(runtime_lock(Path(sys.argv[1]).read_text()))
