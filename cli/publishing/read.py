"""The content of a file, or the reason why there is none; no file can stall the run or fill the memory."""

import os
import stat
from pathlib import Path

from cli.publishing.walk import Found, Left, why

TRIES = 3  # for a file that is being written


def read(found: Found, limit: int) -> bytes | Left:
    """The content as it was at one moment, of at most ``limit`` bytes."""
    try:
        for _ in range(TRIES):
            body = _read_once(found.path, limit)
            if isinstance(body, str):
                return Left(found.doc_id, body, failed=True)
            if body is not None:
                return body
    except FileNotFoundError:
        return Left(found.doc_id, "vanished before it was read")
    except OSError as error:
        return Left(found.doc_id, why(error), failed=True)
    return Left(found.doc_id, "is being written while it is read", failed=True)


def too_large(limit: int) -> str:
    """The reason for a file over the limit."""
    return f"larger than {limit} bytes, the most that fits into a record of `documents`"


def _read_once(path: Path, limit: int) -> bytes | str | None:
    """Content; or a reason; or None where the file was changed meanwhile."""
    # A pipe that took the place of the file would else keep us waiting for a writer.
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:  # noqa: PTH123
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            return "is no file with content any more"
        if before.st_size > limit:
            return too_large(limit)
        body = file.read(limit + 1)
        after = os.fstat(file.fileno())
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return body if same and len(body) == before.st_size else None
