"""Redis fulfils the contracts of manifests, embeddings and delivery counts."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    DataError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from connectors.errors import Permanent, Transient
from connectors.job_ports import Claim
from connectors.state import redis_llm
from connectors.state.redis_connection import translate
from connectors.state.redis_deliveries import RedisDeliveries
from connectors.state.redis_embeddings import RedisEmbeddings
from connectors.state.redis_jobs import RedisJobs
from connectors.state.redis_lanes import TTL, RedisLanes
from connectors.state.redis_llm import RedisLlmBoard
from connectors.state.redis_manifests import RedisManifests
from connectors.state.redis_view import RedisView
from runtime.settings import Jobs, Settings
from tests.connectors.contract.delivery_contract import DeliveryContract
from tests.connectors.contract.edition_contract import EditionContract
from tests.connectors.contract.embedding_contract import ONE, EmbeddingContract
from tests.connectors.contract.job_contract import JobContract, job
from tests.connectors.contract.lane_contract import ONE as ONE_PAUSE
from tests.connectors.contract.lane_contract import LaneContract
from tests.connectors.contract.llm_contract import ONE as ONE_KNOWS
from tests.connectors.contract.llm_contract import LlmBoardContract
from tests.connectors.contract.manifest_contract import REF, ManifestContract, flip
from topics.identity import Token

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module", autouse=True)
def _swept(settings: Settings) -> Iterator[None]:
    """Leave no keys behind."""
    yield
    for url in {settings.redis.state_url, settings.redis.cache_url}:
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter(f"{settings.kafka.prefix}:*", count=1000):
                client.unlink(key)


@pytest.fixture
def own(settings: Settings) -> Settings:
    """Settings with a prefix of the test's own, below the session's."""
    prefix = f"{settings.kafka.prefix}:{secrets.token_hex(4)}"
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"prefix": prefix})})


@pytest.fixture
async def manifests(own: Settings) -> AsyncIterator[RedisManifests]:
    store = RedisManifests(own)
    await store.open()
    await made_whole(own)
    yield store
    await store.close()


async def made_whole(settings: Settings, generation: str = "g1") -> None:
    """What the index workers do at their start."""
    view = RedisView(settings, generation)
    await view.open()
    assert await view.declare_whole((await view.state()).server, {})
    await view.close()


@pytest.fixture
async def embeddings(own: Settings) -> AsyncIterator[RedisEmbeddings]:
    cache = RedisEmbeddings(own)
    await cache.open()
    yield cache
    await cache.close()


@pytest.fixture
async def deliveries(own: Settings) -> AsyncIterator[RedisDeliveries]:
    ledger = RedisDeliveries(own)
    await ledger.open()
    yield ledger
    await ledger.close()


@pytest.fixture
async def board(own: Settings) -> AsyncIterator[RedisLanes]:
    lanes = RedisLanes(own)
    await lanes.open()
    yield lanes
    await lanes.close()


class TestLanes(LaneContract):
    """The contract."""

    async def test_a_notice_is_forgotten(self, own: Settings, board: RedisLanes) -> None:
        """A worker that died while its lane stood still says nothing for ever."""
        await board.pause("index", ONE_PAUSE)
        with redis.Redis.from_url(own.redis.state_url) as client:
            assert 0 < client.ttl(f"{own.kafka.prefix}:{own.documents.generation}:paused:index") <= TTL


@pytest.fixture
async def jobs(own: Settings) -> AsyncIterator[RedisJobs]:
    store = RedisJobs(own.model_copy(update={"job": Jobs(kept=5)}))
    await store.open()
    yield store
    await store.close()


class TestJobs(JobContract):
    """The contract."""

    async def test_everything_is_forgotten_in_time(self, own: Settings, jobs: RedisJobs) -> None:
        """Jobs, their list and claims have a time to live, and what has expired leaves the list."""
        gone = job(1.0)
        await jobs.put(gone)
        assert [each.ref for each in (await jobs.page("default", None, 9))[0]] == [gone.ref]
        await jobs.tell([job(data={}, passages=[])])
        await jobs.claim("default", "k", Claim(job_id="1", body="b", deadline=1))
        assert gone.ref not in [each.ref for each in (await jobs.page("default", None, 9))[0]]
        with redis.Redis.from_url(own.redis.state_url) as client:
            lives = [client.ttl(key) for key in client.scan_iter(f"{own.kafka.prefix}:*", count=1000)]
        assert len(lives) == 4 and all(0 < seconds <= own.job.ttl for seconds in lives)


@pytest.fixture
async def llm_board(own: Settings) -> AsyncIterator[RedisLlmBoard]:
    found = RedisLlmBoard(own)
    await found.open()
    yield found
    await found.close()


class TestLlmBoard(LlmBoardContract):
    """The contract."""

    async def test_a_worker_that_died_is_forgotten(
        self, llm_board: RedisLlmBoard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What it knew counts for seconds."""
        monkeypatch.setattr(redis_llm, "TTL", -1)
        await llm_board.tell("w", ONE_KNOWS)
        assert await llm_board.workers() == {}


class TestManifests(ManifestContract):
    """The contract."""


class TestEditions(EditionContract):
    """The contract."""


class TestEmbeddings(EmbeddingContract):
    """The contract."""


class TestDeliveries(DeliveryContract):
    """The contract."""


async def test_generations_share_nothing(own: Settings) -> None:
    """Two generations of one prefix keep their own manifests, watermarks and waiting versions."""
    one, two = RedisManifests(own, "g1"), RedisManifests(own, "g2")
    for store, generation in ((one, "g1"), (two, "g2")):
        await store.open()
        await made_whole(own, generation)
    assert await one.flip([flip(1)]) == [True]
    await one.advance([Token(1, 0, 1)])
    await one.accepted({REF: ("9", 9)})
    assert await two.flip([flip(1)]) == [True]
    assert await two.watermarks() == {}
    assert await two.pending([REF]) == [None]
    for store in (one, two):
        await store.close()


async def test_flip_survives_a_server_that_lost_its_scripts(own: Settings, manifests: RedisManifests) -> None:
    """After a restart of the server the scripts are loaded anew, without the caller noticing."""
    assert await manifests.flip([flip(1)]) == [True]
    with redis.Redis.from_url(own.redis.state_url) as client:
        client.script_flush()
    assert await manifests.flip([flip(2, 1), flip(3, 1)]) == [True, False]


async def test_all_that_lives_for_a_while_says_so(own: Settings, manifests: RedisManifests) -> None:
    """Waiting versions and vectors have a time to live; manifests have none."""
    await manifests.flip([flip(1)])
    await manifests.accepted({REF: ("9", 9)})
    with redis.Redis.from_url(own.redis.state_url, decode_responses=True) as client:
        lives = {str(key): client.ttl(key) for key in client.scan_iter(f"{own.kafka.prefix}:*", count=1000)}
    forever = {key for key, seconds in lives.items() if seconds == -1}
    assert any(":waiting:" in key for key in lives.keys() - forever)
    assert all(":waiting:" in key for key in lives.keys() - forever)
    assert any(":doc:" in key for key in forever)


async def test_reading_a_vector_renews_its_life(own: Settings, embeddings: RedisEmbeddings) -> None:
    """A vector that is in use does not run out."""
    await embeddings.put("m", {ONE: b"1"})
    key = f"{own.kafka.prefix}:emb:m:{ONE}"
    with redis.Redis.from_url(own.redis.cache_url) as client:
        client.expire(key, 5)
        assert await embeddings.get("m", [ONE]) == [b"1"]
        assert client.ttl(key) > 60


async def test_absent_server_is_transient(settings: Settings) -> None:
    """Nobody listening is Transient for every port, and a store that was never opened as well."""
    away = settings.redis.model_copy(
        update={"state_url": "redis://127.0.0.1:1/0", "cache_url": "redis://127.0.0.1:1/0", "timeout": 1.0}
    )
    lost = settings.model_copy(update={"redis": away})
    with pytest.raises(Transient):
        await RedisManifests(lost).open()
    with pytest.raises(Transient):
        await RedisDeliveries(lost).open()
    with pytest.raises(Transient):
        await RedisManifests(lost).visible([(REF, "c1")])
    cache = RedisEmbeddings(lost)
    await cache.open()
    with pytest.raises(Transient):
        await cache.get("m", [ONE])
    await cache.close()


async def test_silent_server_is_transient_within_the_timeout(settings: Settings) -> None:
    """A server that accepts and says nothing costs no more than the timeout."""
    silent = await asyncio.start_server(lambda _r, _w: asyncio.sleep(60), "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0"
    slow = settings.model_copy(
        update={"redis": settings.redis.model_copy(update={"state_url": url, "timeout": 1.0})},
    )
    store = RedisManifests(slow)
    began = asyncio.get_running_loop().time()
    with pytest.raises(Transient):
        await store.open()
    assert asyncio.get_running_loop().time() - began < 1.7  # one timeout, not one for each attempt
    await store.close()
    silent.close()


async def test_key_of_another_type_is_permanent(own: Settings, manifests: RedisManifests) -> None:
    """What the server will never accept is Permanent, outside and inside of scripts."""
    with redis.Redis.from_url(own.redis.state_url) as client:
        client.set(f"{own.kafka.prefix}:g1:doc:{{acme}}/guides/start", "not a hash")
    for call in (manifests.read([REF]), manifests.visible([(REF, "c1")]), manifests.flip([flip(1)])):
        with pytest.raises(Permanent):
            await call


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), Transient, "full"),
        (ReadOnlyError("You can't write against a read only replica."), Transient, "read_only"),
        (BusyLoadingError("Redis is loading the dataset in memory"), Transient, "loading"),
        (ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), Transient, "away"),
        (ResponseError("Error running script (call to f_1): @user_script:9: -MISCONF Errors"), Transient, "away"),
        (ResponseError("BUSY Redis is busy running a script."), Transient, "away"),
        (ResponseError("a word that no version had yet"), Transient, "away"),
        (AuthenticationError("invalid password"), Transient, "denied"),
        (ConnectionResetError(), Transient, "away"),
        (TimeoutError(), Transient, "timeout"),
        (ResponseError("WRONGTYPE Operation against a key"), Permanent, "invalid"),
        (
            ResponseError("Error running script (call to f_1): @user_script:9: WRONGTYPE Operation"),
            Permanent,
            "invalid",
        ),
        (DataError("Invalid input of type: 'object'"), Permanent, "invalid"),
    ],
)
def test_errors_are_told_apart(error: Exception, kind: type[Exception], reason: str) -> None:
    """Whatever an outage says is Transient; only what can never pass is Permanent."""
    translated = translate(error, "test")
    assert type(translated) is kind
    assert translated.reason == reason


async def test_cancelled_call_does_not_mix_up_answers(own: Settings, manifests: RedisManifests) -> None:
    """A call that was given up in its middle leaves no answer behind for the next one on that connection."""
    await manifests.flip([flip(1)])
    for _ in range(20):
        task = asyncio.create_task(manifests.read([REF] * 50))
        await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await manifests.widen({REF: 1}) == {REF: 1}
        assert await manifests.page("acme", None, 5) == [REF.doc_id]
