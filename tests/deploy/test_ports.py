"""The list of ports."""

import pytest

from deploy.local.ports import SPAN, BadPortBase, Ports, ports_from
from deploy.local.programs import WORKERS, application_programs
from deploy.local.servers import kafka_settings


def every_port(ports: Ports, slots: int) -> list[int]:
    """All ports of a stack with this many worker slots."""
    servers = [ports.gateway, ports.kafka, ports.kafka_controller, ports.weaviate, ports.weaviate_grpc]
    stores = [*ports.weaviate_inner, ports.redis_state, ports.redis_cache]
    stores += [port for node in (2, 3) for port in (*ports.broker(node), *ports.store(node))]
    return [*servers, *stores, *(ports.metrics(position) for position in range(slots))]


def test_no_port_is_given_twice() -> None:
    """Every process has ports of its own, also with as many worker slots as fit."""
    ports = every_port(Ports(), slots=55)
    assert len(ports) == len(set(ports))


def test_the_only_one_has_the_ports_of_the_first() -> None:
    """A stack of one broker and one store keeps the addresses that are documented."""
    ports = Ports()
    assert ports.broker(1) == (ports.kafka, ports.kafka_controller)
    assert ports.store(1) == (ports.weaviate, ports.weaviate_grpc, *ports.weaviate_inner)


def test_two_bases_a_span_apart_share_nothing() -> None:
    """Two copies run side by side when their bases are a span apart."""
    assert not set(every_port(Ports(8000), 55)) & set(every_port(Ports(8000 + SPAN), 55))


def test_the_default_gateway_is_8000() -> None:
    """The documented address holds without any setting, and with the empty one that make passes on."""
    assert ports_from({}).gateway == ports_from({"FRESHET_PORT_BASE": ""}).gateway == 8000


@pytest.mark.parametrize("base", ["80", "65530", "eight", "-1"])
def test_a_base_that_cannot_work_is_refused(base: str) -> None:
    """A privileged, too high or unreadable base is refused by name."""
    with pytest.raises(BadPortBase, match="FRESHET_PORT_BASE"):
        ports_from({"FRESHET_PORT_BASE": base})


def test_more_slots_than_ports_are_refused() -> None:
    """A slot without a port is an error, not a clash with another stack."""
    with pytest.raises(BadPortBase, match="worker slots"):
        application_programs(Ports(), {"FRESHET_WORKERS": f"{WORKERS[0]}=100"})


def test_kafka_follows_the_base(tmp_path: object) -> None:
    """No port of Kafka's is fixed."""
    settings = kafka_settings(Ports(9000), tmp_path)  # type: ignore[arg-type]
    assert ":9021" in settings
    assert ":9022" in settings
    assert ":8021" not in settings
