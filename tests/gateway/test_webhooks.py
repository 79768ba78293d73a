"""Webhooks over HTTP: endpoints, secrets, deliveries, and questions that name one."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.errors import Transient
from connectors.memory.manifests import MemoryManifests
from connectors.memory.webhooks import MemoryWebhooks
from connectors.webhook_ports import EndpointRef, Receipt, secret_of
from gateway.app import create_app
from gateway.keys import Key, digest, mint, write_keys
from gateway.memory_log import MemoryLog
from gateway.webhook_deliveries import MAX_PAGE
from gateway.webhooks import MAX_ENDPOINTS
from runtime.clock import millis
from runtime.settings import Settings
from streams.webhooks.courier import settled
from tests.gateway.builders import asked, door_settings, serving

URL = "https://hooks.example/freshet"


@pytest.fixture
def webhooks() -> MemoryWebhooks:
    """The store."""
    return MemoryWebhooks(max_waiting=2)


@pytest.fixture
async def client(
    door: Settings, manifests: MemoryManifests, log: MemoryLog, webhooks: MemoryWebhooks
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that has webhooks."""
    async with serving(create_app(door, manifests, log, webhooks=webhooks)) as found:
        yield found


async def make(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/webhooks", json={"url": URL, **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_from_its_making_to_its_end(client: httpx.AsyncClient) -> None:
    """The secret is shown when it is made and nowhere else; changes are seen; what is removed is gone."""
    answer = await client.post("/v1/webhooks", json={"url": URL, "events": ["answer", "answer"], "description": "us"})
    made = answer.json()
    assert answer.headers["location"] == f"/v1/webhooks/{made['id']}"
    secret = made.pop("secret")
    assert secret.startswith("whsec_") and len(secret) == 50
    assert (made["url"], made["events"], made["description"], made["signatures"]) == (URL, ["answer"], "us", 1)
    assert (made["waiting"], made["dropped"]) == (0, 0)
    place = f"/v1/webhooks/{made['id']}"
    assert (await client.get(place)).json() == made
    assert (await client.get("/v1/webhooks")).json() == {"webhooks": [made]}
    changed = await client.patch(place, json={"url": f"{URL}/2", "events": ["error"], "description": None})
    assert changed.status_code == 200
    assert changed.json() == {k: v for k, v in made.items() if k != "description"} | {
        "url": f"{URL}/2", "events": ["error"],
    }  # fmt: skip
    assert (await client.delete(place)).status_code == 204
    for method in ("GET", "DELETE"):
        assert (await client.request(method, place)).status_code == 404
    assert (await client.get("/v1/webhooks")).json() == {"webhooks": []}


async def test_a_tenant_sees_its_own(client: httpx.AsyncClient) -> None:
    """Another tenant's webhook is not there, whatever is tried with its id."""
    made = await make(client)
    place, acme = f"/v1/webhooks/{made['id']}", {"Freshet-Tenant": "acme"}
    assert (await client.get("/v1/webhooks", headers=acme)).json() == {"webhooks": []}
    for method, path, body in [
        ("GET", place, None), ("PATCH", place, {"disabled": True}), ("DELETE", place, None),
        ("POST", f"{place}/rotate", {}), ("POST", f"{place}/ping", None), ("GET", f"{place}/deliveries", None),
    ]:  # fmt: skip
        assert (await client.request(method, path, json=body, headers=acme)).status_code == 404, path
    named = await client.post("/v1/queries", json={"question": "x", "webhook": made["id"]}, headers=acme)
    assert named.status_code == 422


async def test_rotation_leaves_the_old_secret_for_a_while(client: httpx.AsyncClient, webhooks: MemoryWebhooks) -> None:
    """The new one is shown once, both sign; an overlap of none ends the old ones, and never more than three sign."""
    made = await make(client)
    place, ref = f"/v1/webhooks/{made['id']}", EndpointRef("default", made["id"])

    async def in_force() -> list[str]:
        endpoint = await webhooks.endpoint(ref)
        assert endpoint is not None
        key = await webhooks.key()
        return [secret_of(key, endpoint.id, salt) for salt in endpoint.live_salts(millis())]

    second = (await client.post(f"{place}/rotate", json={})).json()
    assert second["secret"] != made["secret"] and second["signatures"] == 2
    assert await in_force() == [second["secret"], made["secret"]]
    for _ in range(3):
        last = (await client.post(f"{place}/rotate", json={"overlap": 60})).json()
    assert last["signatures"] == 3 and made["secret"] not in await in_force()
    only = (await client.post(f"{place}/rotate", json={"overlap": 0})).json()
    assert await in_force() == [only["secret"]]
    assert "secret" not in (await client.get(place)).json()


async def test_secrets_stay_within(client: httpx.AsyncClient, webhooks: MemoryWebhooks) -> None:
    """Neither the store's record of the endpoint nor any other answer holds what signs."""
    made = await make(client)
    endpoint = await webhooks.endpoint(EndpointRef("default", made["id"]))
    assert made["secret"].removeprefix("whsec_") not in repr(endpoint)
    for path in ("", f"/{made['id']}", f"/{made['id']}/deliveries"):
        assert "whsec_" not in (await client.get(f"/v1/webhooks{path}")).text


async def test_a_ping_and_its_delivery(client: httpx.AsyncClient, webhooks: MemoryWebhooks) -> None:
    """A ping waits like any message; what came of it is told, and it can be delivered again with the same id."""
    made = await make(client)
    place, ref = f"/v1/webhooks/{made['id']}", EndpointRef("default", made["id"])
    ping = await client.post(f"{place}/ping")
    assert ping.status_code == 202 and ping.json()["type"] == "ping" and ping.json()["state"] == "waiting"
    assert (await client.get(place)).json()["waiting"] == 1
    [claim] = await webhooks.claim(ref, millis(), millis() + 10**6, 9)
    assert b'"type":"ping"' in claim.body
    done = settled(Settings().webhook, claim.delivery, Receipt("gone", 410), millis(), 12)
    await webhooks.settle(ref, claim, done)
    delivery = f"{place}/deliveries/{ping.json()['id']}"
    told = (await client.get(delivery)).json()
    assert told["state"] == "failed" and told["tries"][0]["status"] == 410 and told["tries"][0]["ms"] == 12
    assert (await client.get(f"{place}/deliveries")).json() == {"deliveries": [told], "next": None}
    assert (await client.get(f"{place}/deliveries?state=waiting")).json()["deliveries"] == []
    again = await client.post(f"{delivery}/redeliver")
    assert again.status_code == 202 and again.json()["id"] == told["id"] and again.json()["state"] == "waiting"
    assert (await client.get(f"{place}/deliveries/msg_none")).status_code == 404
    assert (await client.post(f"{place}/deliveries/msg_none/redeliver")).status_code == 404


async def test_deliveries_come_in_pages(client: httpx.AsyncClient) -> None:
    """The next page begins where the last one ended."""
    made = await make(client)
    place = f"/v1/webhooks/{made['id']}"
    for _ in range(2):
        await client.post(f"{place}/ping")
    full = await client.post(f"{place}/ping")
    assert full.status_code == 409, "two wait, which is the most here"
    first = (await client.get(f"{place}/deliveries?limit=1")).json()
    assert len(first["deliveries"]) == 1 and first["next"] == first["deliveries"][0]["id"]
    second = (await client.get(f"{place}/deliveries?limit=1&before={first['next']}")).json()
    last = (await client.get(f"{place}/deliveries?limit=1&before={second['next']}")).json()
    assert first["deliveries"] != second["deliveries"] != [] and last == {"deliveries": [], "next": None}


async def test_a_disabled_webhook_sends_nothing(client: httpx.AsyncClient) -> None:
    """It says why, refuses pings, and can be enabled again."""
    made = await make(client)
    place = f"/v1/webhooks/{made['id']}"
    assert (await client.patch(place, json={"disabled": True})).json()["disabled"] == "on request"
    for path in (f"{place}/ping", f"{place}/deliveries/msg_x/redeliver"):
        refused = await client.post(path)
        assert refused.status_code == 409 and "enable it first" in refused.json()["detail"]
    assert "disabled" not in (await client.patch(place, json={"disabled": False})).json()
    assert (await client.post(f"{place}/ping")).status_code == 202


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://127.0.0.1/", "loopback"),
        ("https://169.254.169.254/latest", "link-local"),
        ("https://[::ffff:10.0.0.1]/", "private"),
        ("https://2130706433/", "neither a host name nor an address"),
        ("http://hooks.example/", "only https"),
        ("https://u:p@hooks.example/", "no user and no password"),
        ("https://hooks.example:22/", "port 22"),
        ("ftp://hooks.example/", "ftp is not called"),
        ("", "https://host/path"),
    ],
)
async def test_targets_that_are_refused(client: httpx.AsyncClient, url: str, says: str) -> None:
    """At the door, where somebody listens; when it is made and when it is changed."""
    made = await make(client)
    for answer in (
        await client.post("/v1/webhooks", json={"url": url}),
        await client.patch(f"/v1/webhooks/{made['id']}", json={"url": url}),
    ):
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["pointer"] == "/url" and says in error["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": URL, "events": []}, "/events"),
        ({"url": URL, "events": ["document"]}, "/events/0"),
        ({"url": URL, "secret": "mine"}, "/secret"),
        ({"url": URL, "description": "x" * 201}, "/description"),
        ({"url": URL, "description": "a\0"}, "/description"),
    ],
)
async def test_bodies_that_are_refused(client: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    """Naming the field."""
    answer = await client.post("/v1/webhooks", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("query", ["limit=0", f"limit={MAX_PAGE + 1}", "limit=x", "state=late", "page=2"])
async def test_pages_that_are_refused(client: httpx.AsyncClient, query: str) -> None:
    """Naming the parameter."""
    made = await make(client)
    answer = await client.get(f"/v1/webhooks/{made['id']}/deliveries?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]


async def test_overlaps_that_are_refused(client: httpx.AsyncClient) -> None:
    """A month at most."""
    made = await make(client)
    for overlap in (-1, 30 * 86400 + 1):
        answer = await client.post(f"/v1/webhooks/{made['id']}/rotate", json={"overlap": overlap})
        assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/overlap"


async def test_a_tenant_has_so_many(client: httpx.AsyncClient) -> None:
    """A tenant cannot fill the store with webhooks."""
    for _ in range(MAX_ENDPOINTS):
        await make(client)
    assert (await client.post("/v1/webhooks", json={"url": URL})).status_code == 409


async def test_a_question_names_who_is_told(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """By id, or all; the job's hop carries it. Without it nobody is told."""
    made = await make(client)
    for given, carried in ((made["id"], made["id"]), (True, "*"), (False, None)):
        answer = await client.post("/v1/queries", json={"question": "Why?", "webhook": given})
        assert answer.status_code == 202, answer.text
        hop, _ = asked(await log.next())
        assert hop.webhook == carried


async def test_questions_that_name_nobody(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """A webhook that is not there, none at all, or passages that are given at once: nothing is asked."""
    none = await client.post("/v1/queries", json={"question": "Why?", "webhook": True})
    assert none.status_code == 422 and "no webhook yet" in none.json()["detail"]
    made = await make(client)
    for path, given in (("/v1/queries", "we_none"), ("/v1/queries", ""), ("/v1/retrieve", made["id"])):
        answer = await client.post(path, json={"question": "Why?", "webhook": given})
        assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/webhook"
    assert not log.published


async def test_the_store_may_be_away(
    client: httpx.AsyncClient, webhooks: MemoryWebhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, and questions that name no webhook do not notice."""

    async def away(*_: object) -> Any:
        raise Transient("Redis is away")

    for name in ("endpoints", "endpoint"):
        monkeypatch.setattr(webhooks, name, away)
    assert (await client.get("/v1/webhooks")).status_code == 503
    assert (await client.post("/v1/queries", json={"question": "Why?", "webhook": True})).status_code == 503
    assert (await client.post("/v1/queries", json={"question": "Why?"})).status_code == 202


async def test_webhooks_are_for_admins(tmp_path: Path) -> None:
    """With keys only one with the scope admin sees and changes webhooks; naming one in a question needs read alone."""
    file = tmp_path / "keys.jsonl"
    shown = {scope: mint(scope) for scope in ("read", "write", "admin")}
    since = datetime(2026, 1, 1, tzinfo=UTC)
    keys = [Key(id=name, sha256=digest(key), scopes=[name], created=since) for name, key in shown.items()]  # type: ignore[list-item]
    file.write_bytes(write_keys(keys))
    app = create_app(door_settings(API_KEYS_FILE=str(file)), MemoryManifests(), MemoryLog(), webhooks=MemoryWebhooks())
    async with serving(app) as client:
        bearer = {name: {"X-API-Key": key} for name, key in shown.items()}
        for name in ("read", "write"):
            assert (await client.post("/v1/webhooks", json={"url": URL}, headers=bearer[name])).status_code == 403
            assert (await client.get("/v1/webhooks", headers=bearer[name])).status_code == 403
        made = await client.post("/v1/webhooks", json={"url": URL}, headers=bearer["admin"])
        assert made.status_code == 201
        question = {"question": "Why?", "webhook": made.json()["id"]}
        assert (await client.post("/v1/queries", json=question, headers=bearer["read"])).status_code == 202
