"""The real reader process around a reader that does what the document says: sleep, spin, allocate, crash, or read."""

import contextlib
import os
import time

from streams.documents.formats import process
from streams.documents.refused import Refused
from streams.documents.text.blocks import Block, Parsed

_kept: list[bytearray] = []


def read(body: bytes, media_type: str, most: int) -> Parsed:
    """Obey."""
    order, _, argument = body.decode().partition(" ")
    match order:
        case "sleep":
            time.sleep(float(argument))
        case "spin":
            while True:
                pass
        case "allocate":
            bytearray(int(argument))
        case "keep":
            _kept.append(bytearray(int(argument)))
        case "fill":
            bytearray(b"x" * int(argument))
        case "garble":
            for number in range(3, 8):  # wherever the answers go
                with contextlib.suppress(OSError):
                    os.write(number, bytes.fromhex(argument))
        case "crash":
            time.sleep(float(argument or 0))
            os.abort()
        case "refuse":
            raise Refused(argument)
        case "print":
            print(argument, flush=True)  # noqa: T201
        case "environment":
            argument = " ".join(sorted(os.environ))
    return Parsed(str(os.getpid()), [Block("paragraph", argument)])


if __name__ == "__main__":
    process.GRACE = 1  # else a test would take ten seconds longer
    process.main(read)
