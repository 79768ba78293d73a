"""Faust's defaults that our application lives with, or sets otherwise."""

from typing import Any

import faust
import pytest
from faust.transport import conductor
from faust.transport.drivers import aiokafka as driver
from faust.types.enums import ProcessingGuarantee

from streams import app as ours
from tests.upstream.lanes import lives_with

DEFAULTS: dict[str, tuple[Any, str]] = {
    "web_enabled": (True, "web_enabled=False"),
    "web_bind": ("0.0.0.0", "web_enabled=False"),
    "processing_guarantee": (ProcessingGuarantee.AT_LEAST_ONCE, "create_app"),
    "stream_wait_empty": (True, "stream_wait_empty=False"),
    "stream_buffer_maxsize": (4096, "stream_buffer_maxsize=512"),
    "table_standby_replicas": (1, "table_standby_replicas=0"),
    "topic_disable_leader": (False, "topic_disable_leader=True"),
    "topic_allow_declare": (True, "topic_allow_declare=False"),
    "consumer_auto_offset_reset": ("earliest", 'consumer_auto_offset_reset="earliest"'),
    "consumer_group_instance_id": (None, "consumer_group_instance_id="),
    "broker_commit_interval": (2.8, "broker_commit_interval=kafka.commit_interval"),
    "broker_commit_every": (10_000, "create_app"),
    "broker_session_timeout": (60.0, "broker_session_timeout=kafka.session_timeout"),
    "broker_heartbeat_interval": (3.0, "broker_heartbeat_interval=kafka.session_timeout / 5"),
    "broker_request_timeout": (90.0, "broker_request_timeout=max("),
    "broker_max_poll_interval": (1000.0, "broker_max_poll_interval=86400.0"),
    "producer_acks": (-1, "producer_acks=-1"),
    "producer_linger": (0.0, "producer_linger=0"),
    "producer_request_timeout": (1200.0, "producer_request_timeout=kafka.request_timeout"),
    "producer_max_request_size": (1_000_000, "producer_max_request_size=max_message_bytes"),
    "cython_optimizations": (False, "create_app"),
}


@pytest.fixture
def app() -> Any:
    return faust.App("defaults", broker="aiokafka://127.0.0.1:1")


@pytest.mark.parametrize("name", DEFAULTS)
def test_default(app: Any, name: str) -> None:
    """The setting's default is what our application was written against."""
    value, text = DEFAULTS[name]
    assert getattr(app.conf, name) == value
    lives_with(ours.create_app, text)


async def test_producer_is_neither_idempotent_nor_quick_to_fail(app: Any) -> None:
    """A producer repeats a record whose confirmation was lost, and keeps trying for 20 minutes."""
    transport: Any = driver.Transport(app.conf.broker_consumer, app)
    producer = transport.create_producer()._new_producer()
    assert producer._txn_manager is None  # idempotence needs one
    assert producer._request_timeout_ms == 1_200_000
    lives_with(ours.create_app, "producer_request_timeout=kafka.request_timeout")


def test_cython_stream_is_there() -> None:
    """The wheel brings the Cython stream, which our application refuses to run without, and conductor."""
    assert faust.streams._CStreamIterator is not None  # type: ignore[attr-defined]
    assert conductor.ConductorHandler is not None  # type: ignore[attr-defined]
    ours.check_versions()


def test_late_topics_are_subscribed_late() -> None:
    """A topic that is declared while the worker runs is subscribed after up to 45 s: ours are declared before."""
    assert conductor.Conductor._resubscribe_sleep_lock_seconds == 45.0
