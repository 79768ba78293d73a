"""What happens to events in work when a worker is stopped or killed."""

import signal

import pytest
from confluent_kafka import ConsumerGroupState

from streams import app as our_app
from streams.app import create_app
from streams.runner import Runner
from tests.upstream import worker
from tests.upstream.lanes import Lane, lives_with, scenario, scenarios, stays, until

pytestmark = pytest.mark.servers
# A worker that is killed and started again takes its place at once only as a static member (see the last two tests).


@scenarios(
    each=scenario(worker.each, "ok", "wait"), take_events=scenario(worker.take_events, "ok", "wait", "ok")
)  # fmt: skip
def test_sigterm_waits_for_the_body(lane: Lane) -> None:
    """With ``stream_wait_empty=True``, the default, SIGTERM lets the body end, however long it takes, and commits."""
    until(lambda: lane.first.started == [0, 1], lane)
    lane.first.terminate()
    assert stays(lambda: lane.first.alive and not lane.first.numbers("cancelled"), 1.5)
    lane.first.open_gate()
    assert lane.first.code() == 0
    assert lane.first.done == list(range(len(lane.scenario.words))) and lane.committed() == len(lane.scenario.words)
    lives_with(create_app, "stream_wait_empty=False")  # our lanes wait out outages: a stop must not


@scenarios(
    each=scenario(worker.each, "ok", "wait", stream_wait_empty=False),
    take_events=scenario(worker.take_events, "wait", "ok", "ok", stream_wait_empty=False),
)
def test_sigterm_loses_what_it_cancels(lane: Lane) -> None:
    """With ``stream_wait_empty=False`` SIGTERM cancels the body, acknowledges its events and commits them: lost."""
    waiting = lane.scenario.words.index("wait")
    until(lambda: waiting in lane.first.started, lane)
    lane.first.terminate()
    assert lane.first.code() == 0
    lost = len(lane.scenario.words)
    assert lane.first.numbers("cancelled") == [waiting] and lane.committed() == lost
    lane.send("ok", "ok", "ok")
    again = lane.restart()
    lane.until_committed(lost + 3)
    assert again.started == [lost, lost + 1, lost + 2]
    lives_with(Runner.run, "noack_take(1, within=None)")


@scenario(worker.noack_take, "ok", "wait", "ok", stream_wait_empty=False)
def test_sigterm_with_noack_take_loses_nothing(lane: Lane) -> None:
    """With ``noack_take()`` SIGTERM cancels the body, acknowledges nothing, and all of it comes again."""
    until(lambda: lane.first.started == [0, 1], lane)
    lane.first.terminate()
    assert lane.first.code() == 0
    assert lane.first.numbers("cancelled") == [1] and lane.committed() is None
    again = lane.restart()
    lane.until_committed(3)
    assert again.done == [0, 1, 2]
    lives_with(create_app, "stream_wait_empty=False")
    lives_with(Runner.run, "except asyncio.CancelledError")


@scenario(worker.each, *["ok"] * 5, broker_commit_interval=600, consumer_group_instance_id="slot")
def test_kill_repeats_what_was_not_committed(lane: Lane) -> None:
    """After kill -9 everything since the last commit comes again: duplicates, no loss, as acks were in order."""
    until(lambda: lane.first.done == [0, 1, 2, 3, 4], lane)
    lane.first.kill()
    assert lane.first.code() == -signal.SIGKILL and lane.committed() is None
    again = lane.restart(settings={"consumer_group_instance_id": "slot"})
    lane.until_committed(5)
    assert again.done == [0, 1, 2, 3, 4]
    lives_with(create_app, "broker_commit_interval=kafka.commit_interval")


@scenario(worker.each, "wait", *["ok"] * 5, concurrency=3, consumer_group_instance_id="slot")
def test_concurrency_loses_a_slow_head(lane: Lane) -> None:
    """With ``concurrency=3`` the commit passes a slow event at the head; after kill -9 it never comes back."""
    lane.until_committed(6)
    assert sorted(lane.first.started) == [0, 1, 2, 3, 4, 5] and 0 not in lane.first.done
    lane.first.kill()
    lane.send("ok")
    again = lane.restart()
    lane.until_committed(7)
    assert again.started == [6]
    lives_with(our_app.attach, "concurrency=1")
    lives_with(Runner._work_window, "while window and window[0][1].done()")


@scenario(worker.each, "ok", consumer_group_instance_id="slot")
def test_static_member_takes_its_place_at_once(lane: Lane) -> None:
    """A killed worker that comes back under its ``consumer_group_instance_id`` goes on while the broker still counts
    its old session, of 60 s: one member, no rebalance, only the id that the broker gives it is new."""
    lane.until_committed(1)
    (before,) = lane.group().members
    lane.first.kill()
    lane.send("ok")
    again = lane.start()
    lane.until_committed(2)
    (after,) = lane.group().members
    assert again.done == [1]
    assert before.group_instance_id == after.group_instance_id == "slot"
    assert before.member_id != after.member_id
    assert "(generation 1)" in lane.first.log and "(generation 1)" in again.log
    assert lane.group().state == ConsumerGroupState.STABLE
    lives_with(create_app, 'consumer_group_instance_id=f"{group}.{slot}"')


@scenario(worker.each, "ok")
def test_dynamic_member_waits_for_the_session_to_end(lane: Lane) -> None:
    """Without it the restarted worker waits in a rebalance for the dead member, until its session ends."""
    lane.until_committed(1)
    lane.first.kill()
    lane.send("ok")
    again = lane.start()
    until(lambda: len(lane.group().members) == 2, lane)
    assert stays(lambda: not again.started)
    assert lane.group().state == ConsumerGroupState.PREPARING_REBALANCING
    lives_with(create_app, "broker_session_timeout=kafka.session_timeout")
