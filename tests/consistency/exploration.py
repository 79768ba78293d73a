"""Run a machine over many examples; a failure comes back as the shortest program that shows it.

Hypothesis finds programs and shrinks their values, but gives up early on steps that no longer matter: those are taken
out one by one afterwards.
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.consistency.faults import Fault
from tests.consistency.machine import IndexMachine

_LAST = "state.teardown()"


@dataclass(frozen=True, slots=True)
class Finding:
    """A program of steps, and what it ends with."""

    program: Sequence[str]
    failure: str

    def __str__(self) -> str:
        return "\n".join([*self.program, f"=> {self.failure}"])


def explore(
    machine: type[IndexMachine], *, examples: int, steps: int, seeded: int, shrink: bool = True
) -> Finding | None:
    """Look for a program that fails; the same seed looks at the same programs."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(seeded)(machine), settings=chosen)
    except AssertionError as error:
        found = Finding(_program(error), str(error))
        return _shortest(machine, found) if shrink else found
    return None


def failure_of(make: Callable[[], IndexMachine], program: Sequence[str]) -> str | None:
    """What the program ends with, if it fails; a step that is not possible where it stands is passed over."""
    state = make()
    rules = {rule.function.__name__: rule for rule in state.rules}
    failure: str | None = None
    try:
        for line in program:
            name = ast.parse(line).body[0].value.func.attr  # type: ignore[attr-defined]
            if all(condition(state) for condition in rules[name].preconditions):
                eval(line, {"state": state, "Fault": Fault})
    except AssertionError as error:
        failure = str(error)
    try:
        state.teardown()
    except AssertionError as error:
        failure = failure or str(error)
    return failure


def _program(error: BaseException) -> list[str]:
    """The steps that Hypothesis reported with a failure."""
    lines = "\n".join(getattr(error, "__notes__", [])).splitlines()
    return [line for line in lines if line.startswith("state.") and line != _LAST]


def _shortest(make: Callable[[], IndexMachine], found: Finding) -> Finding:
    """Without any step that the failure does not need."""
    size = max(1, len(found.program) // 2)
    while size:
        place, shorter = 0, False
        while place < len(found.program):
            rest = [*found.program[:place], *found.program[place + size :]]
            failure = failure_of(make, rest)
            if failure is None:
                place += size
            else:
                found, shorter = Finding(rest, failure), True
        size = size if shorter and size == 1 else size // 2
    return found
