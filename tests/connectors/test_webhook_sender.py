"""Calling endpoints over real sockets: signed, to checked addresses only, bounded."""

import asyncio
import hashlib
import hmac
import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from connectors.webhook_ports import Receipt, secret_of
from connectors.webhooks.checked_network import Resolve, Unresolved
from connectors.webhooks.http_sender import READ_BYTES, HttpSender, receipt_of, seconds_of
from connectors.webhooks.signatures import signed_headers
from runtime.settings import Settings
from tests.certificates import Authority
from tests.connectors.receiver import receiving, status

BODY = b'{"type":"answer","timestamp":"2026-01-31T12:00:00.000Z","data":{}}'
SECRET = secret_of(b"k" * 32, "we_1", "a")
OLD = secret_of(b"k" * 32, "we_1", "b")


@asynccontextmanager
async def sending(resolve: Resolve | None = None, **settings: str) -> AsyncIterator[HttpSender]:
    """A sender with settings of webhooks."""
    found = Settings.from_env({f"FRESHET_WEBHOOK_{name}": value for name, value in settings.items()}).webhook
    sender = HttpSender(found, resolve) if resolve else HttpSender(found)
    await sender.open()
    yield sender
    await sender.close()


async def send(sender: HttpSender, url: str, *secrets: str) -> Receipt:
    return await sender.send(url, "msg_1", int(time.time()), BODY, secrets or (SECRET,))


def names(**leads: Sequence[str]) -> tuple[Resolve, list[str]]:
    """A name server: each look-up of a name gets the next of its addresses, the last one for ever; and the look-ups."""
    asked: list[str] = []

    async def resolve(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        known = leads[host.replace(".", "_")]
        return [known[min(asked.count(host), len(known)) - 1]]

    return resolve, asked


def test_the_specifications_vector() -> None:
    """The reference vector of Standard Webhooks comes out to the letter."""
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_specifications_words() -> None:
    """HMAC-SHA256 over `id.timestamp.body`, in base64 behind `v1,`, by a secret of 24 to 64 bytes; body in UTF-8."""
    body = '{"text":"Höhe: 3 m ✓"}'.encode()
    headers = signed_headers("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", 1674087231, body, [SECRET])
    key = b64decode(SECRET.removeprefix("whsec_"))
    assert SECRET.startswith("whsec_") and 24 <= len(key) <= 64
    signed = hmac.new(key, b"msg_2KWPBgLlAfxdpx2AI54pPJ85f4W.1674087231." + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{b64encode(signed).decode()}"


def test_while_rotating_each_secret_verifies() -> None:
    """Two signatures, separated by a blank; a third secret, another body, id or time verify with neither."""
    at = int(time.time())
    headers = signed_headers("msg_1", at, BODY, [SECRET, OLD])
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OLD):
        assert Webhook(secret).verify(BODY, headers)["type"] == "answer"
    stranger = secret_of(b"x" * 32, "we_1", "a")
    for secret, body, changed in [
        (stranger, BODY, {}),
        (SECRET, BODY + b" ", {}),
        (SECRET, BODY, {"webhook-id": "msg_2"}),
        (SECRET, BODY, {"webhook-timestamp": str(at - 1)}),
    ]:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers | changed)
    with pytest.raises(WebhookVerificationError):  # a replay
        Webhook(SECRET).verify(BODY, signed_headers("msg_1", at - 400, BODY, [SECRET]))


async def test_a_message_arrives_as_it_was_signed() -> None:
    """One POST with the body to the byte, JSON, the name as Host, verified by the standard's own library."""
    async with receiving() as receiver, sending(ALLOW="127.0.0.1") as sender:
        assert await send(sender, receiver.url("/hook?a=b"), SECRET, OLD) == Receipt("delivered", 204)
    [came] = receiver.came
    assert came.line == "POST /hook?a=b HTTP/1.1"
    assert came.body == BODY
    assert came.headers["content-type"] == "application/json"
    assert came.headers["host"] == f"127.0.0.1:{receiver.port}"
    for secret in (SECRET, OLD):
        Webhook(secret).verify(came.body, came.headers)


async def test_by_default_nothing_here_is_called() -> None:
    """Without an allow-list a server on this very machine sees no connection."""
    async with receiving() as receiver, sending() as sender:
        for url in (receiver.url(), receiver.url(scheme="https"), receiver.url(host="localhost", scheme="https"),
                    "https://localhost/", "https://[::1]/", "https://2130706433/"):  # fmt: skip
            assert (await send(sender, url)).reason == "forbidden", url
    assert receiver.connections == 0


async def test_only_the_checked_address_is_called() -> None:
    """A name server that says an inside the second time: there is no second time, and the next delivery is refused."""
    async with receiving() as good, receiving(host="127.0.0.2") as evil:
        resolve, asked = names(rebind_example=["127.0.0.1", "127.0.0.2"])
        async with sending(resolve, ALLOW="127.0.0.1") as sender:
            url = f"http://rebind.example:{good.port}/"
            assert (await send(sender, url)).delivered
            assert asked == ["rebind.example"], "resolved once, connected to that"
            assert (good.connections, evil.connections) == (1, 0)
        async with sending(resolve, ALLOW="127.0.0.1") as sender:  # connections of the first are gone
            refused = await send(sender, f"http://rebind.example:{evil.port}/")
            assert refused.reason == "forbidden" and "loopback" in str(refused.error)
            assert "127.0.0.2" not in str(refused.error), "what our name server knows is not told"
    assert good.came[0].headers["host"] == f"rebind.example:{good.port}"
    assert evil.connections == 0


async def test_one_bad_address_is_one_too_many() -> None:
    """A name with a good and a bad address is not called at all."""

    async def both(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1", "10.0.0.1"]

    async with receiving() as receiver, sending(both, ALLOW="127.0.0.1") as sender:
        assert (await send(sender, f"http://both.example:{receiver.port}/")).reason == "forbidden"
    assert receiver.connections == 0


async def test_a_name_is_looked_up_before_tls_and_shown_to_it(tmp_path: Path) -> None:
    """TLS sees the name, not the address: a certificate for another name is not taken, and an unknown CA neither."""
    authority = Authority()
    certificate, key = authority.server()
    file = tmp_path / "server.pem"
    file.write_text(certificate + key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    shown: list[str | None] = []
    tls.sni_callback = lambda _, name, __: shown.append(name)
    resolve, _ = names(other_example=["127.0.0.1"], **{"127_0_0_1": ["127.0.0.1"]})
    async with receiving(tls=tls) as receiver:
        async with sending(resolve, ALLOW="127.0.0.1", CA=authority.pem) as sender:
            assert (await send(sender, receiver.url(scheme="https"))).delivered
            assert (await send(sender, f"https://other.example:{receiver.port}/")).reason == "unreachable"
        async with sending(resolve, ALLOW="127.0.0.1") as sender:
            assert (await send(sender, receiver.url(scheme="https"))).reason == "unreachable"
    assert shown[1] == "other.example"
    assert len(receiver.came) == 1


async def test_redirects_are_not_followed() -> None:
    """A redirect is a failure, wherever it leads."""
    async with receiving() as inside:
        leads = status(302, f"location: {inside.url()}")
        async with receiving(lambda _: leads) as receiver, sending(ALLOW="127.0.0.1") as sender:
            assert await send(sender, receiver.url()) == Receipt("redirect", 302)
    assert inside.connections == 0


async def test_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names would see what nobody checked: it is not used."""
    async with receiving() as proxy, receiving() as receiver:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with sending(ALLOW="127.0.0.1") as sender:
            assert (await send(sender, receiver.url())).delivered
    assert proxy.connections == 0


async def test_silence_costs_no_more_than_the_timeout() -> None:
    """An endpoint that says nothing, one that drips, and a name server that hangs end with the same time."""

    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"x" * 500:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    async def hanging(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    drip = await asyncio.start_server(dripping, "127.0.0.1", 0)
    async with receiving(lambda _: None) as silent, sending(ALLOW="127.0.0.1", TIMEOUT="0.3") as sender:
        began = time.monotonic()
        assert (await send(sender, silent.url())).reason == "timeout"
        assert (await send(sender, f"http://127.0.0.1:{drip.sockets[0].getsockname()[1]}/")).reason == "timeout"
        async with sending(hanging, TIMEOUT="0.3") as lost:
            assert (await send(lost, "https://example.com/")).reason == "timeout"
        assert 0.9 <= time.monotonic() - began < 3
    drip.close()


async def test_a_long_answer_is_not_read_to_its_end() -> None:
    """Some of a body is read so that the connection can be used again; of an endless one no more than a little."""
    written = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                written += 65536
        except ConnectionError:
            return

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with sending(ALLOW="127.0.0.1") as sender:
        began = time.monotonic()
        assert (await send(sender, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")).delivered
        assert time.monotonic() - began < 5
    assert written < 50_000_000 and READ_BYTES <= 65536
    server.close()


async def test_connections_are_used_again() -> None:
    """Deliveries in a row share a connection; its address was checked when it was made."""
    async with receiving() as receiver, sending(ALLOW="127.0.0.1") as sender:
        for _ in range(3):
            assert (await send(sender, receiver.url())).delivered
    assert receiver.connections == 1


@pytest.mark.parametrize(
    ("answer", "receipt"),
    [
        (status(200), Receipt("delivered", 200)),
        (status(299), Receipt("delivered", 299)),
        (status(301), Receipt("redirect", 301)),
        (status(400), Receipt("4xx", 400)),
        (status(410), Receipt("gone", 410)),
        (status(429, "Retry-After: 120"), Receipt("4xx", 429, retry_after=120.0)),
        (status(503, "retry-after: 7"), Receipt("5xx", 503, retry_after=7.0)),
        (status(502, "Retry-After: soon"), Receipt("5xx", 502)),
    ],
)
async def test_what_an_answer_means(answer: bytes, receipt: Receipt) -> None:
    """2xx alone is success; what the endpoint asks for is told."""
    async with receiving(lambda _: answer) as receiver, sending(ALLOW="127.0.0.1") as sender:
        assert await send(sender, receiver.url()) == receipt


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 OK\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 90_000]
)
async def test_what_is_no_http(said: bytes) -> None:
    """A server that breaks off, or speaks something else, is a failed try and no error of ours."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with sending(ALLOW="127.0.0.1") as sender:
        receipt = await send(sender, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert (receipt.reason, receipt.status) == ("unreachable", None) and receipt.error
    server.close()


async def test_nobody_there() -> None:
    """A port where nobody listens, and a name that leads nowhere, say so."""

    async def unknown(host: str, port: int) -> Sequence[str]:
        raise Unresolved(f"{host} cannot be resolved: no such name")

    async with sending(ALLOW="127.0.0.1") as sender:
        assert (await send(sender, "http://127.0.0.1:1/")).reason == "unreachable"
    async with sending(unknown) as sender:
        assert (await send(sender, "https://nowhere.example/")).reason == "unresolved"
    async with sending() as sender:  # the system's own resolver
        assert (await send(sender, "https://nowhere.invalid/")).reason == "unresolved"


def test_retry_after_in_both_forms() -> None:
    """Seconds, or a date; what is neither, or before now, asks for nothing or for no time."""
    now = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
    assert seconds_of("120") == 120
    assert seconds_of(" Sat, 31 Jan 2026 12:01:00 GMT", now) == 60
    assert seconds_of("Sat, 31 Jan 2026 11:00:00 GMT", now) == 0
    for nonsense in ("", "soon", "-5", "1.5", "9" * 30, "Sat, 99 Foo"):
        assert seconds_of(nonsense, now) is None, nonsense
    assert receipt_of(204, None).delivered and not receipt_of(304, None).delivered
