"""Where a process can be struck: before, in the middle of, or after each of its calls to the outside."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import iscoroutinefunction
from itertools import islice
from typing import Any, Literal, TypeAlias

from connectors.errors import Transient

What: TypeAlias = Literal["crash", "fail", "stop"]
Where: TypeAlias = Literal["before", "midway", "after"]
Observe: TypeAlias = Callable[[str], Awaitable[None]]

_DIVISIBLE = {"upsert", "delete", "flip", "finish", "advance"}  # a server may have taken half of these


ANY = "any"
WRITE = "write"


class Crash(BaseException):
    """The process is gone; nothing in it may catch this."""


class Injected(Transient):
    """An outage that the test made."""


@dataclass(frozen=True, slots=True)
class Fault:
    """At the ``nth`` such call from now the process dies, the call fails for once, or the process stops."""

    what: What
    where: Where
    call: str  # name of a port's method, ``write`` for a record to Kafka, or ANY
    nth: int


class Gate:
    """All calls of one piece of work pass here."""

    def __init__(self, observe: Observe) -> None:
        self._observe = observe
        self._fault: Fault | None = None
        self._calls = 0
        self._released: asyncio.Event | None = None
        self.stopped = asyncio.Event()
        self.busy = False

    def expect(self, fault: Fault | None) -> None:
        """Count from here; a process that is stopped goes on."""
        self._fault, self._calls = fault, 0
        self.stopped.clear()
        if self._released is not None:
            self._released.set()
            self._released = None

    async def call(self, name: str, method: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        self.busy = True
        try:
            return await self._call(name, method, *args)
        finally:
            self.busy = False

    async def _call(self, name: str, method: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        struck = self._expected(name)
        if struck and struck.where == "before":
            await self._strike(struck, name)
        halves = _halves(name, args) if struck and struck.where == "midway" else None
        if struck and halves is not None:
            first = await method(halves[0])
            await self._observe(name)
            await self._strike(struck, name)
            second = await method(halves[1])
            result = first + second if isinstance(first, list) else first
        else:
            result = await method(*args)
        await self._observe(name)
        if struck and struck.where != "before" and halves is None:
            await self._strike(struck, name)
        return result

    def _expected(self, name: str) -> Fault | None:
        """The fault, if this is the call that it waits for."""
        if self._fault is None or self._fault.call not in (ANY, name):
            return None
        self._calls += 1
        return self._fault if self._calls == self._fault.nth else None

    async def _strike(self, fault: Fault, name: str) -> None:
        if fault.what == "crash":
            raise Crash
        if fault.what == "fail":
            raise Injected(f"{name} failed for once")
        self._released = asyncio.Event()
        self.stopped.set()
        await self._released.wait()


GATE: ContextVar[Gate] = ContextVar("gate")


class Gated:
    """A port whose every call passes the gate of the work in whose name it is made, whatever methods it has."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not iscoroutinefunction(method):
            return method

        async def call(*args: Any) -> Any:
            return await GATE.get().call(name, method, *args)

        return call


def _halves(name: str, args: tuple[Any, ...]) -> tuple[Any, Any] | None:
    """The first argument in two, where the call may be done by halves and has more than one thing to do."""
    if name not in _DIVISIBLE or len(args) != 1 or len(args[0]) < 2:
        return None
    (whole,) = args
    if isinstance(whole, Mapping):
        return dict(islice(whole.items(), len(whole) // 2)), dict(islice(whole.items(), len(whole) // 2, None))
    assert isinstance(whole, Sequence)
    return whole[: len(whole) // 2], whole[len(whole) // 2 :]
