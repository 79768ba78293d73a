"""The composition root: builds the adapters a stage needs and hands them to it.  The only place that does."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from connectors import build
from connectors.errors import Transient
from runtime.clock import SystemClock
from runtime.settings import Settings
from streams.outcome import Hook, Port, Publish, Stage
from streams.topology import BY_NAME
from topics import registry
from topics.registry import group_of

DELIVER_BATCH = 256  # events, most of them tokens, which cost nothing
DELIVER_LINGER = 0.01  # seconds, so that what came in one fetch is one batch
DELIVER_GATHER = 0.05  # seconds; a job is in the store so much later, for fewer fetches and calls
CHUNK_BATCH = 8  # whole documents: bounds memory (8 MiB each), and the first chunks reach the encoder soon
UNACKED = 16  # times what a worker has in flight, behind a question that waits to be fresh; a crash repeats those
PURGE_BATCH = 200  # documents whose keys fit one request

Build = Callable[[Settings, Publish], Awaitable[Stage]]


async def build_stage(name: str, settings: Settings, publish: Publish) -> Stage:
    """The stage with everything it talks to open."""
    return await _BUILDERS[name](settings, publish)


async def _map(settings: Settings, _: Publish) -> Stage:
    from streams.sources.map import Map
    from streams.sources.route import Route

    sources = settings.sources
    if not sources:
        raise SystemExit("FRESHET_SOURCES names no topics, so there is nothing to map (docs/sources.md)")
    topics = [source.topic for source in sources]
    control = build.epoch_log(settings)
    stage = Map(sources, settings.tenants, settings.documents.max_metadata_keys)
    return Stage(
        name="map",
        reads=BY_NAME["map"].reads,
        batch_step=stage.step,
        on_refused=stage.on_refused,
        batch=settings.documents.batch,
        linger=settings.documents.linger,
        ports=[
            Port("control", control.open, control.close),
            Port("sources", partial(_there, settings, topics), _at_once),
        ],
        partitions=settings.kafka.partitions,
        topics=topics,
        route=Route(control, SystemClock()),
    )


async def _there(settings: Settings, topics: Sequence[str]) -> None:
    """A group that subscribes to a topic before it is there learns of it minutes later."""
    for topic in topics:
        log = build.foreign_log(settings, topic)
        try:
            await log.open()
        except Transient as error:
            missing = f"topic {topic}, which FRESHET_SOURCES names, is not there"
            raise Transient(missing if error.reason == "topic" else str(error), reason=error.reason) from None
        finally:
            await log.close()


async def _chunk(settings: Settings, _: Publish) -> Stage:
    from connectors.encoders.tokens import TokenCounter
    from connectors.encoders.weights import resolve
    from streams.documents.absence import Absence
    from streams.documents.chunk import Chunk
    from streams.documents.deferrals import ThroughTheLane
    from streams.documents.formats.readers import Readers
    from streams.documents.parts import vector_room

    control = build.epoch_log(settings)
    await control.open()
    epochs = await control.read()
    manifests = build.manifest_store(settings)
    weights = resolve(settings.encoder.model)
    room = vector_room(weights.dimension)
    count = TokenCounter(weights.folder)
    kafka = settings.kafka
    group = group_of(kafka.prefix, "chunk", settings.documents.generation)
    logs = [
        (build.topic_log(settings, registry.documents_of(epoch.number)),
         build.committed(settings, group, epoch.topic, epoch.partitions))
        for epoch in epochs.known
    ]  # fmt: skip
    absence = Absence(logs, manifests, kafka.delete_retention_ms, SystemClock())
    readers = Readers(settings.documents)
    stage = Chunk(settings.documents, settings.kafka, settings.tenants, count, manifests, room, epochs, readers)
    return Stage(
        name="chunk",
        reads=BY_NAME["chunk"].reads,
        batch_step=stage.step,
        on_refused=stage.on_refused,
        batch=min(CHUNK_BATCH, settings.documents.batch),
        linger=settings.documents.linger,
        deferrals=ThroughTheLane("chunk", registry.CHUNKS, stage.identify, manifests, settings.kafka.partitions),
        ports=[
            Port("manifests", manifests.open, manifests.close),
            Port("control", control.open, control.close),
            Port("absence", absence.open, absence.close),
            Port("readers", _at_once, readers.close),
        ],
        later=[registry.documents_of(epoch.number) for epoch in epochs.after(epochs.first.number)],
        partitions=settings.kafka.partitions,
        until=partial(control.wait_for_more, epochs),
    )


async def _embed(settings: Settings, _: Publish) -> Stage:
    from streams.documents.changes import identify
    from streams.documents.deferrals import ThroughTheLane
    from streams.documents.embed import Embed

    encoder = await build.encoder(settings)
    cache = build.embedding_cache(settings)
    manifests = build.manifest_store(settings)
    stage = Embed(encoder, cache)
    return Stage(
        name="embed",
        reads=BY_NAME["embed"].reads,
        batch_step=stage.step,
        on_refused=stage.on_refused,
        batch=settings.documents.batch,
        linger=settings.documents.linger,
        room=stage.room,
        overlap=2,  # no core waits while one batch ends and the next is taken
        deferrals=ThroughTheLane("embed", registry.VECTORS, identify, manifests),
        ports=[
            Port("embeddings", cache.open, cache.close),
            Port("manifests", _if_there(manifests.open), manifests.close),
        ],
    )


async def _index(settings: Settings, publish: Publish) -> Stage:
    from connectors.encoders.weights import resolve
    from streams.documents.deferrals import InTheState
    from streams.documents.index import Index
    from streams.documents.view import View

    weights = resolve(settings.encoder.model)
    manifests = build.manifest_store(settings)
    store = build.vector_store(settings, weights.model_id, weights.dimension)
    stage = Index(settings.documents.generation, manifests, store, publish, SystemClock())
    events = build.topic_log(settings, registry.INDEX_EVENTS)
    view = View("redis", events, build.manifest_view(settings), manifests, publish)
    return Stage(
        name="index",
        reads=BY_NAME["index"].reads,
        batch_step=stage.step,
        on_refused=stage.on_refused,
        batch=settings.documents.batch,
        linger=settings.documents.linger,
        deferrals=InTheState(manifests),
        ports=[
            Port("manifests", manifests.open, manifests.close),
            Port("store", store.open, store.close),
            Port("view", _at_once, view.close),
        ],
        beside=[view.run],
    )


async def _purge(settings: Settings, _: Publish) -> Stage:
    from streams.documents.purge import Purge

    if not settings.edge.addresses:
        raise SystemExit("FRESHET_EDGE_URLS names no edges, so there is nothing to purge (docs/edge.md)")
    purger, promotions = build.purger(settings), build.promotions(settings)
    stage = Purge(settings.documents.generation, purger, promotions, SystemClock())
    return Stage(
        name="purge",
        reads=BY_NAME["purge"].reads,
        batch_step=stage.step,
        on_refused=stage.on_refused,
        batch=PURGE_BATCH,
        harmless=True,
        ports=[Port("edges", purger.open, purger.close), Port("promotions", promotions.open, promotions.close)],
        beside=[stage.run],
    )


async def _retrieve(settings: Settings, publish: Publish) -> Stage:
    from connectors.encoders.loading import LoadingEncoder
    from connectors.encoders.tokens import TokenCounter
    from connectors.encoders.weights import resolve
    from streams.documents.view import View
    from streams.queries.cancels import Cancels
    from streams.queries.condense import Condense
    from streams.queries.events import OnRefusedQuery, replying_to
    from streams.queries.hot import Hot, made_by
    from streams.queries.keyword_view import KeywordView, Listening
    from streams.queries.legs import Legs
    from streams.queries.manifests import Manifests
    from streams.queries.neighbours import Neighbours
    from streams.queries.rerank import Rerank
    from streams.queries.retrieve import Retrieve
    from streams.queries.search import Search
    from streams.queries.vectors import Vectors

    clock = SystemClock()
    encoder = LoadingEncoder(settings.encoder)
    store = build.vector_store(settings, encoder.model, encoder.dimension)
    manifests = Manifests(build.manifest_store(settings))
    keywords = build.keyword_index(store) if settings.keyword.engine == "weaviate" else None
    ports, beside = [Port("encoder", encoder.open, encoder.close)], [encoder.failed]
    hot = None
    if settings.cache.enabled:
        hot = Hot(build.hot_cache(settings), made_by(settings, encoder.model), settings.cache.ttl)
        ports.append(Port("hot", hot.open, hot.close))
        beside += [hot.sweep, hot.breaker.run]
    if settings.queries.tail:
        tailed, of_tail = build.tailed_manifests()
        if settings.keyword.engine == "tantivy":
            chunks = build.topic_log(settings, registry.CHUNKS)
            keywords = view = KeywordView("tantivy", chunks, build.keyword_table(settings), tailed)
            of_tail = Listening(of_tail, view.announced)
            ports.append(Port("keywords", view.open, view.close))
            beside.append(view.run)
        if hot is not None:
            of_tail = Listening(of_tail, hot.announced)
        tail = View("tail", build.topic_log(settings, registry.INDEX_EVENTS), of_tail)
        manifests = Manifests(build.manifest_store(settings), tail, tailed)
        ports.append(Port("tail", _at_once, tail.close))
        beside += [tail.run, manifests.probe]
    cancels = Cancels(build.topic_log(settings, registry.CANCELS))
    ports.append(Port("cancels", _at_once, cancels.close))
    legs = Legs(encoder, store, keywords)
    ports += [Port("store", legs.open, legs.close), Port("manifests", manifests.open, manifests.close)]
    rerank = None
    if (reranker := build.reranker(settings)) is not None:
        rerank = Rerank(reranker, settings.rerank.candidates)
        ports.append(Port("reranker", _at_once, reranker.close))
        beside.append(reranker.load)
    around = settings.queries.neighbours
    neighbours = Neighbours(keywords, around) if keywords is not None and around else None
    search = Search(settings.queries, settings.documents.stale_after, legs, clock, rerank, neighbours)
    rewriter = build.rewriter(settings)
    condense = Condense(settings.queries, rewriter, clock)
    if rewriter is not None and condense.breaker is not None:
        ports.append(Port("rewriter", rewriter.open, rewriter.close))
        beside.append(condense.breaker.run)
    vectors = Vectors(encoder, TokenCounter(resolve(settings.encoder.model).folder))
    stage = Retrieve(
        settings.queries, settings.documents.generation, search, manifests, publish, clock, hot, condense, vectors
    )
    return Stage(
        name="retrieve",
        reads=BY_NAME["retrieve"].reads,
        record_step=replying_to(settings.kafka.reply_partitions, cancels.unless_cancelled(stage.step)),
        on_refused=OnRefusedQuery("retrieve", clock, settings.kafka.reply_partitions),
        in_flight=settings.queries.in_flight,
        unacked=UNACKED * settings.queries.in_flight,
        batch_in_flight=settings.queries.batch_in_flight,
        ports=ports,
        beside=[*beside, legs.breaker.run, cancels.run],
    )


async def _generate(settings: Settings, publish: Publish) -> Stage:
    from streams.queries.answers import Answers, written_by
    from streams.queries.cancels import Cancels
    from streams.queries.events import OnRefusedQuery, replying_to
    from streams.queries.generate import Generate
    from streams.queries.ladder import Rung, guarded
    from streams.queries.versions import Following, Versions, configured

    clock = SystemClock()
    models, last = build.answer_models(settings), build.quoting(await build.encoder(settings))
    rungs = [*(guarded(model, clock) for model in models), Rung(last, clock)]
    versions = Versions(
        rungs, configured(settings.llm.versions), {e.name for e in settings.llm.versions if not e.fallback}
    )
    answers, ports = None, [Port(rung.name, rung.model.open, rung.model.close) for rung in rungs]
    beside = [rung.breaker.run for rung in rungs if rung.breaker]
    cancels = Cancels(build.topic_log(settings, registry.CANCELS))
    ports.append(Port("cancels", _at_once, cancels.close))
    beside.append(cancels.run)
    if models:
        following = Following(versions, build.control_log(settings), build.llm_board(settings), settings.worker.slot)
        ports.append(Port("control", following.open, following.close))
        beside += [following.run, following.tell]
    if settings.cache.enabled and models:  # quoting costs less than a look
        answers = Answers(build.hot_cache(settings), written_by(settings))
        ports.append(Port("answers", answers.open, answers.close))
        beside.append(answers.breaker.run)
    stage = Generate(settings.queries, versions, publish, clock, answers)
    return Stage(
        name="generate",
        reads=BY_NAME["generate"].reads,
        record_step=replying_to(settings.kafka.reply_partitions, cancels.unless_cancelled(stage.step)),
        on_refused=OnRefusedQuery("generate", clock, settings.kafka.reply_partitions),
        in_flight=settings.queries.in_flight,
        batch_in_flight=settings.queries.batch_in_flight,
        ports=ports,
        beside=beside,
    )


async def _notify(settings: Settings, _: Publish) -> Stage:
    from streams.webhooks.courier import Courier
    from streams.webhooks.notify import Notify

    store, sender = build.webhook_store(settings), build.webhook_sender(settings)
    courier = Courier(settings.webhook, store, sender)
    stage = Notify(store, courier.wake)
    return Stage(
        name="notify",
        reads=BY_NAME["notify"].reads,
        record_step=stage.step,
        on_refused=stage.on_refused,
        in_flight=settings.webhook.in_flight,
        ports=[Port("webhooks", store.open, store.close), Port("sender", sender.open, sender.close)],
        beside=[courier.run],
    )


async def _deliver(settings: Settings, _: Publish) -> Stage:
    from streams.queries.deliver import Deliver, passed_by
    from streams.webhooks.notifications import JobWebhooks

    jobs = build.job_store(settings)
    stage = Deliver(jobs, [JobWebhooks(settings.kafka.partitions, settings.webhook.max_bytes)])
    return Stage(
        name="deliver",
        reads=BY_NAME["deliver"].reads,
        batch_step=stage.step,
        on_refused=stage.on_refused,
        batch=DELIVER_BATCH,
        linger=DELIVER_LINGER,
        gather=DELIVER_GATHER,
        skips=passed_by,
        ports=[Port("jobs", jobs.open, jobs.close)],
    )


def _if_there(open_: Hook) -> Hook:
    """For what is needed seldom and found again by itself: the stage need not wait for it."""

    async def hook() -> None:
        with contextlib.suppress(Transient):
            await open_()

    return hook


async def _at_once() -> None:
    """What opens by itself when it is needed: the stage need not wait for it."""


_BUILDERS: dict[str, Build] = {
    "map": _map,
    "chunk": _chunk,
    "embed": _embed,
    "index": _index,
    "purge": _purge,
    "retrieve": _retrieve,
    "generate": _generate,
    "deliver": _deliver,
    "notify": _notify,
}
