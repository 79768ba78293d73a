"""No document does harm: the real processes, with a reader inside that misbehaves on demand."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from connectors.errors import Transient
from runtime.settings import Documents
from streams.documents.formats.readers import Readers
from streams.documents.refused import Refused
from topics.media_types import PDF

SCRIPTED = "tests.streams.documents.formats.scripted_reader"
LIMIT = 1.0
MEMORY = 256 * 1024 * 1024


@pytest.fixture
async def readers() -> AsyncIterator[Readers]:
    made = Readers(Documents(readers=1, read_timeout=LIMIT, read_memory_bytes=MEMORY), SCRIPTED)
    yield made
    await made.close()


async def read(readers: Readers, order: str) -> tuple[int, str]:
    """Process that read it, and what it said."""
    parsed = await readers.read(order.encode(), PDF)
    return int(parsed.title or 0), parsed.blocks[0].text


async def refusal(readers: Readers, order: str) -> str:
    with pytest.raises(Refused) as refused:
        await readers.read(order.encode(), PDF)
    return refused.value.reason


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_a_process_is_kept(readers: Readers) -> None:
    """One process reads one document after another, refused ones too; it starts with the first and ends with us."""
    assert not readers.processes()
    pid, said = await read(readers, "say one")
    assert said == "one"
    assert await refusal(readers, "refuse no such page") == "no such page"
    assert await read(readers, "say two") == (pid, "two")
    await readers.close()
    assert not alive(pid)


@pytest.mark.parametrize("order", ["sleep 60", "spin"])
async def test_time_is_limited(readers: Readers, order: str) -> None:
    """What takes longer than the limit is stopped and told so; the next document is read."""
    pid, _ = await read(readers, "say before")
    began = time.monotonic()
    stopped, behind = await asyncio.gather(refusal(readers, order), read(readers, "say behind"))
    assert "longer than 1 s" in stopped
    assert behind[1] == "behind" and behind[0] != pid and not alive(pid)
    assert LIMIT <= time.monotonic() - began < LIMIT + 5  # the start of a process included


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
async def test_memory_is_limited(readers: Readers) -> None:
    """What needs more memory than the limit is told so; the next document is read."""
    assert "more than 256 MiB" in await refusal(readers, f"allocate {2 * MEMORY}")
    assert (await read(readers, f"allocate {MEMORY // 4}"))[1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
async def test_what_others_left_is_no_fault(readers: Readers) -> None:
    """A document that finds too little memory in a used process is read in a new one."""
    first, _ = await read(readers, f"keep {MEMORY // 2}")
    second, _ = await read(readers, f"allocate {MEMORY // 2}")
    assert second != first


async def test_a_process_that_grew_is_replaced(readers: Readers) -> None:
    """After a document that took most of the memory the next finds a new process."""
    first, _ = await read(readers, f"fill {MEMORY // 3}")
    second, _ = await read(readers, "say behind")
    third, _ = await read(readers, "say behind")
    assert first != second == third and not alive(first)


async def test_a_crash_is_survived(readers: Readers) -> None:
    """A document that crashes a used process and then a new one is refused; the next is read."""
    pid, _ = await read(readers, "say before")
    assert "SIGABRT" in await refusal(readers, "crash")
    assert (await read(readers, "say behind"))[0] != pid


@pytest.mark.parametrize("answer", ["ffffffff", "00000003c1c1c1", "0000000181"])
async def test_answers_that_are_none(readers: Readers, answer: str) -> None:
    """A process that a document has taken over can answer what it likes: it is ended, and the next document is read."""
    pid, _ = await read(readers, "say before")
    assert "lost its way" in await refusal(readers, f"garble {answer}")
    assert (await read(readers, "say behind"))[1] == "behind" and not alive(pid)


async def test_two_tries_have_one_limit(readers: Readers) -> None:
    """A document that crashes a used process late has what is left of its time in a new one."""
    await read(readers, "say before")
    assert "longer than 1 s" in await refusal(readers, f"crash {LIMIT * 0.7}")


async def test_killed_from_outside(readers: Readers) -> None:
    """A process that someone else kills costs no document."""
    pid, _ = await read(readers, "say before")
    os.kill(pid, signal.SIGKILL)
    assert (await read(readers, "say behind"))[1] == "behind"


async def test_prints_are_no_answers(readers: Readers) -> None:
    """What a library prints does not mix with what the process answers."""
    assert (await read(readers, "print noise"))[1] == "noise"
    assert (await read(readers, "say behind"))[1] == "behind"


async def test_no_secrets(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the process holds none of ours."""
    monkeypatch.setenv("FRESHET_LLM_API_KEY", "secret")
    assert "FRESHET" not in (await read(readers, "environment"))[1]


async def test_cancelled(readers: Readers) -> None:
    """Nobody gets the answer to a question that was given up."""
    pid, _ = await read(readers, "say before")
    given_up = asyncio.create_task(read(readers, "sleep 0.5"))
    await asyncio.sleep(0.1)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert not alive(pid)
    assert (await read(readers, "say behind"))[1] == "behind"


async def test_side_by_side() -> None:
    """A hostile document takes one process; others are read in the next meanwhile."""
    readers = Readers(Documents(readers=2, read_timeout=60), SCRIPTED)
    hanging = asyncio.create_task(readers.read(b"sleep 60", PDF))
    async with asyncio.timeout(30):
        for n in range(5):
            assert (await read(readers, f"say {n}"))[1] == str(n)
    assert not hanging.done()
    await readers.close()
    with pytest.raises(Transient):
        await hanging


@pytest.mark.parametrize("used", [False, True])
async def test_stopping_refuses_nothing(readers: Readers, used: bool) -> None:
    """A document that was being read when the worker stopped is not at fault: it comes again."""
    if used:
        await read(readers, "say before")
    reading = asyncio.create_task(readers.read(b"sleep 60", PDF))
    async with asyncio.timeout(30):
        while not readers.processes():
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    await readers.close()
    with pytest.raises(Transient):
        await reading


async def test_a_process_that_does_not_start() -> None:
    """What keeps a process from starting is not held against the document."""
    readers = Readers(Documents(readers=1), "tests.no_such_module")
    with pytest.raises(Transient):
        await readers.read(b"say", PDF)


@pytest.mark.parametrize("order", ["say", "spin"])
async def test_nothing_is_left_when_its_owner_is_killed(order: str) -> None:
    """A process whose owner was killed ends by itself, at work or not."""
    script = (
        "import asyncio, sys\n"
        "from runtime.settings import Documents\n"
        "from streams.documents.formats.readers import Readers\n"
        "async def main():\n"
        f"    readers = Readers(Documents(readers=1, read_timeout=1), {SCRIPTED!r})\n"
        "    print((await readers.read(b'say', 'application/pdf')).title, flush=True)\n"
        f"    reading = asyncio.create_task(readers.read({order.encode()!r}, 'application/pdf'))\n"
        "    await asyncio.sleep(0.2)\n"
        "    print('now', flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert owner.stdout
    async with asyncio.timeout(30):
        pid = int(await owner.stdout.readline())
        assert alive(pid) and await owner.stdout.readline() == b"now\n"
        owner.kill()
        await owner.wait()
        while alive(pid):
            await asyncio.sleep(0.02)
