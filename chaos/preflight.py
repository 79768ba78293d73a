"""Before anything is done to a door: it is there, lets us in, and keeps its promises while nobody disturbs it."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from chaos.askers import NOBODY, Askers
from chaos.documents import Revision
from chaos.doors import Away, KafkaDoor
from chaos.removal import visible
from topics.identity import Token

OUTCOME_SECONDS = 30.0


class CannotBegin(Exception):
    """Why there is no run; in words for who asked for one.  ``refused``: the door said no, so nothing came to be."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


async def check(http: httpx.AsyncClient, askers: Askers, prefix: str, made: set[str]) -> Token:
    """A token of the door's epoch, once all is well; documents that this made are added to ``made``."""
    where = str(http.base_url).rstrip("/")
    try:
        alive = await http.get("/healthz")
    except (httpx.HTTPError, OSError) as error:
        raise CannotBegin(f"{where}: nobody answers there ({str(error) or type(error).__name__})") from None
    if alive.status_code != 200 or "in_flight" not in alive.text:
        raise CannotBegin(f"{where}: answers {alive.status_code} to /healthz, which is no gateway of Freshet")
    ready = await http.get("/readyz")
    if ready.status_code != 200:
        wrong = [name for name, check in _json(ready).get("checks", {}).items() if not check.get("ok")]
        raise CannotBegin(f"{where}: not ready before anything was done to it: {', '.join(wrong) or ready.text[:200]}")
    await _let_in(http, "GET", "/v1/documents", "", params={"limit": 1})
    if there := await visible(http, prefix):
        raise CannotBegin(f"{where}: documents lie under {prefix} already, {there[0]} for one")
    token = await _publish(http, f"{prefix}first", (), made)
    for principal in askers.named:
        await _access(http, askers, principal, f"{prefix}first-{principal}", made)
    return token


async def _access(http: httpx.AsyncClient, askers: Askers, principal: str, doc_id: str, made: set[str]) -> None:
    """What is for one principal is shown to it, and to nobody else who asks."""
    await _publish(http, doc_id, (principal,), made)
    for asking in askers.asking:
        shown = doc_id in await _retrieve(http, asking, doc_id)
        if asking == principal and not shown:
            raise CannotBegin(
                f"the key of --asker {principal} does not show what is for {principal}: is it its principal?"
            )
        if asking != principal and shown:
            whose = f"the key of --asker {asking}" if asking else "the key in FRESHET_GATEWAY_API_KEY"
            more = "which nobody has" if principal == NOBODY else "so leave that asker out"
            raise CannotBegin(f"{whose} shows what is for {principal} alone, {more}: nothing could be judged")


async def _retrieve(http: httpx.AsyncClient, asking: str, about: str) -> set[str]:
    body: dict[str, Any] = {"question": f"What is known of {about}?", "k": 5, "cache": False}
    body["filter"] = {"about": {"eq": about}}
    headers = {"Freshet-Principals": asking} if asking else {}
    answer = await _let_in(http, "POST", "/v1/retrieve", asking, json=body, headers=headers)
    return {str(passage["doc_id"]) for passage in answer.json()["passages"]}


async def check_kafka(http: httpx.AsyncClient, kafka: KafkaDoor, prefix: str, made: set[str]) -> None:
    """What is written there becomes visible at this door."""
    doc_id = f"{prefix}first-kafka"
    made.add(doc_id)
    try:
        token = str(await kafka.publish(Revision(doc_id, 1, ("here",))))
    except Away as error:
        raise CannotBegin(f"Kafka took no document: {error}") from None
    try:
        await _indexed(http, doc_id, token)
    except CannotBegin as error:
        await kafka.publish(Revision(doc_id, 2, ()))  # the door may be another system's, and cannot delete it there
        raise CannotBegin(
            f"written to Kafka, {error} Are broker, FRESHET_PREFIX and --tenant this gateway's?"
        ) from None


async def _publish(http: httpx.AsyncClient, doc_id: str, access: tuple[str, ...], made: set[str]) -> Token:
    body = {"text": f"All that is known of {doc_id} is known.", "access": list(access), "metadata": {"about": doc_id}}
    made.add(doc_id)
    try:
        answer = await _let_in(http, "PUT", _path(doc_id), "", json=body)
    except CannotBegin as error:
        if error.refused:
            made.discard(doc_id)
        raise
    token = str(answer.json()["token"])
    await _indexed(http, doc_id, token)
    return Token.parse(token)


async def _indexed(http: httpx.AsyncClient, doc_id: str, token: str) -> None:
    until = time.monotonic() + OUTCOME_SECONDS
    while time.monotonic() < until:
        status = (await _let_in(http, "GET", _path(doc_id), "", params={"token": token})).json()
        if status["status"] == "indexed":
            return
        if status["status"] != "pending":
            raise CannotBegin(f"the first document was {status['status']}: {status.get('reason')}")
        await asyncio.sleep(0.2)
    raise CannotBegin(f"the first document is not visible after {OUTCOME_SECONDS:.0f} s: do the document lanes run?")


def _path(doc_id: str) -> str:
    return f"/v1/documents/{quote(doc_id, safe='')}"


async def _let_in(http: httpx.AsyncClient, method: str, path: str, asking: str, **request: Any) -> httpx.Response:
    try:
        answer = await http.request(method, path, **request)
    except (httpx.HTTPError, OSError) as error:
        raise CannotBegin(
            f"{http.base_url}: {method} was not answered ({str(error) or type(error).__name__})"
        ) from None
    if answer.status_code < 300:
        return answer
    said = _json(answer).get("detail") or _json(answer).get("title") or answer.text[:200]
    whose = f"the key of --asker {asking}" if asking else "the key in FRESHET_GATEWAY_API_KEY"
    if answer.status_code == 401:
        raise CannotBegin(f"401: {said}; this is about {whose}", refused=True)
    if answer.status_code == 403:
        needs = "which needs the scopes read and write"
        raise CannotBegin(f"403: {said}; this is about {whose}, {needs}", refused=True)
    refused = answer.status_code < 500
    raise CannotBegin(f"{method} {path} was answered {answer.status_code}: {said}", refused=refused)


def _json(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
