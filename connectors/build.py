"""Settings to adapters; the only list of adapters.  Imports are local: a process loads what it uses."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from connectors.control import ControlLog
from connectors.epochs import EpochLog
from connectors.job_ports import JobStore
from connectors.llm_ports import LlmBoard
from connectors.ports import (
    AnswerModel,
    DeliveryLedger,
    EmbeddingCache,
    Encoder,
    LaneBoard,
    ManifestStore,
    TopicLog,
    VectorStore,
)
from connectors.search_ports import HotCache, KeywordIndex, KeywordTable, Promotions, Purger, Rewriter
from connectors.view_ports import ManifestView
from connectors.webhook_ports import WebhookSender, WebhookStore
from runtime.endpoints import Endpoint
from runtime.settings import Settings
from topics.epochs import first_epoch
from topics.registry import CONTROL
from topics.spec import TopicSpec

if TYPE_CHECKING:
    from connectors.kafka.producer import KafkaProducer
    from connectors.models.chat import Chat
    from connectors.rerankers.cross_encoder import CrossEncoderReranker


def manifest_store(settings: Settings) -> ManifestStore:
    from connectors.state.redis_manifests import RedisManifests

    return RedisManifests(settings)


def manifest_view(settings: Settings) -> ManifestView:
    from connectors.state.redis_view import RedisView

    return RedisView(settings)


def tailed_manifests() -> tuple[ManifestStore, ManifestView]:
    """Manifests in this process, empty, and the view that fills them from the log."""
    from connectors.memory.manifests import MemoryManifests
    from connectors.memory.view import MemoryView

    manifests = MemoryManifests(whole=False)
    return manifests, MemoryView(manifests, alone=True)


def keyword_table(settings: Settings) -> KeywordTable:
    """An index of this worker's own."""
    from platformdirs import user_cache_path

    from connectors.keywords.tantivy_index import TantivyIndex

    folder = settings.keyword.dir or user_cache_path("freshet") / "keywords"
    own = folder / settings.kafka.prefix / settings.documents.generation / settings.worker.slot
    return TantivyIndex(own, settings.keyword.language)


def keyword_index(store: VectorStore) -> KeywordIndex:
    """The vector store's own."""
    from connectors.stores.weaviate import WeaviateStore
    from connectors.stores.weaviate_keywords import WeaviateKeywords

    assert isinstance(store, WeaviateStore)
    return WeaviateKeywords(store)


def hot_cache(settings: Settings) -> HotCache:
    from connectors.caches.redis_hot import RedisHotCache

    return RedisHotCache(settings)


def promotions(settings: Settings) -> Promotions:
    from connectors.caches.redis_promotions import RedisPromotions

    return RedisPromotions(settings)


def purger(settings: Settings) -> Purger:
    """All edges, each told in the same way."""
    from connectors.edges.http_purge import Edge, HttpPurger

    edge = settings.edge
    secrets = {edge.secret_header: edge.secret.get_secret_value()} if edge.secret else {}
    edges = [Edge(url, edge.method, edge.header, secrets=secrets) for url in edge.addresses]
    return HttpPurger(edges, timeout=edge.timeout)


def delivery_ledger(settings: Settings) -> DeliveryLedger:
    from connectors.state.redis_deliveries import RedisDeliveries

    return RedisDeliveries(settings)


def lane_board(settings: Settings) -> LaneBoard:
    from connectors.state.redis_lanes import RedisLanes

    return RedisLanes(settings)


def webhook_store(settings: Settings) -> WebhookStore:
    from connectors.state.redis_webhooks import RedisWebhooks

    return RedisWebhooks(settings)


def webhook_sender(settings: Settings) -> WebhookSender:
    from connectors.webhooks.http_sender import HttpSender

    return HttpSender(settings.webhook)


def job_store(settings: Settings) -> JobStore:
    from connectors.state.redis_jobs import RedisJobs

    return RedisJobs(settings)


def topic_log(settings: Settings, spec: TopicSpec) -> TopicLog:
    from connectors.kafka.topic_log import KafkaTopicLog

    return KafkaTopicLog(settings.kafka, spec.full_name(settings.kafka.prefix, settings.documents.generation))


def foreign_log(settings: Settings, topic: str) -> TopicLog:
    """A topic that is not ours, by its full name."""
    from connectors.kafka.topic_log import KafkaTopicLog

    return KafkaTopicLog(settings.kafka, topic)


def epoch_log(settings: Settings) -> EpochLog:
    return EpochLog(topic_log(settings, CONTROL), first_epoch(settings.kafka.prefix, settings.kafka.partitions))


def control_log(settings: Settings) -> ControlLog:
    return ControlLog(topic_log(settings, CONTROL))


def llm_board(settings: Settings) -> LlmBoard:
    from connectors.state.redis_llm import RedisLlmBoard

    return RedisLlmBoard(settings)


def committed(
    settings: Settings, group: str, topic: str, partitions: int
) -> Callable[[], Awaitable[Mapping[int, int]]]:
    from connectors.kafka.group_offsets import committed

    return lambda: committed(settings.kafka, group, topic, partitions)


def producer(settings: Settings) -> "KafkaProducer":
    from connectors.kafka.producer import KafkaProducer

    return KafkaProducer(settings.kafka, settings.documents.max_document_bytes)


def embedding_cache(settings: Settings) -> EmbeddingCache:
    from connectors.state.redis_embeddings import RedisEmbeddings

    return RedisEmbeddings(settings)


def vector_store(settings: Settings, model: str, dimension: int) -> VectorStore:
    from connectors.stores.weaviate import WeaviateStore

    return WeaviateStore(settings, model=model, dimension=dimension)


async def encoder(settings: Settings) -> Encoder:
    from connectors.encoders.select import open_encoder

    return await open_encoder(settings.encoder)


def reranker(settings: Settings) -> "CrossEncoderReranker | None":
    if settings.rerank.model is None:
        return None
    from connectors.rerankers.cross_encoder import CrossEncoderReranker

    return CrossEncoderReranker(settings.rerank.model)


def answer_models(settings: Settings) -> "list[Chat]":
    """Every endpoint that is configured, in the order of the ladder."""
    return [adapter(endpoint) for endpoint in settings.llm.versions]


def adapter(endpoint: Endpoint) -> "Chat":
    """The model behind one endpoint."""
    if endpoint.provider == "anthropic":
        from connectors.models.anthropic_http import AnthropicModel

        return AnthropicModel(endpoint)
    from connectors.models.openai_http import OpenAIModel

    return OpenAIModel(endpoint)


def quoting(encoder: Encoder) -> AnswerModel:
    """The last rung, which needs no endpoint."""
    from connectors.models.extractive import Extractive

    return Extractive(encoder)


def rewriter(settings: Settings) -> Rewriter | None:
    """What makes follow-up questions stand alone: the endpoint that leads; None without one."""
    if not settings.llm.versions:
        return None
    from connectors.models.rewriter import ChatRewriter

    return ChatRewriter(adapter(settings.llm.versions[0]))
