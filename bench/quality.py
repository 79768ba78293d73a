"""How good retrieval is: `freshet eval` on summaries of documentation pages, among many other pages.

The library's pages are published through the ingest lane and kept; the questions are asked through the gateway.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence

from bench import library, machine, questions, report
from deploy.local.own_stack import process_environment
from deploy.local.programs import ROOT

LIMIT = 1800.0  # seconds


def run(arguments: Sequence[str]) -> None:
    """Fill, ask, write; exit code as `freshet eval` gives it."""
    parser = argparse.ArgumentParser(prog="python -m bench quality", description=__doc__)
    parser.add_argument("--chunks", type=int, default=20_000, help="least number of chunks (default 20000)")
    parser.add_argument("--questions", type=int, default=questions.COUNT, help=f"default {questions.COUNT}")
    library.settings_option(parser)
    parser.add_argument("options", nargs="*", help="passed on to `freshet eval`, behind --")
    options = parser.parse_args(arguments)
    pages = questions.shuffled()
    with library.library(options.set) as freshet:
        there, chunks = asyncio.run(library.shelve(freshet, pages, options.chunks))
        chosen = questions.ask_for(there, options.questions)
        file = freshet.stack.state.folder / "questions.jsonl"
        questions.write(chosen, file)
        print(f"{len(chosen)} questions, {len(there)} pages, {chunks} chunks", flush=True)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**freshet.stack.environment, "PYTHONPATH": path, "COLUMNS": "180"}
        whole = freshet.stack.state.folder / "quality.json"
        whole.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "cli", "eval", str(file), "--answers", "--json", str(whole), *options.options],
            cwd=ROOT, env=process_environment(environment), timeout=LIMIT, check=False,
        )  # fmt: skip
    if whole.exists():
        result = json.loads(whole.read_text())
        del result["questions"]  # a megabyte, which stays beside the library
        report.save("quality", result | {"pages": len(there), "chunks": chunks, "machine": machine.features()})
        print(f"every ranking and answer: {whole}")
    if done.returncode:
        raise SystemExit(done.returncode)
