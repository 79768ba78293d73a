"""One worker process: builds its stage, runs it until told to stop, ends hard when Faust crashes."""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from connectors import build
from connectors.errors import Transient
from connectors.kafka.reach import reach
from connectors.memory.deliveries import MemoryDeliveries
from runtime import logs, metrics, tracing
from runtime.clock import SystemClock
from runtime.retry import Backoff
from runtime.settings import Settings
from streams.app import attach, create_app, leave_group
from streams.bootstrap import build_stage
from streams.notices import keep_told
from streams.outcome import Output, Port, Publish, Stage
from streams.publisher import Publisher
from streams.retries import Retries
from streams.runner import EXIT_UNKNOWN, Runner
from topics.identity import digest
from topics.registry import BATCH, RETRIES, group_of

T = TypeVar("T")

log = logs.logger(__name__)
STOP_GRACE = 15.0  # seconds; less than a supervisor's


def run(name: str, settings: Settings) -> None:
    """Run a stage until SIGTERM or SIGINT."""
    os.nice(settings.worker.nice)  # whoever is refused must learn it at once, however busy we are
    logs.configure(settings.worker.log_level, settings.secrets, stage=name, slot=settings.worker.slot)
    metrics.serve(settings.worker.metrics_host, settings.worker.metrics_port)
    prefix = settings.kafka.prefix
    tracing.configure(settings.otlp, f"{prefix}-{name}", settings.worker.slot, prefix)
    try:
        asyncio.run(serve(name, settings, build_stage))
    finally:
        tracing.close()


async def serve(
    name: str, settings: Settings, build_stage: Callable[[str, Settings, Publish], Awaitable[Stage]]
) -> None:
    """Build the stage, then run it as a member of its group until told to stop."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)

    kafka, generation = settings.kafka, settings.documents.generation
    group = group_of(kafka.prefix, name, generation)

    def name_of(output: Output) -> str:
        return output.spec.full_name(kafka.prefix, generation)

    await _patiently("brokers", lambda: reach(kafka), stopping)
    send = Publisher(lambda: app.producer, name_of, kafka.request_timeout)

    async def publish(outputs: Sequence[Output]) -> None:
        await send(await stage.route(outputs) if stage.route else outputs)

    stage = await _patiently(name, lambda: build_stage(name, settings, publish), stopping)
    stage = replace(stage, group=group)
    reads = stage.topics or [spec.full_name(kafka.prefix, generation) for spec in (stage.reads, *stage.later)]
    # A static member that comes back keeps its partitions, whatever it reads now: with more topics it is another one.
    slot = settings.worker.slot + (f".{len(stage.later) + 1}" if stage.later else "")
    if stage.batch_in_flight:
        slot += ".batch"
    if stage.topics:
        slot += f".{digest(*(topic.encode() for topic in sorted(reads)))[:8]}"
    app = create_app(group, slot, kafka, settings.documents.max_document_bytes, stage.gather, stage.skips)
    ledger = MemoryDeliveries() if stage.harmless else build.delivery_ledger(settings)
    ports = [*stage.ports, Port("ledger", ledger.open, ledger.close)]
    for port in stage.ports:
        await _patiently(port.name, port.open, stopping)
    with contextlib.suppress(Transient):  # the runner works without it, and it connects when it can
        await ledger.open()
    if stage.deferrals:
        retries = Retries(name, RETRIES[stage.reads.name], kafka, SystemClock())
        again = Runner(stage, publish, ledger, kafka.poison_limit, retries, again=True)
        runners = [Runner(stage, publish, ledger, kafka.poison_limit, retries), again]
        attach(app, again.lane, [retries.topic.full_name(kafka.prefix, generation)], again.run, waits=True)
    else:
        runners = [Runner(stage, publish, ledger, kafka.poison_limit)]
    if stage.batch_in_flight:
        batch = Runner(stage, publish, ledger, kafka.poison_limit, behind=runners[0])
        runners.append(batch)
        attach(app, batch.lane, [BATCH[stage.reads.name].full_name(kafka.prefix, generation)], batch.run, waits=True)
    attach(app, runners[0].lane, reads, runners[0].run)

    await app.start()
    gc.collect()
    gc.freeze()  # what the worker is made of is never garbage: a full collection walks it for 0.1 s, all standing by
    log.info("started", group=group, reads=reads)
    board = build.lane_board(settings)
    told = keep_told(board, settings.worker.slot, runners)
    beside = [asyncio.ensure_future(running) for running in (told, *(run() for run in stage.beside))]
    for task in beside:
        task.add_done_callback(_exit_when_ended)
    ports.append(Port("board", board.open, board.close))
    stopped = asyncio.create_task(stopping.wait())
    crashed = asyncio.create_task(app.wait_until_stopped())
    outdated = asyncio.ensure_future(stage.until() if stage.until else asyncio.Future[None]())
    await asyncio.wait({stopped, crashed, outdated}, return_when=asyncio.FIRST_COMPLETED)
    if outdated.done() and outdated.exception():
        log.error("the look-out for other topics failed: the process ends", exc_info=outdated.exception())
        os._exit(EXIT_UNKNOWN)
    if outdated.done():
        log.info("there is another topic to read: stopping, to be started anew")
        leave_group(app)
    elif not stopping.is_set():
        log.error("Faust stopped by itself: the process ends, unfinished work will come again")
        os._exit(EXIT_UNKNOWN)
    try:
        async with asyncio.timeout(STOP_GRACE):
            await app.stop()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            for port in ports:
                await port.close()
    except TimeoutError:
        log.warning("stop took too long: the process ends, unfinished work will come again")
        os._exit(EXIT_UNKNOWN)
    log.info("stopped")


def _exit_when_ended(task: "asyncio.Future[None]") -> None:
    if not task.cancelled():
        log.error("what runs beside the stage ended: the process ends", exc_info=task.exception())
        os._exit(EXIT_UNKNOWN)


async def _patiently(name: str, step: Callable[[], Awaitable[T]], stopping: asyncio.Event) -> T:
    """What is away is waited for, since a worker that exits would only be started again."""
    for delay in Backoff(first=0.2, cap=5.0).delays():
        if stopping.is_set():
            raise SystemExit(0)
        try:
            return await step()
        except Transient as error:
            log.warning("waiting", port=name, error=str(error)[:500])
            await asyncio.sleep(delay)
    raise AssertionError("the backoff ends only with the process")
