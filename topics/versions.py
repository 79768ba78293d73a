"""Versions of the language model: which of them a job asks first, and the steps from one state to the next.

Pure.  A job keeps its version, whoever works on it and however often, since the choice is a hash of its id; and a share
that grows keeps the jobs that it had.
"""

from collections.abc import Iterable

import msgspec

from topics.codec import decode_one
from topics.control import LlmVersions
from topics.headers import Headers
from topics.identity import digest

KEY = "llm/versions"  # in `control`
CANARY = 0.05  # share of a version that is new


class VersionsError(ValueError):
    """A step that cannot be taken; the message says why."""


def chosen(state: LlmVersions, job_id: str) -> str:
    """The version that a job asks first."""
    place = int(digest(b"llm", job_id.encode())[:12], 16) / 16**12
    for name in sorted(state.shares):
        place -= state.shares[name]
        if place < 0:
            return name
    return state.lead


def read_versions(records: Iterable[tuple[bytes | None, bytes | None, Headers]]) -> LlmVersions | None:
    """Fold ``control`` from its beginning; None while it says nothing.  Raises :class:`topics.codec.DecodeError`."""
    found = None
    for key, value, headers in records:
        if key == KEY.encode():
            found = decode_one(value, headers, LlmVersions) if value is not None else None
    return found


def with_canary(state: LlmVersions, name: str, share: float, now: int) -> LlmVersions:
    """This version asked first by so many of the questions; a share of 0 takes it back."""
    if name == state.lead:
        raise VersionsError(f"{name} leads: it gets what is left, and share is for the others")
    shares = {each: given for each, given in state.shares.items() if each != name}
    if share:
        shares[name] = share
    if not 0 <= share <= 1 or sum(shares.values()) > 1:
        raise VersionsError(f"shares must add up to 1 at most, and these would be {shares}")
    return msgspec.structs.replace(state, shares=shares, changed_at=now)


def promoted(state: LlmVersions, name: str, now: int) -> LlmVersions:
    """This version asked first by all."""
    if name == state.lead and not state.shares:
        raise VersionsError(f"{name} leads already")
    previous = state.previous if name == state.lead else state.lead
    return LlmVersions(lead=name, previous=previous, changed_at=now)


def rolled_back(state: LlmVersions, now: int) -> LlmVersions:
    """Without canaries; where there are none, with the version that led before."""
    if state.shares:
        return msgspec.structs.replace(state, shares={}, changed_at=now)
    if state.previous is None:
        raise VersionsError(f"{state.lead} leads, there is no canary, and nothing led before: nothing to go back to")
    return LlmVersions(lead=state.previous, previous=state.lead, changed_at=now)
