"""Stages that are broken on purpose: each lacks one thing that the protocol stands on, and the machine must find it.

A mutant is the real stage with a few lines of one method replaced.  A line that is no longer there is an error, so a
mutant cannot quietly become the sound stage.
"""

import asyncio
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from connectors.memory.manifests import MemoryManifests
from connectors.ports import Flip, Manifest, ManifestChunk
from streams.documents import index
from streams.documents.index import Index
from streams.outcome import Outcome, Output, Record
from tests.consistency.lane import MakeStage, Place
from tests.consistency.machine import IndexMachine
from topics.identity import DocumentRef


def edited(base: type[Index], method: str, *edits: tuple[str, str]) -> Callable[..., Index]:
    """A subclass of ``base`` in which lines of one method are others; both are written without their indentation."""
    source = textwrap.dedent(inspect.getsource(getattr(Index, method)))
    lines = source.splitlines()
    for old, new in edits:
        (place,) = (number for number, line in enumerate(lines) if line.strip() == old)
        indent = " " * (len(lines[place]) - len(lines[place].lstrip()))
        lines[place : place + 1] = [indent + line for line in new.splitlines()]
    scope: dict[str, Any] = {}
    exec("\n".join(lines), vars(index), scope)
    return type(f"Edited{base.__name__}", (base,), scope)


# a: the fence


class Unordered(MemoryManifests):
    """Flips to any version, older ones too."""

    def _flip(self, flip: Flip) -> bool:
        current = self._manifests.get(flip.ref, Manifest())
        if current.version != flip.expected:
            return False
        self._manifests[flip.ref] = replace(current, version=None)
        return super()._flip(replace(flip, expected=None))


FENCELESS = edited(Index, "_apply", ("if manifest.version is None or manifest.version < change.version:", "if True:"))

# b: compare-and-set


class Careless(MemoryManifests):
    """The last flip wins, whatever it was diffed against."""

    def _flip(self, flip: Flip) -> bool:
        current = self._manifests.get(flip.ref, Manifest())
        self._manifests[flip.ref] = replace(current, version=flip.expected, doubted=True)
        return super()._flip(replace(flip, edition=""))


# c, d: the order around the flip

FLIP = "for flip, won in zip(flips, await self._manifests.flip(flips), strict=True):"
UPSERT = "written, doubted = await self._upsert(list(open_.values()), current)"
HASTY_CLEANUP = edited(
    Index, "_apply", (FLIP, f"await self._store.delete({{f.ref: f.doomed for f in flips if f.doomed}})\n{FLIP}")
)
HASTY_FLIP = edited(
    Index,
    "_apply",
    (UPSERT, "behind, written, doubted = (list(open_.values()), dict(current)), set(), set()"),
    ("await self._finish({ref: current[ref] for ref in owed}, of)",
     "await self._upsert(*behind)\nawait self._finish({ref: current[ref] for ref in owed}, of)"),
)  # fmt: skip
TRUSTING = edited(Index, "_upsert", ("if missing:", "if False:"))

# e: revival


class Revival(Index):
    """Remembers the chunks of old manifests, and takes an object that is still in the store for a new version."""

    def __init__(self, memory: dict[DocumentRef, dict[str, ManifestChunk]], *args: Any) -> None:
        super().__init__(*args)
        self._memory = memory

    async def revived(
        self, refs: Sequence[DocumentRef], current: dict[DocumentRef, Manifest]
    ) -> dict[DocumentRef, Manifest]:
        result = {}
        for ref in refs:
            known = self._memory.setdefault(ref, {})
            known |= current[ref].chunks
            there = await self._store.existing({ref: list(known)})
            chunks = {id_: chunk for id_, chunk in known.items() if id_ in there} | dict(current[ref].chunks)
            result[ref] = replace(current[ref], chunks=chunks)
        return result


REVIVING = edited(Revival, "_apply", (UPSERT, f"current |= await self.revived(list(open_), current)\n{UPSERT}"))

# f: the event

FINISHED = "await self._manifests.finish({ref: m.version for ref, m in flipped.items() if m.version is not None})"
PUBLISH = "await self._publish(outputs)"
LATE_EVENT = edited(Index, "_finish", (PUBLISH, "pass"), (FINISHED, f"{FINISHED}\n{PUBLISH}"))


# Redis loses what it knew


UNANNOUNCED = edited(Index, "_apply", (
    "if not manifest.done and not manifest.doubted:  # what supersedes must have been announced before",
    "if not manifest.done and manifest.version == change.version:",
))  # fmt: skip
ONE_LOOK = edited(Index, "_finish", ("flipped = await self._still_current(flipped)", "pass"))


class Unawaited(Index):
    """Hands its events to the producer and does not wait: they are written while the next batch is worked on."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._write, self._publish = self._publish, self._remember
        self._unwritten: list[Output] = []

    async def _remember(self, outputs: Sequence[Output]) -> None:
        self._unwritten += outputs

    async def step(self, records: Sequence[Record]) -> Sequence[Outcome]:
        outputs, self._unwritten = self._unwritten, []
        await self._write(outputs)
        return await super().step(records)


# What the machine found when it was new


def _by_place(changes: Sequence[tuple[int, Any]]) -> list[list[tuple[int, Any]]]:
    """A later whole version supersedes an earlier one by its place in the batch."""
    last = {change.ref: number for number, change in changes if change.whole}
    return index.waves([(number, change) for number, change in changes if number >= last.get(change.ref, -1)])


BY_PLACE = edited(Index, "_step", ("for wave in waves(changes):", "for wave in by_place(changes):"))
vars(index)["by_place"] = _by_place
EARLY_TOKENS = edited(Index, "_step", ("if change.completes:", "if True:"))
FORGETFUL = edited(Index, "_apply", (
    "current[flip.ref] = manifest_of(flip, current[flip.ref].last_seen)", "current[flip.ref] = manifest_of(flip, None)"
))  # fmt: skip


class Unturned(Index):
    """Refusals do not wait their turn."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._turn = _NoLock()


class _NoLock(asyncio.Lock):
    async def acquire(self) -> Any:
        return True

    def release(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break the protocol; ``stage`` is called once for each run."""

    name: str
    stage: Callable[[], MakeStage]
    manifests: Callable[[], MemoryManifests] = MemoryManifests
    rare: bool = False  # takes a campaign to find
    program: tuple[str, ...] = ()  # that finds it, where looking for one takes long
    loses: bool = False  # shows when Redis is lost

    def machine(self) -> type[IndexMachine]:
        """The machine that runs against it."""
        mutation = self

        class MutantMachine(IndexMachine):
            redis_is_lost = mutation.loses

            def make_place(self) -> Place:
                return Place.in_memory(mutation.manifests())

            def make_stage(self) -> MakeStage:
                return mutation.stage()

        return MutantMachine


def _reviving() -> MakeStage:
    memory: dict[DocumentRef, dict[str, ManifestChunk]] = {}
    return lambda *args: REVIVING(memory, *args)


MUTATIONS = (
    Mutation("fence off", lambda: FENCELESS, Unordered),
    Mutation("compare-and-set off", lambda: Index, Careless),
    Mutation("clean-up before the flip", lambda: HASTY_CLEANUP),
    Mutation("flip before all chunks exist", lambda: HASTY_FLIP),
    Mutation("flip though parts are missing", lambda: TRUSTING),
    Mutation("objects revived", _reviving),
    Mutation("event after done", lambda: LATE_EVENT),
    Mutation("event not awaited", lambda: Unawaited),
    Mutation(
        "superseded by what nobody announced",
        lambda: UNANNOUNCED,
        program=(
            "state.publish(doc='a', late=False, look='', text='A')",
            "state.publish(doc='a', late=False, look='', text='A')",
            "state.bring_back(back=1, doc='a')",
            "state.deliver_stopped(count=3, fault=Fault('stop', 'before', 'write', 1))",
            "state.deliver(count=2)",
        ),
    ),
    Mutation("no second look after the event", lambda: ONE_LOOK, rare=True, loses=True),
    Mutation("superseded by place in the batch", lambda: BY_PLACE),
    Mutation("tokens end with the first part", lambda: EARLY_TOKENS),
    Mutation("refusal forgotten by a late flip", lambda: FORGETFUL),
    Mutation("refusals out of turn", lambda: Unturned, rare=True),
)
