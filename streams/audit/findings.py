"""What an audit may find: seven kinds of drift, each in one sentence.  Pure.

Judged is one document at a time, from what the log, its last index event and Redis say of it.  What the lane has not
reached yet is in flight, and never drift.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["lost", "missing", "extra", "stale", "mixed", "altered", "orphaned"]
KINDS: Final[dict[Kind, str]] = {
    "extra": "visible although the log deleted it or does not know it",
    "stale": "an older version is visible than the log has, and the lane is past it",
    "lost": "the log has a version of which nothing became, and the lane is past it",
    "mixed": "Redis and the last index event say different things",
    "missing": "a chunk is listed whose object is not in the store",
    "altered": "an object is not what its hash in the manifest says",
    "orphaned": "an object that no manifest lists, older than the grace time",
}
REFUSED: Final = frozenset({"rejected", "dead-lettered"})


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One kind of drift of one document.  ``logged`` is the version in the log, ``visible`` the one readers see."""

    kind: Kind
    tenant: str
    doc_id: str
    logged: str | None = None
    visible: str | None = None
    what: str
    objects: int = 0  # how many chunks or objects are concerned


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a document.  Versions are None where a source knows none.

    ``face`` is a digest of all that is visible; ``seen`` the newest version with an outcome, ``status`` that outcome.
    """

    logged: str | None = None
    tombstone: bool = False
    passed: bool = False  # the lane is past the logged version
    event: str | None = None
    event_face: str | None = None
    event_seen: str | None = None
    event_status: str | None = None
    version: str | None = None
    deleted: bool = False
    done: bool = True
    face: str | None = None
    seen: str | None = None
    status: str | None = None
    beyond: bool = False  # the log ends before the version that Redis has

    @property
    def visible(self) -> str | None:
        return None if self.deleted else self.version

    @property
    def refused(self) -> bool:
        """Whether the logged version, or one after it, was refused."""
        outcomes = ((self.seen, self.status), (self.event_seen, self.event_status))
        return any((seen or "") >= (self.logged or "") and status in REFUSED for seen, status in outcomes)

    @property
    def settled(self) -> bool:
        """Whether the logged version, or one after it, came to an outcome, as far as anybody knows."""
        newest = max(self.version or "", self.seen or "", self.event or "", self.event_seen or "")
        return newest >= (self.logged or "")


def judge(known: Known) -> tuple[Kind, str] | None:
    """What is wrong with a document, leaving its objects aside."""
    logged, visible = known.logged, known.visible
    if known.beyond:
        return "extra", f"Redis has version {known.version}, and the log ends before it"
    if logged is None:
        if visible is not None:
            return "extra", f"version {visible} is visible, and the log has no such document"
    elif known.passed and not known.refused:
        behind = (known.version or "") < logged
        if visible is not None and behind:
            if known.tombstone:
                return "extra", f"version {visible} is visible, and the log deleted it with {logged}"
            return "stale", f"version {visible} is visible, and the log has {logged}"
        if behind and not known.settled:
            kind = "delete" if known.tombstone else "version"
            return "lost", f"{kind} {logged} is in the log, and nothing became of it"
    return _mixed(known)


def _mixed(known: Known) -> tuple[Kind, str] | None:
    version, event = known.version or "", known.event or ""
    if not version and not event:
        return None  # never visible: refused from the first version on
    if not known.done:
        # Not yet announced is no drift before the lane is past it.
        owed = known.passed and version >= (known.logged or "")
        return ("mixed", f"version {version} was flipped to and never announced or cleaned up") if owed else None
    if version > event:
        said = f"the last index event has {event}" if event else "there is no index event of it"
        return "mixed", f"Redis has version {version} and says done, and {said}"
    if event > version:
        has = f"Redis has {version}" if version else "Redis does not know it"
        return "mixed", f"the last index event has version {event}, and {has}"
    if known.face != known.event_face:
        return "mixed", f"Redis and the last index event differ about version {version}"
    return None
