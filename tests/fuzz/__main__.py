"""`python -m tests.fuzz --seconds 600 --seed N`: readers and stages, then a real stack, under strange records.

Exit status 0 when every record was read or refused and none was lost, 1 when not; the seed gives the same records.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from rich.console import Console

from streams.outcome import Record
from tests.fuzz import lanes
from tests.fuzz.readers import OF_RECORDS, OF_TEXTS, read
from tests.fuzz.records import records, tokens
from tests.fuzz.test_readers import through_stages

console = Console(highlight=False, markup=False)
ROUND = 2000  # examples that share a seed


def in_process(seconds: float, seed: int) -> Counter[str]:
    """Readers and stages for so long; what nobody foresaw is raised, with the record that shrank to it."""
    counts, until = Counter[str](), time.monotonic() + seconds
    options = settings(
        max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    while time.monotonic() < until:

        @seeded(seed)
        @options
        @given(record=records(), text=tokens | st.text(max_size=60))
        def readers(record: Record, text: str) -> None:
            for name in OF_RECORDS:
                counts["refused" if read(name, record) else "read"] += 1
            for name in OF_TEXTS:
                counts["refused" if read(name, text) else "read"] += 1

        @seeded(seed)
        @settings(options, max_examples=ROUND // 20)
        @given(batch=st.lists(records(), max_size=4))
        def stages(batch: list[Record]) -> None:
            asyncio.run(through_stages(batch))
            counts["records through stages"] += len(batch)

        readers()
        stages()
        seed += 1
    return counts


def main() -> int:
    """Half of the time in process, half on a real stack."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=("process", "stack"), help="readers and stages, or a real stack")
    options = parser.parse_args()
    console.print(f"seed {options.seed}")
    share = options.seconds if options.only else options.seconds / 2
    if options.only != "stack":
        console.print(f"in process: {dict(in_process(share, options.seed))}")
    wrong = [] if options.only == "process" else lanes.run(share, options.seed)
    for sentence in wrong:
        console.print(f"wrong: {sentence[:1000]}")
    console.print(f"{len(wrong)} things wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
