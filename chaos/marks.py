"""Faults that somebody else does meanwhile, as told: lines of a file, or of a terminal.

A line names what begins now (`kill-9:embed`, or any words); it ends with the next line, `end` being one that begins
nothing.  What is in the file at the start counts as of before.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from chaos.history import Window

LOOK_EVERY = 0.2
END = "end"


class Marks:
    """Turns lines into windows."""

    def __init__(self, windows: list[Window], now: Callable[[], float]) -> None:
        self._windows, self._now = windows, now
        self._open: Window | None = None

    def mark(self, line: str) -> None:
        """One line: an end to what was open, and a beginning."""
        self.close()
        what = line.strip()
        if what and what != END:
            now = self._now()
            self._open = Window(what, now, injected=now)
            self._windows.append(self._open)

    def close(self) -> None:
        """End what is open."""
        if self._open is not None:
            self._open.released = self._open.healed = self._now()
            self._open = None

    @contextmanager
    def heard(self, terminal: TextIO) -> Iterator[None]:
        """Take each line that is typed there while the block runs."""
        loop = asyncio.get_running_loop()
        loop.add_reader(terminal, lambda: self.mark(terminal.readline()))
        try:
            yield
        finally:
            loop.remove_reader(terminal)

    async def follow(self, file: Path) -> None:
        """Take each line that is added to a file, which may come to be later, until cancelled."""
        read, rest = _size(file), b""
        while True:
            size = _size(file)
            if size < read:  # written anew
                read, rest = 0, b""
            if size > read:
                added = _from(file, read)
                read += len(added)
                *lines, rest = (rest + added).split(b"\n")
                for line in lines:
                    self.mark(line.decode(errors="replace"))
            await asyncio.sleep(LOOK_EVERY)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _from(file: Path, place: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(place)
        return stream.read()
