"""What every store of webhooks must do."""

import time

from msgspec.structs import replace

from connectors.webhook_ports import Delivery, Endpoint, EndpointRef, Salt, Try, WebhookStore, secret_of

NOW = 1_700_000_000_000
ONE = Endpoint(
    id="we_1", tenant="acme", url="https://example.com/", events=["answer"], created=NOW, salts=[Salt(salt="a")]
)
REF = EndpointRef("acme", "we_1")
OTHER = EndpointRef("acme", "we_2")
MOST = 6  # waiting deliveries of an endpoint, in the store under test
KEPT = 3  # finished ones
LEASE = 45_000


def delivery(name: str, at: int = NOW, created: int = NOW) -> Delivery:
    """One that is due at a time."""
    return Delivery(id=f"msg_{name}", type="answer", created=created, next_at=at)


def delivered(one: Delivery, at: int = NOW) -> Delivery:
    """It, as it is after a try that went well."""
    return replace(one, state="delivered", next_at=None, tries=[*one.tries, Try(at=at, ms=5, status=200)])


class WebhookContract:
    """Subclasses give a fixture ``store``: an open, empty store with the bounds above."""

    async def test_endpoints_are_kept_by_tenant(self, store: WebhookStore) -> None:
        """Each tenant has its own, oldest first; an id of another tenant is none."""
        second = replace(ONE, id="we_2", created=NOW + 1)
        assert await store.put(second) and await store.put(ONE)
        assert await store.put(replace(ONE, tenant="other"))
        assert await store.endpoints("acme") == [ONE, second]
        assert await store.endpoint(REF) == ONE
        assert await store.endpoint(EndpointRef("other", "we_2")) is None
        assert await store.endpoints("nobody") == []

    async def test_it_tells_the_time(self, store: WebhookStore) -> None:
        """In milliseconds since 1970, and it goes on."""
        told = await store.now()
        assert abs(told / 1000 - time.time()) < 60
        assert await store.now() >= told

    async def test_a_change_loses_no_other_one(self, store: WebhookStore) -> None:
        """What is put in place of something that has changed meanwhile, or is gone, is not taken."""
        assert await store.put(ONE)
        assert not await store.put(ONE), "there is one already"
        changed = replace(ONE, url="https://example.com/new")
        assert await store.put(changed, instead_of=ONE)
        assert not await store.put(replace(ONE, disabled="gone"), instead_of=ONE)
        assert await store.endpoint(REF) == changed
        assert await store.remove(REF)
        assert not await store.remove(REF)
        assert not await store.put(changed, instead_of=changed)
        assert await store.endpoint(REF) is None

    async def test_the_key_stays(self, store: WebhookStore) -> None:
        """Secrets are derived from one key, which is long, and differ by endpoint and salt."""
        key = await store.key()
        assert key == await store.key() and len(key) >= 32
        assert len({secret_of(key, id_, salt) for id_ in ("we_1", "we_2") for salt in ("a", "b")}) == 4

    async def test_a_delivery_is_enqueued_once(self, store: WebhookStore) -> None:
        """The same id again changes nothing, due or made."""
        assert await store.enqueue(REF, delivery("a"), b"body") == "new"
        assert await store.enqueue(REF, delivery("a", NOW + 9), b"other") == "known"
        [claim] = await store.claim(REF, NOW, NOW + LEASE, 5)
        assert (claim.delivery, claim.body, claim.until) == (delivery("a"), b"body", NOW + LEASE)
        assert await store.settle(REF, claim, delivered(claim.delivery))
        assert await store.enqueue(REF, delivery("a"), b"body") == "known"
        assert await store.claim(REF, NOW + 10**9, NOW + 2 * 10**9, 5) == []

    async def test_what_is_due_is_seen(self, store: WebhookStore) -> None:
        """An endpoint is due with its first delivery, not before; and the longest waiting one comes first."""
        await store.enqueue(REF, delivery("late", NOW + 5000), b"")
        assert await store.due(NOW, 10) == []
        await store.enqueue(OTHER, delivery("b", NOW - 1), b"")
        await store.enqueue(REF, delivery("a", NOW - 5), b"")
        assert await store.due(NOW, 10) == [REF, OTHER]
        assert await store.due(NOW, 1) == [REF]
        await store.claim(REF, NOW, NOW + LEASE, 5)
        assert await store.due(NOW, 10) == [OTHER]
        assert await store.due(NOW + 5000, 10) == [OTHER, REF]

    async def test_visits_go_round(self, store: WebhookStore) -> None:
        """An endpoint that has more than could be taken goes behind the others, and is visited again soon."""
        for n in range(4):
            await store.enqueue(REF, delivery(f"a{n}", NOW - 100), b"")
        await store.enqueue(OTHER, delivery("b", NOW - 50), b"")
        assert len(await store.claim(REF, NOW, NOW + LEASE, 2)) == 2
        assert await store.due(NOW + 1000, 10) == [OTHER, REF]
        assert await store.claim(REF, NOW + 1000, NOW + LEASE, 0) == []
        assert len(await store.claim(REF, NOW + 1000, NOW + 1000 + LEASE, 9)) == 2

    async def test_a_claim_runs_out(self, store: WebhookStore) -> None:
        """What a worker took and did not settle is due again; who comes late does not undo what another did."""
        await store.enqueue(REF, delivery("a"), b"")
        [first] = await store.claim(REF, NOW, NOW + LEASE, 5)
        assert await store.claim(REF, NOW + LEASE - 1, NOW + 2 * LEASE, 5) == []
        assert await store.due(NOW + LEASE, 5) == [REF]
        [second] = await store.claim(REF, NOW + LEASE, NOW + 2 * LEASE, 5)
        later = replace(first.delivery, failures=1, next_at=NOW + 7)
        assert not await store.settle(REF, first, later)
        assert await store.delivery(REF, "msg_a") == delivery("a")
        assert await store.settle(REF, second, later)
        assert await store.delivery(REF, "msg_a") == later
        assert await store.settle(REF, first, delivered(first.delivery)), "made is made, however late"
        assert await store.claim(REF, NOW + 10**9, NOW + 2 * 10**9, 5) == []

    async def test_a_failed_try_comes_again(self, store: WebhookStore) -> None:
        """At its next time, with its body and its history."""
        await store.enqueue(REF, delivery("a"), b"body")
        [claim] = await store.claim(REF, NOW, NOW + LEASE, 5)
        later = replace(claim.delivery, failures=1, next_at=NOW + 5000, tries=[Try(at=NOW, ms=3, status=500)])
        assert await store.settle(REF, claim, later)
        assert await store.due(NOW + 4999, 5) == []
        assert await store.due(NOW + 5000, 5) == [REF]
        [again] = await store.claim(REF, NOW + 5000, NOW + LEASE, 5)
        assert (again.delivery, again.body) == (later, b"body")

    async def test_too_many_are_dropped_and_counted(self, store: WebhookStore) -> None:
        """An endpoint that is away for long costs a bounded amount."""
        outcomes = [await store.enqueue(REF, delivery(str(n)), b"") for n in range(MOST + 2)]
        assert outcomes == ["new"] * MOST + ["full"] * 2
        assert await store.backlog(REF) == (MOST, 2)
        assert await store.backlog(OTHER) == (0, 0)
        assert await store.enqueue(OTHER, delivery("x"), b"") == "new"

    async def test_deliveries_are_listed(self, store: WebhookStore) -> None:
        """Newest first, page by page, by state."""
        for n in range(5):
            await store.enqueue(REF, delivery(str(n), created=NOW + n // 4), b"")  # most in the same millisecond
        [claim] = await store.claim(REF, NOW, NOW + LEASE, 1)
        await store.settle(REF, claim, delivered(claim.delivery))
        assert [each.id for each in await store.deliveries(REF, 2)] == ["msg_4", "msg_3"]
        assert [each.id for each in await store.deliveries(REF, 2, "msg_3")] == ["msg_2", "msg_1"]
        assert [each.id for each in await store.deliveries(REF, 2, "msg_1")] == ["msg_0"]
        assert await store.deliveries(REF, 2, "msg_none") == []
        assert [each.id for each in await store.deliveries(REF, 9, state="delivered")] == [claim.delivery.id]
        assert len(await store.deliveries(REF, 9, state="waiting")) == 4
        assert await store.deliveries(OTHER, 9) == []

    async def test_finished_ones_are_forgotten_in_turn(self, store: WebhookStore) -> None:
        """As many as are kept, the last to end; what waits is never forgotten for it."""
        await store.enqueue(REF, delivery("waits", NOW + 10**6), b"")
        for n in range(KEPT + 2):
            await store.enqueue(REF, delivery(str(n), NOW + n), b"")
            [claim] = await store.claim(REF, NOW + n, NOW + LEASE, 5)
            await store.settle(REF, claim, delivered(claim.delivery, NOW + n))
        known = {each.id for each in await store.deliveries(REF, 99)}
        assert known == {"msg_waits"} | {f"msg_{n}" for n in range(2, KEPT + 2)}
        assert await store.delivery(REF, "msg_0") is None

    async def test_one_is_delivered_again(self, store: WebhookStore) -> None:
        """With the same id and body, due at once, its tries still shown."""
        await store.enqueue(REF, delivery("a"), b"body")
        [claim] = await store.claim(REF, NOW, NOW + LEASE, 5)
        made = delivered(claim.delivery)
        await store.settle(REF, claim, made)
        again = await store.again(REF, "msg_a", NOW + 9)
        assert again == replace(made, state="waiting", failures=0, next_at=NOW + 9)
        assert await store.due(NOW + 9, 5) == [REF]
        [claim] = await store.claim(REF, NOW + 9, NOW + LEASE, 5)
        assert (claim.delivery, claim.body) == (again, b"body")
        assert await store.again(REF, "msg_none", NOW) is None

    async def test_rest_and_waking(self, store: WebhookStore) -> None:
        """A disabled endpoint is not looked at; what waited is due when it is put again, enabled."""
        off = replace(ONE, disabled="on request")
        await store.put(off)
        await store.enqueue(REF, delivery("a"), b"")
        await store.rest(REF)
        assert await store.due(NOW + 10**6, 5) == []
        await store.put(changed := replace(off, url="https://example.com/2"), instead_of=off)
        assert await store.due(NOW + 10**6, 5) == []
        await store.put(ONE, instead_of=changed)
        assert await store.due(NOW, 5) == [REF]

    async def test_nothing_is_left_of_what_was_removed(self, store: WebhookStore) -> None:
        """Neither due nor listed; one that is claimed cannot be settled any more."""
        await store.put(ONE)
        for n in range(3):
            await store.enqueue(REF, delivery(str(n)), b"")
        [claim] = await store.claim(REF, NOW, NOW + LEASE, 1)
        assert await store.remove(REF)
        assert await store.due(NOW + 10**9, 5) == []
        assert await store.deliveries(REF, 9) == []
        assert await store.backlog(REF) == (0, 0)
        assert not await store.settle(REF, claim, delivered(claim.delivery))
        assert await store.due(NOW + 10**9, 5) == []
