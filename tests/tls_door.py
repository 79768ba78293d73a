"""A TLS door in front of a server that has none: the packaged Redis is built without."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def tls_door(certificate: Path, port: int, listens: int = 0) -> Iterator[int]:
    """Pass on what arrives encrypted to a port on loopback; gives the port of the door.

    ``certificate`` holds the private key as well.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()
    over = asyncio.Event()
    open_on: list[int] = []
    opened = threading.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async def serve() -> None:
        server = await asyncio.start_server(enter, "127.0.0.1", listens, ssl=context)
        open_on.append(server.sockets[0].getsockname()[1])
        opened.set()
        await over.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert opened.wait(5), "the door does not open"
    yield open_on[0]
    loop.call_soon_threadsafe(over.set)
    thread.join(5)
