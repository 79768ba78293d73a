"""When Faust acknowledges an event while the worker lives on."""

import pytest

from streams import app as our_app
from streams.app import create_app
from streams.runner import Runner
from tests.upstream import worker
from tests.upstream.lanes import Lane, lives_with, scenario, scenarios, stays, until

pytestmark = pytest.mark.servers
RAISE = ["ok", "ok", "raise", "ok", "ok"]
RAISE_IN_BATCH = ["ok"] * 4 + ["raise"] + ["ok"] * 4


@scenario(worker.each, "ok", "ok", "wait")
def test_finished_body_is_committed(lane: Lane) -> None:
    """An event is acknowledged when its body ends, not before, and a timer commits it."""
    lane.until_committed(2)
    until(lambda: lane.first.started == [0, 1, 2], lane)
    assert stays(lambda: lane.committed() == 2)
    lane.first.open_gate()
    lane.until_committed(3)
    lives_with(create_app, "broker_commit_interval=kafka.commit_interval")


@scenarios(default=scenario(worker.each, *RAISE), setting=scenario(worker.each, *RAISE, stream_ack_exceptions=False))
def test_raising_body_loses_its_event(lane: Lane) -> None:
    """An exception that leaves the body acknowledges its event, whatever ``stream_ack_exceptions`` says."""
    lane.until_committed(5)
    assert lane.first.started == [0, 1, 2, 3, 4]
    assert lane.first.done == [0, 1, 3, 4]
    lives_with(Runner.run, "except BaseException")
    lives_with(Runner._exit_hard, "os._exit(EXIT_UNKNOWN)")


@scenarios(
    take=scenario(worker.take, *RAISE_IN_BATCH), take_events=scenario(worker.take_events, *RAISE_IN_BATCH)
)  # fmt: skip
def test_raising_batch_loses_more_than_itself(lane: Lane) -> None:
    """An exception in a ``take()`` body acknowledges its whole batch, the event that nobody began included; how much of
    what was buffered behind is committed too, delivered or not, is a race."""
    until(lambda: (lane.committed() or 0) >= 6, lane)  # the batch is 3, 4 and 5
    assert lane.first.started[:5] == [0, 1, 2, 3, 4]
    assert lane.first.done[:4] == [0, 1, 2, 3] and 4 not in lane.first.done
    assert 5 not in lane.first.started
    lives_with(Runner.run, "noack_take(1, within=None)")


@scenario(worker.noack_take, *RAISE_IN_BATCH, consumer_group_instance_id="slot")
def test_raising_noack_batch_stops_commits(lane: Lane) -> None:
    """An exception in a ``noack_take()`` body acknowledges nothing: what was buffered is stuck, what comes later is
    done, but nothing is committed, and SIGTERM waits for acks that never come; after kill -9 all comes again."""
    until(lambda: lane.first.numbers("failed") == [4], lane)
    lane.until_committed(3)
    assert stays(lambda: lane.first.started == [0, 1, 2, 3, 4])
    lane.send("ok", "ok", "ok")
    until(lambda: lane.first.done == [0, 1, 2, 3, 9, 10, 11], lane)
    lane.first.terminate()
    assert stays(lambda: lane.first.alive and lane.committed() == 3, 1.5)
    lane.first.kill()
    again = lane.restart()
    lane.until_committed(12)
    assert again.done == list(range(3, 12))
    lives_with(Runner._exit_hard, "os._exit(EXIT_UNKNOWN)")


@scenario(worker.noack_take_one, "ok", "raise")
def test_raising_noack_body_loses_its_event_to_the_next(lane: Lane) -> None:
    """With ``noack_take(1)`` and nothing buffered behind, the next ack commits past the event that raised: lost."""
    until(lambda: lane.first.numbers("failed") == [1], lane)
    lane.send("ok")
    lane.until_committed(3)
    assert lane.first.done == [0, 2]
    lives_with(Runner.run, "except BaseException")


@scenario(worker.noack_take, "ok", "leave", "ok")
def test_commit_jumps_over_an_event_left_unacknowledged(lane: Lane) -> None:
    """One unacknowledged event holds back nothing: the commit after it jumps over it, without any new ack."""
    lane.until_committed(3)
    assert lane.first.numbers("acked") == [0, 2]
    lives_with(Runner._acknowledge, "for event in events")  # in order, all of them


@scenario(worker.noack_take_full, "ok", "ok")
def test_batch_without_a_timeout_waits_to_be_full(lane: Lane) -> None:
    """``noack_take(n, within=None)`` yields nothing until n events are there, so only n = 1 can be used without."""
    until(lambda: lane.group().members, lane)
    assert stays(lambda: not lane.first.started)
    lane.send("ok")
    until(lambda: lane.first.done == [0, 1, 2], lane)
    lives_with(Runner.run, "noack_take(1, within=None)")


@scenario(worker.each, "ok", b"{", "ok")
def test_undecodable_value_is_dropped(lane: Lane) -> None:
    """A value that cannot be decoded is acknowledged, committed and gone; the agent crashes and is restarted."""
    lane.until_committed(3)
    assert lane.first.done == [0, 1]
    assert "Crashed reason=ValueDecodeError" in lane.first.log
    lives_with(create_app, 'value_serializer="raw"')


@scenarios(take=scenario(worker.take, "ok", "ok", "ok"), noack_take=scenario(worker.noack_take, "ok", "ok", "ok"))
def test_undecodable_value_ends_a_batching_agent_silently(lane: Lane) -> None:
    """With ``take()`` and ``noack_take()`` an undecodable value is committed, and the agent never consumes again while
    the worker lives and logs nothing."""
    lane.until_committed(3)
    lane.send(b"{", "ok", "ok", "ok")
    lane.until_committed(4)
    assert stays(lambda: lane.first.started == [0, 1, 2] and lane.committed() == 4 and lane.first.alive)
    assert "Error" not in lane.first.log
    lives_with(our_app.attach, 'value_serializer="raw"')
