"""Which addresses may be called on behalf of somebody else."""

import pytest

from runtime.targets import Forbidden, Policy

PUBLIC = Policy.of("", "443,8443")

# Kind -> addresses that are refused as they are written.
REFUSED = {
    "loopback": ["https://127.0.0.1/", "https://127.255.0.9/x", "https://[::1]/"],
    "private": ["https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/", "https://[fd00::1]/"],
    "link-local": ["https://169.254.1.1/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/"],
    "metadata": ["https://169.254.169.254/latest/", "https://[fd00:ec2::254]/", "https://168.63.129.16/",
                 "https://100.100.100.200/", "https://192.0.0.192/"],
    "multicast": ["https://224.0.0.1/", "https://239.255.255.250/", "https://[ff02::1]/"],
    "unspecified": ["https://0.0.0.0/", "https://0.1.2.3/", "https://[::]/"],
    "reserved": ["https://240.0.0.1/", "https://255.255.255.255/", "https://192.0.2.1/", "https://198.51.100.7/",
                 "https://203.0.113.9/", "https://198.18.0.1/", "https://[2001:db8::1]/", "https://[100::1]/",
                 "https://[fec0::1]/", "https://[3fff::1]/", "https://192.88.99.1/"],
    "between carriers": ["https://100.64.0.1/", "https://100.127.255.254/"],
    "IPv4-mapped": ["https://[::ffff:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/", "https://[::ffff:10.1.2.3]/"],
    "IPv4-compatible": ["https://[::127.0.0.1]/", "https://[::8.8.8.8]/"],
    "6to4": ["https://[2002:7f00:1::]/", "https://[2002:a9fe:a9fe::1]/"],
    "NAT64": ["https://[64:ff9b::7f00:1]/", "https://[64:ff9b::169.254.169.254]/", "https://[64:ff9b:1::a00:1]/"],
    "Teredo": ["https://[2001:0:7f00:1::]/", "https://[2001::1]/"],
    "a number for a host": ["https://2130706433/", "https://127.1/", "https://0x7f000001/", "https://0x7f.0.0.1/",
                            "https://0177.0.0.1/", "https://127.0.0.01/", "https://1.2.3.4.5/", "https://0/",
                            "https://127.0.0.1./", "https://017700000001/", "https://foo.0x7f/"],
    "other scripts": ["https://\uff11\uff12\uff17.0.0.1/", "https://127。0。0。1/", "https://ⓔxample.com/", "https://exämple.com/"],
    "user and password": ["https://ann@example.com/", "https://ann:pw@example.com/", "https://example.com@127.0.0.1/",
                          "https://@example.com/"],
    "other schemes": ["http://example.com/", "file:///etc/passwd", "gopher://example.com/", "ftp://example.com/",
                      "//example.com/", "example.com", "javascript:alert(1)", ""],
    "other ports": ["https://example.com:22/", "https://example.com:6379/", "https://example.com:80/",
                    "https://example.com:0/", "https://example.com:99999/", "https://example.com:x/"],
    "tricks of writing": ["https://example.com\\@127.0.0.1/", "https:// example.com/", "https://example.com/\r\nX: y",
                          "https://exa mple.com/", "https://example.com/#frag", "https:///path", "https://[::1/",
                          "https://-x-.com/", "https://a..b/", "https://example.com/" + "x" * 3000,
                          "https://exam%70le.com/", "https://exa\tmple.com/"],
}  # fmt: skip


def test_there_are_many_kinds() -> None:
    """The promise names twelve."""
    assert len(REFUSED) >= 12


@pytest.mark.parametrize(("kind", "url"), [(kind, url) for kind, urls in REFUSED.items() for url in urls])
def test_what_is_refused(kind: str, url: str) -> None:
    """No form of an inside, no other scheme, no other port, nothing that readers of addresses disagree about."""
    with pytest.raises(Forbidden):
        PUBLIC.check_url(url)


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "https://example.com/a?b=c%20d", "https://EXAMPLE.com:8443/", "https://8.8.8.8/",
     "https://[2606:4700:4700::1111]/", "https://[64:ff9b::8.8.8.8]/", "https://xn--exmple-cua.com/", "https://a_b.example/",
     "https://example.com./"],
)  # fmt: skip
def test_what_is_called(url: str) -> None:
    """The public internet by https, an address that IPv6-only networks have for a public one included."""
    assert PUBLIC.check_url(url).scheme == "https"


# What a name may lead to, and is known only when it is looked up.
INSIDES = [
    "127.0.0.1", "10.1.2.3", "172.31.255.255", "192.168.0.1", "169.254.169.254", "0.0.0.0", "100.64.1.1", "224.0.0.251",
    "255.255.255.255", "168.63.129.16", "::1",
    "::", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::fb", "::ffff:10.0.0.1",
    "::7f00:1", "2002:a00:1::1", "2001:0:1::", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDES)
def test_a_name_that_leads_inside(address: str) -> None:
    """Whatever a name server says, an inside is not called, not even where it is one of several addresses."""
    target = PUBLIC.check_url("https://example.com/")
    for found in ([address], ["8.8.8.8", address], [address, "8.8.8.8"]):
        with pytest.raises(Forbidden):
            PUBLIC.check_addresses(target, found)
    assert len(PUBLIC.check_addresses(target, ["8.8.8.8", "2606:4700:4700::1111"])) == 2


def test_a_name_that_leads_nowhere() -> None:
    """Nothing to judge is nothing to call."""
    with pytest.raises(Forbidden, match="no address"):
        PUBLIC.check_addresses(PUBLIC.check_url("https://example.com/"), [])


def test_what_an_operator_allows() -> None:
    """Networks and names of one's own are called by http too and at any port; what is beside them is not."""
    policy = Policy.of("127.0.0.1, 10.0.0.0/8,fd00::/8, hooks.internal", "443")
    for url in ("http://127.0.0.1:9/", "https://10.1.2.3:22/", "http://hooks.internal:8080/x", "http://[fd00::1]/"):
        policy.check_url(url)
    inside = policy.check_url("http://name.example:8080/")  # may lead to what is allowed: the look-up tells
    assert policy.check_addresses(inside, ["10.9.9.9", "::ffff:10.0.0.1"])
    assert policy.check_addresses(policy.check_url("http://hooks.internal/"), ["192.168.0.1"])
    for found in (["192.168.0.1"], ["127.0.0.2"], ["8.8.8.8"], ["10.0.0.1", "8.8.8.8"]):
        with pytest.raises(Forbidden):
            policy.check_addresses(inside, found)
    for url in ("http://127.0.0.2/", "https://192.168.0.1/", "https://8.8.8.8:22/", "http://8.8.8.8/"):
        with pytest.raises(Forbidden):
            policy.check_url(url)


@pytest.mark.parametrize(("allow", "ports"), [("10.0.0.1/8", "443"), ("a b", "443"), ("", "0"), ("", "x"), ("", "")])
def test_a_policy_that_is_none(allow: str, ports: str) -> None:
    """A slip in the settings is told, and allows nothing by accident."""
    with pytest.raises(ValueError):
        Policy.of(allow, ports)
