"""Traces as they leave a process, and a process that has none."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime import metrics, tracing
from runtime.settings import Otlp, Settings, SettingsError
from tests.traces import collector

CALLER = f"00-{'a' * 32}-{'b' * 16}-01"
ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0  # seconds


def spans(outcome: str) -> float:
    return float(metrics.spans.labels(outcome)._value.get())


def settled(before: dict[str, float], outcome: str, count: int) -> None:
    until = time.monotonic() + DEADLINE
    while spans(outcome) - before[outcome] < count:
        assert time.monotonic() < until, (outcome, spans(outcome) - before[outcome])
        time.sleep(0.01)


@pytest.fixture
def before() -> dict[str, float]:
    return {outcome: spans(outcome) for outcome in ("made", "sent", "given-up")}


def test_spans_are_sent_with_headers_and_names(before: dict[str, float]) -> None:
    """A span arrives at /v1/traces with its parent, its attributes, the service, and the headers of the setting."""
    with collector() as found:
        otlp = Settings.from_env(
            {
                "FRESHET_OTLP_ENDPOINT": found.endpoint,
                "FRESHET_OTLP_HEADERS": "authorization=Bearer%20s3kret-1,x-team=a",
            }
        ).otlp
        tracing.configure(otlp, "freshet-index", "3", "freshet")
        with tracing.span("outer", "producer", parent=CALLER, attributes={"n": 1}), tracing.span("inner") as inner:
            inner.event("happened", {"why": "so"})
            inner.fail("first")
            inner.fail("second")
        tracing.close()
    inner_, outer = sorted(found.spans, key=lambda span: span.name)
    assert (outer.trace, outer.parent, outer.attributes) == ("a" * 32, "b" * 16, {"n": 1})
    assert (inner_.trace, inner_.parent, inner_.failed) == (outer.trace, outer.id, "first")
    assert inner_.events == [("happened", {"why": "so"})] and outer.service == "freshet-index"
    assert found.paths == ["/v1/traces"]
    assert found.headers[0]["authorization"] == "Bearer s3kret-1" and found.headers[0]["x-team"] == "a"
    assert spans("sent") - before["sent"] == 2 == spans("made") - before["made"]


def test_an_error_that_leaves_a_span_is_its_failure() -> None:
    """What is raised through a span fails it by its type, and goes on."""
    with collector() as found:
        tracing.configure(Otlp(endpoint=found.endpoint), "freshet-index", "3", "freshet")
        with pytest.raises(LookupError), tracing.span("outer"):
            raise LookupError("a secret text")
        tracing.close()
    assert found.spans[0].failed == "LookupError" and "secret" not in repr(found.spans)


@pytest.mark.parametrize("status", [None, 500, 503, 401])
def test_a_collector_that_fails_holds_nothing_up(
    before: dict[str, float], status: int | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whether it is away or refuses: spans are given up and counted, nobody waits, and the end is quick."""
    with collector() as found:
        endpoint = found.endpoint if status else "http://127.0.0.1:9"
        found.status = status or 200
        tracing.configure(Otlp(endpoint=endpoint, timeout=0.5, queue=64), "freshet-index", "3", "freshet")
        began = time.monotonic()
        for _ in range(64):
            tracing.begin("work").end()
        assert time.monotonic() - began < 0.2
        settled(before, "given-up", 64)
        began = time.monotonic()
        tracing.close()
        assert time.monotonic() - began < 4
    assert spans("sent") == before["sent"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_silent_collector_does_not_hold_up_the_end() -> None:
    """A process that stops spends two seconds on a collector that never answers, whatever the timeout is."""
    with collector() as found:
        found.status = 0
        tracing.configure(Otlp(endpoint=found.endpoint, timeout=30), "freshet-index", "3", "freshet")
        tracing.begin("work").end()
        began = time.monotonic()
        tracing.close()
        assert 1 < time.monotonic() - began < 4 and found.paths


def test_what_does_not_fit_is_dropped(before: dict[str, float]) -> None:
    """More spans than the queue holds cost memory of that many, and no time."""
    tracing.configure(Otlp(endpoint="http://10.255.255.1:9", timeout=0.3, queue=100), "freshet-index", "3", "freshet")
    began = time.monotonic()
    for _ in range(5000):
        tracing.begin("work").end()
    assert time.monotonic() - began < 3
    tracing.close()
    assert spans("made") - before["made"] == 5000
    assert spans("given-up") - before["given-up"] < 2000 and spans("sent") == before["sent"]


async def test_spans_of_tasks_side_by_side_do_not_mix() -> None:
    """Each task has its own current span, and tasks that it starts are below it."""
    with collector() as found:
        tracing.configure(Otlp(endpoint=found.endpoint), "freshet-index", "3", "freshet")

        async def child(name: str) -> None:
            with tracing.span(f"child {name}"):
                await asyncio.sleep(0)

        async def work(name: str) -> None:
            with tracing.span(name):
                await asyncio.sleep(0)
                await asyncio.gather(child(name), child(name))

        await asyncio.gather(*map(work, "abc"))
        tracing.close()
    ids = {span.id: span.name for span in found.spans}
    assert sorted(ids[s.parent] + s.name for s in found.spans if s.parent) == sorted(
        2 * [f"{n}child {n}" for n in "abc"]
    )
    assert tracing.current() is tracing.NO_SPAN


@pytest.mark.parametrize(
    ("modules", "part"),
    [("streams.worker, streams.bootstrap", ""), ("gateway.serve", ".sdk"), ("gateway.serve", ".exporter")],
)
def test_without_an_endpoint_nothing_is_imported(modules: str, part: str) -> None:
    """A worker's modules come without OpenTelemetry, a gateway's (MCP brings its interface) without what exports."""
    code = (
        f"import sys, {modules}; from runtime import tracing; "
        "from runtime.settings import Otlp; tracing.configure(Otlp(), 's', '0', 'p'); "
        f"assert tracing.begin('x', parent={CALLER!r}).traceparent == {CALLER!r}; assert not tracing.on(); "
        f"print([name for name in sys.modules if name.startswith('opentelemetry{part}')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"FRESHET_OTLP_ENDPOINT": "collector:4318"}, "FRESHET_OTLP_ENDPOINT"),
        ({"FRESHET_OTLP_ENDPOINT": "http://me:s3kret-1@collector:4318"}, "FRESHET_OTLP_HEADERS"),
        ({"FRESHET_OTLP_HEADERS": "Bearer s3kret-1"}, "write name=value"),
        ({"FRESHET_OTLP_SAMPLE": "2"}, "FRESHET_OTLP_SAMPLE"),
    ],
)
def test_wrong_settings_say_what_to_write(env: dict[str, str], says: str) -> None:
    """What cannot be used is refused, and no secret is repeated."""
    with pytest.raises(SettingsError, match=says) as refused:
        Settings.from_env(env)
    assert "s3kret-1" not in str(refused.value)


def test_header_values_are_secrets() -> None:
    """Each value of a header is hidden in log lines, not only all of them together."""
    settings = Settings.from_env({"FRESHET_OTLP_HEADERS": "authorization=Bearer s3kret-1,x=y"})
    assert "Bearer s3kret-1" in settings.secrets and "s3kret-1" not in repr(settings)


@pytest.mark.parametrize("given", ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"])
def test_the_path_is_added(given: str) -> None:
    """A collector is named with or without the path that OTLP has for traces."""
    assert Otlp(endpoint=given).address == "http://c:4318/v1/traces"
