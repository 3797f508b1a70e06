"""Our client beside the official one: CPU, memory and wall time of the same work, and the ratios.

    python benchmarks/client.py                          all rows, 5 runs; writes benchmarks/results/client.json
    python benchmarks/client.py --rows create --runs 3   prints these rows and writes nothing

Needs Linux, two cores, and btrdb beside this package. docs/benchmarks.md says how it is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sampling.about import About
from sampling.prose import FEWEST_RUNS
from side_by_side import table
from side_by_side.table import Case

from airflow_provider_btrdb.testing import devserver_process

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "client.json"
SERVER_CORE = 1
"""Clients pin themselves to core 0; this process and its servers stay here."""
WORKER_SECONDS = 180
KEY = "benchmark-key"
PACKAGES = ("btrdb", "grpcio", "protobuf", "numpy", "pyarrow", "pandas")


def main() -> int:
    """Measure, print, and write what was measured when it was all."""
    rows = list(dict.fromkeys(target.row for target in table.TARGETS))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows, metavar="ROW", help=f"of {', '.join(rows)}")
    parser.add_argument("--runs", type=int, default=FEWEST_RUNS, metavar="N", help="fresh processes a sample")
    options = parser.parse_args()
    targets = [target for target in table.TARGETS if target.row in options.rows]
    if not {0, SERVER_CORE} <= os.sched_getaffinity(0):
        parser.error("cores 0 and 1 are needed, one for the client and one for the server")
    os.sched_setaffinity(0, {SERVER_CORE})
    os.environ.update(_environment())  # for the development server
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # and so end the servers

    about = About()
    samples = measure(table.cases(targets), options.runs)
    print(table.as_text(samples, targets))
    if options.rows == rows and options.runs >= FEWEST_RUNS:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({**about.facts(options.runs, PACKAGES), "samples": samples}, indent=1) + "\n")
        print(f"\nwritten: {RESULTS}; next: python benchmarks/check.py --write", file=sys.stderr)
    return 0


def measure(cases: list[Case], runs: int) -> dict[str, list[dict[str, Any]]]:
    """Samples of every case. Run by run, so that what disturbs the machine disturbs all sides alike."""
    samples: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        recorded = stack.enter_context(recorded_server())
        keys = {case.key for case in cases if case.server == "devserver"}
        real = {key: stack.enter_context(devserver_process(api_key=KEY if key else None)).endpoint for key in keys}
        for case in (case for case in cases if case.name == "import"):
            _sample(case, recorded)  # the first import writes bytecode, as pip does when it installs
        total = runs * len(cases)
        for done in range(total):
            case = cases[done % len(cases)]
            sample = _sample(case, recorded if case.server == "recorded" else real[case.key])
            samples[case.id].append(sample)
            print(
                f"[{done + 1}/{total}] {case.id}: CPU {sample['cpu'] * 1000:,.0f} ms, wall "
                f"{sample['wall'] * 1000:,.0f} ms, memory {sample['mb']:.1f} MB",
                file=sys.stderr,
            )
    return samples


@contextlib.contextmanager
def recorded_server() -> Iterator[str]:
    """The server of recorded bytes; its endpoint."""
    command = [sys.executable, "-m", "side_by_side.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()) as it:
        assert it.stdin is not None
        assert it.stdout is not None
        try:
            yield f"127.0.0.1:{int(it.stdout.readline())}"
        finally:
            it.stdin.close()


def _sample(case: Case, endpoint: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "side_by_side.worker", f"{case.side}_{case.name}", str(case.size), endpoint]
    command += [KEY] if case.key else []
    done = subprocess.run(
        command, env=_environment(), capture_output=True, text=True, timeout=WORKER_SECONDS, check=False
    )
    if done.returncode:
        sys.exit(f"{case.id} does not count:\n{done.stderr}")
    sample: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return sample


def _environment() -> dict[str, str]:
    """The packages of the tree that this file lies in, whichever is installed, and bytecode wherever it was missing."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"}


if __name__ == "__main__":
    sys.exit(main())
