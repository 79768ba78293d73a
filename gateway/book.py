"""Jobs beside the log, as far as they are there: a gateway takes questions and follows jobs without them.

What needs them says so: lists, idempotency keys, and jobs that the log no longer keeps.
"""

import asyncio
import time

from connectors.errors import ConnectorError, Transient
from connectors.job_ports import JobRef, JobStore, StoredJob
from runtime.logs import logger

NOTE_SECONDS = 1.0
REST_SECONDS = 5.0  # after a note that failed
MAX_NOTES = 256  # under way at once; beyond them a job is listed when it has passages
_log = logger("gateway.book")


class JobBook:
    """The store behind it, or None where there is none."""

    def __init__(self, store: JobStore | None) -> None:
        self._store = store
        self._notes: set[asyncio.Task[None]] = set()
        self._resting_until = 0.0

    @property
    def store(self) -> JobStore:
        """For what cannot do without; :class:`Transient` where there is none."""
        if self._store is None:
            raise Transient("there is no store of jobs", reason="closed")
        return self._store

    def note(self, job: StoredJob) -> None:
        """Remember that it was accepted, in the background; whoever asks is not kept waiting for it."""
        if self._store is None or len(self._notes) >= MAX_NOTES or time.monotonic() < self._resting_until:
            return
        note = asyncio.create_task(self._note(self._store, job))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _note(self, store: JobStore, job: StoredJob) -> None:
        try:
            async with asyncio.timeout(NOTE_SECONDS):
                await store.put(job)
        except (ConnectorError, TimeoutError) as error:
            self._resting_until = time.monotonic() + REST_SECONDS
            _log.warning("accepted jobs are not listed for now", reason=str(error) or "timeout")

    async def find(self, ref: JobRef) -> StoredJob | None:
        """A whole job, where it is known."""
        if self._store is None:
            return None
        [job] = await self._store.read([ref])
        return job

    async def close(self) -> None:
        """Let notes under way come to their end."""
        await asyncio.gather(*self._notes, return_exceptions=True)
        if self._store is not None:
            await self._store.close()
