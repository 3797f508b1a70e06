"""Many tasks that create the same streams at the same time, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

from airflow_provider_btrdb.client import BTrDB, derived_uuid

PROCESSES, CALLS, STREAMS = 8, 25, 50

SCRIPT = """
import json, sys
from airflow_provider_btrdb.operators.streams import CreateStreamOperator

number, calls, streams, collection = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rows = [{"collection": f"{collection}/{n % 3}", "name": f"s{n}", "annotations": {"n": str(n)}} for n in range(streams)]
print("ready", flush=True)
sys.stdin.readline()
results = []
for call in range(calls):
    # Each begins elsewhere, so that all of them are first somewhere.
    begin = (number * 7 + call * 11) % streams
    if_exists = ("ignore", "update", "skip")[call % 3 if call else 0]
    operator = CreateStreamOperator(task_id="t", streams=rows[begin:] + rows[:begin], if_exists=if_exists)
    try:
        results.append(operator.execute({})["created"])
    except Exception as error:
        results.append(f"{type(error).__name__}: {error}")
print("RESULTS", json.dumps(results))
"""


def test_200_calls_of_8_processes_make_50_streams(connection: str, db: BTrDB, collection: str) -> None:
    command = [sys.executable, "-c", SCRIPT]
    processes = [
        subprocess.Popen(
            [*command, str(number), str(CALLS), str(STREAMS), collection],
            env=dict(os.environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            while "ready" not in process.stdout.readline():
                assert process.poll() is None
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=250)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    results: list[Any] = []
    for output in outputs:
        (line,) = [line for line in output.splitlines() if line.startswith("RESULTS ")]
        results += json.loads(line.removeprefix("RESULTS "))
    assert len(results) == PROCESSES * CALLS == 200
    skipped = [result for result in results if isinstance(result, str)]
    assert {text.split(":")[0] for text in skipped} <= {"AirflowSkipException"}
    created = [result for result in results if not isinstance(result, str)]
    assert sum(created) == STREAMS
    assert Counter(bool(count) for count in created)[True] >= 1
    streams = db.streams_in_collection(collection)
    assert {stream.uuid for stream in streams} == {
        derived_uuid(f"{collection}/{number % 3}", f"s{number}") for number in range(STREAMS)
    }
    assert len(streams) == STREAMS
    assert {stream.property_version for stream in streams} == {1}
