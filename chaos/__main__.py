"""`python -m chaos NAME [options]`: run one campaign; without a name, list them."""

import importlib
import sys

CAMPAIGNS = {
    "atomicity": "Readers against a writer while workers are killed: nothing mixed, half, stale or gone.",
    "cache": "Questions that come again and again among edits: nothing cached outlives a change.",
    "campaign": "Traffic of every kind and every fault, by a seed: nothing is lost, old, mixed or slow to come back.",
    "llm": "Language models limit, stall, cut and fall silent, and processes die: every job answered, rung named.",
    "mutations": "No system is run: histories broken on purpose, and which checker catches each.",
    "outage": "The vector store is away for 30 s: keyword search takes over, and no question fails.",
    "overload": "Three times the peak for a minute: answered in time or refused at once, nothing lost, nothing grows.",
    "regression": "What a campaign has once found, done again.",
    "soak": "An hour of steady traffic without faults: nothing broken, memory flat, no question slower.",
    "spike": "Encoding takes ten times as long for a while: the queue shows it, and drains; questions go on.",
    "streams": "Clients that follow answers while gateway and worker are killed: nothing missing, nothing twice.",
    "three": "One broker and one store of three die under load: nothing is lost, no question fails.",
    "webhooks": "1,000 answers told to an endpoint that fails half of the time while workers are killed: each arrives.",
}


def main(arguments: list[str]) -> int:
    """Exit status: 0 without violations, 1 with some, 2 for a name that is none."""
    if not arguments or arguments[0] not in CAMPAIGNS:
        for name, purpose in CAMPAIGNS.items():
            sys.stdout.write(f"{name:12} {purpose}\n")
        return 2 if arguments and arguments[0] not in ("-h", "--help") else 0
    return int(importlib.import_module(f"chaos.{arguments[0]}").run(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
