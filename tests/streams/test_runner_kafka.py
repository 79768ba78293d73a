"""The runner on real Kafka, with real processes that die: nothing lost, nothing blocked for ever."""

import random
import signal
import time
from pathlib import Path

import pytest

from streams.runner import EXIT_UNKNOWN
from tests.streams.lane import Lane
from topics import registry
from topics.spec import dead_letters_of

pytestmark = pytest.mark.servers


def test_kill_loses_nothing(lane: Lane) -> None:
    """Every record comes out although the worker is killed with -9 three times in the middle of its work."""
    words = [f"sleep:0.0{random.randrange(10)}#{n}" for n in range(200)]
    words = [word.replace("#", "") + f"{n:03d}" for n, word in enumerate(words)]
    lane.send(*words)
    for _ in range(3):
        lane.start()
        time.sleep(2.5)
        lane.kill()
    assert set(lane.outputs(200)) == {word.encode() for word in words}
    assert not lane.read(lane.name(dead_letters_of(registry.CHUNKS)), 1, seconds=1)


def test_sigterm_loses_nothing(lane: Lane) -> None:
    """A graceful stop in the middle of the work leaves what was unfinished for the next start."""
    words = [f"sleep:0.02{n:03d}" for n in range(100)]
    lane.send(*words)
    lane.start()
    time.sleep(3)
    assert lane.kill(signal.SIGTERM) == 0
    assert set(lane.outputs(100)) == {word.encode() for word in words}


@pytest.mark.parametrize("word", ["kill", "raise"])
def test_poison_is_set_aside(lane: Lane, word: str) -> None:
    """A record that ends its worker every time becomes a dead letter; its neighbours pass."""
    lane.environment["FRESHET_POISON_LIMIT"] = "2"  # soon; with it, two kills from outside would blame an innocent
    lane.send("ok1", word, "ok2", "ok3")
    found = lane.outputs(4)
    assert {b"ok1", b"ok2", b"ok3", b"refused:dead-lettered"} <= set(found)
    assert lane.dead_letters(1) == [word.encode()]


def test_refused_records_pass_by(lane: Lane) -> None:
    """What cannot be read or can never work becomes a dead letter at once; nothing behind it waits."""
    lane.send("ok1", b"\xff\xfe", "permanent", "ok2")
    assert {b"ok1", b"ok2", b"refused:rejected", b"refused:dead-lettered"} <= set(lane.outputs(4))
    assert set(lane.dead_letters(2)) == {b"\xff\xfe", b"permanent"}


def test_outage_pauses(lane: Lane, tmp_path: Path) -> None:
    """While something is away the lane waits, says so, and goes on by itself; nothing is dead-lettered."""
    away = tmp_path / "away"
    away.touch()
    lane.send(f"away:{away}", "ok1")
    assert "told to wait" in (lane.wait_for_pause("embed", paused=True) or "")
    assert f"away:{away}".encode() not in lane.outputs(2, seconds=1)
    away.unlink()
    assert {b"ok1", f"away:{away}".encode()} == set(lane.outputs(2))
    lane.wait_for_pause("embed", paused=False)
    assert not lane.read(lane.name(dead_letters_of(registry.CHUNKS)), 1, seconds=1)


@pytest.mark.parametrize("lane", ["window"], indirect=True)
def test_slow_head_survives_kill(lane: Lane) -> None:
    """A slow record at the head of the window is not passed by a commit: after kill -9 it comes again."""
    lane.send("sleep:6", *(f"ok{n}" for n in range(7)))
    lane.start()
    assert {f"ok{n}".encode() for n in range(7)} <= set(lane.outputs(7, seconds=5.5))
    lane.kill()
    assert b"sleep:6" in lane.outputs(8)


@pytest.mark.parametrize("lane", ["window"], indirect=True)
def test_window_is_bounded(lane: Lane) -> None:
    """Behind a stuck head at most the window's size of records is taken, so that a crash repeats no more."""
    lane.send("sleep:30", *(f"ok{n}" for n in range(50)))
    lane.start()
    assert len(set(lane.outputs(50, seconds=6))) == 7  # in_flight is 8, one of which is stuck


@pytest.mark.parametrize("lane", ["few"], indirect=True)
def test_what_is_skipped_is_behind_the_commit(lane: Lane) -> None:
    """A stage that takes few of many gets those, each once, and its commits move past the others, the last too."""
    many = [(f"raise{n}".encode(), {"many": b""}) for n in range(500)]
    few = [(f"ok{n}".encode(), {}) for n in range(5)]
    for n, one in enumerate(few):
        lane.append(registry.CHUNKS, *many[n * 100 : n * 100 + 100], one)
    lane.append(registry.CHUNKS, *many)
    assert lane.outputs(5) == [value for value, _ in few]
    assert lane.committed(registry.CHUNKS, until=1005) == 1005
    assert lane.outputs(6, seconds=1) == [value for value, _ in few]


@pytest.mark.parametrize("lane", ["batch"], indirect=True)
def test_the_end_of_what_runs_beside_is_the_end_of_the_worker(lane: Lane) -> None:
    """A worker without what runs beside its stage would go on by halves: it ends hard, and says why."""
    lane._mode = "beside"
    lane.start()
    assert lane._process is not None and lane._process.wait(30) == EXIT_UNKNOWN
    assert "told to" in lane._log.read_text()
