"""Records that go through the document lane once more, with the version they had."""

from streams.outcome import Output
from tests.flow.inline import Lanes
from topics import registry
from topics.headers import TOKEN
from topics.identity import DocumentRef as Ref
from topics.identity import Token, document_key, partition_of

RETRY = registry.RETRIES[registry.DOCUMENTS.name]


def again(lanes: Lanes, doc_id: str, value: bytes | None, token: bytes, **headers: bytes) -> Output:
    key = document_key(Ref("default", doc_id))
    return Output(RETRY, key, value, partition_of(key, lanes.settings.kafka.partitions), {TOKEN: token, **headers})


async def test_a_resent_record_keeps_its_version() -> None:
    """What comes from the retry topic has the version in its header; a version that is current and done is dropped."""
    lanes = Lanes()
    token = await lanes.put("doc", b'{"text": "Alpha is first."}')
    events = len(lanes.log[registry.INDEX_EVENTS.name])
    await lanes.resend([again(lanes, "doc", b'{"text": "Alpha is first."}', str(token).encode())])
    assert len(lanes.log[registry.INDEX_EVENTS.name]) == events
    lost = Token(1, token.partition, token.offset + 7)
    await lanes.resend([again(lanes, "doc", b'{"text": "Beta is second."}', str(lost).encode())])
    assert lanes.event("doc").version == str(lost.version)


async def test_only_the_retry_topic_may_name_a_version() -> None:
    """A token that a producer writes beside a document in ``documents`` means nothing; a resent one needs it."""
    lanes = Lanes()
    token = await lanes.put("doc", b'{"text": "Alpha is first."}', freshet_token=b"1.0.999")
    assert lanes.event("doc").version == str(token.version)
    await lanes.resend([again(lanes, "doc", b'{"text": "Beta is second."}', b"no place")])
    assert "freshness token" in lanes.refused[-1][2]
    assert lanes.event("doc").version == str(token.version)
