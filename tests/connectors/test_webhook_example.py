"""The receiver in the documentation takes what we send."""

import asyncio
import socket
import sys
import time

from connectors.webhook_ports import secret_of
from connectors.webhooks.http_sender import HttpSender
from deploy.local.own_stack import process_environment
from deploy.local.programs import ROOT
from runtime.settings import Settings
from topics.webhooks import message_body

SECRET, OLD, STRANGER = (secret_of(b"k" * 32, "we_1", salt) for salt in ("new", "old", "other"))
SECONDS = 20.0


async def test_the_documented_receiver() -> None:
    """It does each message once, knows two secrets while rotating, and refuses what is not ours or is old."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", str(ROOT / "docs" / "examples" / "receive_webhook.py"), "--port", str(port),
        env=process_environment({"WEBHOOK_SECRET": f"{SECRET} {OLD}"}), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    sender = HttpSender(Settings.from_env({"FRESHET_WEBHOOK_ALLOW": "127.0.0.1"}).webhook)
    await sender.open()
    answer = message_body("answer", 1, {"job_id": "job-1", "answer": {"text": "By one compare-and-set [1]."}})
    error = message_body("error", 1, {"job_id": "job-2", "error": {"reason": "expired"}})

    async def send(name: str, body: bytes, secret: str, age: float = 0) -> int | None:
        at = int(time.time() - age)
        return (await sender.send(f"http://127.0.0.1:{port}/", name, at, body, [secret])).status

    try:
        async with asyncio.timeout(SECONDS):
            while await send("msg_0", error, STRANGER) is None:  # until it listens
                await asyncio.sleep(0.05)
            assert await send("msg_1", answer, SECRET) == 204
            assert await send("msg_1", answer, SECRET) == 204, "again: taken, not done again"
            assert await send("msg_2", error, OLD) == 204
            assert await send("msg_3", answer, STRANGER) == 400
            assert await send("msg_4", answer, SECRET, age=3600) == 400
            told = [(await process.stdout.readline()).decode().strip() for _ in range(2)]
    finally:
        process.kill()
        await sender.close()
    rest = (await process.stdout.read()).decode()
    await process.wait()
    assert told[0] == "job-1: By one compare-and-set [1]." and told[1].startswith("error: ") and rest == ""
