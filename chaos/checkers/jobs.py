"""Jobs: what was taken in ends once, with one text, whoever died.

What a fault excuses is that a job was not taken in, or ended late or with an error that says so; never that it has no
end, or two, or a text that is not one.
"""

from collections import Counter

from chaos.checkers.bounds import Bounds
from chaos.checkers.calm import calm
from chaos.checkers.webhooks import forgotten
from chaos.history import History, Violation
from chaos.jobs import Job
from chaos.rungs import LATE, wrong_with

EXCUSED = ("late", "unanswered")


def jobs(history: History, bounds: Bounds) -> list[Violation]:
    """Jobs lost, taken in twice, answered twice, or in two texts at once; in calm, those that were late or failed."""
    found, within_calm = list[Violation](), calm(history, bounds)
    for job in history.jobs:
        undisturbed = within_calm(job.sent, _end(job))
        for kind, detail in wrong_with(job, bounds.ladder, models=not undisturbed):
            if undisturbed or (job.id is not None and kind not in EXCUSED):
                found.append(Violation(kind, job.id or "never taken in", detail, job.sent))
        if len(set(job.ids)) > 1 and not forgotten(job, history):
            found.append(Violation("twice", job.ids[0], f"one key, {len(set(job.ids))} jobs", job.sent))
    shared = [id_ for id_, count in Counter(job.id for job in history.jobs if job.id).items() if id_ and count > 1]
    return found + [Violation("shared", id_, "two questions were told of one job", history.began) for id_ in shared]


def _end(job: Job) -> float:
    if job.final is not None:
        return job.final.at
    return job.sent + job.deadline + LATE if job.taken is None else job.taken + job.deadline + LATE
