"""Measuring with the client on one core and servers on the other, and keeping the samples when they are all."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from sampling.about import About
from sampling.prose import FEWEST_RUNS, Samples

HERE = Path(__file__).parents[1]
SERVER_CORE = 1
"""Clients pin themselves to core 0; the process that measures and its servers stay here."""


def recorded(
    name: str,
    description: str | None,
    packages: tuple[str, ...],
    measure: Callable[[int], Samples],
    as_text: Callable[[Samples], str],
) -> int:
    """Measure, print, and write what was measured when it was all."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=FEWEST_RUNS, metavar="N", help="samples of each")
    options = parser.parse_args()
    if not {0, SERVER_CORE} <= os.sched_getaffinity(0):
        parser.error("cores 0 and 1 are needed, one for the client and one for the server")
    os.sched_setaffinity(0, {SERVER_CORE})
    os.environ["PYTHONPATH"] = f"{HERE}{os.pathsep}{HERE.parent}"  # this tree's packages, whichever is installed
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # and so end the servers

    about = About()
    samples = measure(options.runs)
    print(as_text(samples))
    if options.runs >= FEWEST_RUNS:
        results = HERE / "results" / f"{name}.json"
        results.write_text(json.dumps({**about.facts(options.runs, packages), "samples": samples}, indent=1) + "\n")
        print(f"\nwritten: {results}; next: python benchmarks/check.py --of {name} --write", file=sys.stderr)
    return 0
