"""Run the gateway: real log, real state store, uvicorn with a graceful stop."""

import socket

import uvicorn

from gateway.app import Gateway, create_app
from gateway.kafka_log import KafkaLog
from runtime import logs
from runtime.settings import Settings

STOP_SECONDS = 10  # for requests under way; streams and waits are let go at once and resume elsewhere


class Server(uvicorn.Server):
    """Lets followers of jobs go first, or an open stream would hold up the stop."""

    def __init__(self, config: uvicorn.Config, app: Gateway) -> None:
        super().__init__(config)
        self._gateway = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._gateway.desk.stop()
        await super().shutdown(sockets)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    from connectors.build import lane_board, manifest_store  # here, so that tests and tools do not load the adapters

    logs.configure(settings.worker.log_level, lane="gateway", replica=str(settings.gateway.replica))
    app = create_app(settings, manifest_store(settings), KafkaLog(settings), lane_board(settings))
    config = uvicorn.Config(
        app,
        host=settings.gateway.host,
        port=settings.gateway.port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        backlog=2048,
    )
    Server(config, app).run()
