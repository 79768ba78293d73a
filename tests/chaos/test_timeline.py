"""The picture of a run is drawn, whatever happened in it."""

import struct
from pathlib import Path

import pytest

from chaos.history import History, Probe, Window
from chaos.sound import sound
from chaos.timeline import draw


def crowded() -> History:
    """Faults within faults, one at the very end that is never healed, one that is never felt."""
    history = sound(5, 120, 4)
    for place in range(8):
        began = history.began + 50 + place
        history.windows.append(Window(f"latency:part-{place}", began, began + 0.1, began + 6, began + 6.1))
    history.windows.append(Window("disk-full:weaviate", history.ended - 1, error="TimeoutError"))
    return history


def hopeless() -> History:
    """Nothing was ever answered."""
    history = History(1, 0.0, 30.0, windows=[Window("stop:kafka", 1.0, 1.1, 29.0, 29.5)])
    history.probes = [Probe(number / 2, None, "ConnectError") for number in range(60)]
    return history


@pytest.mark.filterwarnings("ignore:constrained_layout")  # of nothing at all, it is drawn as well as can be
@pytest.mark.parametrize(
    "history", [sound(1), crowded(), hopeless(), History()], ids=["sound", "crowded", "down", "none"]
)
def test_it_is_drawn(history: History, tmp_path: Path) -> None:
    """As a PNG of 1600 by 1000 pixels."""
    path = tmp_path / "timeline.png"
    draw(history, path)
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (1600, 1000)
