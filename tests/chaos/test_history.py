"""A history is kept whole."""

from pathlib import Path

from chaos.documents import Revision
from chaos.history import (
    Delivery,
    Fault,
    History,
    Letter,
    Poison,
    Probe,
    Read,
    Sample,
    Window,
    Write,
)
from chaos.jobs import Event, Job


def test_what_is_saved_can_be_judged_again(tmp_path: Path) -> None:
    """Every entry of every kind comes back as it was."""
    revision = Revision("s1/a", 2, ("w1", "w2"), ("ann",))
    events = [Event(1.5, 0, "token", 7, {"text": "w0 "}), Event(2.5, 1, "answer", None, {"text": "w0 ", "rung": 0})]
    history = History(
        seed=7,
        began=1.0,
        ended=9.5,
        writes=[Write(revision, 1.0, "ok", "1.0.3", 1.1, 1.2, "kafka", "indexed")],
        reads=[Read("s1/a", "ann", 1.0, 2.0, "ok", [("title", "text")], ["x"], None, "1.0.3", cached=True, edge="hit")],
        faults=[Fault("kill", 1.0)],
        jobs=[Job("campaign", 1.0, 30.0, 2, 1, "j", 1.1, None, events, "key", ["j"], "we_1")],
        windows=[Window("kill-9:embed", 1.0, 1.1, 1.2, 1.3, "error", "sick")],
        samples=[Sample(1.0, {"embed": 3}, {"embed": 1 << 33}, {"embed": 77}, ready=False), Sample(2.0)],
        probes=[Probe(1.0, 0.1, None, ["x"], 0.4), Probe(1.5, error="503")],
        letters=[Letter("t.dlq", 1, 2, "reason", "key")],
        poisons=[Poison("key", "reason", 3.0)],
        deliveries=[Delivery("j", "msg_1", 4.0, 204, "answer", "digest", verified=False)],
        missing=["clock:embed: no faketime"],
    )
    history.save(tmp_path)
    assert History.load(tmp_path) == history
