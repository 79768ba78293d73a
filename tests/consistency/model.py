"""What readers may see, from what was published and acknowledged alone: knows no chunk ids and no manifests."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tests.consistency.editions import PRINCIPALS, Edition
from tests.consistency.process import Arrival
from tests.consistency.reader import View
from topics.documents import IndexEvent, LastSeen
from topics.identity import DocumentRef

REFUSED = ("rejected", "dead-lettered")


class Model:
    """Expectations of one tenant."""

    def __init__(self) -> None:
        self.editions: dict[DocumentRef, list[Edition]] = defaultdict(list)  # oldest first
        self._begun: set[Edition] = set()  # all there, and given to a worker
        self._parts: set[tuple[Edition, int]] = set()  # given to a worker
        self._acknowledged: set[tuple[Edition, int]] = set()
        self.incomplete: set[Edition] = set()  # may fail for want of chunks; then a dead letter has to say so
        self._gone: set[Edition] = set()  # compacted, wholly or in part
        self.dead_letters: set[Edition] = set()
        self._set_aside: set[Edition] = set()  # comes later than newer versions, if ever
        self._lost: set[Edition] = set()  # acknowledged before a loss: nobody comes to clean up after them
        self._restored: set[Edition] = set()  # not acknowledged at a loss, after which a token may end early
        self._floor: dict[DocumentRef, int] = defaultdict(lambda: -1)  # nothing older may be seen again

    def publish(self, edition: Edition, late: bool) -> None:
        self.editions[edition.ref].append(edition)
        if late:
            self._set_aside.add(edition)

    def latest(self, ref: DocumentRef) -> Edition | None:
        return self.editions[ref][-1] if self.editions[ref] else None

    def deliver(self, batch: Sequence[Arrival]) -> None:
        """A worker has these records in hand."""
        for arrival in batch:
            self._parts.add((arrival.edition, arrival.part))
            if arrival.completes:
                self._begin(arrival.edition)

    def _begin(self, edition: Edition) -> None:
        """A version that comes late, between the parts of a newer one, may take away chunks that this one counts on."""
        self._begun.add(edition)
        if edition.effective and not self.acknowledged(edition):
            for newer, _ in self._parts:
                if newer.ref == edition.ref and newer.number > edition.number and newer not in self._begun:
                    self.incomplete.add(newer)

    def acknowledge(self, batch: Sequence[Arrival]) -> None:
        """These will not be delivered again; what was to become visible by them must be by now."""
        self._acknowledged |= {(arrival.edition, arrival.part) for arrival in batch}
        for edition in {arrival.edition for arrival in batch}:
            if edition.effective and self.acknowledged(edition) and edition not in self.incomplete:
                self._floor[edition.ref] = max(self._floor[edition.ref], edition.number)

    def acknowledged(self, edition: Edition) -> bool:
        return all((edition, part) in self._acknowledged for part in range(edition.parts))

    def compact(self, arrival: Arrival) -> None:
        """A record is gone, as a newer one has its key: what is left of its version can only be superseded."""
        self.incomplete.add(arrival.edition)
        self._gone.add(arrival.edition)

    def lose(self, events: Sequence[IndexEvent]) -> None:
        """Readers go back to what was announced; what was not is still in somebody's hands."""
        for ref, editions in self.editions.items():
            told = max((e.version for e in events if e.doc_id == ref.doc_id and e.version), default="")
            announced = max((e.number for e in editions if e.version <= told), default=-1)
            self._floor[ref] = min(self._floor[ref], announced)
            for edition in editions:
                (self._lost if self.acknowledged(edition) else self._restored).add(edition)

    def lost(self, ref: DocumentRef, version: str | None) -> bool:
        """Whether a version was worked off, and then what was known about it was lost."""
        return any(edition.version == version for edition in self._lost if edition.ref == ref)

    def check_view(self, views: Mapping[DocumentRef, View]) -> None:
        """What somebody sees who may see everything."""
        for ref, editions in self.editions.items():
            view = views.get(ref)
            if view is None:
                self._check_absent(ref)
                continue
            shown = next((edition for edition in editions if edition.version == view.version), None)
            assert shown is not None, f"{ref.doc_id} shows a version that was never published: {view}"
            assert shown.readable, f"{shown} is visible"
            assert shown in self._begun, f"{shown} is visible before anybody worked on it"
            assert shown.number >= self._floor[ref], f"{shown} is visible after {self._name(ref)}"
            expected = tuple(sorted(shown.passages))
            assert view.passages == expected, f"{shown} shows {view.passages}"
            assert view.head == shown.head, f"{shown} shows {view.head}"
            self._floor[ref] = shown.number

    def _check_absent(self, ref: DocumentRef) -> None:
        """Only a delete, at least as new as what was visible last, makes a document disappear."""
        if self._floor[ref] < 0:
            return
        deletes = [e.number for e in self.editions[ref] if e.kind == "delete" and e in self._begun]
        newer = [number for number in deletes if number >= self._floor[ref]]
        assert newer, f"{ref.doc_id} is gone, though {self._name(ref)} was to be seen"
        self._floor[ref] = min(newer)

    def check_access(
        self, views: Mapping[DocumentRef, View], full: Mapping[DocumentRef, View], principals: Sequence[str]
    ) -> None:
        """What a reader sees who may see some of it."""
        allowed = {ref: v for ref, v in full.items() if not v.head.access or set(v.head.access) & set(principals)}
        assert views == allowed, f"{principals or 'the public'} sees {views}, not {allowed}"

    def check_final(self, ref: DocumentRef, view: View | None, version: str | None) -> None:
        """With all work done the newest version is what is seen; ``version`` is what the manifest says."""
        possible: list[Edition] = []
        for edition in reversed([e for e in self.editions[ref] if e.effective]):
            possible.append(edition)
            if not self._may_lack(edition):
                break
        current = next((edition for edition in possible if edition.version == version), None)
        never = version is None and all(map(self._may_lack, possible))
        assert current or never, f"{ref.doc_id} is at {version}, not {' or '.join(map(str, possible))}"
        seen = current.version if current and current.kind == "text" else None
        assert seen == (view.version if view else None), f"{ref.doc_id}: {current} shows {view}"

    def gone(self, ref: DocumentRef, version: str | None) -> bool:
        """Whether records of a version were compacted away, so that nobody may come to finish it."""
        return any(edition.version == version for edition in self._gone if edition.ref == ref)

    def _may_lack(self, edition: Edition) -> bool:
        return edition in self._gone or edition in self.incomplete & self.dead_letters

    def check_event(self, event: IndexEvent) -> None:
        """Every event tells the truth about its version."""
        if event.version is None:
            assert event.state == "absent" and not event.manifest, f"{event}"
            return
        ref = DocumentRef(event.tenant, event.doc_id)
        edition = next(e for e in self.editions[ref] if e.version == event.version)
        assert edition in self._begun, f"{edition} is announced before anybody worked on it"
        assert event.state == ("deleted" if edition.kind == "delete" else "current"), f"{edition}: {event.state}"
        if edition.kind == "text":
            assert event.head == edition.head, f"{edition}: {event.head}"
            assert [c.section for c in event.manifest] == [section for _, section in edition.passages], f"{edition}"

    def check_last_seen(self, ref: DocumentRef, seen: LastSeen | None) -> None:
        """With all work done, the outcome of the newest version is on record."""
        newest = self.editions[ref][-1]
        assert seen is not None and seen.version == newest.version, f"{newest}: last seen is {seen}"
        possible = {"text": ("indexed",), "delete": ("deleted",), "refused": REFUSED}[newest.kind]
        if not newest.effective or newest in self.incomplete:
            possible = (*REFUSED, *(possible if newest.effective else ()))
        assert seen.status in possible, f"{newest}: {seen}"

    def reached(self, edition: Edition, version: str, seen: str) -> bool:
        """Whether a watermark may be above this version."""
        # What was set aside is for the deferrals of the retry lane to hold back; a refusal is put on record when the
        # worker writes the dead letter, while the next batch goes on.
        excused = edition in self._set_aside or not edition.effective
        excused = excused or edition in self._restored
        if (excused and not self.acknowledged(edition)) or edition in self.incomplete:
            return True
        return max(version, seen) >= edition.version

    def _name(self, ref: DocumentRef) -> str:
        return next(str(e) for e in self.editions[ref] if e.number == self._floor[ref])


VIEWERS = ((), PRINCIPALS[:1])
