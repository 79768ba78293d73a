"""`python -m bench NAME [options]`: run one benchmark; without a name, list them."""

import importlib
import sys

BENCHMARKS = {
    "embed": "The encoder alone: every backend, chunks a second, milliseconds of a question, cosine to fp32.",
    "gpu": "The encoder on a GPU: limit of the card, sentence-transformers, the encoder, the embed stage.",
    "ingest": "Kafka to searchable beside the raw encoder and the brief's one-record-at-a-time worker.",
    "freshness": "Change to answerable, idle and under load: edits, access changes, deletes.",
    "edits": "Encodes and writes of an edit, beside indexing the whole document.",
    "mixed": "300 real files of all formats through `freshet publish`: sync, watch, counts, memory of the readers.",
    "parse": "Time and memory of reading PDF, Word, PowerPoint, e-mail and CSV, in the process that reads them.",
    "query": "Retrieve under load: 1, 8, 32 clients and open loop, new questions and known ones, with and without log.",
    "stream": "Streamed answers through the log beside the endpoint itself: first token, gaps, tokens a second.",
    "questions": "Questions that nobody here wrote: summaries of documentation pages, each to find its page.",
    "quality": "Recall, MRR and nDCG of every way of searching on those questions, by `freshet eval`.",
    "wakeup": "A retrieval worker killed with -9 on a full library: seconds until it answers, each way of searching.",
    "replay": "The log read again from its beginning, three times: nothing written, nothing encoded.",
    "tracing": "What traces cost a lane: processor time a record, off, a share, all; beside another checkout.",
    "recovery": "Each worker killed with -9 while documents come in: nothing lost, time to the next record.",
}


def main(arguments: list[str]) -> int:
    """Exit status: 2 for a name that is none, else 0."""
    if not arguments or arguments[0] not in BENCHMARKS:
        for name, purpose in BENCHMARKS.items():
            print(f"{name:12} {purpose}")
        return 2 if arguments and arguments[0] not in ("-h", "--help") else 0
    importlib.import_module(f"bench.{arguments[0]}").run(arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
