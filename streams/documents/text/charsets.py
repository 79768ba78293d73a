"""Bytes to text: byte order mark, then the declared charset, then UTF-8, then what is certain by itself, else refused.

A wrong guess garbles a text for good, so only two steps are taken without a declaration: UTF-16, which its NULs
betray, and one-byte charsets in which a text reads as a language.  Free detection read cp1252 as cp1250, and Shift_JIS
as Korean (docs/adr/0013).
"""

import codecs
import re

from charset_normalizer import from_bytes

from streams.documents.refused import Refused

_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Python also knows codecs that are no charsets of documents (punycode takes quadratic time, unicode_escape and
# utf-7 make lone surrogates); only families that are pass.
_CHARSET = re.compile(r"ascii|utf-(8|16|32).*|iso8859-.*|iso2022.*|cp\d+|koi8-.|gb.*|big5.*|euc_.*|shift_jis.*|mac-.*")
_META = re.compile(rb"<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}[\"']?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
_META_WITHIN = 1024  # bytes in which HTML demands its charset declaration


_LEAST = 16  # bytes that UTF-16 is told from
_SAMPLE = 64 * 1024  # bytes that a charset is told from
_WESTERN, _OTHERS = ["cp1252"], ["cp1251", "koi8_r", "cp1253", "cp1250", "cp1255"]
_WESTERN_COHERENCE, _OTHER_COHERENCE = 0.4, 0.35  # how much a text must resemble a language


def decode_text(body: bytes, declared: str | None, name: str, *, detect: bool = False) -> str:
    """Text of a body; ``name`` is what a refusal calls it.  ``detect`` where nothing else says what its charset is."""
    for mark, charset in _BOMS:
        if body.startswith(mark):
            return _decode(body[len(mark) :], [charset], name)
    charsets = ["utf-8"]
    if declared is not None and (known := _codec(declared)) not in (None, "utf-8"):
        charsets.insert(0, str(known))
    if detect and declared is None:
        if found := _of_two_bytes(body[:_SAMPLE]):
            return _decode(body, [found], name)
        try:
            return body.decode()
        except UnicodeDecodeError:
            charsets += _of_a_language(body[:_SAMPLE])
    return _decode(body, charsets, name, None if declared is None or len(charsets) > 1 else declared)


def _of_two_bytes(sample: bytes) -> str | None:
    """UTF-16, where one byte of nearly each pair is NUL and the other never is."""
    for charset, high in (("utf-16-le", 1), ("utf-16-be", 0)):
        if len(sample) >= _LEAST and sample[high::2].count(0) * 4 > len(sample) and not sample[1 - high :: 2].count(0):
            return charset
    return None


def _of_a_language(sample: bytes) -> list[str]:
    """The charset of one byte a character in which the sample reads as a language; none where it does in no one."""
    for charsets, coherence in ((_WESTERN, _WESTERN_COHERENCE), (_OTHERS, _OTHER_COHERENCE)):
        found = from_bytes(sample, cp_isolation=charsets, preemptive_behaviour=False).best()
        if found and found.chaos == 0 and found.coherence >= coherence:
            return [found.encoding]
    return []


def meta_charset(body: bytes) -> str | None:
    """The charset that an HTML document declares inside itself."""
    found = _META.search(body[:_META_WITHIN])
    return found[1].decode("ascii") if found else None


def is_charset(name: str) -> bool:
    """Whether it is a charset that documents are read in."""
    return _codec(name) is not None


def _codec(charset: str) -> str | None:
    try:
        codec = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return None
    return codec if _CHARSET.fullmatch(codec) else None


def _decode(body: bytes, charsets: list[str], name: str, declared: str | None = None) -> str:
    place = 0
    for charset in charsets:
        try:
            return body.decode(charset)
        except UnicodeDecodeError as error:
            place = error.start
    tried = " nor ".join(charsets)
    unknown = f" (declared {declared[:40]!r}: unknown here)" if declared and not _codec(declared) else ""
    how = "declare its charset in the content-type (`freshet publish --charset`)"
    raise Refused(f"{name} is not {tried} at byte {place}{unknown}: {how}")
