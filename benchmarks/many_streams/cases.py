"""One sample: a fresh process that does one piece of work, and compares what it left.

    python -m many_streams.cases CASE FOLDER ENDPOINT API_KEY

It prints its costs as JSON, waits for a line of input, and prints how many items it got right. The folder has the files
of the specification; a plan is left in it for the process that applies it.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from side_by_side.worker import CLIENT_CORE, costs

from airflow_provider_btrdb.client import connect, derived_uuid
from many_streams import catalogue

PREFIX = "ours"
LOOP_PREFIX = "loop"
LOOP_STREAMS = 10_000
"""The loop makes a tenth of the streams: all of them would take it minutes."""


def main(case: str, folder: str, endpoint: str, api_key: str) -> None:
    """Work, then compare."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    warnings.simplefilter("ignore")
    work, compare = CASES[case](Path(folder), endpoint, api_key)
    print(json.dumps(costs(work)), flush=True)
    sys.stdin.readline()
    print(compare())


Case = tuple[Callable[[], object], Callable[[], int]]
"""What is measured, and how many items it got right."""


def _ours(folder: Path, endpoint: str, api_key: str) -> Any:
    """Connected, and everything imported."""
    import airflow_provider_btrdb.provision

    del airflow_provider_btrdb
    db = connect(endpoint, api_key)
    db.info()
    return db


def plan(kind: str) -> Callable[[Path, str, str], Case]:
    """Reading the table, and one pass over what is there; `kind` is what all streams are found to be."""

    def case(folder: Path, endpoint: str, api_key: str) -> Case:
        from airflow_provider_btrdb.provision import make_plan, plan_bytes, read_spec

        db = _ours(folder, endpoint, api_key)
        made: list[Any] = []

        def work() -> None:
            spec = read_spec(folder / "streams.csv", prefixes=[f"{PREFIX}/"])
            made.append(db.run(make_plan(spec)))
            if kind == "create":
                (folder / "plan.json").write_bytes(plan_bytes(made[0]))

        def compare() -> int:
            (found,) = made
            rest = len(found.changes) + found.unchanged + found.unmanaged
            return found.counts[kind] if rest == found.counts[kind] else 0

        return work, compare

    return case


def apply(folder: Path, endpoint: str, api_key: str) -> Case:
    """From the plan's file to verified streams, which are read once more, by value."""
    from airflow_provider_btrdb.provision import apply_plan, load_plan

    db = _ours(folder, endpoint, api_key)
    done: list[Any] = []

    def compare() -> int:
        assert done[0].verified
        assert done[0].error() is None
        streams = list(db.lookup_iter(f"{PREFIX}/"))
        wanted = catalogue.wanted(catalogue.STREAMS, PREFIX)
        assert len(streams) == len(wanted)
        return sum(
            stream.uuid == derived_uuid(stream.collection, stream.name)
            and catalogue.values(stream.collection, stream.tags, stream.annotations) in wanted
            for stream in streams
        )

    return lambda: done.append(db.run(apply_plan(load_plan((folder / "plan.json").read_bytes())))), compare


def read(name: str) -> Callable[[Path, str, str], Case]:
    """A file of the specification into values."""

    def case(folder: Path, endpoint: str, api_key: str) -> Case:
        from airflow_provider_btrdb.provision import read_spec

        _ours(folder, endpoint, api_key)
        found: list[Any] = []

        def compare() -> int:
            wanted = catalogue.wanted(catalogue.STREAMS, PREFIX)
            rows = {(row.collection, row.name, row.unit, row.ingress, row.annotations) for row in found[0].streams}
            return len(rows & wanted)

        return lambda: found.append(read_spec(folder / name)), compare

    return case


def _loop(folder: Path, endpoint: str, api_key: str) -> Case:
    """What people write with the official client: look it up, create it if it is missing."""
    import btrdb

    db = btrdb.connect(endpoint, apikey=api_key)
    db.info()
    rows = [catalogue.row(number, LOOP_PREFIX) for number in range(LOOP_STREAMS)]
    found: list[Any] = []

    def work() -> None:
        for row in rows:
            streams = db.streams_in_collection(
                row["collection"], is_collection_prefix=False, tags={"name": row["name"]}
            )
            if streams:
                found.append(streams[0])
                continue
            tags = {key: row[key] for key in ("name", "unit", "ingress")}
            found.append(db.create(uuid4(), row["collection"], tags, row["annotations"]))

    def compare() -> int:
        wanted = catalogue.wanted(LOOP_STREAMS, LOOP_PREFIX)
        with connect(endpoint, api_key) as reader:
            streams = list(reader.lookup_iter(f"{LOOP_PREFIX}/"))
        assert len(streams) == len(wanted) == len({stream.uuid for stream in found})
        return sum(catalogue.values(stream.collection, stream.tags, stream.annotations) in wanted for stream in streams)

    return work, compare


CASES: dict[str, Callable[[Path, str, str], Case]] = {
    "plan-create": plan("create"),
    "apply": apply,
    "plan-unchanged": plan("unchanged"),
    "loop-create": _loop,
    "loop-unchanged": _loop,
    "read-csv": read("streams.csv"),
    "read-short-yaml": read("short.yaml"),
    "read-yaml": read("streams.yaml"),
}
"""In this order, as each needs what the one before it left."""


if __name__ == "__main__":
    main(*sys.argv[1:])
