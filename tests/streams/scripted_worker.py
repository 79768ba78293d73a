"""A worker process whose stage does what each record tells it to.  Run by the runner's tests.

Reads ``chunks``, writes each record's value to ``vectors`` when it has been dealt with.  Values are words:
``ok``, ``sleep:<seconds>``, ``kill`` (SIGKILL to itself), ``raise``, ``refuse``, ``permanent``, ``away:<file>``
(transient while the file exists), ``unclear:<file>`` (unclear while it exists).  What the lane is told of records that
wait for another try goes to ``index-events``: ``begin <value>`` and ``end <value>``.  In the mode ``beside`` what
runs beside the stage fails; in the mode ``few`` records with the header ``many`` are skipped.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from connectors.errors import Permanent, Transient, Unclear
from runtime import logs
from runtime.settings import Settings
from streams.outcome import Emit, Outcome, Output, Publish, Record, Refuse, RefusedStatus, Stage
from streams.worker import serve
from topics import registry


class ToEvents:
    """Says what the runner tells the lane, word by word."""

    async def begin(self, record: Record, reason: str) -> Sequence[Output]:
        return [self._output(record, b"begin ")]

    async def end(self, record: Record) -> Sequence[Output]:
        return [self._output(record, b"end ")]

    async def overtaken(self, record: Record) -> bool:
        return False

    def _output(self, record: Record, word: bytes) -> Output:
        return Output(registry.INDEX_EVENTS, record.key or b"", word + (record.value or b""), record.partition)


async def build(mode: str, publish: Publish) -> Stage:
    async def one(record: Record) -> Outcome:
        word, _, argument = (record.value or b"").decode("utf-8", "replace").partition(":")
        match word:
            case "sleep":
                await asyncio.sleep(float(argument))
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raise":
                raise RuntimeError("told to")
            case "permanent":
                raise Permanent("told to", reason="told")
            case "away" if os.path.exists(argument):  # noqa: ASYNC240, PTH110
                raise Transient("told to wait", reason="told")
            case "unclear" if os.path.exists(argument):  # noqa: ASYNC240, PTH110
                raise Unclear("cannot tell", reason="told")
            case "refuse" | "\ufffd\ufffd":
                return Refuse("cannot read this", "undecodable")
        return Emit([Output(registry.VECTORS, record.key or b"", record.value, record.partition)], proof=True)

    async def many(records: Sequence[Record]) -> Sequence[Outcome]:
        return [await one(record) for record in records]

    async def on_refused(record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        return [Output(registry.VECTORS, record.key or b"", f"refused:{status}".encode(), record.partition)]

    async def beside() -> None:
        raise RuntimeError("told to")

    window = mode == "window"
    return Stage(
        name="embed",
        reads=registry.CHUNKS,
        on_refused=on_refused,
        record_step=one if window else None,
        batch_step=None if window else many,
        batch=16,
        linger=0.005,
        in_flight=8,
        deferrals=ToEvents(),
        beside=[beside] if mode == "beside" else [],
        skips=_many if mode == "few" else None,
        gather=0.02 if mode == "few" else 0.0,
    )


def _many(headers: Mapping[str, bytes]) -> bool:
    return "many" in headers


if __name__ == "__main__":
    logs.configure("INFO", stage="scripted")
    asyncio.run(serve("embed", Settings.from_env(), lambda name, settings, publish: build(sys.argv[1], publish)))
