"""All limits of a run, each with its reason; in seconds where nothing else is said."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chaos.checks import NO_EDGE, Edge

SLOWEST_BACK = 30.0


def _recovery() -> dict[str, float]:
    return {
        "kill-9": 25.0,  # a member's session ends after 10 s, it starts anew in 3 to 5 s, and loads its encoder
        "restart": 30.0,  # a server recovers its own data first, then every client comes back with its backoff
        "disk-full": 45.0,  # such a server starts twice: by itself, and when its data are brought home
        "latency": 10.0,  # nothing was lost, so only what queued up is to be worked off
    }


@dataclass(frozen=True, slots=True)
class Bounds:
    """The defaults are those of a campaign: two cores that hold the whole system and those who ask."""

    freshness: float = 10.0  # ten times what it takes undisturbed on two cores: what is later waits for something
    question: float = 5.0  # an undisturbed question takes 0.1 s; who waits longer than this has gone
    normal: int = 4  # probes in a row that make it normal again, two seconds of them: one good answer is luck
    recovery: Mapping[str, float] = field(default_factory=_recovery)  # by kind of fault
    slowest: float = SLOWEST_BACK  # of any other kind: an operator reaches for the telephone after half a minute
    drain: float = 30.0  # from the last heal and the last change to no lag: a commit interval, and what had queued up
    settle: float = 10.0  # of a program's life until its memory counts: models load, pools fill
    memory: float = 1.9  # times that at ``settle``: what queued up is encoded in large batches, whose arenas stay (1.7)
    slope: float | None = None  # MiB an hour; only a long run can tell one from noise
    slope_after: float = 600.0  # a program must have lived so long: caches fill until then
    drift: float | None = None  # times the latency of the run's begin; only without faults
    noise: float = 0.02  # what latency may differ whatever the times: a scheduler's slice or two
    ttl: float = 0.0  # for which caches may answer as before a document was there; 0 where none may
    edge: Edge = NO_EDGE  # what copies at an edge may do, where there is one
    ladder: tuple[str, ...] = ("paced", "extractive")  # names of models as answers name them, the first first
    optional: frozenset[str] = frozenset()  # checkers that need no evidence: what they judge is no part of the run

    def back(self, fault: str) -> float:
        """Within what time all must be normal after a fault KIND:TARGET was healed."""
        return self.recovery.get(fault.partition(":")[0], self.slowest)


SOAK = replace(
    Bounds(),
    memory=1.3,  # an hour of the same work needs no more than its first minutes did
    slope=32.0,  # 0.75 GB a day: a program that is restarted weekly never feels it
    drift=1.5,  # a disk that fills or an index that grows slows what it holds by less in an hour
    optional=frozenset({"recovery", "letters"}),  # no faults are injected, and no poison is sent
)
