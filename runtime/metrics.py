"""Every metric: name, labels, meaning.  The list is closed; docs/metrics.md is generated from it.

Labels are bounded (stage, outcome, reason, queue), never ids.  The first eight keep the brief's names and units.
"""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server

_MS = (1, 2, 5, 10, 20, 50, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10_000, 30_000)
_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

retrieval_latency_ms = Histogram("retrieval_latency_ms", "Question taken up to passages, milliseconds", buckets=_MS)
generation_latency_ms = Histogram("generation_latency_ms", "Passages to the finished answer, milliseconds", buckets=_MS)
cache_hits = Counter("cache_hits_total", "Look-ups that a cache answered", ["cache"])
cache_misses = Counter("cache_misses_total", "Look-ups that a cache could not answer", ["cache"])
cache_hit_ratio = Gauge("cache_hit_ratio", "Questions that the hot cache answered, of about the last 500")
stale_passages = Counter("stale_passages_total", "Passages served whose document had had a newer version for too long")
served_passages = Counter("served_passages_total", "Passages served; stale_passage_ratio = stale / served")
retrieval_errors = Counter("retrieval_errors_total", "Searches that failed", ["reason"])

records_in = Counter("freshet_records_in_total", "Records taken by a stage", ["stage"])
records_out = Counter("freshet_records_out_total", "Records written by a stage", ["stage"])
records_refused = Counter("freshet_records_refused_total", "Records dead-lettered", ["stage", "reason"])
records_deferred = Counter(
    "freshet_records_deferred_total", "Records sent to the retry topic, each time", ["stage", "reason"]
)
records_retried = Counter(
    "freshet_records_retried_total", "Attempts after a failure that may pass", ["stage", "reason"]
)
records_dropped = Counter("freshet_records_dropped_total", "Records that needed no work", ["stage", "reason"])
late_epoch_records = Counter(
    "freshet_late_epoch_records_total", "Records that came to an earlier epoch of `documents` after the move"
)
stage_seconds = Histogram(
    "freshet_stage_seconds", "Work on one batch, in place retries included", ["stage"], buckets=_S
)
batch_records = Histogram(
    "freshet_batch_records", "Records in a batch", ["stage"], buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
)
view_whole = Gauge("freshet_view_whole", "1 while a view of index-events that a worker keeps is whole", ["view"])
cache_refused = Counter("freshet_cache_refused_total", "Entries that no longer counted when they were hit", ["reason"])
cache_evicted = Counter("freshet_cache_evicted_total", "Entries that went because a document behind them changed")
purged = Counter("freshet_purged_documents_total", "Changed documents whose copies every edge was told to forget")
purge_seconds = Histogram("freshet_purge_seconds", "Index event to purged at every edge, seconds", buckets=_S)
promoted = Counter("freshet_promoted_total", "Passages that edges may use without asking")
breaker_open = Gauge("freshet_breaker_open", "1 while something is away and not asked by questions", ["what"])
keyword_chunks = Gauge("freshet_keyword_chunks", "Chunks in a worker's keyword index, of versions before too")
keyword_behind = Gauge("freshet_keyword_behind_records", "Records that a worker's keyword index has yet to take in")
paused = Gauge("freshet_lane_paused", "1 while a lane waits for something that is away, or nothing passes", ["stage"])
in_flight = Gauge("freshet_records_in_flight", "Records taken and not yet acknowledged", ["stage"])
chunks_encoded = Counter("freshet_chunks_encoded_total", "Chunks that went through the model")
encode_seconds = Histogram("freshet_encode_seconds", "One call of the encoder by the embed stage", buckets=_S)
chunks_reused = Counter("freshet_chunks_reused_total", "Chunks whose vector was known", ["source"])
objects_written = Counter("freshet_store_objects_written_total", "Objects written to the vector store")
objects_deleted = Counter("freshet_store_objects_deleted_total", "Objects deleted from the vector store")
store_answers = Counter("freshet_store_answers_total", "Calls that a node of the vector store answered", ["node"])
answerable_seconds = Histogram(
    "freshet_answerable_seconds", "Event time of a document version to its visibility, seconds", buckets=_S
)
queue_length = Gauge("queue_length", "Records that wait for a lane (consumer lag)", ["queue"])
oldest_queued = Gauge("freshet_oldest_in_flight_seconds", "Age of the oldest record in work", ["stage"])
longest_queued = Gauge("freshet_oldest_queued_seconds", "Longest that a question waits for a worker", ["priority"])
queue_wait = Histogram("freshet_queue_wait_seconds", "Wait of a question for a stage", ["lane"], buckets=_S)
not_begun = Counter(
    "freshet_not_begun_total", "Steps that were not begun because the question's deadline had passed", ["step"]
)
drain_rate = Gauge("freshet_drain_rate", "Questions answered a second while some wait, as last measured", ["priority"])
admitted = Counter("freshet_admitted_total", "Questions that were taken in", ["priority"])
refused = Counter("freshet_refused_total", "Questions that were refused at the door", ["cause"])
answers_total = Counter("freshet_answers_total", "Finished jobs", ["outcome"])
answers_stale = Counter("freshet_answers_stale_total", "Readers told that a document behind their answer had changed")
degraded_total = Counter("freshet_degraded_total", "Answers that came from a lower rung, or saw less", ["rung"])
follow_ups = Counter("freshet_follow_ups_total", "Questions with a history, by what made them stand alone", ["by"])
texts_embedded = Counter("freshet_texts_embedded_total", "Texts that callers had embedded")
generation_retries = Counter("freshet_generation_retries_total", "Further tries of the same model", ["reason"])
webhook_tries = Counter("freshet_webhook_tries_total", "Calls of endpoints, by what came of them", ["outcome"])
webhook_seconds = Histogram("freshet_webhook_seconds", "Calls of endpoints, seconds", buckets=_S)
webhooks_under_way = Gauge("freshet_webhooks_under_way", "Calls of endpoints that a worker waits for")
webhooks_dropped = Counter("freshet_webhooks_dropped_total", "Deliveries that were not begun", ["reason"])
llm_requests = Counter(
    "freshet_llm_requests_total", "Tries of a language model: `ok`, or why not", ["version", "outcome"]
)
llm_tokens = Counter("freshet_llm_tokens_total", "Tokens, as the endpoint counts them", ["version", "kind"])
llm_first_token_seconds = Histogram(
    "freshet_llm_first_token_seconds",
    "Request to the first piece of text, of a try that answered",
    ["version"],
    buckets=_S,
)
llm_seconds = Histogram("freshet_llm_seconds", "Request to the whole answer", ["version"], buckets=_S)
llm_share = Gauge("freshet_llm_share", "Share of questions that ask this version first", ["version"])
citations = Counter(
    "freshet_citations_total",
    "Markers of passages in answers: `kept`, or `removed` since no such passage was offered",
    ["version", "outcome"],
)
http_requests = Counter("freshet_http_requests_total", "HTTP requests", ["route", "status"])
http_seconds = Histogram("freshet_http_seconds", "HTTP requests, seconds", ["route"], buckets=_S)
spans = Counter(
    "freshet_spans_total", "Spans made, sent, given up; the rest waits, or found the queue full", ["outcome"]
)


def serve(host: str, port: int) -> None:
    """Serve /metrics from a thread; port 0 means not at all."""
    if port:
        start_http_server(port, addr=host, registry=REGISTRY)
