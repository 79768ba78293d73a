"""From document to answer where Kafka, Weaviate, Redis and the gateway all want to know who comes."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from confluent_kafka.admin import AdminClient

from connectors import build
from connectors.errors import Transient
from connectors.kafka.reach import reach
from connectors.stores.weaviate_connection import Connection
from deploy.local.own_stack import OwnStack, own_stack, process_environment
from deploy.local.state import state_folder
from gateway.kafka_log import KafkaLog
from runtime.brokers import librdkafka_options
from runtime.settings import Settings
from tests.certificates import Authority
from tests.e2e.conftest import E2E_PORT_BASE
from tests.secured import Secured, clear, secured_servers

pytestmark = pytest.mark.servers
ROOT = Path(__file__).resolve().parents[2]
TEXT = "# Ferry\n\nThe captain of the Calder ferry is called Iris Holt. She sails at noon.\n"
QUESTION = "Who is the captain of the Calder ferry?"
WRONG = "wrong-pass-phrase"


@dataclass(frozen=True)
class Installation:
    """A whole installation behind logins, and what has been said by its commands."""

    servers: Secured
    stack: OwnStack
    key: str
    said: list[str]

    @property
    def environment(self) -> dict[str, str]:
        return {**self.servers.environment, **self.stack.environment}

    def freshet(self, *command: str, limit: float = 60.0, **changes: str) -> "subprocess.CompletedProcess[str]":
        """One command to its end; its output is kept, to be searched for secrets."""
        done = run(self.environment | changes, *command, limit=limit)
        self.said.append(done.stdout + done.stderr)
        return done


def whole(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process; a secret that is given stands for its file."""
    files = {name for name in environment if name.endswith("_FILE") and name.removesuffix("_FILE") in environment}
    return process_environment({name: value for name, value in environment.items() if name not in files})


def run(environment: Mapping[str, str], *command: str, limit: float = 60.0) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "cli", *command]
    return subprocess.run(line, cwd=ROOT, env=whole(environment), capture_output=True, text=True, timeout=limit)


@pytest.fixture(scope="module")
def secured() -> Iterator[Installation]:
    """Servers, workers and a gateway that ask for logins."""
    base = int(os.environ.get("FRESHET_E2E_PORT_BASE", E2E_PORT_BASE)) + 200
    folder = clear(state_folder().folder / "secured-servers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
        with secured_servers(folder, base) as servers:
            keys = {"FRESHET_API_KEYS_FILE": str(folder / "keys.jsonl")}
            words = ("--id", "e2e", "--scope", "read", "--scope", "write", "--scope", "admin")
            key = run(keys, "keys", "create", *words).stdout.strip()
            (folder / "api.secret").write_text(key)
            mine = {**servers.environment, **keys, "FRESHET_GATEWAY_API_KEY_FILE": str(folder / "api.secret")}
            with own_stack("secured", str(base), {"STACK": "external", **mine}) as stack:
                yield Installation(servers, stack, key, [])


def test_from_document_to_answer(secured: Installation, tmp_path: Path) -> None:
    """With all logins a document is published and answered from; without the key the gateway says nothing."""
    (tmp_path / "ferry.md").write_text(TEXT)
    published = secured.freshet("publish", str(tmp_path / "ferry.md"), "--wait")
    assert published.returncode == 0 and "1 published" in published.stdout, published.stdout + published.stderr
    answered = secured.freshet("ask", QUESTION)
    assert answered.returncode == 0 and "Iris Holt" in answered.stdout, answered.stdout + answered.stderr

    with httpx.Client(base_url=secured.stack.door, timeout=30) as stranger:
        assert stranger.post("/v1/retrieve", json={"question": QUESTION}).status_code == 401
        mine = stranger.post("/v1/retrieve", json={"question": QUESTION}, headers={"X-API-Key": secured.key})
        assert "Iris Holt" in mine.json()["passages"][0]["text"]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
def test_every_mechanism_opens_both_clients(secured: Installation, mechanism: str) -> None:
    """aiokafka and librdkafka log in by each of the three."""
    settings = Settings.from_env(kafka_only(secured) | {"FRESHET_SASL_MECHANISM": mechanism})
    asyncio.run(reach(settings.kafka))
    assert AdminClient(librdkafka_options(settings.kafka)).list_topics(timeout=10).brokers


def kafka_only(secured: Installation) -> dict[str, str]:
    """What reaches the brokers."""
    prefixes = ("FRESHET_BROKERS", "FRESHET_SECURITY", "FRESHET_SASL")
    return {name: value for name, value in secured.servers.environment.items() if name.startswith(prefixes)}


@pytest.mark.parametrize("command", [("topics", "apply"), ("publish", "README.md"), ("dlq", "list"), ("epoch", "list")])
def test_a_wrong_password_is_told(secured: Installation, command: tuple[str, ...]) -> None:
    """Every command that goes to Kafka ends soon, and says which settings to check, not what is in them."""
    began = time.monotonic()
    done = secured.freshet(*command, limit=30, FRESHET_SASL_PASSWORD=WRONG)
    assert done.returncode in (1, 2)
    said = " ".join(done.stdout.split())
    assert "refuse user 'freshet' by SCRAM-SHA-512: check FRESHET_SASL_USERNAME, FRESHET_SASL_PASSWORD" in said
    assert time.monotonic() - began < 20


def test_a_worker_with_a_wrong_password_waits_and_says_why(secured: Installation) -> None:
    """It does not end and start for ever: it waits for the password to be mended, and its log says so."""
    environment = whole(secured.environment | {"FRESHET_SASL_PASSWORD": WRONG})
    command = [sys.executable, "-m", "streams", "chunk"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as worker:
        ended = threading.Timer(30, worker.kill)
        ended.start()
        assert worker.stderr is not None
        told: list[str] = []
        for line in worker.stderr:
            told.append(line)
            if "check FRESHET_SASL_USERNAME" in line:
                break
        assert worker.poll() is None, told
        worker.terminate()
        assert worker.wait(15) == 0
        ended.cancel()
    secured.said.extend(told)


async def test_a_gateway_with_a_wrong_password_says_why(secured: Installation) -> None:
    """Readiness names the settings to check, whatever client found out."""
    environment = {name: value for name, value in kafka_only(secured).items() if name != "FRESHET_SASL_PASSWORD_FILE"}
    log = KafkaLog(Settings.from_env(environment | {"FRESHET_SASL_PASSWORD": WRONG}))
    await log.open(lambda _: None, lambda _: False)
    try:
        async with asyncio.timeout(20):
            while "check FRESHET_SASL_USERNAME" not in (said := (await log.checks())["broker"] or ""):
                await asyncio.sleep(0.1)
        assert WRONG not in said
    finally:
        await log.close()


def test_an_unknown_authority_is_told(secured: Installation) -> None:
    """A broker whose certificate nobody vouches for is not believed, and the message names the setting."""
    done = secured.freshet("topics", "apply", limit=30, FRESHET_BROKERS_CA=Authority().pem)
    assert done.returncode == 1
    assert "FRESHET_BROKERS_CA" in done.stdout and "certificate" in done.stdout


async def test_wrong_logins_at_the_stores_are_told(secured: Installation) -> None:
    """Weaviate and Redis that do not let us in are told apart from such that are away, with the setting to check."""
    environment = dict(secured.servers.environment)
    for name in ("FRESHET_WEAVIATE_API_KEY", "FRESHET_REDIS_STATE_PASSWORD"):
        del environment[f"{name}_FILE"]
        environment[name] = WRONG
    names = {variable for _, _, variable in Settings.variables()}
    known = {name: value for name, value in environment.items() if name.removesuffix("_FILE") in names}
    settings = Settings.from_env(known)
    with pytest.raises(Transient, match="FRESHET_REDIS_") as redis:
        await build.delivery_ledger(settings).open()
    weaviate = Connection(settings.weaviate)
    try:
        with pytest.raises(Transient, match="FRESHET_WEAVIATE_API_KEY") as store:
            await weaviate.open()
            await weaviate.call("list", lambda client: client.collections.list_all())
    finally:
        await weaviate.close()
    for error in (redis.value, store.value):
        assert isinstance(error, Transient) and error.reason == "denied"
        assert WRONG not in str(error)


def test_the_wrong_protocol_is_told(secured: Installation) -> None:
    """Brokers that want TLS do not answer who speaks plainly; that ends in time, too."""
    plain = {"FRESHET_BROKERS": secured.environment["FRESHET_BROKERS"]}
    began = time.monotonic()
    with pytest.raises(Transient, match="FRESHET_SECURITY_PROTOCOL is PLAINTEXT"):
        asyncio.run(reach(Settings.from_env(plain).kafka))
    assert time.monotonic() - began < 10


def test_no_secret_is_written_anywhere(secured: Installation) -> None:
    """After all that, with failures of each kind, no log and no output of a command holds a secret."""
    shown = secured.freshet("settings").stdout
    assert "**********" in shown
    texts = {path: path.read_text(errors="replace") for path in (secured.stack.state.folder / "logs").glob("*.log")}
    assert len(texts) >= 6
    secrets = {*secured.servers.secrets.values(), secured.key, WRONG}
    for place, text in [*texts.items(), *enumerate(secured.said)]:
        assert not [secret for secret in secrets if secret in text], place
