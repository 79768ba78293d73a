"""A retrieval worker killed with -9 on a full library: how long until it answers by keyword, by vector, by both.

Three figures a kill, each from the kill to the first answer of a question that is asked again and again meanwhile; and
the same after its keyword index was taken away, so that all of it must come from the log.
"""

import argparse
import asyncio
import shutil
import time
from collections.abc import Sequence
from typing import Any

import httpx

from bench import library, machine, report
from bench.installation import Installation
from bench.questions import shuffled

QUESTION = "How is a file opened for reading?"
WAYS = ("keyword", "vector", "hybrid")
DEADLINE = 120.0


def run(arguments: Sequence[str]) -> None:
    """Fill, kill, measure, then write and print."""
    parser = argparse.ArgumentParser(prog="python -m bench wakeup", description=__doc__)
    parser.add_argument("--chunks", type=int, default=20_000, help="least number of chunks (default 20000)")
    parser.add_argument("--kills", type=int, default=5, help="kills with the index kept (default 5); one without")
    library.settings_option(parser)
    options = parser.parse_args(arguments)
    with library.library(options.set) as freshet:
        _, chunks = asyncio.run(library.shelve(freshet, shuffled(), options.chunks))
        kept = [asyncio.run(_again(freshet)) for _ in range(options.kills)]
        anew = asyncio.run(_again(freshet, lose=True))
    measured = {way: [one[way] for one in kept] for way in WAYS}
    measured |= {f"{way}, index lost": [anew[way]] for way in WAYS}
    result: dict[str, Any] = {"chunks": chunks, "seconds": measured, "machine": machine.features()}
    report.save("wakeup", result)
    report.show(f"kill -9 of a retrieval worker to the first answer, {chunks} chunks", "s", measured, {})


async def _again(freshet: Installation, *, lose: bool = False) -> dict[str, float]:
    found: dict[str, float] = {}
    stack = freshet.stack
    async with httpx.AsyncClient(base_url=stack.door, timeout=DEADLINE) as http:
        while not all([await _answers(http, way) for way in WAYS]):
            await asyncio.sleep(0.1)  # of the last kill
        if lose:
            stack.stop("retrieve")
            shutil.rmtree(stack.environment["FRESHET_KEYWORD_DIR"])
            began = time.monotonic()
            stack.start("retrieve")
        else:
            began = time.monotonic()
            stack.send("retrieve")
        while len(found) < len(WAYS):
            if time.monotonic() - began > DEADLINE:
                raise TimeoutError(f"after {DEADLINE:.0f} s only {found} answered: see {stack.state.folder}/logs")
            for way in WAYS:
                if way not in found and await _answers(http, way):
                    found[way] = round(time.monotonic() - began, 2)
    return found


async def _answers(http: httpx.AsyncClient, way: str) -> bool:
    """Whether a question is answered that way, whole."""
    body = {"question": QUESTION, "search": way, "cache": False, "timeout": 5}
    response = await http.post("/v1/retrieve", json=body)
    return response.status_code == 200 and not response.json()["degraded"] and bool(response.json()["passages"])
