"""The campaign's verdict: it says what was broken, and nothing that did not happen is clean."""

import argparse
import asyncio
import json
from dataclasses import asdict, replace

import httpx
import pytest

from chaos import rows
from chaos.campaign import choose
from chaos.checkers import Bounds
from chaos.documents import Revision
from chaos.doors import balanced, headers_of
from chaos.faults import FAULTS
from chaos.history import History, Read, Violation, Window, Write
from chaos.verdict import percentiles, together, verdict_of
from runtime.sources import read_sources
from streams.outcome import Emit, Record
from streams.sources.map import Map
from topics.codec import decode
from topics.documents import Document
from topics.identity import DEFAULT_TENANT


def test_a_run_in_which_nothing_happened_is_not_clean() -> None:
    """No change, no question, no job, no fault: each of them is missed by name."""
    verdict = verdict_of(History(began=1.0, ended=90.0), Bounds())
    missed = {each.subject for each in verdict.violations["vacuity"]}
    assert not verdict.clean
    assert {"lost", "mixed", "stale", "cached", "jobs", "webhooks", "letters", "lag", "recovery"} <= missed


def test_a_fault_that_did_not_happen_is_no_fault() -> None:
    """A schedule whose fault failed to be done proves nothing about it."""
    history = History(windows=[Window("kill-9:embed", 1.0, error="inject: no such process")])
    found = verdict_of(history, Bounds()).violations
    assert "kill-9:embed" in {each.subject for each in found["vacuity"]}
    assert "kill-9:embed" in {each.subject for each in found["recovery"]}


def test_what_the_audit_found_counts() -> None:
    """Nobody need have asked for it."""
    drift = [Violation("drift", "audit", "1 lost", 0.0)]
    assert verdict_of(History(), Bounds(), drift).kinds["besides: drift"] == 1


def test_sums_over_all_seeds() -> None:
    """Counts and violations are added, a question about three documents counts once."""
    reads = [Read(f"s1/{n}", "", 1.0, 2.0, "ok") for n in range(3)]
    history = History(seed=1, writes=[Write(Revision("s1/1", 1, ("w",)), 1.0, "ok", "1.0.0", 1.1)], reads=reads)
    one = replace(verdict_of(history, Bounds()), recovery={"kill-9:embed": [1.0, 3.0]}, missing=["a", "b"])
    both = together([one, replace(one, seed=2, recovery={"kill-9:embed": [2.0]}, missing=["b"])])
    assert both.counts["questions"] == 2 and both.counts["changes"] == 2
    assert json.loads(json.dumps(asdict(both)))["counts"]["changes"] == 2
    assert both.kinds["lost: lost"] == 2 and both.missing == ["a", "b"]
    assert both.recovery == {"kill-9:embed": [1.0, 3.0, 2.0]} and percentiles([1.0, 3.0, 2.0]) == (2.0, 2.9)


def test_faults_are_chosen_by_name_or_kind() -> None:
    """A name that is none ends the command."""
    parser = argparse.ArgumentParser()
    one = FAULTS[0]
    assert choose([one.name], parser) == [one] and choose(None, parser) == list(FAULTS)
    assert one in choose([one.name.partition(":")[0]], parser)
    with pytest.raises(SystemExit):
        choose(["kill-9:nobody"], parser)


def test_kafka_is_told_what_http_is_told() -> None:
    """The headers beside a raw body say title, access and metadata."""
    headers = dict(headers_of(Revision("g1/a", 3, ("w",), ("ann",))))
    assert headers["title"] == b"g1/a revision 3" and headers["access"] == b'["ann"]'
    assert headers["metadata"] == b'{"about":"g1/a","group":"g1"}' and headers["content-type"] == b"text/markdown"
    assert "access" not in dict(headers_of(Revision("g1/a", 3, ("w",))))


@pytest.mark.parametrize("access", [(), ("ann",)])
async def test_a_row_is_the_document_that_others_publish(access: tuple[str, ...]) -> None:
    """The map lane makes of it what the headers say; one that was deleted is a delete."""
    stage = Map(read_sources(rows.sources("p")), {DEFAULT_TENANT}, 64)
    revisions = Revision("t/1", 3, ("w",), access), Revision("t/1", 4, ())
    written = [Record("p-rows", 0, n, b"t/1", rows.row_of(each), {}, 1) for n, each in enumerate(revisions)]
    (shown,), (gone,) = [[o for o in await stage.step([each]) if isinstance(o, Emit)] for each in written]
    document, headers = decode(shown.outputs[0].value or b"", Document), dict(headers_of(revisions[0]))
    assert (document.text, document.title) == (revisions[0].text, headers["title"].decode())
    assert json.loads(headers["metadata"]) == document.metadata and document.access == list(access)
    assert gone.outputs[0].value is None and gone.outputs[0].key == shown.outputs[0].key


async def serve(asked: list[str], name: str) -> tuple[asyncio.Server, str]:
    """A gateway that answers everything, once a connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.append(name)
        writer.write(b"HTTP/1.1 204 Well\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("alive", ["one two", "one", "two", ""])
async def test_another_gateway_where_one_is_dead(alive: str) -> None:
    """By turns; what no gateway takes has failed."""
    asked: list[str] = []
    servers = {name: await serve(asked, name) for name in ("one", "two")}
    for name, (server, _) in servers.items():
        if name not in alive.split():
            server.close()
    async with balanced([door for _, door in servers.values()], 5) as http:
        for _ in range(4 if alive else 0):
            assert (await http.get("/readyz?x=1")).status_code == 204
        if not alive:
            with pytest.raises(httpx.ConnectError):
                await http.get("/readyz")
    assert set(asked) == set(alive.split())
    for server, _ in servers.values():
        server.close()
