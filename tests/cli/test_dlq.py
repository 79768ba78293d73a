"""`freshet dlq` on the real broker."""

import os
import secrets
from collections.abc import Sequence

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from cli import dlq
from cli.letters import Sender
from cli.topics import plans_of
from runtime.settings import Settings
from streams.deadletters.letter import dead_letter
from streams.deadletters.shelf import HANDLED
from streams.outcome import Output, Record, Refuse, Stage
from topics import provision, registry
from topics.headers import read_headers
from topics.identity import Token
from topics.retry import Retry, without_retry
from topics.spec import TopicSpec, dead_letters_of

pytestmark = pytest.mark.servers


class Desk:
    """The command line on an installation of its own."""

    def __init__(self, settings: Settings, environment: dict[str, str]) -> None:
        prefix = f"d{secrets.token_hex(4)}"
        self.settings = settings.model_copy(
            update={"kafka": settings.kafka.model_copy(update={"prefix": prefix, "partitions": 2})}
        )
        outside: dict[str, str | None] = {name: None for name in os.environ if name.startswith("FRESHET_")}
        self._environment = (
            outside | environment | {"FRESHET_PREFIX": prefix, "FRESHET_PARTITIONS": "2", "COLUMNS": "200"}
        )
        provision.apply(AdminClient({"bootstrap.servers": settings.kafka.brokers}), plans_of(self.settings))
        self.sender = Sender(self.settings)

    def __call__(self, *words: str, code: int = 0) -> str:
        result = CliRunner().invoke(dlq.app, list(words), env=self._environment)
        assert result.exit_code == code, result.output
        return result.output

    def name(self, spec: TopicSpec) -> str:
        return spec.full_name(self.settings.kafka.prefix, self.settings.documents.generation)

    def give_up(self, lane: str, key: str, reason: str, *, partition: int = 0, offset: int = 7, **more: bool) -> None:
        """Put a letter where the runner puts it."""
        reads = next(spec for spec in registry.LANES if lane in spec.readers)
        group = registry.group_of(self.settings.kafka.prefix, lane, self.settings.documents.generation)

        async def nothing(*_: object) -> Sequence[Output]:
            return []

        stage = Stage(name=lane, reads=reads, on_refused=nothing, group=str(more.get("group", group)))
        headers = {"freshet-token": str(Token(1, partition, offset)).encode()}
        record = Record(self.name(reads), partition, offset, key.encode(), b"the value [red]", headers, 77)
        refused = Refuse(f"{reason}: no [luck]", reason, "dead-lettered", omit_value=more.get("omitted", False))
        self.sender.send([dead_letter(stage, record, refused)])

    def read(self, spec: TopicSpec) -> list[Message]:
        consumer = Consumer({"bootstrap.servers": self.settings.kafka.brokers, "group.id": "reader"})
        places = [TopicPartition(self.name(spec), p, 0) for p in range(2)]
        left = sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
        consumer.assign(places)
        found = [message for _ in range(left) if (message := consumer.poll(10)) is not None]
        consumer.close()
        return found


@pytest.fixture(scope="module")
def desk(settings: Settings, server_environment: dict[str, str]) -> Desk:
    """One for all: each test uses a lane of its own."""
    return Desk(settings, server_environment)


def test_list_and_show(desk: Desk) -> None:
    """Letters are counted by reason and partition, found by filters, and shown with all that is known."""
    desk.give_up("index", "default/a%20b#0", "timeout", offset=3)
    desk.give_up("index", "default/c#0", "timeout", partition=1)
    desk.give_up("index", "default/c#1", "vector", partition=1)
    desk.give_up("index", "default/other#0", "timeout", group="another.index.g2")  # type: ignore[arg-type]
    shown = desk("list", "--lane", "index")
    assert "3 dead letters" in shown and "default/a b" in shown and "no [luck]" in shown
    assert "2 dead letters" in desk("list", "--lane", "index", "--reason", "timeout")
    assert "2 dead letters" in desk("list", "--lane", "index", "--doc", "c")
    assert "0 dead letters" in desk("list", "--lane", "index", "--before", "1h")
    assert "3 dead letters" in desk("list", "--since", "1h", "--limit", "0")
    shown = desk("show", "index/0/0")
    assert f"{desk.name(registry.VECTORS)}/0/3" in shown and "the value [red]" in shown and "1.0.3" in shown
    assert "no letter" in desk("show", "index/0/99", code=1)


def test_redrive(desk: Desk) -> None:
    """A letter goes to the retry topic as the record it was, with its place and nothing counted; then it is closed."""
    for number, reason in enumerate(["encoder", "encoder", "poison"]):
        desk.give_up("embed", f"default/d{number}#0", reason, offset=40 + number)
    desk.give_up("embed", "default/big#0", "encoder", omitted=True)
    assert "say which" in desk("redrive", code=2)
    assert "3 would be redriven" in desk("redrive", "--lane", "embed", "--reason", "encoder", "--dry-run")
    retries = registry.RETRIES[registry.CHUNKS.name]
    assert desk.read(retries) == []
    assert "too large" in desk("redrive", "--lane", "embed", "--reason", "encoder", code=1)
    copies = desk.read(retries)
    assert [copy.key() for copy in copies] == [b"default/d0#0", b"default/d1#0"]
    headers = read_headers(copies[1].headers())  # type: ignore[arg-type]
    retry = Retry.of(headers)
    assert (retry.topic, retry.offset, retry.timestamp, retry.attempts) == (desk.name(registry.CHUNKS), 41, 77, 0)
    assert without_retry(headers) == {"freshet-token": b"1.0.41"} and copies[1].value() == b"the value [red]"
    assert "2 dead letters" in desk("list", "--lane", "embed")
    assert "1 redriven" in desk("redrive", "embed/0/2", "--limit", "5")
    assert "not open" in desk("redrive", "embed/0/2", code=1)
    assert len(desk.read(retries)) == 3
    assert "publish the document again" in desk("redrive", "--lane", "embed", "--all", code=1)


def test_later_stages_wait_for_earlier_ones(settings: Settings, server_environment: dict[str, str]) -> None:
    """Of a document whose parts were given up by two stages the later stage's comes due when the earlier's had time."""
    desk = Desk(settings, server_environment)
    desk.give_up("index", "default/long#1", "parts", offset=8)
    desk.give_up("embed", "default/long#0", "encoder", offset=8)
    assert "2 redriven" in desk("redrive", "--doc", "long")
    due = {
        spec.name: Retry.of(read_headers(desk.read(registry.RETRIES[spec.name])[0].headers()))  # type: ignore[arg-type]
        for spec in (registry.CHUNKS, registry.VECTORS)
    }
    wait = due[registry.VECTORS.name].not_before - due[registry.CHUNKS.name].not_before
    assert wait >= desk.settings.kafka.retry_delay * 1000


def test_discard(desk: Desk) -> None:
    """Discarded letters are no longer listed; a note beside them says so, and the letters stay."""
    for number in range(3):
        desk.give_up("chunk", f"doc{number}", "unreadable", partition=number % 2)
    assert "2 discarded" in desk("discard", "--lane", "chunk", "--limit", "2")
    assert "1 dead letters" in desk("list", "--lane", "chunk")
    records = desk.read(dead_letters_of(registry.DOCUMENTS))
    notes = [r for r in records if HANDLED in read_headers(r.headers())]  # type: ignore[arg-type]
    assert len(records) == 5 and len(notes) == 2 and all(n.value() is None for n in notes)


def test_questions_are_not_asked_again(desk: Desk) -> None:
    """Letters of the query lanes can be looked at and put away, and say why they cannot be redriven."""
    desk.give_up("retrieve", "job", "poison")
    assert "whoever asked" in desk("redrive", "--lane", "retrieve", "--all", code=1)
    assert "1 discarded" in desk("discard", "retrieve/0/0")


def test_many_are_touched_only_when_told_to(desk: Desk) -> None:
    """More than a hundred letters need --yes."""
    for number in range(101):
        desk.give_up("generate", f"job{number}", "undecodable")
    assert "--yes" in desk("discard", "--lane", "generate", "--all", code=2)
    assert "101 discarded" in desk("discard", "--lane", "generate", "--all", "--yes")
    assert "0 dead letters" in desk("list", "--lane", "generate")
