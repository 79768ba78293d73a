"""How many brokers and stores a local stack has: one of each, or three, of which one may be away.

Comes in: the user's environment.  Goes out: counts and the names of the programs.  Refused: other counts, and a state
folder whose data were written by another number of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.failures import StepFailed

BROKERS, STORES = "FRESHET_STACK_BROKERS", "FRESHET_STACK_STORES"
_COUNTS = ("1", "3")  # two would stand still without either of them, as one does


@dataclass(frozen=True, slots=True)
class Copies:
    """How many of each."""

    brokers: int = 1
    stores: int = 1

    def __post_init__(self) -> None:
        """Refuse what makes no quorum."""
        for what, count in (("brokers", self.brokers), ("stores", self.stores)):
            if str(count) not in _COUNTS:
                raise StepFailed(f"A local stack has {' or '.join(_COUNTS)} {what}, not {count}.")

    def check(self, data: Path) -> None:
        """Refuse a folder that holds the data of another number: what they know of each other would be wrong."""
        for kind, count in (("kafka", self.brokers), ("weaviate", self.stores)):
            other = data / node_name(kind, 1, 3 if count == 1 else 1)
            if other.is_dir():
                raise StepFailed(
                    f"{other} was written by another number of servers than the {count} that are asked for. Start as "
                    "many as then (--brokers, --stores), give this stack a folder of its own (--state), or remove "
                    "what it holds (make clean)."
                )


def node_name(kind: str, node: int, count: int) -> str:
    """Name of a program: the only one has no number."""
    return kind if count == 1 else f"{kind}-{node}"


def copies_from(environment: Mapping[str, str]) -> Copies:
    """Read both counts; what is not set is one."""
    return Copies(*(_count(environment, variable) for variable in (BROKERS, STORES)))


def _count(environment: Mapping[str, str], variable: str) -> int:
    text = environment.get(variable, "").strip() or "1"
    if text not in _COUNTS:
        raise StepFailed(f"{variable} is {' or '.join(_COUNTS)}, not {text!r}.")
    return int(text)
