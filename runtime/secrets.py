"""Secrets: kept out of addresses when they are read, and out of what is said afterwards.

Takes values and text.  Gives text without the values.  No message here repeats what it is about.
"""

import json
import ssl
from collections.abc import Callable, Iterable
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

HIDDEN = "**********"
_SHORTEST = 6  # a shorter secret is as likely an ordinary word: hiding it would make logs unreadable


class Redactor:
    """Replaces secrets in text, also where JSON has escaped them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        long = {secret for secret in secrets if len(secret) >= _SHORTEST}
        forms = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for secret in long for ascii_only in (True, False)}
        forms |= long
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return text


def without_password(url: str) -> tuple[str, str | None]:
    """An address without its password, and the password."""
    parts = _split(url)
    login, at, host = parts.netloc.rpartition("@")
    user, colon, password = login.partition(":")
    if not colon:
        return url, None
    return parts._replace(netloc=f"{user}{at}{host}" if user else host).geturl(), unquote(password)


def check_public(variable: str) -> Callable[[str | None], str | None]:
    """A validator that takes no credentials in an address, and says where they go."""

    def check(url: str | None) -> str | None:
        if url and "@" in _split(url).netloc:
            raise ValueError(f"an address here holds no user and no password: set {variable}")
        return url

    return check


def check_certificates(pem: str | None) -> str | None:
    """A validator of certificates in PEM form."""
    if pem is None:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise ValueError("holds no certificate in PEM form; for a path set the variable that ends in _FILE") from None
    return pem


def _split(url: str) -> SplitResult:
    """The parts of an address; refused where a password could hide in another part than its own."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its message repeats the address
        raise ValueError("is no address; write / ? # @ in a password as %2F %3F %23 %40") from None
    if "@" in parts.path + parts.query + parts.fragment or "password" in parse_qs(parts.query):
        raise ValueError("a password stands before the host, with / ? # @ in it written as %2F %3F %23 %40")
    return parts
