"""`documents` moves to a topic with more partitions while a writer writes, readers read and workers work."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from chaos.checks import judge
from chaos.documents import Author
from chaos.history import History
from chaos.traffic import Traffic
from connectors import build
from connectors.ports import LoggedRecord
from deploy.local.environment import EXTERNAL_ADDRESSES
from deploy.local.own_stack import OwnStack, own_stack, process_environment
from deploy.local.programs import ROOT
from runtime.settings import Settings
from tests.e2e.conftest import DEADLINE, E2E_PORT_BASE, System
from topics import registry
from topics.headers import MIRRORED
from topics.identity import Token

pytestmark = pytest.mark.servers


@pytest.fixture
def own(system: System) -> Iterator[OwnStack]:
    """Workers and a gateway of its own, on the servers that are there: what is moved here is nobody else's."""
    base = int(os.environ.get("FRESHET_E2E_PORT_BASE", E2E_PORT_BASE)) + 100
    settings = {name: system.stack.environment[name] for name in EXTERNAL_ADDRESSES} | {
        "STACK": "external",
        "FRESHET_PREFIX": f"m{secrets.token_hex(4)}",
        "FRESHET_WORKERS": "chunk=2",
    }
    with own_stack("epochs", str(base), settings) as stack:
        yield stack


def freshet(environment: Mapping[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    """One command, to its end."""
    line = [sys.executable, "-m", "cli", *command]
    own = process_environment(environment)
    return subprocess.run(line, cwd=ROOT, env=own, capture_output=True, text=True, timeout=90)


async def known_key(http: httpx.AsyncClient, key: str) -> None:
    """Until readers can filter by a metadata key: of one that is new they may not know for a second."""
    body = {"text": "A document with the key.", "metadata": {key: "warming up"}}
    assert (await http.put("/v1/documents/warm", json=body)).status_code == 202
    asked = {"question": "A document with the key?", "filter": {key: {"eq": "warming up"}}}
    async with asyncio.timeout(DEADLINE):
        while not (await http.post("/v1/retrieve", json=asked)).json()["passages"]:
            await asyncio.sleep(0.05)


async def records_of(settings: Settings, epoch: int) -> list[LoggedRecord]:
    """All that lies in the topic of an epoch."""
    log = build.topic_log(settings, registry.documents_of(epoch))
    await log.open()
    try:
        places, ends, found = await log.starts(), await log.ends(), []
        while any(places[partition] < end for partition, end in ends.items()):
            records, places = await log.read(places, 1.0)
            found += records
        return found
    finally:
        await log.close()


async def test_documents_moves_to_more_partitions(own: OwnStack, tmp_path: Path) -> None:
    """No answer is wrong, no write is lost or out of order, and tokens of both epochs hold."""
    settings = Settings.from_env(own.environment)
    refused = await asyncio.to_thread(freshet, own.environment, "epoch", "move", "--partitions", "6")
    assert refused.returncode == 1 and "8 would do" in refused.stdout
    history, stop, seed = History(), asyncio.Event(), 7
    author = Author(seed, [f"statements/{n}" for n in range(12)], ["ann", "bob"])
    async with httpx.AsyncClient(base_url=own.door, timeout=15) as http:
        await known_key(http, "about")
        traffic = Traffic(http, history, author, seed)
        work = [asyncio.create_task(traffic.write(stop, 0.05))]
        work += [asyncio.create_task(traffic.read(stop, 0.02)) for _ in range(2)]
        await asyncio.sleep(2)
        moved = await asyncio.to_thread(freshet, own.environment, "epoch", "move", "--partitions", "8")
        assert moved.returncode == 0, moved.stdout + moved.stderr
        await asyncio.sleep(2)
        stop.set()
        await asyncio.gather(*work)
        await traffic.settle()
        history.save(tmp_path)
        assert judge(history) == []

        tokens = [Token.parse(write.token) for write in history.writes if write.token]
        assert len(tokens) == len(history.writes) > 10
        epochs = [token.epoch for token in tokens]
        assert set(epochs) == {1, 2} and epochs == sorted(epochs)
        last = {write.revision.doc_id: write for write in history.writes}
        for doc_id, write in last.items():
            status = (await http.get(f"/v1/documents/{doc_id}", params={"token": write.token or ""})).json()
            assert status["status"] == ("deleted" if write.revision.deletes else "indexed"), status
            assert status["version"] == str(Token.parse(write.token or "").version)
        held = {"question": "A document with the key?", "at_least": [str(min(tokens)), str(max(tokens))]}
        answer = (await http.post("/v1/retrieve", json=held)).json()
        assert answer["passages"] and not answer["lacking"] and not answer["degraded"]
        ready = await http.get("/readyz")
        assert ready.status_code == 200, ready.text
        gone = (await http.delete("/v1/documents/warm")).json()["token"]
        async with asyncio.timeout(DEADLINE):
            while (await http.get("/v1/documents/warm", params={"token": gone})).json()["status"] != "deleted":
                await asyncio.sleep(0.05)
        audited = await asyncio.to_thread(freshet, own.environment, "audit", "--settle", "1")
        assert audited.returncode == 0, audited.stdout + audited.stderr

    old, new = await records_of(settings, 1), await records_of(settings, 2)
    assert len(new) >= epochs.count(2) + 1 and max(record.partition for record in new) > 3
    newest = {record.key: record for record in old}
    assert newest[b"warm"].value is None and MIRRORED in newest[b"warm"].headers
    assert all(newest[record.key].value is None for record in new if record.value is None)
