"""100,000 streams planned and applied, beside the loop that people write with the official client.

    python benchmarks/provision.py             all, 5 runs; writes benchmarks/results/provision.json
    python benchmarks/provision.py --runs 1    prints and writes nothing

Needs Linux, two cores, and btrdb beside this package. docs/benchmarks-provision.md says how it is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

from many_streams import cases, catalogue, lines
from sampling.counting import CountingServer, counting_server
from sampling.recorded import recorded

from airflow_provider_btrdb.provision import print_spec, read_spec

WORKER_SECONDS = 900
KEY = "benchmark-key"
PACKAGES = ("btrdb", "grpcio", "protobuf", "pydantic", "pyyaml")


def measure(runs: int) -> dict[str, list[dict[str, Any]]]:
    """Samples of every case, run by run, each run with a server that begins empty for each of the two sides."""
    samples: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="btrdb-benchmark-") as made:
        folder = Path(made)
        catalogue.write_csv(folder / "streams.csv", cases.PREFIX)
        catalogue.write_short_yaml(folder / "short.yaml", cases.PREFIX)
        (folder / "streams.yaml").write_text(print_spec(read_spec(folder / "streams.csv")))
        for run in range(1, runs + 1):
            for loop in (run % 2 == 0, run % 2 == 1):  # in turns
                with counting_server("many_streams.server", KEY) as server:
                    for case in (case for case in cases.CASES if case.startswith("loop") is loop):
                        sample = _sample(case, folder, server)
                        samples[case].append(sample)
                        print(
                            f"[{run}/{runs}] {case}: CPU {sample['cpu']:,.2f} s, wall {sample['wall']:,.2f} s, memory "
                            f"{sample['mb']:,.0f} MB, {sample['compared']:,} compared, {sample['calls']}",
                            file=sys.stderr,
                        )
    return samples


def _sample(case: str, folder: Path, server: CountingServer) -> dict[str, Any]:
    command = [sys.executable, "-m", "many_streams.cases", case, str(folder), server.endpoint, KEY]
    server.counts()  # of what came before
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(WORKER_SECONDS, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            costs = process.stdout.readline()
            calls = server.counts()  # before the comparison makes some
            compared, _ = process.communicate("compare\n")
        finally:
            timer.cancel()
    if process.returncode:
        sys.exit(f"{case} does not count")
    return {**json.loads(costs), "compared": int(compared), **calls}


if __name__ == "__main__":
    sys.exit(recorded("provision", __doc__, PACKAGES, measure, lines.as_text))
