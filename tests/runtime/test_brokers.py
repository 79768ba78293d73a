"""Settings become options of Kafka's clients."""

import ssl

from confluent_kafka.admin import AdminClient

from runtime.brokers import aiokafka_options, librdkafka_options
from runtime.settings import Settings
from streams.app import credentials
from tests.certificates import Authority

LOGIN = {
    "FRESHET_BROKERS": "a:1,b:2",
    "FRESHET_SECURITY_PROTOCOL": "SASL_SSL",
    "FRESHET_SASL_USERNAME": "ann",
    "FRESHET_SASL_PASSWORD": "s3kret",
}


def test_all_clients_get_the_login() -> None:
    """librdkafka, aiokafka and Faust are told the same, in their own words, and librdkafka knows all of them."""
    authority = Authority()
    kafka = Settings.from_env(LOGIN | {"FRESHET_BROKERS_CA": authority.pem}).kafka
    options = librdkafka_options(kafka)
    assert options == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "ann",
        "sasl.password": "s3kret",
        "ssl.ca.pem": authority.pem,
    }
    AdminClient(options)
    other = aiokafka_options(kafka)
    assert (other["security_protocol"], other["sasl_plain_password"]) == ("SASL_SSL", "s3kret")
    assert [ca["subject"] for ca in other["ssl_context"].get_ca_certs()] == [((("commonName", "Freshet test CA"),),)]
    faust = credentials(kafka)
    assert faust is not None
    held = vars(faust)
    assert (held["protocol"].value, held["mechanism"].value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (held["username"], held["password"]) == ("ann", "s3kret")
    assert "s3kret" not in repr(faust)


def test_names_and_certificates_are_checked() -> None:
    """Encryption without a certificate of our own trusts the system's, and always checks the name."""
    kafka = Settings.from_env({"FRESHET_SECURITY_PROTOCOL": "SSL"}).kafka
    context = aiokafka_options(kafka)["ssl_context"]
    assert context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED
    assert librdkafka_options(kafka) == {"bootstrap.servers": kafka.brokers, "security.protocol": "SSL"}


def test_nothing_changes_without_a_login() -> None:
    """Plain brokers are spoken to as ever."""
    kafka = Settings().kafka
    assert librdkafka_options(kafka) == {"bootstrap.servers": "127.0.0.1:9092"}
    assert credentials(kafka) is None
    assert aiokafka_options(kafka)["ssl_context"] is None
