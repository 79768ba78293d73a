"""The user's cache folder: parts are built aside, checked, and appear under their final name in one step.

A part either is there complete or is not there: its files and their sizes are written down last, then the folder is
renamed.  A run that was killed leaves a folder under `building/`, which the next run continues or wipes.  A lock per
part makes a second set-up wait for the first; children inherit it, so a killed set-up's last compiler still holds it.
"""

import contextlib
import fcntl
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_INVENTORY = ".complete.json"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where this user's downloads are kept, by the custom of the system."""
    if environment.get("XDG_CACHE_HOME"):
        return Path(environment["XDG_CACHE_HOME"]) / "freshet"
    home = Path(environment.get("HOME") or Path.home())
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "freshet"


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None]) -> Iterator[int]:
    """Hold the lock file; call `on_wait` once when somebody else has it, then wait for them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def is_complete(folder: Path) -> bool:
    """Whether every file the part was finished with is still there in its full size."""
    try:
        inventory: dict[str, int] = json.loads((folder / _INVENTORY).read_text())
        return all((folder / name).stat().st_size == size for name, size in inventory.items())
    except (OSError, ValueError):
        return False


def remove_tree(folder: Path) -> None:
    """Remove a folder, also one with read-only folders in it, as Go's module cache has."""
    if not folder.exists():
        return
    for path, folders, _files in os.walk(folder):
        for name in folders:
            inner = Path(path) / name
            if not inner.is_symlink() and not os.access(inner, os.W_OK):
                inner.chmod(stat.S_IRWXU)
    shutil.rmtree(folder)


def ensure(
    cache: Path,
    key: str,
    build: Callable[[Path, Path, int], None],
    *,
    resumable: bool = False,
    on_wait: Callable[[], None] = lambda: None,
) -> Path:
    """Return the folder of the part, building it first when it is missing or damaged.

    `build(work, out, lock)` fills `out`; `work` is scratch space, kept after a failure when the part is resumable.
    """
    final = cache / "parts" / key
    if is_complete(final):
        return final
    with locked(cache / "locks" / key, on_wait) as lock:
        if is_complete(final):
            return final
        work = cache / "building" / key
        if not resumable:
            remove_tree(work)
        out = work / "out"
        remove_tree(out)
        out.mkdir(parents=True)
        build(work, out, lock)
        inventory = {
            str(path.relative_to(out)): path.stat().st_size
            for path in sorted(out.rglob("*"))
            if path.is_file() and not path.name.endswith(".pyc")  # Python rewrites those as it likes
        }
        (out / _INVENTORY).write_text(json.dumps(inventory))
        remove_tree(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        out.rename(final)
        remove_tree(work)
    return final
