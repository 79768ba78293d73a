"""What happens to events in work, and to events in buffers, when partitions move."""

import pytest

from streams.app import check_versions, create_app
from streams.runner import Runner
from tests.upstream import worker
from tests.upstream.lanes import Lane, lives_with, scenario, scenarios, stays, until

pytestmark = pytest.mark.servers
QUICK = {"broker_heartbeat_interval": 0.3, "partitions": 2, "concurrency": 2}


@scenario(worker.each, "wait", "wait", stream_wait_empty=False, **QUICK)
def test_two_workers_hold_one_event(lane: Lane) -> None:
    """With ``stream_wait_empty=False`` bodies are not cancelled when their partition moves: two workers hold one event,
    and the first one's late ack is discarded."""
    until(lambda: sorted(lane.first.started) == [0, 1], lane)
    second = lane.start()
    until(lambda: second.started, lane)
    (moved,) = second.started  # the value's number is its partition's too
    assert lane.first.alive and not lane.first.numbers("cancelled")
    lane.first.open_gate()
    lane.until_committed(1, partition=1 - moved)
    until(lambda: "Discarded commit for revoked partitions" in lane.first.log, lane)
    assert sorted(lane.first.done) == [0, 1] and lane.committed(moved) is None
    second.open_gate()
    lane.until_committed(1, partition=moved)
    lives_with(create_app, "stream_wait_empty=False")


@scenario(worker.each, "ok", "ok", "wait", "wait", stream_wait_empty=False, **QUICK)
def test_kept_partition_is_read_again(lane: Lane) -> None:
    """After a rebalance the partitions a worker keeps are read again from the commit: it gets what it has in work
    twice."""
    lane.until_committed(1, 0)
    lane.until_committed(1, 1)
    until(lambda: sorted(lane.first.started) == [0, 1, 2, 3], lane)
    second = lane.start()
    until(lambda: second.started, lane)
    (moved,) = second.started
    kept = {2: 3, 3: 2}[moved]
    lane.first.open_gate()
    until(lambda: lane.first.done.count(kept) == 2, lane)
    assert lane.first.done.count(moved) == 1
    lives_with(Runner._work_window, "if suspect:")  # begun before and not finished: it runs alone


@scenario(worker.each, "wait", "wait", **QUICK)
def test_rebalance_waits_for_the_body(lane: Lane) -> None:
    """With ``stream_wait_empty=True`` a rebalance waits for the bodies: nobody gets anything meanwhile."""
    until(lambda: sorted(lane.first.started) == [0, 1], lane)
    second = lane.start()
    until(lambda: len(lane.group().members) == 2, lane)
    lane.send("ok", "ok")
    assert stays(lambda: not second.started and sorted(lane.first.started) == [0, 1])
    lane.first.open_gate()
    lane.until_committed(2, 0)
    lane.until_committed(2, 1)
    assert sorted(lane.first.started + second.started) == [0, 1, 2, 3] and len(second.started) == 1
    lives_with(create_app, "stream_wait_empty=False")


@scenarios(
    cython=scenario(worker.age, "age", "ok", "ok"), python=scenario(worker.age, "age", "ok", "ok", cython=False)
)  # fmt: skip
def test_events_of_an_older_generation_are_skipped(lane: Lane) -> None:
    """What was fetched before a rebalance is skipped after it: the Cython stream does not acknowledge it, the pure
    Python one does, so that it is committed and lost."""
    lane.until_committed(1 if lane.run.cython else 3)
    lane.send("ok")
    until(lambda: lane.first.done == [0, 3], lane)
    if lane.run.cython:
        assert stays(lambda: lane.committed() == 1)
    else:
        lane.until_committed(4)
    lives_with(check_versions, "_CStreamIterator is None")
