"""Brokers that cannot be reached: what is told (a refused login needs a broker: tests/e2e/test_secured.py)."""

import socket
import time
from pathlib import Path

import pytest

from connectors.errors import Transient
from connectors.kafka import reach as reach_module
from connectors.kafka.reach import reach
from runtime.settings import Kafka
from tests.certificates import Authority
from tests.tls_door import tls_door


def kafka(brokers: str, **more: str) -> Kafka:
    return Kafka.model_validate({"brokers": brokers, **more})


async def test_nobody_there() -> None:
    """An address where nobody listens is named, with the protocol that was tried."""
    with pytest.raises(Transient, match=r"no broker at 127.0.0.1:[12] \(.*\); FRESHET_SECURITY_PROTOCOL is PLAINTEXT"):
        await reach(kafka("127.0.0.1:1,127.0.0.1:2"))


async def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes a connection and says nothing is waited for within a bound."""
    monkeypatch.setattr(reach_module, "SECONDS", 0.3)
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Transient, match="no broker at"):
        await reach(kafka(f"127.0.0.1:{silent.getsockname()[1]}"))
    assert time.monotonic() - began < 3


async def test_a_certificate_of_another_authority(tmp_path: Path) -> None:
    """A certificate that nobody vouches for is told as such, with the setting to check."""
    certificate, key = Authority().server()
    (tmp_path / "server.pem").write_text(key + certificate)
    with tls_door(tmp_path / "server.pem", 1) as port:
        brokers = f"127.0.0.1:1,127.0.0.1:{port}"  # with one that is away, which says less
        with pytest.raises(Transient, match=r"certificate.*check FRESHET_BROKERS_CA") as told:
            await reach(kafka(brokers, security_protocol="SSL", brokers_ca=Authority().pem))
    assert told.value.reason == "certificate"
