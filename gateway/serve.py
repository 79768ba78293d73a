"""Run the gateway: real log, real state store, uvicorn with a graceful stop."""

import gc
import ipaddress
import socket

import uvicorn

from gateway.app import Gateway, create_app
from gateway.connection import Connection
from gateway.kafka_log import KafkaLog
from runtime import logs, tracing
from runtime.settings import Settings, SettingsError

STOP_SECONDS = 10  # for requests under way; streams and waits are let go at once and resume elsewhere


class Server(uvicorn.Server):
    """Holds nobody up: not by collecting garbage, and not when it stops, by followers of jobs who would not go."""

    def __init__(self, config: uvicorn.Config, app: Gateway) -> None:
        super().__init__(config)
        self._gateway = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start.  What we are made of is never garbage: a full collection would walk it for 0.1 s, all standing by."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._gateway.let_go()
        await super().shutdown(sockets)


def check_door(settings: Settings) -> None:
    """Refuse to be open to other machines without anything that asks who comes in."""
    host, api = settings.gateway.host, settings.api
    if not (api.keys_file or api.behind_proxy or _is_loopback(host)):
        raise SettingsError(
            f"FRESHET_GATEWAY_HOST={host} lets other machines in, and nothing asks who they are. Make keys: "
            "`FRESHET_API_KEYS_FILE=keys.jsonl freshet keys create`, and give the gateway the same variable. Or, "
            "where a proxy in front checks callers, set FRESHET_API_BEHIND_PROXY=true. Or listen on 127.0.0.1."
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; :class:`SettingsError` where it must not."""
    check_door(settings)
    from connectors.build import (  # here, so that tests and tools do not load the adapters
        job_store,
        lane_board,
        manifest_store,
        promotions,
        webhook_store,
    )

    logs.configure(settings.worker.log_level, settings.secrets, lane="gateway", replica=str(settings.gateway.replica))
    log, board, webhooks = KafkaLog(settings), lane_board(settings), webhook_store(settings)
    jobs = job_store(settings)
    app = create_app(settings, manifest_store(settings), log, board, promotions(settings), webhooks, jobs)
    config = uvicorn.Config(
        app,
        http=Connection,
        host=settings.gateway.host,
        port=settings.gateway.port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        backlog=2048,
    )
    prefix = settings.kafka.prefix
    tracing.configure(settings.otlp, f"{prefix}-gateway", str(settings.gateway.replica), prefix)
    try:
        Server(config, app).run()
    finally:
        tracing.close()
