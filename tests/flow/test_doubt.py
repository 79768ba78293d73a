"""A version in doubt is written and flipped to once more, whoever else is at work."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from connectors.ports import Flip, Manifest
from runtime.settings import Documents, Settings
from streams.documents.index import Index
from streams.outcome import Emit, Outcome, Record
from tests.flow.inline import Lanes
from topics import registry
from topics.identity import DocumentRef, Token

REF = DocumentRef("default", "doc")
LONG = Settings(documents=Documents(chunk_tokens=32, part_bytes=8192))


def paragraphs(*changed: int) -> bytes:
    """A document of several parts."""
    return "\n\n".join(
        f"Paragraph {n}{' changed' if n in changed else ''} speaks about number {n}. " * 4 for n in range(60)
    ).encode()


async def manifest(lanes: Lanes) -> Manifest:
    return (await lanes.manifests.read([REF]))[0]


async def gone(lanes: Lanes) -> set[str]:
    """Chunks that are listed and not stored."""
    ids = list((await manifest(lanes)).chunks)
    return set(ids) - await lanes.store.existing({REF: ids})


async def two_births() -> tuple[Lanes, Token]:
    """A document with a chunk of its first version and one of its second."""
    lanes = Lanes(LONG)
    await lanes.put("doc", paragraphs(), content_type=b"text/plain")
    token = await lanes.put("doc", paragraphs(30), content_type=b"text/plain")
    return lanes, token


def vectors(lanes: Lanes, token: Token) -> list[Record]:
    """What the index stage was given of a version."""
    mark = str(token).encode()
    return [r for r in lanes.log[registry.VECTORS.name] if r.headers["freshet-token"] == mark and r.value]


async def test_the_same_version_is_flipped_to_again() -> None:
    """All its objects are written anew, those of earlier births go, the event says it, readers see no gap."""
    lanes, token = await two_births()
    before = await manifest(lanes)
    kept = set(before.chunks)
    lost = next(iter(before.chunks))
    await lanes.store.delete({REF: [lost]})
    await lanes.manifests.doubt({REF: str(token.version)})
    seen: list[set[str]] = []
    upsert, delete = lanes.store.upsert, lanes.store.delete

    async def look(step: Callable[..., Awaitable[None]], *args: object) -> None:
        await step(*args)
        seen.append(await gone(lanes))

    lanes.store.upsert = lambda chunks: look(upsert, chunks)  # type: ignore[method-assign]
    lanes.store.delete = lambda refs: look(delete, refs)  # type: ignore[method-assign]
    await lanes.index.step(vectors(lanes, token))
    after = await manifest(lanes)
    assert (after.version, after.doubted, after.done, after.doomed) == (str(token.version), False, True, ())
    assert all(missing <= {lost} for missing in seen) and not await gone(lanes)
    assert kept.isdisjoint(set(after.chunks) - kept) and lost not in after.chunks
    assert {i for _, i in lanes.store._chunks} == set(after.chunks)
    assert [c.id for c in lanes.event("doc").manifest] == list(after.chunks)


async def test_twice_is_as_good_as_once() -> None:
    """What is delivered again after the flip changes nothing more."""
    lanes, token = await two_births()
    await lanes.manifests.doubt({REF: str(token.version)})
    records = vectors(lanes, token)
    await lanes.index.step(records)
    first = await manifest(lanes)
    outcomes = await lanes.index.step(records)
    assert await manifest(lanes) == first and not any(isinstance(o, Emit) and o.outputs for o in outcomes)


async def test_a_stalled_writer_of_the_next_version_starts_over() -> None:
    """Who diffed the next version against the manifest before its repair does not list what the repair deleted."""
    lanes, token = await two_births()
    other = Index("g1", lanes.manifests, lanes.store, lanes.publish, lanes.clock)  # in another process
    flip = lanes.manifests.flip
    later = Token(token.epoch, token.partition, token.offset + 1)

    async def stalled(flips: Sequence[Flip]) -> list[bool]:
        """Between diff and flip somebody else mends the version."""
        if not flips:
            return []
        lanes.manifests.flip = flip  # type: ignore[method-assign]
        await lanes.manifests.doubt({REF: str(token.version)})
        await other.step(vectors(lanes, token))
        return await flip(flips)

    lanes.manifests.flip = stalled  # type: ignore[method-assign]
    assert await lanes.put("doc", paragraphs(30, 31), content_type=b"text/plain") == later
    assert (await manifest(lanes)).version == str(later.version)
    assert not await gone(lanes)


@pytest.mark.parametrize("births", [1, 2])
async def test_the_end_of_an_older_delivery_neither_mends_nor_waits(births: int) -> None:
    """The last part alone, delivered again, leaves the doubt for the whole version to settle."""
    lanes = Lanes(LONG)
    for n in range(births):
        token = await lanes.put("doc", paragraphs(n), content_type=b"text/plain")
    lost = next(iter((await manifest(lanes)).chunks))
    await lanes.store.delete({REF: [lost]})
    await lanes.manifests.doubt({REF: str(token.version)})
    records = vectors(lanes, token)
    assert len(records) > 2
    await lanes.index.step(records[-1:])
    assert (await manifest(lanes)).doubted and await gone(lanes) == {lost}
    await lanes.index.step(records)
    assert not (await manifest(lanes)).doubted and not await gone(lanes)


async def test_doubt_between_two_parts_does_not_stop_the_lane() -> None:
    """A next version whose first part kept what is doubted since becomes visible all the same."""
    lanes, token = await two_births()
    step, parts = lanes.index.step, 0

    async def in_pieces(records: Sequence[Record]) -> list[Outcome]:
        nonlocal parts
        outcomes: list[Outcome] = []
        for record in records:
            outcomes += await step([record])
            parts += 1
            await lanes.manifests.doubt({REF: str(token.version)})
        return outcomes

    lanes.index.step = in_pieces  # type: ignore[method-assign]
    later = await lanes.put("doc", paragraphs(30, 31), content_type=b"text/plain")
    assert parts > 2
    assert (await manifest(lanes)).version == str(later.version) and not await gone(lanes)
