"""How fast btrdb-devserver is at `--durability full`, with its clients on the same two cores.

    python benchmarks/devserver.py                               all, 5 runs; writes benchmarks/results/devserver.json
    python benchmarks/devserver.py --cases create-64 --runs 3    prints these and writes nothing

Needs Linux. docs/benchmarks-devserver.md says how it is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sampling.about import About
from sampling.prose import FEWEST_RUNS
from server_alone import clients, lines, processes, seeds

from airflow_provider_btrdb.devserver.binaries import find_programs
from airflow_provider_btrdb.testing import devserver_process

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "devserver.json"
CLIENT_SECONDS = 300
CORES = {0, 1}
PACKAGES = ("grpcio", "protobuf", "numpy", "pyarrow", "psycopg", "psycopg-pool")
SEEDED = ("lookup", "sql-exact", "sql-grouped")
"""Cases that look at a million streams; the others get a server that begins empty."""


def main() -> int:
    """Measure, print, and write what was measured when it was all."""
    known = [line.case for line in lines.LINES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cases", nargs="+", choices=known, default=known, metavar="CASE", help=f"of {', '.join(known)}"
    )
    parser.add_argument("--runs", type=int, default=FEWEST_RUNS, metavar="N", help="samples of each")
    options = parser.parse_args()
    if not os.sched_getaffinity(0) >= CORES:
        parser.error("cores 0 and 1 are needed")
    os.sched_setaffinity(0, CORES)  # servers and clients inherit it
    os.environ.update(_environment())
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # and so end the servers

    about = About()
    samples = measure([line for line in lines.LINES if line.case in options.cases], options.runs)
    print(lines.as_text(samples))
    if set(options.cases) == set(known) and options.runs >= FEWEST_RUNS:
        major = str(find_programs().major)
        facts = about.facts(options.runs, PACKAGES, PostgreSQL=major)
        RESULTS.write_text(json.dumps({**facts, "samples": samples}, indent=1) + "\n")
        print(f"\nwritten: {RESULTS}; next: python benchmarks/check.py --of devserver --write", file=sys.stderr)
    return 0


def measure(wanted: list[lines.Line], runs: int) -> dict[str, list[dict[str, Any]]]:
    """Samples of every line, run by run, so that what disturbs the machine disturbs all alike."""
    samples: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with ExitStack() as stack:
        endpoints = {
            seeded: _server(stack, seeded=seeded)
            for seeded in {line.case in SEEDED for line in wanted if line.case in clients.CASES}
        }
        total = runs * len(wanted)
        for done in range(total):
            line = wanted[done % len(wanted)]
            if line.case in clients.CASES:
                sample = _client(line.case, line.size, endpoints[line.case in SEEDED])
            else:
                sample = processes.CASES[line.case](line.size, _client)
            samples[line.case].append(sample)
            print(f"[{done + 1}/{total}] {line.case}: {line.value(sample):,.2f} {line.shown}", file=sys.stderr)
    return samples


def _server(stack: ExitStack, *, seeded: bool) -> str:
    """The endpoint of a server that runs until the stack ends."""
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="btrdb-benchmark-", ignore_cleanup_errors=True))
    data = Path(directory) / "data"
    endpoint = stack.enter_context(devserver_process(data=data, durability="full")).endpoint
    if seeded:
        print(f"planting {seeds.STREAMS:,} streams", file=sys.stderr)
        seeds.plant(data)
    return endpoint


def _client(case: str, size: int, endpoint: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "server_alone.clients", case, str(size), endpoint]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_SECONDS, check=False)
    if done.returncode:
        sys.exit(f"{case} does not count:\n{done.stderr}")
    sample: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return sample


def _environment() -> dict[str, str]:
    """The packages of the tree that this file lies in, whichever is installed."""
    return {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"}


if __name__ == "__main__":
    sys.exit(main())
