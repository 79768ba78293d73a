"""Webhooks: each job that named one is told of at least once, always under the same id and with the same body."""

from collections import defaultdict
from collections.abc import Sequence

from chaos.checkers.bounds import Bounds
from chaos.history import Delivery, History, Violation


def webhooks(history: History, bounds: Bounds) -> list[Violation]:
    """Told wrongly, or not at all.  A job that was perhaps taken in, without its asker's knowing, is no stranger."""
    del bounds
    named = [job for job in history.jobs if job.webhook]
    found = told_wrongly([job.id for job in named if job.id], history.deliveries)
    return [each for each in found if each.kind != "stranger" or all(job.id for job in named)]


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
