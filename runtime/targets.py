"""Which addresses may be called on behalf of somebody else.  Pure: names are resolved elsewhere, and judged here.

A user who names an address for us to call could name one that only we can reach: a server beside us, the cloud's
metadata.  So only public unicast addresses pass, whatever form they hide in, and what an operator allows by name or
network.  Schemes and ports are a matter of policy too: https at a few ports.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

MAX_URL = 2048
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")  # as the last label: some resolvers read such a host as an IPv4 address

# What Python's own ``is_global`` lets pass on one version or another, or is global and yet an inside of somebody.
_NEVER: dict[str, tuple[str, ...]] = {
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "unspecified": ("0.0.0.0/8", "::/128"),
    "shared between carriers": ("100.64.0.0/10",),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "reserved": ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "100::/64", "5f00::/16"),
    "documentation": ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    "for benchmarks": ("198.18.0.0/15", "2001:2::/48"),
    "the metadata service of a cloud": ("168.63.129.16/32",),
    "IPv4 inside of IPv6": ("::/96", "2002::/16", "2001::/32", "64:ff9b:1::/48"),
}
_FORBIDDEN = [(ip_network(text), why) for why, texts in _NEVER.items() for text in texts]
_NAT64 = IPv6Network("64:ff9b::/96")


class Forbidden(ValueError):
    """An address that is not called; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads."""

    scheme: str
    host: str  # a name, or an address as it is written
    port: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be called besides https at ``ports`` of the public internet."""

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()
    ports: Collection[int] = (443,)

    @classmethod
    def of(cls, allow: str, ports: str) -> "Policy":
        """From settings: hosts, addresses and networks, and ports, each comma-separated; ValueError for others."""
        networks, names = [], set()
        for item in _items(allow):
            try:
                networks.append(ip_network(item))
            except ValueError:
                if not _is_name(item.lower()):
                    raise ValueError(f"{item!r} is no host name, no address and no network like 10.0.0.0/8") from None
                names.add(item.lower())
        numbers = [int(item) if item.isdecimal() else 0 for item in _items(ports)]
        if not numbers or not all(0 < number < 65536 for number in numbers):
            raise ValueError("ports are numbers of 1 to 65535, comma-separated")
        return cls(tuple(networks), frozenset(names), frozenset(numbers))

    def check_url(self, url: str) -> Target:
        """Where it leads, if that may be; nothing is resolved, so a name may still turn out to lead elsewhere."""
        target = _read(url)
        literal = _literal(target.host)
        allowed = target.host in self.names or (literal is not None and self._is_allowed(literal))
        if literal is not None and not allowed:
            check_public(literal)
        if allowed:
            return target
        if target.scheme != "https" and not (self.networks and literal is None):
            raise Forbidden("only https is called, so that nobody in between reads answers")
        if target.port not in self.ports and not (self.networks and literal is None):
            known = ", ".join(map(str, sorted(self.ports)))
            raise Forbidden(f"port {target.port} is not called; use {known}")
        return target

    def check_addresses(self, target: Target, texts: Iterable[str]) -> list[Address]:
        """All addresses of a target, each of which must be one that may be called."""
        found = [ip_address(text.partition("%")[0]) for text in texts]
        if not found:
            raise Forbidden(f"{target.host} has no address")
        if target.host in self.names:
            return found
        for address in found:
            if not self._is_allowed(address):
                check_public(address, target.host)
                if target.scheme != "https" or target.port not in self.ports:
                    raise Forbidden(f"{target.host} is public: only https is called there, at a few ports")
        return found

    def _is_allowed(self, address: Address) -> bool:
        inner = _inner(address)
        return any(inner.version == network.version and inner in network for network in self.networks)


def check_public(address: Address, name: str = "") -> None:
    """Raise :class:`Forbidden` unless it is a public unicast address."""
    # What a name leads to is not told: whoever may name targets would learn what only our name server knows.
    inner, of = _inner(address), f"{name} leads to an address that" if name else f"{address}"
    for network, why in _FORBIDDEN:
        if inner.version == network.version and inner in network:
            raise Forbidden(f"{of} is not called: {why}")
    if not inner.is_global or inner.is_multicast or inner.is_reserved:
        raise Forbidden(f"{of} is not called: not public")


def _inner(address: Address) -> Address:
    """The IPv4 address that is meant, where an IPv6 address stands for one that is still called directly."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:  # how a network that has only IPv6 reaches the other internet
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _read(url: str) -> Target:
    if len(url) > MAX_URL:
        raise Forbidden(f"an address has at most {MAX_URL} characters")
    if not url.isascii() or any(c <= " " or c in '\\"<>^`{|}\x7f' for c in url):
        raise Forbidden("write the address in ASCII and percent-encode the rest; a name in its xn-- form")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Forbidden("this is no address of the form https://host/path") from None
    if parts.scheme not in ("https", "http"):
        raise Forbidden(f"{parts.scheme[:20] or 'without a scheme, it'} is not called; use https://host/path")
    if "@" in parts.netloc:
        raise Forbidden("an address here holds no user and no password: what is sent is signed")
    if parts.fragment or url.endswith("#"):
        raise Forbidden("a fragment (#) is never sent: leave it out")
    if not host:
        raise Forbidden("this is no address of the form https://host/path")
    host = host.removesuffix(".")
    if _literal(host) is None and not _is_name(host):
        raise Forbidden(f"{host[:80]!r} is neither a host name nor an address in its usual form")
    if port == 0:
        raise Forbidden("port 0 is none")
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host) if "%" not in host else None  # what has a zone is an inside by definition
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    labels = host.split(".")
    return len(host) <= 253 and all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])


def _items(text: str) -> list[str]:
    return [item for item in (piece.strip() for piece in text.split(",")) if item]
