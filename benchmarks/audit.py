"""Audits of 100,000 and 1,000,000 streams, with SQL and without, and of the points of 100,000 streams.

    python benchmarks/audit.py             all, 5 runs; writes benchmarks/results/audit.json
    python benchmarks/audit.py --runs 1    prints and writes nothing

Needs Linux and two cores. docs/benchmarks-audit.md says how it is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from sampling.counting import CountingServer, counting_server
from sampling.recorded import recorded
from whole_catalogue import lines

WORKER_SECONDS = 600
KEY = "benchmark-key"
PACKAGES = ("grpcio", "protobuf", "pydantic", "numpy")


def measure(runs: int) -> dict[str, list[dict[str, Any]]]:
    """Samples of every case: for each size one catalogue, served with SQL first and then without."""
    samples: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for streams in lines.SIZES:
        with tempfile.TemporaryDirectory(prefix="btrdb-benchmark-") as made:
            folder = Path(made) / "data"
            for sql in ("on", "off"):
                cases = [case for case in lines.CASES if case.streams == streams and case.sql == sql]
                points = ["points"] if any("fresh" in case.work for case in cases) else []
                arguments = (KEY, str(folder), sql, str(streams), *points)
                with counting_server("whole_catalogue.server", *arguments) as running:
                    for run in range(1, runs + 1):
                        for case in cases:
                            sample = _sample(case, running)
                            samples[case.name].append(sample)
                            print(f"[{run}/{runs}] {case.name}: {sample}", file=sys.stderr)
    return samples


def _sample(case: lines.Case, running: CountingServer) -> dict[str, Any]:
    command = [sys.executable, "-m", "whole_catalogue.cases", case.work, str(case.streams), running.endpoint, KEY]
    running.counts()  # of what came before
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=WORKER_SECONDS)
    if done.returncode:
        sys.exit(f"{case.name} does not count")
    return {**json.loads(done.stdout), **running.counts()}


if __name__ == "__main__":
    sys.exit(recorded("audit", __doc__, PACKAGES, measure, lines.as_text))
