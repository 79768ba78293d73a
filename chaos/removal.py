"""What a run made is removed again: exactly that, and it is looked whether it is gone."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx

AT_ONCE = 16
LOOK_EVERY = 0.1


@dataclass
class Removal:
    """What became of it.  ``left`` has a reason for each document that may still be there."""

    removed: int = 0
    left: dict[str, str] = field(default_factory=dict)


async def remove(http: httpx.AsyncClient, prefix: str, doc_ids: Collection[str], seconds: float) -> Removal:
    """Delete these documents and wait until they are gone; a door that is away is asked again until the time is over.

    Raises ValueError for a document that does not lie under the prefix: it was not made by this run.
    """
    if strangers := [doc_id for doc_id in doc_ids if not doc_id.startswith(prefix)]:
        raise ValueError(f"{strangers[0]!r} does not lie under {prefix!r}: nothing is removed")
    found, places, until = Removal(), asyncio.Semaphore(AT_ONCE), time.monotonic() + seconds

    async def one(doc_id: str) -> None:
        async with places:
            reason = await _removed(http, doc_id, until)
        if reason is None:
            found.removed += 1
        else:
            found.left[doc_id] = reason

    await asyncio.gather(*(one(doc_id) for doc_id in sorted(doc_ids)))
    return found


async def _removed(http: httpx.AsyncClient, doc_id: str, until: float) -> str | None:
    """Why it may still be there; None: it is gone."""
    path, token, reason = f"/v1/documents/{quote(doc_id, safe='')}", "", "there was no time"
    while time.monotonic() < until:
        try:
            if not token:
                answer = await http.delete(path)
                if answer.status_code == 202:
                    token = answer.json()["token"]
                    continue
            else:
                answer = await http.get(path, params={"token": token})
                if answer.status_code == 200 and answer.json()["status"] == "deleted":
                    return None
            reason = f"{answer.status_code} {answer.text[:200]}"
            if answer.status_code in (401, 403, 422):
                return reason
        except (httpx.HTTPError, OSError) as error:
            reason = repr(error)[:200]
        await asyncio.sleep(LOOK_EVERY)
    return reason


async def visible(http: httpx.AsyncClient, prefix: str) -> list[str]:
    """Documents under a prefix that the door lists, up to a page of them."""
    answer = (await http.get("/v1/documents", params={"after": prefix, "limit": 1000})).raise_for_status()
    ids = [str(document["doc_id"]) for document in answer.json()["documents"]]
    return [doc_id for doc_id in ids if doc_id.startswith(prefix)]
