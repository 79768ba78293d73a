"""Mends drift through the normal lane: the record goes through it again with its version, the fence decides.

Where the current version's manifest or objects are not what they should be, the version is put in doubt first, so that
it is written and flipped to once more; readers see no gap.  Orphaned objects are deleted by id.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from connectors.ports import Manifest
from runtime.clock import Clock, millis
from streams.audit.audit import Audit
from streams.audit.compare import known_documents, orphans
from streams.audit.findings import Kind, Known
from streams.audit.report import Report
from streams.audit.resend import again, records_at, tombstone
from streams.audit.sources import Progress
from streams.audit.tables import ref_of
from streams.outcome import Output, Publish
from topics.epochs import Epochs
from topics.identity import DocumentRef, Token, Version, document_key, partition_of

ROUNDS = 3
PLANS = 20_000  # documents in one round: what more there is, another audit mends
EXAMPLES = 20
BATCH = 100  # documents in one step
BATCH_BYTES = 16 * 1024 * 1024
POLL = 0.2  # seconds between looks at what was sent
_DOUBTFUL: Set[Kind] = frozenset({"missing", "altered", "mixed"})
_TO_MEND = "FROM findings WHERE kind != 'orphaned'"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to mend one document: send ``token`` again, or its delete; ``doubt`` names the version to doubt before."""

    ref: DocumentRef
    token: Token
    delete: bool = False
    doubt: str | None = None

    def settled(self, now: Manifest) -> bool:
        """Whether what was sent came to its end."""
        version = str(self.token.version)
        if (now.version or "") >= version:
            return now.done and not now.doubted
        return not now.doubted and now.last_seen is not None and now.last_seen.version >= version


def plan(ref: DocumentRef, known: Known, kinds: Set[str], epochs: Epochs) -> Plan | str:
    """What mends these kinds of drift, or why nothing does."""
    if known.beyond:
        return "the log ends before its version: was `documents` made anew without a new epoch?"
    newest = max(known.version or "", known.event or "")
    # A refused version leaves the one before it visible, which the log may still hold.
    wanted = newest if known.logged is None or (known.refused and newest) else known.logged
    version = Version.parse(wanted)
    if (epoch := epochs.of_number(version.epoch)) is None:
        return f"`control` knows no epoch {version.epoch}: publish the document, or its delete"
    token = Token(epoch.number, partition_of(document_key(ref), epoch.partitions), version.offset)
    if known.logged is None:
        return Plan(ref, token, delete=True, doubt=known.version)
    return Plan(ref, token, doubt=known.version if kinds & _DOUBTFUL else None)


@dataclass(slots=True)
class Repair:
    """Mends what an audit found.

    ``lane`` is how many partitions the internal topics have; ``patience`` how long the lane may make no progress, in
    seconds.
    """

    audit: Audit
    publish: Publish
    clock: Clock
    progress: Progress
    lane: int
    patience: float = 60.0

    async def run(self, report: Report) -> None:
        """Mend and look again, until nothing is left that can be mended or the tries are used up."""
        for _ in range(ROUNDS):
            if report.clean:
                return
            self.audit.tables.look_at("SELECT path FROM findings")
            sent = await self._mend(report)
            swept = await self._sweep()
            _add(report, "sent through the lane again", sent)
            _add(report, "orphaned objects deleted", swept)
            if not sent and not swept:
                return
            await self.audit.look_closer(report)

    async def _mend(self, report: Report) -> int:
        done, total = 0, self.audit.tables.count(f"SELECT count(DISTINCT path) {_TO_MEND}")
        query = f"SELECT path, group_concat(kind) {_TO_MEND} GROUP BY path ORDER BY path"
        rows = list(self.audit.tables.rows(query + " LIMIT ?", (PLANS,)))
        plans: list[Plan] = []
        anew = False
        for path, kinds in rows:
            [(ref, known)] = known_documents(self.audit.tables, self.audit.sources.beyond, path)
            made = plan(ref, known, set(kinds.split(",")), self.audit.sources.epochs)
            anew = anew or known.beyond
            if isinstance(made, Plan):
                plans.append(made)
            else:
                _give_up(report, path, made)
        if anew:  # then that it lacks a document says nothing
            for each in (each for each in plans if each.delete):
                _give_up(report, each.ref.path, "the log was made anew, so nothing is deleted: start a new epoch")
            plans = [each for each in plans if not each.delete]
        plans.sort(key=lambda plan: (plan.token.epoch, plan.token.partition, plan.token.offset))
        for start in range(0, len(plans), BATCH):
            batch = plans[start : start + BATCH]
            done += await self._send(batch, report)
            self.progress("repair", done, total)
        return done

    async def _send(self, plans: Sequence[Plan], report: Report) -> int:
        """Doubt, send and wait; returns how many were sent."""
        waiting: dict[DocumentRef, Plan] = {}
        ready: list[tuple[Plan, Output]] = []
        sources, now = self.audit.sources, millis(self.clock.now())
        records = records_at(sources.logs, [plan.token for plan in plans if not plan.delete])
        for each in plans:
            epoch = sources.epochs.of_number(each.token.epoch)
            assert epoch is not None  # or there would be no plan
            if each.delete:
                ready.append((each, tombstone(each.ref, each.token, epoch, self.lane, now)))
            elif (record := await anext(records)) is not None:
                ready.append((each, again(record, epoch, self.lane, now)))
            else:
                _give_up(report, each.ref.path, "the log no longer has the version that is visible: publish it")
            if sum(len(output.value or b"") for _, output in ready) > BATCH_BYTES or each is plans[-1]:
                await sources.manifests.doubt({p.ref: p.doubt for p, _ in ready if p.doubt is not None})
                await self.publish([output for _, output in ready])
                waiting |= {sent.ref: sent for sent, _ in ready}
                ready = []
        await self._wait(dict(waiting))
        return len(waiting)

    async def _wait(self, waiting: dict[DocumentRef, Plan]) -> None:
        until = self.clock.now() + self.patience
        while waiting and self.clock.now() < until:
            states = await self.audit.sources.manifests.status(list(waiting))
            now = dict(zip(waiting, states, strict=True))
            left = {ref: each for ref, each in waiting.items() if not each.settled(now[ref])}
            if len(left) < len(waiting):
                until = self.clock.now() + self.patience
            waiting = left
            if waiting:
                self.progress("lane", 0, len(waiting))
                await self.clock.sleep(POLL)

    async def _sweep(self) -> int:
        """Delete orphaned objects whose document is at rest and does not list them at this very moment."""
        tables, sources, swept = self.audit.tables, self.audit.sources, 0
        paths = [row[0] for row in tables.rows("SELECT path FROM findings WHERE kind = 'orphaned' LIMIT ?", (PLANS,))]
        for start in range(0, len(paths), BATCH):
            refs = [ref_of(path) for path in paths[start : start + BATCH]]
            doomed = {}
            for ref, now in zip(refs, await sources.manifests.read(refs), strict=True):
                if now.done and not now.doubted:
                    doomed[ref] = [id_ for id_ in orphans(tables, ref.path, self.audit.before) if id_ not in now.chunks]
            await sources.store.delete({ref: ids for ref, ids in doomed.items() if ids})
            swept += sum(map(len, doomed.values()))
            self.progress("sweep", start + len(refs), len(paths))
        return swept


def _give_up(report: Report, path: str, why: str) -> None:
    if len(report.hopeless) < EXAMPLES:
        report.hopeless[path] = why


def _add(report: Report, what: str, count: int) -> None:
    if count:
        report.mended[what] = report.mended.get(what, 0) + count
