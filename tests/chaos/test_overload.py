"""The verdict on an overload, of histories that are made up."""

from dataclasses import replace

import pytest

from chaos.overload import Asked, Overload, judge


def kept() -> Overload:
    """60 s in which 10 of 30 questions a second are answered, and the others told at once."""
    done = [Asked(n / 10, 0.8, 200, "done") for n in range(600)]
    told = [Asked(n / 20, 0.004, 429, cause="in-flight", retry_after=2.5) for n in range(1200)]
    memory = [(float(at), {"gateway": 1e8 + at, "generate": 9e7}) for at in range(1, 60)]
    return Overload(10.0, 30.0, 60.0, 5.0, [*done, *told], memory)


def test_promises_that_were_kept() -> None:
    """Nothing is found where all was as it should be."""
    assert judge(kept()) == []


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (Asked(1, 5.0, 200, "expired"), "neither answered nor refused: {'200 expired': 1}"),
        (Asked(1, 11.0, 202, "generating"), "neither answered nor refused: {'202 generating': 1}"),
        (Asked(0, 0.0, 0, "ConnectionResetError"), "neither answered nor refused: {'0 ConnectionResetError': 1}"),
        (Asked(1, 0.1, 503), "neither answered nor refused: {'503 ': 1}"),
        (Asked(1, 6.5, 200, "done"), "1 answers came behind their deadline, the last after 6.5 s"),
        (Asked(1, 0.061, 429, "", "late", 2.0), "1 of 1201 were refused after more than 50 ms, one after 61 ms"),
        (
            Asked(1, 0.061, 429, "", "late", 2.0, stood=0.02),
            "1 of 1201 were refused after more than 50 ms, one after 61 ms (1 because the one who asks stood still)",
        ),
        (
            Asked(1, 0.081, 429, "", "late", 2.0, stood=0.02),
            "1 of 1201 were refused after more than 50 ms, one after 81 ms",
        ),
        (Asked(1, 0.001, 429, "", "late", 0.2), "1 were told to come again in less than a second"),
    ],
)
def test_a_promise_that_was_broken(one: Asked, told: str) -> None:
    """One question that went otherwise is enough."""
    found = kept()
    found.asked.append(one)
    assert judge(found) == [told]


def test_what_collapses_or_grows() -> None:
    """Fewer answers than at the peak, more memory than at second 10, and an overload that was none."""
    found = kept()
    assert judge(replace(found, peak=12.0)) == ["10.0 answers a second under overload, 12.0 at the peak"]
    grown = [(at, {**used, "gateway": int(used["gateway"] * (1 + at / 300))}) for at, used in found.memory]
    assert judge(replace(found, memory=grown))[0].startswith("gateway has 1.1")
    assert judge(replace(found, asked=found.answered())) == ["nobody was refused: this was no overload"]
