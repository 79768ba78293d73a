"""Keep manifests a view of ``index-events``.

Catches up when the view is not whole, from where it stands to the end of the log as it was after the loss; then follows
for ever.  Several side by side do each other's work: an event is applied once.  Whatever is away is waited for.

Where an event of an older version lies behind a newer one, as a stalled writer or a late refusal leaves it, the current
manifest is announced once more, so that the compacted log ends on it.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Mapping, Sequence

from connectors.errors import Transient
from connectors.ports import LoggedRecord, ManifestStore, TopicLog
from connectors.view_ports import Announced, ManifestView, ViewState
from runtime import metrics
from runtime.logs import logger
from runtime.retry import Backoff
from streams.documents.diff import event_of
from streams.outcome import Output, Publish
from topics import registry
from topics.codec import DecodeError, decode_one, encode, schema_header
from topics.documents import IndexEvent
from topics.identity import DocumentRef, event_key

POLL = 0.25  # seconds without news between looks at the view
BACKOFF = Backoff(first=0.05, cap=2.0)
log = logger(__name__)

Progress = Callable[[int, int], None]  # events applied, records of the log passed


class View:
    """Keeps one view, called ``name``.  With ``manifests`` and ``publish`` it also sets the log right."""

    def __init__(
        self,
        name: str,
        events: TopicLog,
        view: ManifestView,
        manifests: ManifestStore | None = None,
        publish: Publish | None = None,
    ) -> None:
        self._name, self._log, self._view = name, events, view
        self._manifests, self._publish = manifests, publish
        self._places: Mapping[int, int] = {}  # everything before has been given to the view
        self._applied: dict[int, int] = {}  # behind the last event among it
        self._suspects: tuple[set[DocumentRef], Mapping[int, int]] | None = None
        self._whole, self._turned = False, asyncio.Event()

    async def run(self) -> None:
        """Keep it, for ever."""
        delays, waiting = BACKOFF.delays(), False
        while True:
            try:
                await self._log.open()
                await self._view.open()
                await self.catch_up()
                delays, waiting = BACKOFF.delays(), False
                await self._follow()
            except Transient as error:
                if not waiting:
                    log.warning("view waits", view=self._name, reason=error.reason, error=str(error)[:500])
                waiting = True
                self._turn(whole=False)
                await asyncio.sleep(next(delays))

    async def close(self) -> None:
        await self._log.close()
        await self._view.close()

    async def catch_up(self, progress: Progress = lambda _events, _records: None) -> None:
        """Return when the view is whole, by own work or another's."""
        began, events, told, stands = time.monotonic(), 0, False, False
        while not (state := await self._view.state()).whole:
            if not told:
                log.warning("view lost, rebuilding", view=self._name, server=state.server, offsets=dict(state.offsets))
                self._turn(whole=False)
                told = True
            ends = await self._log.ends()  # asked after the loss: all that was announced before lies before them
            await self._stand(state, ends)
            stands, first = True, sum(self._places.values())
            while any(self._places[p] < end for p, end in ends.items()):
                records, places = await self._log.read(self._places, POLL)
                stands = await self._apply(records)
                if not stands:
                    break
                self._places, events = places, events + len(records)
                progress(events, sum(places.values()) - first)
            else:
                if await self._view.declare_whole(state.server, self._applied):
                    continue
            await asyncio.sleep(POLL)  # lost once more, or a reset is under way
        if not stands:
            await self._stand(state, await self._log.ends())
        self._turn(whole=True)
        if told:
            gc.freeze()  # a full collection would walk all of a view in memory, for nothing: 73 ms at 4,700 chunks
            log.info("view whole", view=self._name, events=events, seconds=round(time.monotonic() - began, 2))

    async def caught_up(self) -> None:
        """Wait until the view is whole and as far as the log is now, however long."""
        while not self._whole:
            await self._turned.wait()
        ends = await self._log.ends()
        while not self._whole or any(self._places[p] < end for p, end in ends.items()):
            await self._turned.wait()

    async def _follow(self) -> None:
        """Apply what comes; returns when the view was lost."""
        while True:
            records, places = await self._log.read(self._places, POLL)
            if not await self._apply(records):
                return
            self._places = places
            self._turn(whole=True)
            state = await self._view.state()
            if not state.whole:
                return
            await self._set_right(state.overtaken)

    async def _stand(self, state: ViewState, ends: Mapping[int, int]) -> None:
        """Go to where the view says that it is."""
        beyond = {p: (offset, ends.get(p, 0)) for p, offset in state.offsets.items() if offset > ends.get(p, 0)}
        if beyond:
            raise Transient(
                f"more is applied than the log holds ({beyond}): if it is the right log, run `freshet view rebuild`",
                reason="log",
            )
        starts = await self._log.starts()
        self._applied = dict(state.offsets)
        self._places = {p: max(start, self._applied.get(p, 0)) for p, start in starts.items()}

    async def _apply(self, records: Sequence[LoggedRecord]) -> bool:
        events = []
        for record in records:
            try:
                event = decode_one(record.value or b"", record.headers, IndexEvent)
            except DecodeError as error:
                log.error("not an index event", place=(record.partition, record.offset), error=str(error)[:500])
                continue
            events.append(Announced(record.partition, self._applied.get(record.partition, 0), record.offset, event))
            self._applied[record.partition] = record.offset + 1
        return not events or await self._view.apply(events)

    async def _set_right(self, overtaken: Mapping[DocumentRef, int]) -> None:
        """Announce once more what the log does not end on.

        A version that is done was announced before.  If its event is not in front of the older one, it is behind it,
        so nothing is wrong until all that is in the log by now has been applied.
        """
        if self._manifests is None or self._publish is None or not overtaken:
            self._suspects = None
            return
        refs, ends = self._suspects = self._suspects or (set(overtaken), await self._log.ends())
        if any(self._places[p] < end for p, end in ends.items()):
            return
        self._suspects = None
        still = [ref for ref in refs if ref in overtaken]
        outputs = []
        for ref, manifest in zip(still, await self._manifests.read(still), strict=True):
            if manifest.done and manifest.last_seen is not None:  # else its writer is about to announce it
                event = event_of(ref, manifest, manifest.last_seen)
                outputs.append(
                    Output(registry.INDEX_EVENTS, event_key(ref), encode(event), overtaken[ref], schema_header(event))
                )
        log.warning("announced once more", documents=len(outputs), first=still[0].path if still else None)
        await self._publish(outputs)

    def _turn(self, *, whole: bool) -> None:
        """Tell those who wait how things are."""
        self._whole = whole
        metrics.view_whole.labels(self._name).set(whole)
        self._turned.set()
        self._turned = asyncio.Event()
