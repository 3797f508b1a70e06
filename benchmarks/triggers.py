"""What thousands of waiting triggers cost: RPCs per interval at the server, CPU beside as many sleeping triggers.

    .venv/bin/python benchmarks/triggers.py

The server is a process of its own, so the CPU time is the triggerer's side alone. Sleeping triggers are coroutines that
sleep one interval again and again, which is what no deferrable sensor can do less than.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import resource
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

from airflow_provider_btrdb.client import connect
from airflow_provider_btrdb.testing import devserver_process
from airflow_provider_btrdb.triggers.streams import StreamExistsTrigger, StreamFreshnessTrigger, StreamVersionTrigger

NOTHING = {"collection": None, "tags": None, "annotations": None, "min_count": 1, "require_visible_prefix": None}


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def sleeping(interval: float) -> None:
    for _ in itertools.count():
        await asyncio.sleep(interval)


async def waiting(trigger: Any) -> None:
    async for event in trigger.run():
        raise AssertionError(f"nothing should happen, but {event.payload}")


async def measure(begin: Callable[[], Iterator[Awaitable[None]]], interval: float, rounds: int) -> float:
    """CPU seconds per interval once all are waiting."""
    tasks = [asyncio.ensure_future(one) for one in begin()]
    await asyncio.sleep(2.5 * interval)
    before, started = cpu(), time.monotonic()
    await asyncio.sleep(rounds * interval)
    spent = (cpu() - before) * interval / (time.monotonic() - started)
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triggers", type=int, default=5_000)
    parser.add_argument(
        "--streams", type=int, default=500, help="distinct streams of the version and freshness triggers"
    )
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    many, interval = options.triggers, options.interval
    with devserver_process() as server, connect(server.endpoint) as db:
        host, port = server.endpoint.split(":")
        os.environ["AIRFLOW_CONN_BTRDB_DEFAULT"] = json.dumps({"conn_type": "btrdb", "host": host, "port": int(port)})
        rows = [{"collection": f"c/{number % 50}", "name": f"{number}"} for number in range(options.streams)]
        uuids = [str(result.uuid) for result in db.create_many(rows)]
        common = {"btrdb_conn_id": "btrdb_default", "poll_interval": interval, "end_time": time.time() + 86_400}

        def exists(stream: str) -> Any:
            return waiting(StreamExistsTrigger(streams=[stream], **NOTHING, **common))

        kinds: dict[str, Callable[[int], Any]] = {
            "sleeping": lambda _: sleeping(interval),
            "exists, by name": lambda number: exists(f"c/{number % 50}/absent{number}"),
            "exists, by uuid": lambda _: exists(str(uuid4())),
            "version": lambda number: waiting(
                StreamVersionTrigger(uuid=uuids[number % len(uuids)], version=10, **common)
            ),
            "freshness": lambda number: waiting(
                StreamFreshnessTrigger(uuid=uuids[number % len(uuids)], younger_than=60, clock_skew=5, **common)
            ),
        }
        print(f"{many} triggers, interval {interval:g} s, {len(uuids)} streams")
        base = 0.0
        for name, make in kinds.items():
            spent = asyncio.run(measure(lambda make=make: map(make, range(many)), interval, options.rounds))
            base = base or spent
            print(f"{name:18} {1000 * spent:8.1f} ms CPU per interval, {1000 * (spent - base):8.1f} more than sleeping")


if __name__ == "__main__":
    main()
