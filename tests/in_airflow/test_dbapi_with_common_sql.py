"""The hook under Airflow's own SQL classes: they find it by the connection, and ask a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pandas as pd
import polars as pl
import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowOptionalProviderFeatureException
from airflow.providers.common.sql.hooks.handlers import fetch_all_handler, fetch_one_handler
from airflow.providers.common.sql.operators.sql import (
    BranchSQLOperator,
    SQLCheckOperator,
    SQLColumnCheckOperator,
    SQLExecuteQueryOperator,
    SQLTableCheckOperator,
    SQLThresholdCheckOperator,
    SQLValueCheckOperator,
)
from airflow.providers.common.sql.sensors.sql import SqlSensor

from airflow_provider_btrdb.client import BTrDB, dbapi, errors
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook


@pytest.fixture
def hook(server: Any, monkeypatch: pytest.MonkeyPatch) -> BTrDBHook:
    """The hook; Airflow's own SQL classes find it by the connection's type. Its extras reach the constructor."""
    host, port = server.endpoint.rsplit(":", 1)
    fields = {"host": host, "port": int(port), "password": server.api_key, "extra": {"tls": "off", "max_in_flight": 9}}
    monkeypatch.setenv("AIRFLOW_CONN_BTRDB_DEFAULT", json.dumps({"conn_type": "btrdb", **fields}))
    return BTrDBHook()


@pytest.fixture(scope="module")
def streams(db: BTrDB) -> tuple[str, list[UUID]]:
    """A collection with s0, s1, s2 of the units V, V, A, and their uuids."""
    collection = f"airflow-test/{uuid4()}"
    uuids = [uuid4() for _ in range(3)]
    for number, uuid in enumerate(uuids):
        db.create(uuid, collection, {"name": f"s{number}", "unit": "VVA"[number]}, {"number": str(number)})
    return collection, uuids


# ---------------------------------------------------------------- the hook


def test_records(hook: BTrDBHook, streams: Any) -> None:
    collection, uuids = streams
    sql = "SELECT unit, name, uuid, property_version FROM streams WHERE collection = %s ORDER BY name"
    expected = [("V", "s0", str(uuids[0]), 1), ("V", "s1", str(uuids[1]), 1), ("A", "s2", str(uuids[2]), 1)]
    assert hook.get_records(sql, parameters=[collection]) == expected
    assert hook.get_records(sql, parameters=(collection,)) == expected
    assert hook.get_records(sql.replace("%s", "%(c)s"), parameters={"c": collection}) == expected
    assert hook.get_first(sql, parameters=[collection]) == expected[0]
    assert hook.get_first("SELECT 1 WHERE false") is None
    assert hook.get_records("SELECT 1 WHERE false") == []
    assert hook.get_records("SELECT name FROM streams WHERE name LIKE '%%0' AND collection = %s", [collection]) == [
        ("s0",)
    ]


def test_run_with_handlers_and_descriptions(hook: BTrDBHook) -> None:
    assert hook.run("SELECT 1 AS b, 2 AS a;", handler=fetch_all_handler) == [(1, 2)]
    assert [column[0] for column in hook.last_description] == ["b", "a"]
    assert hook.run("SELECT 1 AS x WHERE false", handler=fetch_one_handler) is None
    assert [column[0] for column in hook.last_description] == ["x"]
    assert hook.run("SELECT 1; SELECT ';' ;", handler=fetch_all_handler, split_statements=True) == [(";",)]
    both = hook.run(["SELECT %(a)s", "SELECT %(b)s"], parameters={"a": "1", "b": "2"}, handler=fetch_all_handler)
    assert both == [[("1",)], [("2",)]]
    assert hook.run("SELECT 1") is None


def test_errors_are_those_of_pep_249(hook: BTrDBHook) -> None:
    with pytest.raises(dbapi.ProgrammingError, match='"nonsense" does not exist'):
        hook.get_records("SELECT nonsense")
    with pytest.raises(dbapi.ProgrammingError, match="1 %s and 2 parameters"):
        hook.get_records("SELECT %s", ["1", "2"])


FRAME = {
    "unit": ["V", "V", "A"],
    "name": ["s0", "s1", "s2"],
    "property_version": [1, 1, 1],
    "annotations": [{"number": str(number)} for number in range(3)],
}
SQL = f"SELECT {', '.join(FRAME)} FROM streams WHERE collection = %s ORDER BY name"
NUMBERS = "SELECT n, n::text AS word FROM generate_series(1, %s::int) AS n"


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def test_pandas(hook: BTrDBHook, streams: Any) -> None:
    frame = hook.get_df(SQL, parameters=[streams[0]])
    pd.testing.assert_frame_equal(frame, pd.DataFrame(FRAME))
    empty = hook.get_df(SQL, parameters=["no such collection"])
    assert (list(empty.columns), len(empty)) == (list(FRAME), 0)
    shaped = hook.get_df(SQL, parameters=[streams[0]], index_col="name", dtype={"property_version": "int8"})
    assert (shaped.index.tolist(), str(shaped["property_version"].dtype)) == (FRAME["name"], "int8")
    backed = hook.get_df(NUMBERS, parameters=[2], dtype_backend="numpy_nullable")
    assert str(backed["n"].dtype) == "Int64"
    with pytest.raises(dbapi.ProgrammingError, match='"nonsense" does not exist'):
        hook.get_df("SELECT nonsense")
    with pytest.raises(dbapi.ProgrammingError, match="is a list, not text"):
        hook.get_df(["SELECT 1"])


def test_polars(hook: BTrDBHook, streams: Any) -> None:
    frame = hook.get_df(SQL, parameters=[streams[0]], df_type="polars")
    assert frame.to_dict(as_series=False) == FRAME
    named = hook.get_df(SQL.replace("%s", "%(c)s"), parameters={"c": streams[0]}, df_type="polars")
    assert named.equals(frame)
    empty = hook.get_df(SQL, parameters=["no such collection"], df_type="polars")
    assert (empty.columns, empty.height) == (list(FRAME), 0)
    typed = hook.get_df(NUMBERS, parameters=[1], df_type="polars", schema_overrides={"n": pl.Int16})
    assert typed.schema["n"] == pl.Int16


@pytest.mark.parametrize("df_type", ["pandas", "polars"])
@pytest.mark.parametrize(("count", "lengths"), [(700, [300, 300, 100]), (600, [300, 300]), (0, [0])])
def test_frames_by_chunks(hook: BTrDBHook, df_type: Any, count: int, lengths: list[int]) -> None:
    chunks = list(hook.get_df_by_chunks(NUMBERS, parameters=[count], chunksize=300, df_type=df_type))
    assert [len(chunk) for chunk in chunks] == lengths
    assert all(list(chunk.columns) == ["n", "word"] for chunk in chunks)
    assert [n for chunk in chunks for n in chunk["n"]] == list(range(1, count + 1))


def test_chunks_are_read_as_they_are_taken(hook: BTrDBHook, server: Any) -> None:
    rows = hook.get_df_by_chunks(NUMBERS, parameters=[100_000], chunksize=10)
    assert len(next(rows)) == 10
    rows.close()  # gives the connection back, and ends the call
    with pytest.raises(errors.InputError, match="at least 1"):
        next(hook.get_df_by_chunks(NUMBERS, parameters=[1], chunksize=0))


# ---------------------------------------------------------------- what BTrDB has not


def test_inserting_rows_points_to_the_write_api(hook: BTrDBHook) -> None:
    with pytest.raises(NotImplementedError, match=r"CreateStreamOperator .* insert_many"):
        hook.insert_rows("streams", [("a",)])


def test_the_columns_are_those_of_the_server(hook: BTrDBHook, streams: Any) -> None:
    schema = hook.get_table_schema("streams")
    names = [column["name"] for column in schema]
    types = ", ".join(f"pg_typeof({name})::text AS {name}" for name in names)
    sql = f"SELECT {types} FROM streams LIMIT 1"
    kinds = {"character varying": "text"}
    assert [kinds.get(kind, kind) for kind in hook.get_first(sql)] == [column["type"] for column in schema]
    assert list(hook.get_df("SELECT * FROM streams LIMIT 1").columns) == names
    with pytest.raises(ValueError, match="no 'points'"):
        hook.get_table_schema("points")


def test_there_is_no_sqlalchemy(hook: BTrDBHook) -> None:
    assert hook.get_sqlalchemy_engine() is None
    with pytest.raises(AirflowOptionalProviderFeatureException, match="get_table_schema"):
        _ = hook.inspector


# ---------------------------------------------------------------- the connection


def test_the_handle_closes_itself_and_not_the_channel(hook: BTrDBHook) -> None:
    handle = hook.get_conn()
    assert handle.db is hook.get_client()
    cursor = handle.cursor()
    cursor.execute("SELECT 1")
    handle.commit()
    handle.rollback()
    handle.close()
    handle.close()
    for use in (handle.cursor, handle.commit, lambda: handle.db, cursor.fetchall):
        with pytest.raises(dbapi.InterfaceError, match="is closed"):
            use()
    assert hook.get_client().info()["majorVersion"] == 5
    assert hook.get_conn().cursor().execute("SELECT 2").fetchone() == (2,)


# ---------------------------------------------------------------- operators and sensor


def test_execute_query_operator(hook: BTrDBHook, streams: Any) -> None:
    collection, _ = streams
    sql = "SELECT unit, count(*) AS n FROM streams WHERE collection = %(c)s GROUP BY unit ORDER BY unit"
    operator = SQLExecuteQueryOperator(task_id="t", conn_id="btrdb_default", sql=sql, parameters={"c": collection})
    assert operator.execute({}) == [("A", 1), ("V", 2)]
    many = SQLExecuteQueryOperator(
        task_id="t",
        conn_id="btrdb_default",
        sql="SELECT 1 AS x; SELECT 2 AS x",
        split_statements=True,
        return_last=False,
    )
    assert many.execute({}) == [[(1,)], [(2,)]]
    none = SQLExecuteQueryOperator(task_id="t", conn_id="btrdb_default", sql="SELECT 1 AS x WHERE false")
    assert none.execute({}) == []


def checked(operator: Any) -> bool:
    """Whether the check is passed."""
    try:
        operator.execute({})
    except AirflowException:
        return False
    return True


@pytest.mark.parametrize(("most", "passes"), [(1, True), (2, True), (0, False)])
def test_column_check_operator(hook: BTrDBHook, streams: Any, most: int, passes: bool) -> None:
    collection, _ = streams
    operator = SQLColumnCheckOperator(
        task_id="t",
        conn_id="btrdb_default",
        table="streams",
        partition_clause=f"collection = '{collection}'",
        column_mapping={
            "name": {"null_check": {"equal_to": 0}, "unique_check": {"equal_to": 0}, "distinct_check": {"geq_to": 3}},
            "property_version": {"min": {"equal_to": 1}, "max": {"leq_to": most}},
        },
    )
    assert checked(operator) is passes


@pytest.mark.parametrize(("count", "passes"), [(3, True), (4, False)])
def test_table_check_operator(hook: BTrDBHook, streams: Any, count: int, passes: bool) -> None:
    collection, _ = streams
    operator = SQLTableCheckOperator(
        task_id="t",
        conn_id="btrdb_default",
        table="streams",
        partition_clause=f"collection = '{collection}'",
        checks={
            "count": {"check_statement": f"count(*) = {count}"},
            "numbered": {"check_statement": "annotations ? 'number'"},
        },
    )
    assert checked(operator) is passes


@pytest.mark.parametrize(("name", "passes"), [("s1", True), ("s9", False)])
def test_check_operator(hook: BTrDBHook, streams: Any, name: str, passes: bool) -> None:
    sql = "SELECT count(*), bool_and(unit = 'V') FROM streams WHERE collection = %s AND name = %s"
    operator = SQLCheckOperator(task_id="t", conn_id="btrdb_default", sql=sql, parameters=[streams[0], name])
    assert checked(operator) is passes


@pytest.mark.parametrize(("value", "passes"), [(3, True), (2.8, True), (2, False)])
def test_value_check_operator(hook: BTrDBHook, streams: Any, value: float, passes: bool) -> None:
    sql = f"SELECT count(*) FROM streams WHERE collection = '{streams[0]}'"
    operator = SQLValueCheckOperator(task_id="t", conn_id="btrdb_default", sql=sql, pass_value=value, tolerance=0.1)
    assert checked(operator) is passes


@pytest.mark.parametrize(("low", "passes"), [(1, True), ("SELECT count(*) FROM streams", True), (4, False)])
def test_threshold_check_operator(hook: BTrDBHook, streams: Any, low: Any, passes: bool) -> None:
    operator = SQLThresholdCheckOperator(
        task_id="t",
        conn_id="btrdb_default",
        sql=f"SELECT count(*) FROM streams WHERE collection = '{streams[0]}'",
        min_threshold="SELECT 3" if isinstance(low, str) else low,
        max_threshold=low if isinstance(low, str) else 5,
    )
    assert checked(operator) is passes


@pytest.mark.parametrize(("value", "follows"), [(3, "yes"), (4, "no")])
def test_branch_operator(hook: BTrDBHook, streams: Any, value: int, follows: str) -> None:
    operator = BranchSQLOperator(
        task_id="t",
        conn_id="btrdb_default",
        sql=f"SELECT count(*) = {value} FROM streams WHERE collection = '{streams[0]}'",
        follow_task_ids_if_true=["yes"],
        follow_task_ids_if_false=["no"],
    )
    chosen: list[Any] = []
    operator.skip_all_except = lambda ti, branches: chosen.extend(branches)  # where a scheduler would act on it
    operator.execute({"ti": None})
    assert chosen == [follows]


@pytest.mark.parametrize(("name", "found"), [("s1", True), ("s9", False)])
def test_sensor(hook: BTrDBHook, streams: Any, name: str, found: bool) -> None:
    sql = "SELECT count(*) FROM streams WHERE collection = %s AND name = %s"
    sensor = SqlSensor(task_id="t", conn_id="btrdb_default", sql=sql, parameters=[streams[0], name])
    assert bool(sensor.poke({})) is found
    empty = SqlSensor(task_id="t", conn_id="btrdb_default", sql="SELECT 1 WHERE false")
    assert not empty.poke({})


DAG_FILE = """
from datetime import datetime
from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.common.sql.operators.sql import (
    BranchSQLOperator, SQLCheckOperator, SQLColumnCheckOperator, SQLExecuteQueryOperator, SQLTableCheckOperator,
    SQLThresholdCheckOperator, SQLValueCheckOperator,
)
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

where = "collection = '{collection}'"
count = "SELECT count(*) FROM streams WHERE " + where
shared = dict(conn_id="btrdb_default")
with DAG("sql", schedule=None) as dag:
    there = SqlSensor(task_id="there", sql=count, poke_interval=1, timeout=60, **shared)
    units = SQLExecuteQueryOperator(
        task_id="units", sql="SELECT unit, count(*) FROM streams WHERE " + where + " GROUP BY 1 ORDER BY 1", **shared
    )
    columns = SQLColumnCheckOperator(
        task_id="columns", table="streams", partition_clause=where,
        column_mapping={{"name": {{"null_check": {{"equal_to": 0}}, "distinct_check": {{"equal_to": 3}}}}}}, **shared
    )
    table = SQLTableCheckOperator(
        task_id="table", table="streams", partition_clause=where,
        checks={{"three": {{"check_statement": "count(*) = 3"}}}}, **shared
    )
    check = SQLCheckOperator(task_id="check", sql=count, **shared)
    value = SQLValueCheckOperator(task_id="value", sql=count, pass_value=3, **shared)
    threshold = SQLThresholdCheckOperator(task_id="threshold", sql=count, min_threshold=1, max_threshold=5, **shared)
    branch = BranchSQLOperator(
        task_id="branch", sql="SELECT (" + count + ") = 3",
        follow_task_ids_if_true="yes", follow_task_ids_if_false="no", **shared
    )

    @task.sql(conn_id="btrdb_default", hook_params={{"log_sql": False}})
    def names():
        return "SELECT string_agg(name, ',' ORDER BY name) FROM streams WHERE " + where

    @task
    def told(names, units):
        assert names == [["s0,s1,s2"]] or names == [("s0,s1,s2",)], names
        assert [list(row) for row in units] == [["A", 1], ["V", 2]], units
        print("FRAME", BTrDBHook().get_df("SELECT name FROM streams WHERE " + where).shape)

    there >> [columns, table, check, value, threshold, branch]
    branch >> [SQLCheckOperator(task_id=name, sql="SELECT 1", **shared) for name in ("yes", "no")]
    there >> units
    told(names(), units.output)

if __name__ == "__main__":
    run = dag.test()
    print("STATES", json.dumps({{one.task_id: str(one.state) for one in run.get_task_instances()}}))
"""


def test_a_dag_of_all_of_them(hook: BTrDBHook, streams: Any, airflow_db: Path, tmp_path: Path) -> None:
    (tmp_path / "sql_dag.py").write_text("import json\n" + DAG_FILE.format(collection=streams[0]))
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(airflow_db),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, str(tmp_path / "sql_dag.py")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=280,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("STATES ")]
    states = json.loads(line.removeprefix("STATES "))
    assert states.pop("no") == "skipped"
    assert set(states.values()) == {"success"}, (states, run.stdout[-4000:])
    assert "FRAME (3, 1)" in run.stdout
    assert "Running statement: SELECT unit" in run.stdout
    assert "Running statement: SELECT string_agg" not in run.stdout  # log_sql=False
