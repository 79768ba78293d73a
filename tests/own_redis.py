"""A Redis server of a test's own, to be flushed, killed, rolled back and replaced."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis

from deploy.local.cache import cache_folder
from deploy.local.parts import locate
from deploy.local.servers import redis_settings
from runtime.settings import Redis, Settings

_DEADLINE = 10.0


class OwnRedis:
    """Persists as the stack's *state* role does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._binary = locate(cache_folder(os.environ), os.environ).redis
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def settings(self, **kafka: str) -> Settings:
        """Settings that have their state here."""
        default = Settings()
        return default.model_copy(
            update={
                "redis": Redis(state_url=self.url, cache_url=self.url, timeout=2.0),
                "kafka": default.kafka.model_copy(update=kafka),
            }
        )

    def start(self, data: str = "data", *, persists: bool = True) -> None:
        """Start on a data folder, which is made where it is missing; returns when it answers."""
        folder = self._folder / data
        folder.mkdir(exist_ok=True)
        role = {"appendonly": "yes" if persists else "no", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
        settings = self._folder / "redis.conf"
        settings.write_text(redis_settings(self.port, folder, role))
        self._process = subprocess.Popen([self._binary, str(settings)], stdout=subprocess.DEVNULL)
        until = time.monotonic() + _DEADLINE
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.RedisError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_DEADLINE)
            self._process = None

    def freeze(self, *, thaw: bool = False) -> None:
        """Accept connections and answer nothing, or go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT if thaw else signal.SIGSTOP)

    def copy(self, name: str) -> None:
        """Keep a copy of the data folder as it is now."""
        with self.client() as client:
            client.config_set("appendfsync", "always")  # the next write takes all before it to the disk
            client.set("freshet-test:written", "1")
            client.config_set("appendfsync", "everysec")
        shutil.copytree(self._folder / "data", self._folder / name)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)
