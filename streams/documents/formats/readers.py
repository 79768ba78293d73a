"""Reads documents in processes of their own, each within a time and a memory that the document cannot exceed.

A process is started when the first document needs it and kept for the next.  One that takes too long is killed; what a
used process fails at is tried once more in a new one, since an earlier document may have left too little.  Nothing
here waits without a bound, and nothing that happens in a process reaches this one.
"""

import asyncio
import contextlib
import os
import signal
import struct
import sys
import time
from asyncio.subprocess import PIPE, Process

import msgspec

from connectors.errors import Transient
from runtime.settings import Documents
from streams.documents.formats.process import Answer, Task
from streams.documents.refused import Refused
from streams.documents.text.blocks import Parsed

START = 60.0  # seconds that Python may take to start
_LONGEST = 256 * 1024 * 1024  # bytes of an answer: what a document may have, with all that stands around it
_DYING = 5.0  # seconds that a process may take to end after its output did
_LENGTH = struct.Struct(">I")
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Answer).decode


class _Died(Exception):
    """The process ended, or ran out of memory, over a document."""


class _Garbled(Exception):
    """What came from the process is no answer."""


class Readers:
    """Up to ``settings.readers`` processes.  ``module`` is what they run."""

    def __init__(self, settings: Documents, module: str = "streams.documents.formats.process") -> None:
        self._settings, self._module = settings, module
        self._free = asyncio.Semaphore(settings.readers)
        self._idle: list[Process] = []
        self._all: set[Process] = set()
        self._closed = False

    async def read(self, body: bytes, media_type: str) -> Parsed:
        """Blocks of a document; :class:`Refused` where it has none to give, for whatever reason."""
        task = _encode(Task(body, media_type, self._settings.read_timeout, self._settings.max_document_bytes))
        async with self._free:
            left = self._settings.read_timeout
            if self._idle:
                began = time.monotonic()
                with contextlib.suppress(_Died):
                    return await self._run(self._idle.pop(), task, left)
                left -= time.monotonic() - began  # one limit for both tries
            try:
                return await self._run(await self._start(), task, left)
            except _Died as died:
                self._check_open()
                raise Refused(str(died)) from None

    def processes(self) -> list[int]:
        """Ids of those that run now."""
        return [process.pid for process in self._all]

    async def close(self) -> None:
        """End all processes, at work or not; what they were reading is nobody's fault."""
        self._closed = True
        for process in list(self._all):
            await self._end(process)
        self._idle.clear()

    async def _start(self) -> Process:
        """A process that is ready; what keeps one from starting is no fault of the document."""
        self._check_open()
        command = (sys.executable, "-m", self._module, str(self._settings.read_memory_bytes))
        # No secret of ours is in the environment of a process that hostile bytes may take over.
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                env=environment,
                start_new_session=True,  # a Ctrl-C is for us: we end it
            )
        except OSError as error:
            raise Transient(f"a reader process does not start: {error}", reason="reader") from error
        self._all.add(process)
        try:
            async with asyncio.timeout(START):
                await _receive(process)
        except BaseException as error:
            await self._end(process)
            if isinstance(error, (TimeoutError, asyncio.IncompleteReadError)):
                self._check_open()
                raise Transient(f"a reader process ended at its start: {error!r}", reason="reader") from error
            raise
        return process

    async def _run(self, process: Process, task: bytes, seconds: float) -> Parsed:
        try:
            async with asyncio.timeout(seconds):
                answer = await _exchange(process, task)
        except TimeoutError:
            await self._end(process)
            raise Refused(
                f"reading it took longer than {self._settings.read_timeout:g} s and was stopped: divide it, or save it"
                " in a simpler form"
            ) from None
        except (OSError, asyncio.IncompleteReadError):
            with contextlib.suppress(TimeoutError):  # a kill now would take its exit status from whom it is told to
                async with asyncio.timeout(_DYING):
                    await process.wait()
            number = -await self._end(process)
            how = {known.value: known.name for known in signal.Signals}.get(number, f"exit {-number}")
            raise _Died(f"its reader crashed ({how}): the file is damaged, or needs more than {self._memory}") from None
        except _Garbled as garbled:
            await self._end(process)
            raise _Died(f"its reader lost its way ({garbled}): the file is damaged") from None
        except BaseException:  # cancelled: the answer that will still come is for nobody
            await self._end(process)
            raise
        if answer.exhausted:
            await self._end(process)
            raise _Died(f"reading it takes more than {self._memory} of memory: divide it")
        if answer.spent:
            await self._end(process)
        else:
            self._idle.append(process)
        if answer.parsed is None:
            raise Refused(answer.refused)
        return answer.parsed

    def _check_open(self) -> None:
        if self._closed:
            raise Transient("the worker stops", reason="stopping")

    @property
    def _memory(self) -> str:
        return f"{self._settings.read_memory_bytes >> 20} MiB"

    async def _end(self, process: Process) -> int:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        self._all.discard(process)
        return await process.wait()


async def _exchange(process: Process, task: bytes) -> Answer:
    assert process.stdin
    process.stdin.write(_LENGTH.pack(len(task)) + task)
    await process.stdin.drain()
    frame = await _receive(process)
    try:
        return await asyncio.to_thread(_decode, frame)  # may be megabytes
    except msgspec.DecodeError as error:
        raise _Garbled(f"no answer: {error}") from None


async def _receive(process: Process) -> bytes:
    assert process.stdout
    (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
    if length > _LONGEST:
        raise _Garbled(f"an answer of {length} bytes")
    return await process.stdout.readexactly(length)
