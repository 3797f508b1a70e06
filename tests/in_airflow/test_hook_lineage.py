"""What lineage is told: OpenLineage of SQL, and the collections that the hook's calls read and write."""

from __future__ import annotations

from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow.providers.common.sql.operators.sql import (
    SQLColumnCheckOperator,
    SQLExecuteQueryOperator,
    SQLTableCheckOperator,
)

from airflow_provider_btrdb.hooks import lineage
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook
from airflow_provider_btrdb.operators.audit import BTrDBAuditOperator

with_openlineage = pytest.mark.skipif(
    find_spec("airflow.providers.openlineage") is None, reason="needs the OpenLineage provider"
)


@with_openlineage
def test_openlineage_names_the_table(connection: str, server: Any) -> None:
    operator = SQLExecuteQueryOperator(
        task_id="t",
        conn_id=connection,
        sql=["SELECT name FROM streams WHERE annotations ? 'k'", "WITH v AS (SELECT * FROM streams) SELECT 1 FROM v"],
    )
    told = operator.get_openlineage_facets_on_start()
    assert told is not None
    (table,) = told.inputs
    assert (table.namespace, table.name) == (f"btrdb://{server.endpoint}", "metadata.public.streams")
    assert told.outputs == []


@with_openlineage
def test_an_empty_port_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NO_PORT", '{"conn_type": "btrdb", "host": "btrdb.example.com"}')
    hook = BTrDBHook("no_port")
    info = hook.get_openlineage_database_info(hook.get_connection("no_port"))
    assert (info.scheme, info.authority, info.database) == ("btrdb", "btrdb.example.com:4411", "metadata")


@with_openlineage
def test_openlineage_tells_what_checks_found(connection: str, db: Any) -> None:
    collection = f"airflow-test/{uuid4()}"
    db.create(uuid4(), collection, {"name": "x"})
    where = f"collection = '{collection}'"
    checks: dict[str, Any] = {"task_id": "t", "conn_id": connection, "table": "streams", "partition_clause": where}
    columns = SQLColumnCheckOperator(column_mapping={"name": {"null_check": {"equal_to": 0}}}, **checks)
    table = SQLTableCheckOperator(checks={"one": {"check_statement": "count(*) = 1"}}, **checks)
    for operator in (columns, table):
        operator.execute({})
        told = operator.get_openlineage_facets_on_complete(None)
        assertions = told.inputs[0].facets["dataQualityAssertions"].assertions
        assert [assertion.success for assertion in assertions] == [True]


# ---------------------------------------------------------------- hook lineage


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Airflow's own collector, as it is where a lineage reader is installed; without one it drops everything."""
    active = type(get_hook_lineage_collector()).__mro__[1]()  # the one that drops is a subclass of the one that keeps
    if not hasattr(active, "add_extra"):
        pytest.skip("needs Airflow 3.2: a collector of assets and extras")
    monkeypatch.setattr("airflow.providers.common.compat.lineage.hook.get_hook_lineage_collector", lambda: active)
    return active


def uris(infos: Any) -> list[str]:
    return sorted(info.asset.uri for info in infos)


def test_calls_tell_the_collections(connection: str, server: Any, collector: Any) -> None:
    base = f"airflow-test/{uuid4()}"
    hook = BTrDBHook()
    hook.create(uuid4(), f"{base}/a b", {"name": "x"})
    hook.create_many([{"collection": f"{base}/c", "name": f"n{number}"} for number in range(30)])
    hook.create_many([{"collection": "c" * 256, "name": "refused"}])
    at = f"btrdb://{server.endpoint}/collection/{base}"
    assert uris(collector.collected_assets.outputs) == [f"{at}/a%20b", f"{at}/c"]
    assert collector.collected_assets.inputs == []
    hook.streams(f"{base}/c/n1", f"{base}/c/n2")
    hook.streams_in_collection(f"{base}/a")
    assert uris(collector.collected_assets.inputs) == [f"{at}/a%20b", f"{at}/c"]


def test_an_audit_tells_the_prefix_that_it_looked_at(connection: str, server: Any, db: Any, collector: Any) -> None:
    collection = f"airflow-test/{uuid4()}"
    db.create(uuid4(), collection, {"name": "x"})
    suite = {"select": {"prefix": collection}, "checks": [{"required": "name"}]}
    with TemporaryDirectory() as folder:
        BTrDBAuditOperator(task_id="t", suite=suite, output_path=folder).execute({})
    told = uris(collector.collected_assets.inputs)
    assert [uri for uri in told if uri.startswith("btrdb:")] == [f"btrdb://{server.endpoint}/collection/{collection}"]


def test_many_collections_are_counted(connection: str, server: Any, collector: Any) -> None:
    hook = BTrDBHook()
    hook.report_lineage(outputs=[f"c{number:03}" for number in range(500) for _ in range(2)])
    lineage_now = collector.collected_assets
    assert uris(lineage_now.outputs) == [
        f"btrdb://{server.endpoint}/collection/c{number:03}" for number in range(lineage.MOST)
    ]
    assert [(one.key, one.value) for one in lineage_now.extra] == [("btrdb_outputs", {"collections": 500})]


def test_sql_is_told_once_for_each_statement(connection: str, monkeypatch: pytest.MonkeyPatch, collector: Any) -> None:
    monkeypatch.setattr("airflow.providers.common.sql.hooks.lineage.get_hook_lineage_collector", lambda: collector)
    hook = BTrDBHook()
    hook.get_records("SELECT 1 AS one WHERE %s = 'x'", parameters=["x"])
    hook.get_df("SELECT 2 AS two")
    hook.query("SELECT 3 AS three")
    told = [one.value["sql"] for one in collector.collected_assets.extra]
    assert told == ["SELECT 1 AS one WHERE %s = 'x'", "SELECT 2 AS two", "SELECT 3 AS three"]


def test_lineage_that_fails_stops_nothing(connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise RuntimeError("no lineage today")

    monkeypatch.setattr("airflow.providers.common.compat.lineage.hook.get_hook_lineage_collector", broken)
    assert BTrDBHook().streams_in_collection("no such collection") == []
    BTrDBHook().report_lineage(inputs=["c"])
