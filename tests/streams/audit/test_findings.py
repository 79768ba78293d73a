"""What is drift and what is not: by tables."""

from typing import Any

import pytest

from streams.audit.findings import Known, judge
from streams.audit.repair import Plan, plan
from topics.epochs import Epochs, first_epoch
from topics.identity import DocumentRef, Token, Version, document_key, partition_of

EPOCHS = Epochs([first_epoch("freshet", 4)])
V1, V2, V3 = (f"00001.{n:019d}" for n in (1, 2, 3))


def known(**changes: Any) -> Known:
    """A document that is as it should be at V2, and what is different about it."""
    fields: dict[str, Any] = {
        "logged": V2, "passed": True,
        "event": V2, "event_face": "f2", "event_seen": V2, "event_status": "indexed",
        "version": V2, "face": "f2", "seen": V2, "status": "indexed",
    }  # fmt: skip
    return Known(**{**fields, **changes})


NOWHERE = {"version": None, "face": None, "seen": None, "status": None}
UNHEARD = {"event": None, "event_face": None, "event_seen": None, "event_status": None}
OLDER = {"version": V1, "face": "f1", "seen": V1, "event": V1, "event_face": "f1", "event_seen": V1}
DELETED = {"deleted": True, "status": "deleted", "event_status": "deleted"}


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ({}, None),
        # in flight
        ({"logged": V3, "passed": False}, None),
        ({"logged": V3, "passed": False, "tombstone": True}, None),
        ({**NOWHERE, **UNHEARD, "passed": False}, None),
        ({"done": False, "passed": False, **OLDER}, None),
        ({"done": False, "passed": False, "event": V1, "event_face": "f1", "logged": V3}, None),
        # refused
        ({**OLDER, "seen": V2, "status": "rejected"}, None),
        ({**OLDER, "event_seen": V2, "event_status": "dead-lettered"}, None),
        ({**NOWHERE, **UNHEARD, "seen": V2, "status": "rejected"}, None),
        ({**OLDER, "seen": V2, "status": "rejected", "tombstone": True}, None),
        # deleted
        ({**DELETED, "tombstone": True}, None),
        ({**DELETED, "logged": None}, None),
        ({**NOWHERE, **UNHEARD, "logged": None}, None),
        # drift
        ({**NOWHERE, **UNHEARD}, "lost"),
        ({**NOWHERE, **UNHEARD, "tombstone": True}, "lost"),
        ({**DELETED, **OLDER}, "lost"),
        ({**DELETED, **OLDER, "tombstone": True}, "lost"),
        (OLDER, "stale"),
        ({**OLDER, "event": V2, "event_face": "f2"}, "stale"),
        ({**OLDER, "seen": V1, "status": "rejected"}, "stale"),
        ({**OLDER, "tombstone": True}, "extra"),
        ({"logged": None}, "extra"),
        ({"logged": V3, "passed": False, "beyond": True}, "extra"),
        (NOWHERE, "mixed"),
        (UNHEARD, "mixed"),
        ({"event_face": "other"}, "mixed"),
        ({"event": V1, "event_face": "f1"}, "mixed"),
        ({"event": V3, "event_face": "f3", "logged": V3, "passed": False}, "mixed"),
        ({"done": False}, "mixed"),
        ({**NOWHERE, "logged": None}, "mixed"),
    ],
    ids=repr,
)
def test_kinds(what: dict[str, Any], kind: str | None) -> None:
    """Each difference is the kind of drift it should be, and what is in flight, refused or deleted is none."""
    found = judge(known(**what))
    assert (found and found[0]) == kind


REF = DocumentRef("default", "doc")
AT_V2 = Token(1, partition_of(document_key(REF), 4), 2)


@pytest.mark.parametrize(
    ("what", "kinds", "expected"),
    [
        (OLDER, {"stale"}, Plan(REF, AT_V2)),
        (OLDER, {"stale", "missing"}, Plan(REF, AT_V2, doubt=V1)),
        ({}, {"missing"}, Plan(REF, AT_V2, doubt=V2)),
        ({}, {"altered"}, Plan(REF, AT_V2, doubt=V2)),
        ({"event_face": "x"}, {"mixed"}, Plan(REF, AT_V2, doubt=V2)),
        ({"logged": V3, "seen": V3, "status": "rejected"}, {"missing"}, Plan(REF, AT_V2, doubt=V2)),
        ({**NOWHERE, **UNHEARD}, {"lost"}, Plan(REF, AT_V2)),
        (
            {**NOWHERE, "logged": V3, "event_seen": V3, "event_status": "rejected"},
            {"mixed"},
            Plan(REF, AT_V2),
        ),
        ({**OLDER, "tombstone": True}, {"extra"}, Plan(REF, AT_V2)),
        ({"logged": None}, {"extra"}, Plan(REF, AT_V2, delete=True, doubt=V2)),
        ({**NOWHERE, "logged": None}, {"mixed"}, Plan(REF, AT_V2, delete=True)),
    ],
    ids=repr,
)
def test_plans(what: dict[str, Any], kinds: set[str], expected: Plan) -> None:
    """What is sent again is the version that should be visible, and in doubt is what readers see now."""
    assert plan(REF, known(**what), kinds, EPOCHS) == expected


@pytest.mark.parametrize(
    ("what", "says"),
    [({"beyond": True}, "ends before"), ({"logged": None, "version": str(Version(2, 0))}, "knows no epoch 2")],
)
def test_what_cannot_be_mended_is_said(what: dict[str, Any], says: str) -> None:
    """A version that no record can bring about is left alone, with a sentence."""
    found = plan(REF, known(**what), {"extra"}, EPOCHS)
    assert isinstance(found, str) and says in found
