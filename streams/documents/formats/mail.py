"""E-mail to blocks: who wrote when to whom, the text, and attachments that can be read, each a place of its own."""

from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import PurePosixPath

import msgspec

from streams.documents.refused import Refused
from streams.documents.text.blocks import MAX_SECTION, BlockList, Parsed
from streams.documents.text.charsets import decode_text
from streams.documents.text.parse import PARSERS
from topics.media_types import BY_SUFFIX, MAIL, SEEN_AS, TEXTS

Read = Callable[[bytes, str], Parsed]

MAX_DEPTH = 4  # messages in messages
MAX_ATTACHMENTS = 200
_HEADERS = ("From", "To", "Cc", "Date")
_KNOWN = (*_HEADERS, "Subject", "Received", "Message-ID", "MIME-Version", "Content-Type", "Return-Path")
_NAME = 80  # characters of an attachment's name that are kept
_ENCRYPTED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")


def read_mail(body: bytes, read: Read, depth: int = 1) -> Parsed:
    """Blocks of a message; ``read`` reads attachments."""
    message = message_from_bytes(body, policy=policy.default)
    assert isinstance(message, EmailMessage)
    if not any(name in message for name in _KNOWN):
        raise Refused("this is no e-mail: it begins with no header (From, Date, Subject) that one has")
    subject = _header(message, "Subject")
    out = BlockList()
    if subject:
        out.heading(subject, 1)
    out.add("paragraph", "\n".join(f"{name}: {value}" for name in _HEADERS if (value := _header(message, name))))
    attached = 0
    for part in _leaves(message):
        kind = part.get_content_type()
        if kind in _ENCRYPTED and part.get_param("smime-type") != "signed-data":
            raise Refused("the e-mail is encrypted: publish it decrypted")
        if _is_text(part):
            _extend(out, _text(part), None)
            continue
        if attached == MAX_ATTACHMENTS:
            raise Refused(f"it has more than {MAX_ATTACHMENTS} attachments: publish them as documents")
        attached += 1
        name = " ".join((part.get_filename() or kind).split())[:_NAME]
        try:
            _extend(out, _attachment(part, kind, name, read, depth), f"attachment {name}")
        except Refused as refused:
            out.add("paragraph", f"Attachment {name}, not read: {refused.reason}")
    return Parsed(subject or None, out.blocks)


def _header(message: EmailMessage, name: str) -> str:
    """Its value on one line; what its charset cannot decode is replaced."""
    return " ".join(str(message.get(name, "")).encode("utf-8", "replace").decode().split())


def _leaves(message: EmailMessage) -> Iterator[EmailMessage]:
    """Parts in order; of alternatives the first that is text; a message within one is a leaf."""
    todo = [message]
    while todo:
        part = todo.pop()
        payload = part.get_payload() if part.is_multipart() else []
        inner = [child for child in payload if isinstance(child, EmailMessage)]
        if part.get_content_type() in (MAIL, *_ENCRYPTED) or not inner:
            yield part
        elif part.get_content_subtype() == "alternative":
            texts = [child for child in inner if _is_text(child) and any(map(str.isalnum, _plain(child)))]
            todo.append(texts[0] if texts else inner[-1])
        else:
            todo += reversed(inner)


def _is_text(part: EmailMessage) -> bool:
    return part.get_content_type() in PARSERS and not part.is_attachment() and part.get_filename() is None


def _plain(part: EmailMessage) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    try:
        return decode_text(payload, part.get_content_charset(), "the text", detect=True)
    except Refused:
        return payload.decode("cp1252", "replace")  # as mail readers do


def _text(part: EmailMessage) -> Parsed:
    return PARSERS[part.get_content_type()](_plain(part).replace("\r\n", "\n").replace("\r", "\n"))


def _attachment(part: EmailMessage, kind: str, name: str, read: Read, depth: int) -> Parsed:
    if kind == MAIL:
        if depth == MAX_DEPTH:
            raise Refused(f"messages are nested more than {MAX_DEPTH} deep")
        inner = part.get_payload()
        message = inner[0] if isinstance(inner, list) and inner else None
        return read_mail(message.as_bytes() if isinstance(message, EmailMessage) else b"", read, depth + 1)
    known = SEEN_AS.get(kind) or BY_SUFFIX.get(PurePosixPath(name).suffix.lower() or "none")
    if known is None or known == MAIL:
        raise Refused(f"{kind} is no kind of document")
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    if known in TEXTS:
        payload = decode_text(payload, part.get_content_charset(), "it", detect=True).encode("utf-8", "replace")
    return read(payload, known)


def _extend(out: BlockList, parsed: Parsed, place: str | None) -> None:
    """Append blocks of a part, below the headings and the place that it stands under."""
    lead = [step for step in (out.section, place) if step]
    for block in parsed.blocks:
        section = " > ".join([*lead, *([block.section] if block.section else [])])[:MAX_SECTION]
        out.blocks.append(msgspec.structs.replace(block, section=section or None))
