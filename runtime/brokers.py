"""How Kafka's clients reach the brokers: settings to options, one function for each client library.

Every Kafka client of ours is made with one of these, which a test checks; Faust's are in ``streams/app.py``.
"""

import ssl
from typing import Any

from runtime.settings import Kafka


def librdkafka_options(kafka: Kafka) -> dict[str, Any]:
    """For confluent-kafka."""
    options: dict[str, Any] = {"bootstrap.servers": kafka.brokers}
    if kafka.security_protocol != "PLAINTEXT":
        options["security.protocol"] = kafka.security_protocol
    if kafka.sasl_password is not None:
        options["sasl.mechanism"] = kafka.sasl_mechanism
        options["sasl.username"] = kafka.sasl_username
        options["sasl.password"] = kafka.sasl_password.get_secret_value()
    if kafka.brokers_ca is not None:
        options["ssl.ca.pem"] = kafka.brokers_ca
    return options


def aiokafka_options(kafka: Kafka) -> dict[str, Any]:
    """For aiokafka."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.brokers,
        "security_protocol": kafka.security_protocol,
        "ssl_context": tls_context(kafka),
    }
    if kafka.sasl_password is not None:
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.sasl_username
        options["sasl_plain_password"] = kafka.sasl_password.get_secret_value()
    return options


def tls_context(kafka: Kafka) -> ssl.SSLContext | None:
    """Whom we believe to be a broker: certificate and name are always checked."""
    return ssl.create_default_context(cadata=kafka.brokers_ca) if kafka.tls else None


def denied(kafka: Kafka) -> str:
    """What to check when a broker refuses the login."""
    return (
        f"the brokers at {kafka.brokers} refuse user {kafka.sasl_username!r} by {kafka.sasl_mechanism}: check "
        "FRESHET_SASL_USERNAME, FRESHET_SASL_PASSWORD and FRESHET_SASL_MECHANISM"
    )


def distrusted(kafka: Kafka, said: str) -> str:
    """What to check when no encrypted connection comes about."""
    return (
        f"no encrypted connection to the brokers at {kafka.brokers} ({said}): check FRESHET_BROKERS_CA, that the "
        "address is a name in the brokers' certificate, and FRESHET_SECURITY_PROTOCOL"
    )
