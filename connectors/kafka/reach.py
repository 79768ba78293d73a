"""Why brokers cannot be reached, in words that say what to check.

Kafka's clients try again for ever and tell of a wrong password as of an absent server.  This connects once, as they
would, to each address in turn.
"""

import asyncio
import ssl

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from connectors.errors import Transient
from runtime.brokers import aiokafka_options, denied, distrusted
from runtime.settings import Kafka

SECONDS = 5.0  # for one address
_DENIED = (AuthenticationFailedError, SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError)


async def reach(kafka: Kafka) -> None:
    """Return when a broker lets us in; :class:`Transient` says why none does."""
    options = aiokafka_options(kafka)
    failed = Transient(f"FRESHET_BROKERS={kafka.brokers} names no broker", reason="away")
    for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
        try:
            async with asyncio.timeout(SECONDS):
                connection = await create_conn(host, port, request_timeout_ms=int(SECONDS * 1000), **options)
        except (KafkaError, OSError, TimeoutError) as error:
            if failed.reason == "away":  # a refusal says more
                failed = _told(kafka, f"{host}:{port}", error)
        else:
            connection.close()
            return
    raise failed


def _told(kafka: Kafka, address: str, error: Exception) -> Transient:
    if isinstance(error, _DENIED):
        return Transient(denied(kafka), reason="denied")
    if isinstance(error, ssl.SSLError):
        said = getattr(error, "verify_message", "") or error.reason or "TLS"
        return Transient(distrusted(kafka, said), reason="certificate")
    if isinstance(error, TimeoutError):
        said = f"no answer within {SECONDS:.0f} s"
    else:
        said = getattr(error, "strerror", None) or type(error).__name__
    hint = "" if kafka.security_protocol == "SASL_SSL" else f"; FRESHET_SECURITY_PROTOCOL is {kafka.security_protocol}"
    return Transient(f"no broker at {address} ({said}){hint}", reason="away")
