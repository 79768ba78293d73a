"""Topics on a real broker: made once, verified after, drift told."""

import secrets

import pytest
from confluent_kafka.admin import AdminClient

from runtime.settings import Settings
from topics import provision


@pytest.mark.servers
def test_apply_creates_then_verifies_then_tells_drift(settings: Settings) -> None:
    """The first run creates, the second verifies, and a differing wish is reported without being carried out."""
    admin = AdminClient({"bootstrap.servers": settings.kafka.brokers})
    prefix = f"p{secrets.token_hex(4)}"
    plans = provision.plan(prefix, "g1", 2, 3, 1, 1, 86_400_000)
    first = provision.apply(admin, plans)
    assert sorted(first.created) == sorted(p.name for p in plans) and not first.drift
    second = provision.apply(admin, plans)
    assert sorted(second.verified) == sorted(p.name for p in plans) and not second.created
    drift = provision.apply(admin, provision.plan(prefix, "g1", 4, 3, 1, 1, 1000)).drift
    assert any("2 partitions, should be 4" in line for line in drift)
    assert any("delete.retention.ms is 86400000, should be 1000" in line for line in drift)
    wished = provision.plan(prefix, "g1", 4, 3, 1, 1, 1000)
    altered = provision.apply(admin, wished, alter=True)
    assert altered.altered
    assert altered.drift and all("partitions" in line for line in altered.drift), "these are never changed"
    assert not any("delete.retention.ms" in line for line in provision.apply(admin, wished).drift)
