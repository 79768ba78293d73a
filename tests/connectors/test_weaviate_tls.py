"""Weaviate's client behind TLS: whom it believes, and what is told when it does not."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from connectors.errors import Transient
from connectors.stores.weaviate_connection import Connection
from runtime.settings import Weaviate
from tests.certificates import Authority
from tests.tls_door import tls_door


class _Meta(BaseHTTPRequestHandler):
    """Answers as Weaviate does to somebody who connects."""

    def do_GET(self) -> None:
        body = b'{"version": "1.39.0", "hostname": "h", "modules": {}}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def behind_tls(tmp_path: Path) -> Iterator[tuple[Weaviate, Path]]:
    """Settings of a server with a certificate, and the authority that signed it."""
    authority = Authority()
    certificate, key = authority.server()
    (tmp_path / "server.pem").write_text(key + certificate)
    (tmp_path / "ca.pem").write_text(authority.pem)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Meta) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with tls_door(tmp_path / "server.pem", server.server_address[1]) as port:
            yield Weaviate(url=f"https://127.0.0.1:{port}", grpc="127.0.0.1:1"), tmp_path / "ca.pem"
        server.shutdown()


async def test_an_own_authority_is_named_by_the_environment(
    behind_tls: tuple[Weaviate, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SSL_CERT_FILE it connects; without, the error says that this is what to check."""
    settings, authority = behind_tls
    connection = Connection(settings)
    with pytest.raises(Transient, match=r"unable to get local issuer certificate.*SSL_CERT_FILE") as told:
        await connection.open()
    assert told.value.reason == "certificate"
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    await connection.open()
    await connection.close()
