"""The process that reads documents: takes one after another on its input, answers on its output.

It lives within limits that the system enforces, so that the worst a document can do is end it.
"""

import contextlib
import logging
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from streams.documents.formats.read import read
from streams.documents.refused import Refused
from streams.documents.text.blocks import Parsed

GRACE = 10  # seconds beyond the limit; whoever started it has ended it by then, unless that one was killed
_LENGTH = struct.Struct(">I")


class Task(msgspec.Struct, frozen=True):
    """A document to read."""

    body: bytes
    media_type: str
    seconds: float
    most: int


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was read, or why it was not.

    ``exhausted``: memory did not suffice.  ``spent``: much was needed, so that the next should find a new process.
    """

    parsed: Parsed | None = None
    refused: str = ""
    exhausted: bool = False
    spent: bool = False


def main(read: Callable[[bytes, str, int], Parsed] = read) -> None:
    """Serve until the input ends; the first argument is how many bytes of memory may be had."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    logging.disable()  # what libraries note about strangers' files would stand between the worker's own lines
    memory = int(sys.argv[1])
    limit_memory(memory)
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Task).decode
    _send(answers, b"")  # ready
    while frame := _receive(sys.stdin.buffer):
        task = decode(frame)
        signal.alarm(int(task.seconds) + GRACE)  # ends the process, whatever it is doing
        try:
            parsed = read(task.body, task.media_type, task.most)
            answer = encode(Answer(parsed, spent=peak() * 2 > memory))
        except Refused as refused:
            # What a library calls damaged may be whole, where memory ran short: C code seldom says so.
            spent = peak() * 2 > memory
            answer = encode(Answer(refused=refused.reason, exhausted=spent and bool(refused.__cause__), spent=spent))
        except MemoryError:
            answer = encode(Answer(exhausted=True))
        signal.alarm(0)
        _send(answers, answer)


def limit_memory(most: int) -> None:
    """Where the system knows such limits: Linux does, macOS takes none."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # where the machine itself runs out, this goes first
        Path("/proc/self/oom_score_adj").write_text("1000")


def peak() -> int:
    """Most bytes that ever counted for the limit, 0 where there is none; rusage would begin with our parent's."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmPeak:")), 0)


def _send(stream: BinaryIO, frame: bytes) -> None:
    stream.write(_LENGTH.pack(len(frame)) + frame)
    stream.flush()


def _receive(stream: BinaryIO) -> bytes:
    head = stream.read(_LENGTH.size)
    return stream.read(*_LENGTH.unpack(head)) if len(head) == _LENGTH.size else b""


if __name__ == "__main__":
    main()
