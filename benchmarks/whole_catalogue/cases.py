"""One sample: a fresh process that makes one audit and compares what it found.

    python -m whole_catalogue.cases CASE STREAMS ENDPOINT API_KEY

It prints its costs as JSON, and in `compared` how many streams the audit accounts for if all it found is right.
"""

from __future__ import annotations

import json
import os
import sys

from side_by_side.worker import CLIENT_CORE, costs

from airflow_provider_btrdb.client import connect
from whole_catalogue import catalogue

SHARDS = 4


def main(case: str, streams: str, endpoint: str, api_key: str) -> None:
    """Audit, then compare."""
    from airflow_provider_btrdb.audit import parse_suite, run_suite

    os.sched_setaffinity(0, {CLIENT_CORE})
    count = int(streams)
    kind, _, shard = case.partition(" ")
    suite = parse_suite(catalogue.FRESH if kind == "fresh" else catalogue.SUITE)
    options = {"shard": (int(shard), SHARDS)} if shard else {}
    made = []
    with connect(endpoint, api_key) as db:
        db.info()
        spent = costs(lambda: made.append(db.run(run_suite(suite, **options))))
    result = made[0].result
    assert result.sql is (kind != "listing")
    assert result.coverage.streams == count
    print(json.dumps({**spent, "compared": _compared(kind, shard, count, result)}))


def _compared(kind: str, shard: str, count: int, result: object) -> int:
    if kind != "fresh":
        return count if catalogue.found(result) == catalogue.expected(count) else 0
    (check,) = result.checks  # type: ignore[attr-defined]
    if shard:
        return int(check.checked)
    return check.checked if check.failed == len(catalogue.stale(count)) else 0


if __name__ == "__main__":
    main(*sys.argv[1:])
