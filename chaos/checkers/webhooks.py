"""Webhooks: each job that named one is told of at least once, always under the same id and with the same body.

Endpoints and what waits for them live in the state Redis alone: who loses that has to set them up again.
"""

from collections import defaultdict
from collections.abc import Sequence

from chaos.checkers.bounds import Bounds
from chaos.checkers.calm import FOREVER
from chaos.history import Delivery, History, Violation
from chaos.jobs import Job

FORGETS = ("flush:redis-state", "rollback:redis-state")
TOLD = 20.0  # seconds that an endpoint which fails may take until it takes something


def webhooks(history: History, bounds: Bounds) -> list[Violation]:
    """Told wrongly, or not at all."""
    del bounds
    named, due = [job for job in history.jobs if job.webhook], owed(history)
    accepted = [id_ for job in named for id_ in dict.fromkeys(job.ids or [job.id or ""]) if id_]
    found = told_wrongly(accepted, history.deliveries)
    strangers = [each for each in found if each.kind == "stranger"]
    excused = strangers[: sum(map(_unknown, named))]
    return [each for each in found if each not in excused and (each.kind != "untold" or each.subject in due)]


def _unknown(job: Job) -> bool:
    """Whether it was perhaps taken in under an id that its asker was not told.

    Who asks again after the deadline of a job whose 202 was lost gets another: the key leads to none that has ended.
    """
    return job.taken is None or job.taken - job.sent >= job.deadline


def owed(history: History) -> set[str]:
    """Jobs whose end an endpoint must have been told of."""
    return {job.id for job in history.jobs if job.webhook and job.id and not forgotten(job, history)}


def forgotten(job: Job, history: History) -> bool:
    """Whether the state Redis lost its data while this job went on, or was still to be told of."""
    until = FOREVER if job.final is None else job.final.at + TOLD
    lost = [w for w in history.windows if w.fault in FORGETS]
    return any(job.sent <= (FOREVER if w.healed is None else w.healed) and until >= w.began for w in lost)


def told_wrongly(accepted: Sequence[str], deliveries: Sequence[Delivery]) -> list[Violation]:
    """All that is wrong with what an endpoint saw, given the jobs whose end it was to be told."""
    taken = {delivery.job_id for delivery in deliveries if 200 <= delivery.answered < 300}
    found = [Violation("untold", job, "never taken by its endpoint", 0.0) for job in accepted if job not in taken]
    ids: dict[str, set[str]] = defaultdict(set)
    bodies: dict[str, set[str]] = defaultdict(set)
    jobs: dict[str, set[str]] = defaultdict(set)
    first: dict[str, float] = {}
    for each in deliveries:
        ids[each.job_id].add(each.webhook_id)
        jobs[each.webhook_id].add(each.job_id)
        bodies[each.webhook_id].add(each.body)
        first.setdefault(each.job_id, each.at)
        first.setdefault(each.webhook_id, each.at)
        if not each.verified:
            found.append(Violation("unsigned", each.webhook_id, "no signature that verifies", each.at))
    known = set(accepted)
    found += [Violation("stranger", job, "no job that was accepted", first[job]) for job in ids if job not in known]
    for kind, groups, what in (("ids", ids, "ids"), ("one-id", jobs, "jobs"), ("changed", bodies, "bodies")):
        found += [
            Violation(kind, one, f"{len(members)} {what} for one", first[one])
            for one, members in groups.items()
            if len(members) > 1
        ]
    return found
