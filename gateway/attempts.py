"""Which events of a job its readers see, when work may run twice.

Takes the events of one job in log order.  Gives what to pass on.  A worker that died in mid-stream leaves half an
attempt behind; the next delivery of the work is a new attempt, and two may even interleave when the first worker was
only slow.  The attempt of a stage that is first seen later in the log is the newer one, and only the newest counts.
Feeding the same log again gives the same result, so any gateway tells the same story from the same offset.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from topics.queries import FINAL, AnswerEvent

RESTARTED = "restarted"  # what was passed on as `token` is void; the text begins again


class Emission(msgspec.Struct, frozen=True, gc=False):
    """One event for the client; ``data`` goes out as JSON.

    A gateway holds those of a thousand jobs, and none leads back to itself: nothing for a collection to walk.
    """

    type: str
    data: dict[str, Any]
    at: int


@dataclass(slots=True)
class Attempts:
    """Follows the newest attempt of each stage up to the job's final event."""

    final: AnswerEvent | None = None
    _newest: dict[str, str] = field(default_factory=dict)  # by stage
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _last_seq: dict[str, int] = field(default_factory=dict)  # by stage, of its newest attempt
    _tokens_out: bool = False

    def feed(self, event: AnswerEvent) -> list[Emission]:
        """What the client gets to see because of this event: nothing, the event, or `restarted` and the event."""
        if self.final or self._superseded(event):
            return []
        out: list[Emission] = []
        if self._begins(event) and event.stage == "generate" and self._tokens_out:
            out.append(Emission(RESTARTED, {"attempt": event.attempt}, event.at))
            self._tokens_out = False
        if event.seq <= self._last_seq[event.stage]:
            return out
        self._last_seq[event.stage] = event.seq
        self._tokens_out |= event.type == "token"
        if event.type in FINAL:
            self.final = event
        return [*out, Emission(event.type, event.data, event.at)]

    def _superseded(self, event: AnswerEvent) -> bool:
        """Of an older attempt; or a retrieval run again that fails after generation took over from the first run."""
        if event.stage == "retrieve" and event.type in FINAL and "generate" in self._newest:
            return True
        known = (event.stage, event.attempt) in self._seen
        return known and self._newest[event.stage] != event.attempt

    def _begins(self, event: AnswerEvent) -> bool:
        if (event.stage, event.attempt) in self._seen:
            return False
        self._seen.add((event.stage, event.attempt))
        self._newest[event.stage] = event.attempt
        self._last_seq[event.stage] = -1
        return True
