"""A document's text as it was published: a version is a place in the log, so it can be read there.

The log is compacted: a version that a newer one has replaced may be gone.  What is no text, such as a PDF, has none
here; its passages are found by searching.
"""

import asyncio
from dataclasses import dataclass
from email.message import Message

from gateway.ports import Log, Written
from gateway.problems import Problem
from topics.codec import DecodeError, decode
from topics.documents import Document
from topics.headers import CONTENT_TYPE
from topics.identity import DocumentRef, Version, document_key, partition_of
from topics.media_types import SEEN_AS, TEXTS
from topics.registry import documents_of

AT_ONCE = 8  # each look has a consumer of its own


@dataclass(frozen=True, slots=True)
class Original:
    """``text`` is None where the version has none; ``why`` says why not."""

    media_type: str
    text: str | None = None
    why: str | None = None


class Originals:
    """Looks versions up."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._looking = 0

    async def find(self, ref: DocumentRef, version: Version) -> Original | None:
        """What was published as this version; None where the log has it no more."""
        if self._looking >= AT_ONCE:
            raise Problem("busy", "too many documents are being read from the log", retry_after=1)
        self._looking += 1
        try:
            epoch = next((e for e in (await self._log.epochs()).known if e.number == version.epoch), None)
            if epoch is None:
                return None
            key = document_key(ref)
            partition = partition_of(key, epoch.partitions)
            written = await self._log.written(documents_of(epoch.number), partition, version.offset)
        finally:
            self._looking -= 1
        if written is None or written.key != key or written.value is None:
            return None
        return await asyncio.to_thread(original_of, written.value, written)


def original_of(value: bytes, written: Written) -> Original:
    """The text in a record of ``documents``."""
    declared = Message()
    declared["content-type"] = written.headers.get(CONTENT_TYPE, b"application/json").decode("latin-1")
    given = declared.get_content_type()
    try:
        if CONTENT_TYPE not in written.headers or given == "application/json":
            document = decode(value, Document)
            return Original(document.media_type, document.text)
        media_type = SEEN_AS.get(given, given)
        if media_type not in TEXTS:
            return Original(media_type, None, f"{media_type} is no text: search for its passages")
        charset = declared.get_content_charset("utf-8")
        return Original(media_type, value.decode(charset))
    except (DecodeError, UnicodeError, LookupError) as error:
        return Original(given, None, f"it cannot be read here: {error}"[:300])
