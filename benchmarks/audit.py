"""Audits of 100,000 and 1,000,000 streams, with SQL and without, and of the points of 100,000 streams.

    python benchmarks/audit.py             all, 5 runs; writes benchmarks/results/audit.json
    python benchmarks/audit.py --runs 1    prints and writes nothing

Needs Linux and two cores. docs/benchmarks-audit.md says how it is measured.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from side_by_side.recorded import recorded
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
                with server(folder, sql, streams, any("fresh" in case.work for case in cases)) as running:
                    for run in range(1, runs + 1):
                        for case in cases:
                            sample = _sample(case, running)
                            samples[case.name].append(sample)
                            print(f"[{run}/{runs}] {case.name}: {sample}", file=sys.stderr)
    return samples


class Server:
    """A process that serves, and counts the calls that it gets."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked, self._answers = process.stdin, process.stdout
        self.endpoint = self._answers.readline().strip()

    def counts(self) -> dict[str, Any]:
        """Calls of each method since the last time, and how many were under way at once."""
        print("counts", file=self._asked, flush=True)
        counts: dict[str, Any] = json.loads(self._answers.readline())
        counts["calls"].pop("Info", None)
        return counts


@contextlib.contextmanager
def server(folder: Path, sql: str, streams: int, points: bool) -> Iterator[Server]:
    """A server on a catalogue, which is made if it is not there."""
    command = [sys.executable, "-m", "whole_catalogue.server", KEY, str(folder), sql, str(streams)]
    command += ["points"] * points
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        try:
            yield Server(process)
        finally:
            process.stdin.close()


def _sample(case: lines.Case, running: Server) -> dict[str, Any]:
    command = [sys.executable, "-m", "whole_catalogue.cases", case.work, str(case.streams), running.endpoint, KEY]
    running.counts()  # of what came before
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=WORKER_SECONDS)
    if done.returncode:
        sys.exit(f"{case.name} does not count")
    return {**json.loads(done.stdout), **running.counts()}


if __name__ == "__main__":
    sys.exit(recorded("audit", __doc__, PACKAGES, lines.FEWEST_RUNS, measure, lines.as_text))
