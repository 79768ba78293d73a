"""Questions in calm: each is answered, in time, and from nothing less than all there is."""

from chaos.checkers.bounds import Bounds
from chaos.checkers.calm import calm
from chaos.history import History, Violation


def questions(history: History, bounds: Bounds) -> list[Violation]:
    """Those that failed, took too long or were degraded while no fault was felt."""
    found, undisturbed = list[Violation](), calm(history, bounds)
    for probe in history.probes:
        took = bounds.question if probe.took is None else probe.took
        if undisturbed(probe.at, probe.at + took):
            if probe.took is None or probe.error:
                found.append(Violation("failed", "probe", probe.error or "no answer", probe.at))
            elif probe.took > bounds.question:
                found.append(Violation("slow", "probe", f"took {probe.took:.1f} s", probe.at))
            elif probe.degraded:
                found.append(Violation("degraded", "probe", f"without need: {probe.degraded}", probe.at))
    for read in history.reads:
        ended = read.began if read.ended is None else read.ended
        if read.result != "ok" and undisturbed(read.began, ended):
            found.append(Violation("failed", read.doc_id, read.error or read.result, read.began))
    return found
