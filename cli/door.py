"""The gateway as the command line sees it: questions, live events, document status."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx

from runtime.settings import Settings

TIMEOUT = httpx.Timeout(10.0, read=120.0)


class DoorError(RuntimeError):
    """The gateway refused, with this status, or is not there; the message says which."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def address_of(settings: Settings) -> str:
    """Where the gateway is."""
    host = settings.gateway.host if settings.gateway.host != "0.0.0.0" else "127.0.0.1"
    return f"http://{host}:{settings.gateway.port}"


def headers_of(settings: Settings, tenant: str | None = None) -> dict[str, str]:
    """Who asks."""
    headers = {"Freshet-Tenant": tenant} if tenant else {}
    if settings.gateway.api_key:
        headers["X-API-Key"] = settings.gateway.api_key.get_secret_value()
    return headers


class Door:
    """A client of the gateway.  Use as a context manager."""

    def __init__(self, settings: Settings, tenant: str | None = None) -> None:
        self.address = address_of(settings)
        self._http = httpx.Client(base_url=self.address, timeout=TIMEOUT, headers=headers_of(settings, tenant))

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        return self._json(lambda: self._http.get(path, params=params))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._json(lambda: self._http.post(path, json=body))

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Any other request; empty where nothing came back."""
        return self._json(lambda: self._http.request(method, path, json=body))

    def delete(self, path: str) -> dict[str, Any]:
        return self._json(lambda: self._http.delete(path))

    def status(self, doc_id: str, token: str | None = None) -> dict[str, Any]:
        """Status of a document; with a token, of that version."""
        return self.get(f"/v1/documents/{quote(doc_id, safe='')}", **({"token": token} if token else {}))

    def find(self, doc_id: str) -> dict[str, Any] | None:
        """Status of a document, None when the gateway has never seen it."""
        try:
            return self.status(doc_id)
        except DoorError as error:
            if error.status == 404:
                return None
            raise

    def events(self, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events of a job as they come: (name, data), until the last one."""
        try:
            with self._http.stream("GET", f"/v1/queries/{job_id}/events") as response:
                if response.status_code != 200:
                    response.read()
                    self._json(lambda: response)
                name = "message"
                for line in response.iter_lines():
                    if line.startswith("event:"):
                        name = line[6:].strip()
                    elif line.startswith("data:"):
                        yield name, json.loads(line[5:])
        except httpx.HTTPError as error:
            raise DoorError(f"gateway at {self.address}: {error} (is the stack up? `make up`)") from None

    def _json(self, call: Any) -> dict[str, Any]:
        try:
            response: httpx.Response = call()
        except httpx.HTTPError as error:
            raise DoorError(f"gateway at {self.address}: {error} (is the stack up? `make up`)") from None
        if response.status_code == 204:
            return {}
        try:
            body = response.json()
        except ValueError:
            body = {"title": response.text[:200]}
        if response.is_error:
            said = f"{response.status_code} {body.get('title', '')}: {body.get('detail', '')}".rstrip(": ")
            hint = " (commands show the key in FRESHET_GATEWAY_API_KEY)"
            raise DoorError(said + (hint if response.status_code in (401, 403) else ""), response.status_code)
        return dict(body)
