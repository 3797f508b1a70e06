"""One sample: a fresh process that does one piece of work, compares the result, and prints its costs as JSON.

    python -m side_by_side.worker CASE SIZE ENDPOINT [API_KEY]

CPU is the time of this process in all its threads; memory is how far its peak rises above what it holds after import,
connecting and preparing the arguments.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

CLIENT_CORE = 0


def main(case: str, size: str, endpoint: str, api_key: str | None = None) -> None:
    """Print one line of JSON: seconds of CPU and of wall time, MB of memory, and how many items were compared."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    warnings.simplefilter("ignore")
    if case.endswith("_import"):
        print(json.dumps(_import(case)))
        return
    side, _, name = case.partition("_")
    with contextlib.closing(import_module(f"side_by_side.{side}").CASES[name](int(size), endpoint, api_key)) as work:
        work.prepare()
        spent = costs(work.run)
        compared = work.compare()
    print(json.dumps({**spent, "compared": compared}))


def costs(run: Callable[[], object]) -> dict[str, float]:
    """Seconds of CPU and of wall time, and MB of memory above what the process holds now."""
    gc.collect()
    gc.freeze()  # what was prepared is nobody's garbage
    base = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu": cpu, "wall": wall, "mb": (_status("VmHWM") - base) / 1024}


def _import(case: str) -> dict[str, float]:
    """The bare import; `numpy` says whether it was loaded with it."""
    base, wall, cpu = _status("VmRSS"), time.perf_counter(), time.process_time()
    if case == "peer_import":
        import btrdb as module
    else:
        import airflow_provider_btrdb.client as module
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert callable(module.connect)
    return {
        "cpu": cpu,
        "wall": wall,
        "mb": (_status("VmHWM") - base) / 1024,
        "compared": 1,
        "numpy": "numpy" in sys.modules,
    }


def _status(field: str) -> int:
    """A number of kB from /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise AssertionError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    main(*sys.argv[1:])
