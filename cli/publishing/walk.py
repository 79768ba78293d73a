"""Files of a folder, with the id that each gets, and the reason for every one that is left out.

An id is the path from a base folder, as written: symbolic links inside are not resolved.  A link to a file counts as
the file; a link to a folder is not followed, so links cannot lead in circles or out of the folder.
"""

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

# Lock files and half-written files of editors, office programs and browsers; most others are hidden.
TEMPORARY = ("*~", "#*#", "~$*", "*.tmp", "*.temp", "*.swp", "*.swx", "*.bak", "*.part", "*.crdownload", "*___jb_*___")


@dataclass(frozen=True, slots=True)
class Found:
    """A file to publish."""

    path: Path
    doc_id: str
    base: str
    media_type: str
    stamp: tuple[int, ...] = ()  # size, times and number of the file as it was seen: equal while nobody touches it


@dataclass(frozen=True, slots=True)
class Left:
    """A file or folder that is left out; ``failed`` where somebody should do something about it."""

    name: str
    reason: str
    failed: bool = False


class Filters:
    """Patterns as in a .gitignore that lies in the folder; the last one that fits decides."""

    def __init__(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        """``ValueError`` names a pattern that is none."""
        include = list(include)
        self._include = _patterns(include) if include else None
        self._exclude = _patterns(exclude)

    def excludes_folder(self, relative: str) -> bool:
        return self._exclude.match_file(f"{relative}/")

    def against(self, relative: str) -> str | None:
        """Why a file is left out; None when it is not."""
        if self._exclude.match_file(relative):
            return "excluded"
        if self._include is not None and not self._include.match_file(relative):
            return "not included"
        return None


def _patterns(lines: Iterable[str]) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(lines)
    except (ValueError, re.error) as error:
        raise ValueError(f"--include and --exclude take patterns as in a .gitignore: {error}") from None


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder or file that was named, and the base from which its ids count."""

    place: Path
    base: Path

    @classmethod
    def of(cls, given: Path, root: Path | None = None) -> "Folder":
        """``root`` is the base; without it the working folder, or what the path lies in if it is not in there.

        ``ValueError`` where the path does not lie in the root.
        """
        place = _absolute(given)
        if root is None:
            here = Path.cwd()
            return cls(place, here if place.is_relative_to(here) else place.parent)
        base = _absolute(root).resolve()
        if not place.is_relative_to(base):
            raise ValueError(f"{shown(given)} does not lie in the root {shown(root)}")
        return cls(place, base)

    @property
    def prefix(self) -> str:
        """How every id from here begins."""
        inside = self.place.relative_to(self.base).as_posix()
        return "" if inside == "." else f"{inside}/"

    def holds(self, path: str) -> bool:
        """Whether the path lies in this folder."""
        return path.startswith(f"{self.place}/")

    def relative(self, doc_id: str) -> str:
        """Path within this folder, of a document that was published from here."""
        return doc_id.removeprefix(self.prefix)


def walk(folder: Folder, filters: Filters, media_types: Mapping[str, str]) -> Iterator[Found | Left]:
    """All that is there, in order of names: the files of a folder, then the folders in it."""
    if _is_folder(folder.place):
        yield from _walk(folder, filters, media_types)
    else:
        yield _file(folder, folder.place, media_types)


def is_passing(folder: Folder, path: str) -> bool:
    """Whether what lies there is some program's own affair: hidden, in a hidden folder, or temporary."""
    parts = path.removeprefix(f"{folder.place}/").split("/")
    return any(part.startswith(".") for part in parts) or _is_temporary(parts[-1])


def shown(name: str | Path) -> str:
    """A name that any terminal can print: what is not UTF-8 and what steers the terminal is written as escapes."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def why(error: OSError) -> str:
    """An error of the file system as a reason, without the path."""
    if error.errno == errno.ELOOP:
        return "symbolic links lead in a circle"
    return f"cannot be read: {error.strerror or error}"


def _walk(folder: Folder, filters: Filters, media_types: Mapping[str, str]) -> Iterator[Found | Left]:
    ahead = [folder.place]
    while ahead:
        at = ahead.pop()
        try:
            with os.scandir(at) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            yield Left(_name(folder, at), f"folder {why(error)}", failed=not isinstance(error, FileNotFoundError))
            continue
        inside = []
        for path in (at / name for name in names):
            if path.name.startswith("."):
                yield Left(_name(folder, path), "hidden")
            elif not _is_folder(path):
                relative = path.relative_to(folder.place).as_posix()
                reason = "temporary file" if _is_temporary(path.name) else filters.against(relative)
                yield Left(_name(folder, path), reason) if reason else _file(folder, path, media_types)
            elif path.is_symlink():
                yield Left(_name(folder, path), "link to a folder, not followed")
            elif filters.excludes_folder(path.relative_to(folder.place).as_posix()):
                yield Left(_name(folder, path), "excluded")
            else:
                inside.append(path)
        ahead += reversed(inside)


def _file(folder: Folder, path: Path, media_types: Mapping[str, str]) -> Found | Left:
    name, suffix = _name(folder, path), path.suffix.lower()
    try:
        status = path.stat()
    except FileNotFoundError:
        return Left(name, "broken link" if path.is_symlink() else "vanished")
    except OSError as error:
        return Left(name, why(error), failed=True)
    if not stat.S_ISREG(status.st_mode):
        return Left(name, "not a file with content (a pipe, socket or device)")
    if suffix not in media_types:
        return Left(name, f"no reader for {shown(suffix) or 'names without a suffix'}")
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return Found(path, name, str(folder.base), media_types[suffix], stamp)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # asked again as a file, which has the reason
        return False


def _is_temporary(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in TEMPORARY)


def _name(folder: Folder, path: Path) -> str:
    return path.relative_to(folder.base).as_posix()


def _absolute(given: Path) -> Path:
    """The real folder that holds it, and its own name as written."""
    place = Path(os.path.abspath(given))  # noqa: PTH100 - `..` goes, and a link that was named keeps its name
    return place.parent.resolve() / place.name
