"""The planted faults of the IEEE 118 catalogue are all found, and nothing else, with SQL and without."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb.audit import Audit, parse_suite, run_suite, run_text
from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.testing import RunningServer, devserver

EXAMPLES = Path(__file__).parents[2] / "example_dags"
SUITE = """\
name: ieee118
select: {prefix: grid/ieee118/}
expect_at_least: {streams: 1534, collections: 118}
defaults: {owner: grid operations, sample: 50}
checks:
- required: [name, unit, annotations.bus, annotations.base_kv, annotations.phase, annotations.description]
- allowed: {unit: [volts, amps, deg, Hz], annotations.base_kv: ["138", "161", "345"]}
- matches: {name: "^([LC][123](MAG|ANG)|FREQ)$", collection: "^grid/ieee118/bus[0-9]{3}$"}
- unique: [collection, name]
- consistent: {field: annotations.base_kv, by: [collection]}
- count_between: {least: 3, most: 3}
  where: {name: {matches: "^L.MAG$"}}
  name: three voltages
- rare_keys: 1%
"""


@pytest.fixture(scope="module", params=[True, False], ids=["sql", "no-sql"])
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with devserver(sql=request.param) as running:
        sys.path.insert(0, str(EXAMPLES))
        try:
            import quickstart_data
        finally:
            sys.path.remove(str(EXAMPLES))
        with connect(running.endpoint) as db:
            db.create_many(
                {key: row[key] for key in row if key != "uuid" or row["uuid"]}
                for row in quickstart_data.phasor_streams(EXAMPLES / "data")
            )
        running.faults_planted = quickstart_data.planted_faults(EXAMPLES / "data")  # type: ignore[attr-defined]
        yield running


@pytest.fixture
def db(server: RunningServer) -> Iterator[BTrDB]:
    with connect(server.endpoint) as connection:
        yield connection


def run(db: BTrDB, **options: Any) -> Audit:
    return db.run(run_suite(parse_suite(SUITE), **options))


def test_every_planted_fault_and_nothing_else(server: Any, db: BTrDB) -> None:
    result = run(db).result
    print(run_text(result))
    planted = server.faults_planted
    found = {
        (check.kind, failure.collection, failure.name)
        for check in result.checks for failure in check.sample
    }  # fmt: skip
    kinds = {"misspelt_unit": "allowed", "missing_annotation": "required", "duplicate_name": "unique"}
    expected = {(kinds[fault["fault"]], fault["collection"], fault["name"]) for fault in planted}
    # The duplicate is a fourth voltage of its bus.
    double = next(fault["collection"] for fault in planted if fault["fault"] == "duplicate_name")
    assert found == {*expected, ("count_between", double, "")}
    assert sum(check.failed for check in result.checks) == len(planted) + 1
