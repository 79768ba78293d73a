"""What traces cost a lane: microseconds of processor time a record in the runner, with a stage that does nothing.

A log in memory, batches of 32 and a window of 16.  Off; on with a share of 0.1; all of it.  The collector is a server
in a process of its own that says yes.  Real stages need 300 times as much and more for a record, so this is the whole
of the difference; ``--against DIR`` runs `off` with the code of another checkout as well.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from connectors.memory.deliveries import MemoryDeliveries
from streams.outcome import Emit, Outcome, Output, Record, RefusedStatus, Stage
from streams.runner import Runner
from topics import registry

BATCH, WINDOW, DEADLINE = 32, 16, 120.0
SHARES = {"off": None, "0.1": 0.1, "1.0": 1.0}
_COLLECTOR = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"])); self.send_response(200)
        self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class Stream:
    """As Faust gives it: so many records, then nothing."""

    def __init__(self, records: int) -> None:
        self._left, self._records = asyncio.Semaphore(0), records

    async def noack_take(self, count: int, within: object) -> AsyncIterator[list[Any]]:
        del count, within
        now = time.time()
        for offset in range(self._records):
            message = SimpleNamespace(
                topic="freshet.chunks.g1", partition=0, offset=offset, key=b"default/a#0", value=b"x" * 1000,
                headers=[], timestamp=now,
            )  # fmt: skip
            yield [SimpleNamespace(message=message)]
        await asyncio.Event().wait()

    async def ack(self, event: Any) -> None:
        del event
        self._left.release()

    async def finished(self) -> None:
        async with asyncio.timeout(DEADLINE):
            for _ in range(self._records):
                await self._left.acquire()


async def _lane(windowed: bool, records: int) -> float:
    """Microseconds of this process's time a record."""

    async def one(record: Record) -> Outcome:
        return Emit([Output(registry.VECTORS, b"default/a#0", record.value, 0, record.headers)])

    async def many(batch: Sequence[Record]) -> Sequence[Outcome]:
        return [await one(record) for record in batch]

    async def refused(record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        raise AssertionError((record.place, status, reason))

    async def publish(outputs: Sequence[Output]) -> None:
        del outputs

    steps: dict[str, Any] = {"record_step": one, "in_flight": WINDOW} if windowed else {"batch_step": many}
    stage = Stage("embed", registry.CHUNKS, refused, batch=BATCH, **steps)
    stream = Stream(records)
    running = asyncio.create_task(Runner(stage, publish, MemoryDeliveries(), 4).run(stream))
    began = time.process_time()
    await stream.finished()
    took = time.process_time() - began
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return took / records * 1e6


def _one(share: float | None, endpoint: str, records: int) -> None:
    """In a process of its own: print both figures."""
    if share is not None:
        from runtime import tracing
        from runtime.settings import Otlp

        tracing.configure(Otlp(endpoint=endpoint, sample=share, queue=100_000), "bench", "0", "bench")
    found = [asyncio.run(_lane(windowed, records)) for windowed in (False, True)]
    print(json.dumps(found), flush=True)
    os._exit(0)  # what waits to be sent is nobody's concern


def run(arguments: Sequence[str]) -> None:
    """Measure in rounds of alternating order, then write and print."""
    parser = argparse.ArgumentParser(prog="python -m bench tracing", description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout, without traces")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        _one(SHARES[options.one[0]], options.one[1], options.records)
    from bench import machine, report

    here = Path(__file__).resolve().parents[1]
    cases = [(name, here) for name in SHARES] + ([("off", options.against.resolve())] if options.against else [])
    measured: dict[str, list[float]] = {}
    collector = subprocess.Popen([sys.executable, "-c", _COLLECTOR], stdout=subprocess.PIPE, text=True)
    try:
        assert collector.stdout is not None
        endpoint = f"http://127.0.0.1:{collector.stdout.readline().strip()}"
        for number in range(options.rounds):
            for name, root in cases[:: 1 if number % 2 else -1]:
                command = [sys.executable, "-P", __file__, "--one", name, endpoint, "--records", str(options.records)]
                environment = {**os.environ, "PYTHONPATH": str(root)}
                done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
                label = name if root == here else "before"
                for lane, found in zip(("batches", "window"), json.loads(done.stdout), strict=True):
                    measured.setdefault(f"{lane}, {label}", []).append(round(found, 2))
    finally:
        collector.kill()
    measured = dict(sorted(measured.items()))
    result = {"records": options.records, "microseconds": measured, "machine": machine.features()}
    report.save("tracing", result)
    report.show("the runner's time for a record", "µs", measured, {})


if __name__ == "__main__":
    run(sys.argv[1:])
