"""What a row is, for each door; and what came back, as the documentation shows it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JSON, NDJSON, PLAIN = "application/json", "application/x-ndjson", "text/plain"
NONE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: in one word (status, exit code, outcome), and the sentence that says why."""

    outcome: str
    said: str


@dataclass(frozen=True, slots=True)
class Http:
    """A request.  ``kind`` is the problem type; without one the request is taken.

    ``later``: the document was taken and is rejected with these words.
    """

    name: str
    method: str
    path: str
    status: int
    kind: str | None
    says: str = ""
    body: bytes | Any = None  # what is no bytes is sent as JSON
    headers: Mapping[str, str | bytes] = field(default_factory=dict)
    later: str = ""


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes on a socket: what no HTTP library would send.  The client closes its side where ``half_close``."""

    name: str
    sent: bytes
    status: int
    says: str
    slow: bool = False  # the answer comes after a time limit of the gateway


@dataclass(frozen=True, slots=True)
class Produced:
    """A record in ``documents``.  ``says`` is in the dead letter; without it the document is indexed.

    ``refused``: the broker does not take it, and tells the producer so.
    """

    name: str
    key: bytes | None
    value: bytes | None
    says: str = ""
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition_off_by: int = 0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A record in ``queries``, which only gateways write: a dead letter that says so."""

    name: str
    value: bytes | None
    says: str
    headers: Mapping[str, bytes | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Published:
    """A run of ``freshet publish`` in a folder that ``prepare`` fills."""

    name: str
    words: Sequence[str]
    code: int
    says: str
    prepare: Callable[[Path], object] = lambda folder: None
