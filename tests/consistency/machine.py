"""The state machine: what producers, operators, workers and misfortune do to the index lane, in any order.

A failing example prints as a program of these calls.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from connectors.memory.manifests import MemoryManifests
from streams.documents.index import Index
from tests.consistency.editions import Edition, normal
from tests.consistency.faults import ANY, WRITE, Fault, What
from tests.consistency.lane import Lane, MakeStage, Place
from topics.identity import DocumentRef

DOCUMENTS = st.sampled_from(["a", "b", "c"])
# Few letters, so that versions share, repeat and reorder paragraphs; a paragraph that fails is rare.
TEXTS = st.lists(st.sampled_from([*"ABC" * 6, *"|" * 4, *"!?"]), min_size=1, max_size=6).map("".join).map(normal)
LOOKS = st.sampled_from(["", "ann", "bob", "en", "Title"])
COUNTS = st.integers(1, 6)
_ALL = 1000


def faults(what: What) -> st.SearchStrategy[Fault]:
    """At a call that matters, or at any."""
    wheres = st.sampled_from(["before", "midway", "after"])
    calls = st.sampled_from(["read", "upsert", "flip", WRITE, "delete", "finish"])
    return st.one_of(
        st.builds(Fault, st.just(what), wheres, calls, st.just(1)),
        st.builds(Fault, st.just(what), wheres, st.just(ANY), st.integers(1, 12)),
    )


class IndexMachine(RuleBasedStateMachine):
    """Runs against the in-memory adapters; a subclass may take others, or a broken stage."""

    counts: ClassVar[Counter[str]] = Counter()
    redis_is_lost: ClassVar[bool] = True  # a stage that is broken elsewhere is found sooner without

    def __init__(self) -> None:
        super().__init__()
        self.loop = self.make_loop()
        self.lane = Lane(self.make_place(), self.make_stage(), self.counts)
        self.counts["runs"] += 1
        self._sound = True
        self._unfinished = 0  # steps since everything came to its end

    def make_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.new_event_loop()

    def make_place(self) -> Place:
        return Place.in_memory(MemoryManifests())

    def make_stage(self) -> MakeStage:
        return Index

    def _count(self) -> None:
        self.counts["steps"] += 1
        self._unfinished += 1

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        self._count()
        self._sound = False
        self.loop.run_until_complete(work)
        self.loop.run_until_complete(self.lane.check())
        self._sound = True

    def _publish(
        self, doc: str, text: str | None, look: str = "", *, refused: bool = False, late: bool = False
    ) -> None:
        self._count()
        self.lane.publish(doc, text, look, refused=refused, late=late)

    def _latest(self, doc: str, back: int = 0) -> Edition | None:
        ref = DocumentRef(self.lane.tenant, doc)
        texts = [edition for edition in self.lane.model.editions.get(ref, []) if edition.kind == "text"]
        return texts[-1 - back] if len(texts) > back else None

    # What producers do

    @rule(doc=DOCUMENTS, text=TEXTS, look=LOOKS, late=st.sampled_from([False, False, False, True]))
    def publish(self, doc: str, text: str, look: str, late: bool) -> None:
        self._publish(doc, text, look, late=late)

    @rule(doc=DOCUMENTS, look=LOOKS)
    def change_look(self, doc: str, look: str) -> None:
        """Access, metadata or title change, the text stays."""
        latest = self._latest(doc)
        if latest is not None:
            self._publish(doc, latest.text, look)

    @rule(doc=DOCUMENTS, back=st.integers(1, 2))
    def bring_back(self, doc: str, back: int) -> None:
        """A text of earlier comes again: A, B, A."""
        earlier = self._latest(doc, back)
        if earlier is not None:
            self._publish(doc, earlier.text, earlier.look)

    @rule(doc=DOCUMENTS, late=st.sampled_from([False, False, True]))
    def delete(self, doc: str, late: bool) -> None:
        self._publish(doc, None, late=late)

    @rule(doc=DOCUMENTS, text=st.sampled_from([None, "?", "!"]))
    def refuse(self, doc: str, text: str | None) -> None:
        """A version that an earlier stage could not read, or this one cannot."""
        self._publish(doc, text, refused=text is None)

    # What operators and Kafka do

    @precondition(lambda self: self.lane.late)
    @rule()
    def redrive(self) -> None:
        self._count()
        self.lane.redrive()

    @precondition(lambda self: self.lane.committed)
    @rule(number=st.integers(0, 50))
    def repeat(self, number: int) -> None:
        self._count()
        self.lane.repeat(number)

    @precondition(lambda self: self.lane.committed)
    @rule(back=st.integers(1, 60))
    def rewind(self, back: int) -> None:
        self._count()
        self.lane.rewind(back)

    @precondition(lambda self: len(self.lane.arrivals) > 1)
    @rule(active=st.integers(0, 8))
    def compact(self, active: int) -> None:
        self._count()
        self.lane.compact(active)

    # What happens to Redis

    @precondition(lambda self: self.redis_is_lost and self.lane.save is not None)
    @rule()
    def back_up(self) -> None:
        self._count()
        assert self.lane.save is not None
        self.lane.save()

    @precondition(lambda self: self.redis_is_lost and (self.lane.stopped() or self._unfinished % 8 == 7))
    @rule(back=st.sampled_from([0, 1, 2, 3]))
    def lose_redis(self, back: int) -> None:
        """Flushed, or rolled back to a copy, and rebuilt from what was announced."""
        self._do(self.lane.lose(back))

    @precondition(lambda self: self.redis_is_lost and self.lane.events)
    @rule()
    def follow(self) -> None:
        """Whoever keeps the view reads what is new in the log."""
        self._do(self.lane.follow())

    # What workers do

    @precondition(lambda self: self.lane.waiting)
    @rule(count=COUNTS)
    def deliver(self, count: int) -> None:
        self._do(self.lane.deliver(count))

    @precondition(lambda self: self.lane.waiting)
    @rule(count=COUNTS, fault=faults("crash") | faults("fail"))
    def deliver_struck(self, count: int, fault: Fault) -> None:
        """The worker dies, or the outside fails."""
        self._do(self.lane.deliver(count, fault))

    @precondition(lambda self: self.lane.waiting)
    @rule(count=COUNTS, fault=faults("stop"))
    def deliver_stopped(self, count: int, fault: Fault) -> None:
        """The worker stops in the middle; it may go on, or lose its partition before."""
        self._do(self.lane.deliver(count, fault))

    @precondition(lambda self: self.lane.waiting)
    @rule(
        count=COUNTS,
        fault=faults("stop"),
        back=st.sampled_from([0, 1, 1, 2]),
        takeover=st.sampled_from([True, True, False]),
    )
    def overtake(self, count: int, fault: Fault, back: int, takeover: bool) -> None:
        """The worker stops in the middle; its document changes, and what follows is worked on before it goes on."""
        doc = self.lane.next_document()
        self._do(self.lane.deliver(count, fault))
        earlier = self._latest(doc, back)
        self._publish(doc, earlier.text if earlier else "A", earlier.look if earlier else "")
        self._do(self.lane.deliver(_ALL, takeover=takeover))

    @precondition(lambda self: self.lane.stopped())
    @rule(count=COUNTS)
    def take_over(self, count: int) -> None:
        """Another worker has the partition, while the stopped one believes to have it still."""
        self._do(self.lane.deliver(count, takeover=True))

    @precondition(lambda self: self.lane.stopped())
    @rule(number=st.integers(0, 3), fault=st.none() | faults("stop") | faults("crash"))
    def resume(self, number: int, fault: Fault | None) -> None:
        self._do(self.lane.resume(number, fault))

    @precondition(lambda self: self._unfinished > 15)
    @rule(zombies_first=st.booleans())
    def finish(self, zombies_first: bool) -> None:
        """Everything comes to its end."""
        self._do(self._finish(zombies_first))

    async def _finish(self, zombies_first: bool) -> None:
        await self.lane.finish(zombies_first)
        await self.lane.check_final()
        self.counts["ends"] += 1
        self._unfinished = 0

    def teardown(self) -> None:
        try:
            if self._sound:
                self._do(self._finish(False))
        finally:
            self.lane.kill()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.close_loop()

    def close_loop(self) -> None:
        self.loop.close()
