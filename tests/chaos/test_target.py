"""A campaign against somebody's own installation: what it may touch, what it notes, what it counts as broken."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from chaos.askers import NOBODY, Askers
from chaos.bad_input import POISON, REFUSED
from chaos.documents import Revision
from chaos.history import Window, Write
from chaos.manners import MANNERS, Answer, Race, judge_answers, judge_races, written
from chaos.marks import Marks
from chaos.pace import Pace
from chaos.removal import remove
from chaos.target import Plan
from connectors.memory.jobs import MemoryJobs
from connectors.memory.manifests import MemoryManifests
from gateway.app import create_app
from gateway.memory_log import MemoryLog
from tests.gateway.builders import door_settings, serving

DEADLINE = 5.0
SHOWN = {"token": "1.0.7", "status": "indexed"}


def test_all_that_it_will_do_is_said(tmp_path: Path) -> None:
    """Every manner, where documents will lie, how long and how fast."""
    said = "\n".join(Plan("http://door", "r1", 1, 30, 7, tmp_path).says())
    assert all(manner.name in said and manner.says in said for manner in MANNERS)
    assert "chaos/r1/" in said and "30 s" in said and "at most 7 " in said and "http://door" in said


async def test_only_what_the_run_made_is_removed() -> None:
    """One strange id, and nothing is deleted at all; others are deleted, also by a door that is away at first."""
    asked: list[tuple[str, str]] = []

    async def door(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path))
        if len(asked) == 1:
            raise httpx.ConnectError("away")
        if request.method == "DELETE":
            return httpx.Response(202, json={"token": "1.0.7"})
        return httpx.Response(200, json={"status": "deleted"})

    async with httpx.AsyncClient(base_url="http://door", transport=httpx.MockTransport(door)) as http:
        with pytest.raises(ValueError, match="handbook"):
            await remove(http, "chaos/r1/", {"chaos/r1/a", "handbook"}, DEADLINE)
        assert asked == []
        found = await remove(http, "chaos/r1/", {"chaos/r1/a", "chaos/r1/b"}, DEADLINE)
    assert (found.removed, found.left) == (2, {})
    assert all(path.startswith("/v1/documents/chaos/r1/") for _, path in asked)


async def test_what_could_not_be_removed_is_said() -> None:
    """A door that no longer lets us in, one that is away for too long, one that shows what it took the delete of."""

    async def door(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("c"):
            return httpx.Response(202 if request.method == "DELETE" else 200, json=SHOWN)
        if request.url.path.endswith("b"):
            raise httpx.ConnectError("away")
        return httpx.Response(403, text="revoked")

    async with httpx.AsyncClient(base_url="http://door", transport=httpx.MockTransport(door)) as http:
        found = await remove(http, "chaos/r1/", {"chaos/r1/a", "chaos/r1/b", "chaos/r1/c"}, 0.3)
    assert found.removed == 0 and "indexed" in found.left["chaos/r1/c"]
    assert "403 revoked" in found.left["chaos/r1/a"] and "away" in found.left["chaos/r1/b"]


def test_what_may_have_come_to_be_is_what_was_not_refused() -> None:
    """A write whose fate is unknown may lie in the log."""
    revision = [Revision(name, 1, ("a",)) for name in "abc"]
    writes = [Write(revision[0], 0.0, "ok"), Write(revision[1], 0.0, "failed"), Write(revision[2], 0.0, "unknown")]
    assert written(writes) == {"a", "c"}


async def test_a_key_asks_for_itself() -> None:
    """With keys each asker shows its own and names no principals; without, the header says who asks."""

    async def shown(askers: Askers, **headers: str) -> dict[str, str]:
        request = httpx.Request("GET", "http://door/", headers=headers)
        await askers.sign(request)
        return {name: value for name, value in request.headers.items() if name in ("x-api-key", "freshet-principals")}

    keyed = Askers("first", {"staff": "second"})
    assert keyed.asking == ["", "staff"] and keyed.named == ["staff", NOBODY]
    assert await shown(keyed) == {"x-api-key": "first"}
    assert await shown(keyed, **{"Freshet-Principals": "staff"}) == {"x-api-key": "second"}
    assert await shown(Askers(), **{"Freshet-Principals": "ann"}) == {"freshet-principals": "ann"}
    assert "first" not in repr(keyed) and "second" not in repr(keyed)


async def test_a_pace_is_kept_by_all_together() -> None:
    """Three who ask as fast as they can get no more than the rate, and a burst waits until it is saved up."""
    pace, began, taken = Pace(50), time.monotonic(), 0

    async def taker() -> None:
        nonlocal taken
        while time.monotonic() < began + 0.5:
            await pace.take()
            taken += 1

    await asyncio.gather(*(taker() for _ in range(3)))
    assert 15 <= taken <= 30
    before = time.monotonic()
    await pace.take(10)
    assert time.monotonic() - before >= 0.15


@pytest.fixture
async def marked(tmp_path: Path) -> AsyncIterator[tuple[Path, list[Window]]]:
    """A file that is followed, with a line that was there before, and the windows that come of it."""
    file, windows = tmp_path / "marks", list[Window]()
    file.write_text("of yesterday\n")
    task = asyncio.create_task(Marks(windows, time.monotonic).follow(file))
    await asyncio.sleep(0)
    yield file, windows
    task.cancel()


async def test_lines_of_a_file_become_windows(marked: tuple[Path, list[Window]]) -> None:
    """Each begins one and ends the one before; `end` begins none; a line that is not whole yet is waited for."""
    file, windows = marked
    with file.open("a", buffering=1) as lines:
        lines.write("kill-9:embed\nreboot of ")
        await until(lambda: len(windows) == 1)
        assert windows[0].fault == "kill-9:embed" and windows[0].healed is None
        lines.write("node 3\n")
        await until(lambda: len(windows) == 2)
        assert windows[1].fault == "reboot of node 3" and windows[0].healed is not None
        lines.write("end\n")
        await until(lambda: windows[1].healed is not None)
    assert len(windows) == 2
    assert windows[0].began < windows[0].healed <= windows[1].began < (windows[1].healed or 0)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not true():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        (Answer("a", 0.0, "refusal", 422), False),
        (Answer("taken", 0.0, "refusal", 202), True),
        (Answer("broke", 0.0, "refusal", 500), True),
        (Answer("away", 0.0, "refusal", 503), False),
        (Answer("cut off", 0.0, "refusal", 0), False),
        (Answer("a", 0.0, "outcome", 202, "rejected"), False),
        (Answer("a", 0.0, "outcome", 202, "indexed"), False),
        (Answer("refused", 0.0, "outcome", 415), False),
        (Answer("hangs", 0.0, "outcome", 202, "pending"), True),
        (Answer("broke", 0.0, "outcome", 500), True),
    ],
)
def test_bad_input_has_its_answers(answer: Answer, broken: bool) -> None:
    """Wrong requests are refused, unreadable documents end somehow; a 500, a yes and an open end are broken."""
    assert [each.subject for each in judge_answers([answer])] == ([answer.name] if broken else [])


def test_the_log_decides_a_race() -> None:
    """What has the highest place in the log is shown at last, or nothing, if that was the delete."""
    tokens = {1: "1.0.12", 2: "1.0.9", 3: "1.0.10"}

    def broken(tokens: dict[int, str], shown: list[str] | None) -> bool:
        return bool(judge_races([Race("a", 0.0, tokens, [4], shown)]))

    assert not broken(tokens, ["a revision 1"])
    assert broken(tokens, ["a revision 3"]) and broken(tokens, []) and broken(tokens, ["a revision 1", "a revision 2"])
    assert not broken({**tokens, 4: "1.0.13"}, []) and broken({**tokens, 4: "1.0.13"}, ["a revision 1"])
    assert not broken({**tokens, 4: "1.0.11"}, ["a revision 1"])
    assert not broken(tokens, None), "nobody could ask"


async def test_what_must_be_refused_is_refused() -> None:
    """By the real gateway, each request with a 4xx; and what cannot be read is taken, or refused in the same way."""
    async with serving(create_app(door_settings(), MemoryManifests(), MemoryLog(), jobs=MemoryJobs())) as door:
        for bad in (*REFUSED, *POISON):
            doc_id = f"chaos%2Fr1%2F{bad.suffix}"
            answer = await door.request(
                bad.method, bad.path.replace("{id}", doc_id), content=bad.content, headers=bad.headers
            )
            allowed = {202} if bad.poison else set()
            assert answer.status_code in allowed or 400 <= answer.status_code < 500, (bad.name, answer.status_code)
            assert answer.status_code != 429
