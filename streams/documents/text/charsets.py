"""Bytes to text: byte order mark, then the declared charset, then UTF-8, else refused."""

import codecs
import re

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


def decode_text(body: bytes, declared: str | None, name: str) -> str:
    """Text of a body; ``name`` is what a refusal calls it."""
    for mark, charset in _BOMS:
        if body.startswith(mark):
            return _decode(body[len(mark) :], [charset], name)
    charsets = ["utf-8"]
    if declared is not None and (known := _codec(declared)) not in (None, "utf-8"):
        charsets.insert(0, str(known))
    return _decode(body, charsets, name, None if declared is None or len(charsets) > 1 else declared)


def meta_charset(body: bytes) -> str | None:
    """The charset that an HTML document declares inside itself."""
    found = _META.search(body[:_META_WITHIN])
    return found[1].decode("ascii") if found else None


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
    raise Refused(f"{name} is not {tried} at byte {place}{unknown}: declare its charset in the content-type")
