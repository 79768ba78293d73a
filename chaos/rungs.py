"""Verdicts on jobs whose language models failed, and whose processes were killed.  Pure: same history, same verdict.

A job that was taken in ends with one answer, within its deadline, from some rung of the ladder, and says which: the
first model's answer is not labelled, one from further down names every rung above it with the reason.  What was
streamed since the last `restarted` is the answer, nothing is missing from it and nothing came twice, whoever died.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos.jobs import Event, Job

LATE = 1.5  # seconds behind the deadline: an end that was written at it must yet arrive
LEAST_BACK = 15.0  # seconds from the end of a fault to answers of the first model again
QUOTING = "extractive"
_WORD = re.compile(r"w(\d+)")
_RUNG = re.compile(r"model-(\d+):[a-z-]+")


@dataclass
class Phase:
    """What was done, from when to when, and what the endpoints counted meanwhile.

    ``struck``: when the fault was there.  ``back``: seconds from its end to an answer of the first model.  ``models``:
    the fault is one of the models, so lower rungs may answer.
    """

    name: str
    began: float
    ended: float
    models: bool = True
    must_meet: str = ""  # what an endpoint must have counted, or an event that clients must have seen
    met: int = 0
    back: float | None = None
    struck: float = 0.0


@dataclass
class Run:
    """A campaign.  ``ladder``: names of the models, the first first."""

    ladder: list[str]
    phases: list[Phase] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    def of(self, phase: str) -> list[Job]:
        """Jobs of a phase."""
        return [job for job in self.jobs if job.phase == phase]


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken."""

    kind: str
    phase: str
    detail: str


def judge(run: Run) -> list[Violation]:
    """All violations."""
    models = {phase.name: phase.models for phase in run.phases}
    found = [
        Violation(kind, job.phase, f"job {job.id}: {detail}")
        for job in run.jobs
        for kind, detail in wrong_with(job, run.ladder, models=models[job.phase])
    ]
    for phase in run.phases:
        if phase.must_meet and not phase.met:
            found.append(Violation("no-fault", phase.name, f"nobody met {phase.must_meet}: nothing was tried"))
        if phase.back is None or phase.back > LEAST_BACK:
            found.append(Violation("not-back", phase.name, f"no answer of {run.ladder[0]} within {LEAST_BACK:g} s"))
    return found


def wrong_with(job: Job, ladder: Sequence[str], *, models: bool) -> list[tuple[str, str]]:
    """What is wrong with one job, kind and detail; ``models``: lower rungs of the ladder may answer."""
    if job.error is not None:
        return [("refused", job.error)]
    final = job.final
    if job.id is None or job.taken is None or final is None:
        return [("lost", f"no end after {len(job.events)} events, asked {job.asked} times")]
    found = []
    ends = [event for event in job.events if event.type in ("answer", "error")]
    if len(ends) > 1 or job.events[-1] is not final:
        found.append(("two-ends", f"{[event.type for event in job.events[-3:]]}"))
    if final.at - job.taken > job.deadline + LATE:
        found.append(("late", f"ended {final.at - job.taken:.1f} s after it was taken in"))
    ids = [event.id for event in job.events if event.id is not None]
    if ids != sorted(set(ids)):
        found.append(("repeated", "events came twice or out of order"))
    if final.type == "error":
        return [*found, ("unanswered", str(final.data.get("reason")))]
    return [*found, *_mislabelled(final, ladder, models=models), *_torn(job, final)]


def _mislabelled(final: Event, ladder: Sequence[str], *, models: bool) -> list[tuple[str, str]]:
    """The rung that an answer names is the model's, and its labels are exactly the rungs above."""
    model, rung = str(final.data.get("model")), int(final.data.get("rung", 0))
    labels = [str(label) for label in final.data.get("degraded", [])]
    above = sorted(int(match[1]) for label in labels if (match := _RUNG.fullmatch(label)))
    if rung >= len(ladder) or ladder[rung] != model:
        return [("mislabelled", f"{model} is not rung {rung} of {list(ladder)}")]
    if above != list(range(rung)):
        return [("mislabelled", f"from rung {rung}, labelled {labels}")]
    if rung and not models:
        return [("degraded", f"from rung {rung}, though the models were well: {labels}")]
    return []


def _torn(job: Job, final: Event) -> list[tuple[str, str]]:
    """What was streamed since the last restart is the answer; a model that was asked left none of its words out."""
    streamed = ""
    for event in job.events:
        if event.type == "restarted":
            streamed = ""
        elif event.type == "token":
            streamed += str(event.data["text"])
    answer = str(final.data["text"])
    if streamed != answer:
        return [("torn", f"streamed {streamed[-60:]!r}, answered {answer[-60:]!r}")]
    numbers = [int(number) for number in _WORD.findall(answer)]
    asked = final.data.get("model") != QUOTING and final.data.get("found", True)
    if asked and (not numbers or numbers != list(range(len(numbers)))):
        return [("torn", f"words {numbers[:8]}... are not all there, once each")]
    return []
