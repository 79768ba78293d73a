"""What chaos/README.md claims is so: checkers, mutations, faults, campaigns and files that it names are there."""

import re

from chaos.__main__ import CAMPAIGNS
from chaos.checkers import CHECKERS
from chaos.faults import FAULTS
from chaos.mutations import MUTATIONS
from deploy.local.programs import ROOT
from tests.consistency.mutations import MUTATIONS as STAGES

TEXT = (ROOT / "chaos" / "README.md").read_text()


def table(heading: str) -> list[list[str]]:
    """Rows of the table under a heading, without its first two."""
    part = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ")[0]
    return [
        line.removeprefix("| ").removesuffix(" |").split(" | ") for line in part.splitlines() if line.startswith("| ")
    ][1:]


def test_every_checker_has_its_claim() -> None:
    """One row each, whose mutation is one that this checker must catch, and whose faults exist."""
    names = {fault.name for fault in FAULTS}
    kinds = {name.partition(":")[0] for name in names}
    rows = {row[1].strip("`"): row for row in table("Claims")}
    assert set(CHECKERS) <= set(rows)
    for checker in CHECKERS:
        _, _, faults, mutation = (cell.strip(" |") for cell in rows[checker])
        assert mutation in {each.name for each in MUTATIONS if each.checker == checker}, (checker, mutation)
        assert set(re.findall(r"`([^`]+)`", faults)) <= names | kinds, (checker, faults)


def test_every_campaign_is_listed() -> None:
    """Each that `python -m chaos` knows, and no other."""
    listed = re.findall(r"`python -m chaos (\w+)", "".join(row[0] for row in table("Campaigns")))
    assert set(listed) == set(CAMPAIGNS)


def test_what_holds_a_bug_down_is_there() -> None:
    """Files, tests and mutations of the track record exist by these names."""
    rows = table("Track record")
    assert len(rows) >= 10
    stages = {stage.name for stage in STAGES}
    for *_, holds in rows:
        for quoted in re.findall(r'mutation "([^"]+)"', holds):
            assert quoted in stages, quoted
        for path, _, test in (found.partition("::") for found in re.findall(r"`(tests/[^`]+)`", holds)):
            assert (ROOT / path).is_file(), path
            assert not test or f"def {test}(" in (ROOT / path).read_text(), test


def test_every_room_is_named_once() -> None:
    """A file or folder that the table of rooms names is there."""
    named = re.findall(r"`([\w/]+(?:\.py)?/?)`", " ".join(row[0] for row in table("Rooms")))
    assert len(named) == len(set(named)) > 20
    for name in named:
        assert (ROOT / "chaos" / name).exists(), name
