"""What campaigns have found: each a name, and how to do it again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Regression:
    """``broke`` is what was broken, and why; ``seconds`` are those of traffic."""

    name: str
    seed: int
    faults: tuple[str, ...]
    broke: str
    seconds: float = 30.0


REGRESSIONS = (
    Regression(
        "clock-ahead-hides-jobs",
        seed=1,
        faults=("clock-ahead:gateway",),
        broke="a question stamped an hour ahead ended every later search of its partition: 404 for later jobs",
    ),
    Regression(
        "clock-ahead-signs-ahead",
        seed=8,
        faults=("clock-ahead:notify",),
        broke="webhooks were signed an hour ahead, which receivers refuse, and their next tries planned an hour later",
    ),
    Regression(
        "outage-taken-for-pace",
        seed=7,
        faults=("kill-9:retrieve", "restart:kafka"),
        broke="the door took seconds without a worker for the pace of answers, and refused questions long after",
    ),
)
