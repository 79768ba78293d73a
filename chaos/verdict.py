"""What a run came to: what was done in it, how long faults were felt, and what was broken."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

from chaos.checkers import Bounds, judge
from chaos.checkers.calm import recovery_times
from chaos.history import History, Violation


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one run, or of several together."""

    seed: int
    faults: Sequence[str]
    missing: Sequence[str]
    counts: Mapping[str, int]
    recovery: Mapping[str, Sequence[float]]  # seconds by fault
    violations: Mapping[str, Sequence[Violation]]  # by checker

    @property
    def clean(self) -> bool:
        return not any(self.violations.values())

    @property
    def kinds(self) -> Counter[str]:
        """Violations by checker and kind."""
        return Counter(f"{name}: {each.kind}" for name, found in self.violations.items() for each in found)


def verdict_of(history: History, bounds: Bounds, besides: Sequence[Violation] = ()) -> Verdict:
    """Judge a run; ``besides`` is what no history tells.  One in which nothing happened is not clean."""
    return Verdict(
        seed=history.seed,
        faults=[window.fault for window in history.windows],
        missing=history.missing,
        counts=counts_of(history),
        recovery=recovery_times(history, bounds),
        violations={**judge(history, bounds), "besides": list(besides)},
    )


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """The sums of several."""
    recovery: dict[str, list[float]] = {}
    violations: dict[str, list[Violation]] = {}
    for verdict in verdicts:
        for fault, seconds in verdict.recovery.items():
            recovery.setdefault(fault, []).extend(seconds)
        for name, found in verdict.violations.items():
            violations.setdefault(name, []).extend(found)
    return Verdict(
        seed=verdicts[0].seed if verdicts else 0,
        faults=[fault for verdict in verdicts for fault in verdict.faults],
        missing=list(dict.fromkeys(each for verdict in verdicts for each in verdict.missing)),
        counts=dict(sum((Counter(verdict.counts) for verdict in verdicts), Counter[str]())),
        recovery=recovery,
        violations=violations,
    )


def counts_of(history: History) -> dict[str, int]:
    """How much was done; a question about several documents counts once."""
    questions = {(read.began, read.ended): read.result for read in history.reads}
    return {
        "changes": len(history.writes),
        "changes acknowledged": sum(write.result == "ok" for write in history.writes),
        "changes by Kafka": sum(write.door == "kafka" for write in history.writes),
        "changes of rows": sum(write.door == "rows" for write in history.writes),
        "questions": len(questions),
        "questions to the edge": sum(bool(read.edge) for read in history.reads),
        "answered by its copies": sum(read.copied for read in history.reads),
        "questions failed": sum(result != "ok" for result in questions.values()),
        "jobs": sum(job.id is not None for job in history.jobs),
        "jobs answered": sum(job.final is not None and job.final.type == "answer" for job in history.jobs),
        "webhooks told": len({each.job_id for each in history.deliveries if 200 <= each.answered < 300}),
        "dead letters": len(history.letters),
        "faults": len(history.windows),
        "faults that met an ill system": sum(window.sick is not None for window in history.windows),
    }


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p95."""
    if len(seconds) < 2:
        return (seconds[0], seconds[0]) if seconds else (0.0, 0.0)
    cuts = quantiles(seconds, n=20, method="inclusive")
    return cuts[9], cuts[18]
