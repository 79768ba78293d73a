"""What the campaign of three makes of what it saw."""

from chaos.documents import Revision
from chaos.history import History, Read, Write
from chaos.questions import Asked
from chaos.three import Phase, Run, promises


def found() -> Run:
    """A run as it should be: a broker and a store died, and nobody noticed for long."""
    phases = [
        Phase("nobody", killed=0, started=10, ended=10),
        Phase("kafka-2", killed=10, started=40, synced=50, ended=55),
        Phase("weaviate-1", killed=60, started=90, synced=100, ended=105, answers={"a": 0, "b": 70, "c": 70}),
    ]
    asked = [Asked(due, 0.1, passages=5) for due in range(105)]
    asked[12].took = 6.0
    history = History()
    for at in (5.0, 12.0, 70.0):
        revision = Revision("statements/1", int(at), ("x",))
        history.writes.append(Write(revision, at - 1, "ok", "1.0.7", acknowledged=at, visible=at + 0.5))
    return Run(phases, asked, history)


def test_a_run_as_it_should_be() -> None:
    """Nothing is broken; a slow answer is told as the time until all was normal, and is not a failure."""
    run = found()
    assert promises(run) == []
    assert [run.normal_after(phase) for phase in run.phases] == [0.0, 8.0, 0.0]
    assert [run.freshness(phase) for phase in run.phases] == [[0.5], [0.5], [0.5]]


def test_every_broken_promise_is_told() -> None:
    """A question or a read that failed, copies that stayed apart, one store that bore all, what an audit found."""
    run = found()
    run.asked[12].error = "503"
    run.history.reads.append(Read("statements/1", "", 12.0, result="failed", error="503"))
    run.phases[1].synced = None
    run.phases[2].answers = {"a": 0, "b": 140, "c": 0}
    run.audited = 1
    told = promises(run)
    assert len(told) == 5
    for part in ("1 questions failed", "1 reads failed", "kafka-2: copies", "audit", "weaviate-1: answers"):
        assert any(part in each for each in told), part
