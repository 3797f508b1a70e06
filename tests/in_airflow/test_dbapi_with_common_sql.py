"""Our PEP 249 connection under Airflow's own SQL classes: the smallest hook over it, and a real server."""

from __future__ import annotations

import warnings
from typing import Any
from uuid import UUID, uuid4

import pandas as pd
import pytest
from airflow.providers.common.compat.sdk import AirflowException
from airflow.providers.common.sql.hooks.handlers import fetch_all_handler, fetch_one_handler
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.providers.common.sql.operators.sql import (
    BaseSQLOperator,
    SQLCheckOperator,
    SQLColumnCheckOperator,
    SQLExecuteQueryOperator,
    SQLTableCheckOperator,
    SQLThresholdCheckOperator,
    SQLValueCheckOperator,
)
from airflow.providers.common.sql.sensors.sql import SqlSensor

from airflow_provider_btrdb.client import BTrDB, dbapi


class SmallHook(DbApiHook):
    conn_name_attr = "btrdb_conn_id"
    default_conn_name = "btrdb_default"
    conn_type = "btrdb"
    supports_autocommit = False

    client: BTrDB

    def get_conn(self) -> Any:
        return dbapi.connect(self.client)


@pytest.fixture
def hook(db: BTrDB, connection: str, monkeypatch: pytest.MonkeyPatch) -> SmallHook:
    """The hook, and every SQL operator and sensor of Airflow using it."""
    small = SmallHook()
    small.client = db
    monkeypatch.setattr(BaseSQLOperator, "get_db_hook", lambda _: small)
    monkeypatch.setattr(SqlSensor, "_get_hook", lambda _: small)
    return small


@pytest.fixture(scope="module")
def streams(db: BTrDB) -> tuple[str, list[UUID]]:
    """A collection with s0, s1, s2 of the units V, V, A, and their uuids."""
    collection = f"airflow-test/{uuid4()}"
    uuids = [uuid4() for _ in range(3)]
    for number, uuid in enumerate(uuids):
        db.create(uuid, collection, {"name": f"s{number}", "unit": "VVA"[number]}, {"number": str(number)})
    return collection, uuids


# ---------------------------------------------------------------- the hook


def test_records(hook: SmallHook, streams: Any) -> None:
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


def test_run_with_handlers_and_descriptions(hook: SmallHook) -> None:
    assert hook.run("SELECT 1 AS b, 2 AS a;", handler=fetch_all_handler) == [(1, 2)]
    assert [column[0] for column in hook.last_description] == ["b", "a"]
    assert hook.run("SELECT 1 AS x WHERE false", handler=fetch_one_handler) is None
    assert [column[0] for column in hook.last_description] == ["x"]
    assert hook.run("SELECT 1; SELECT ';' ;", handler=fetch_all_handler, split_statements=True) == [(";",)]
    both = hook.run(["SELECT %(a)s", "SELECT %(b)s"], parameters={"a": "1", "b": "2"}, handler=fetch_all_handler)
    assert both == [[("1",)], [("2",)]]
    assert hook.run("SELECT 1") is None


def test_test_connection(hook: SmallHook) -> None:
    assert hook.test_connection()[0] is True


def test_errors_are_those_of_pep_249(hook: SmallHook) -> None:
    with pytest.raises(dbapi.ProgrammingError, match='"nonsense" does not exist'):
        hook.get_records("SELECT nonsense")
    with pytest.raises(dbapi.ProgrammingError, match="1 %s and 2 parameters"):
        hook.get_records("SELECT %s", ["1", "2"])


def test_pandas(hook: SmallHook, streams: Any) -> None:
    collection, _ = streams
    sql = "SELECT unit, name, property_version, annotations FROM streams WHERE collection = %s ORDER BY name"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "pandas only supports SQLAlchemy", UserWarning)
        frame = hook.get_df(sql, parameters=[collection], df_type="pandas")
        empty = hook.get_df(sql, parameters=["no such collection"], df_type="pandas")
        chunks = list(
            hook.get_df_by_chunks("SELECT n FROM generate_series(1, 700) AS n", chunksize=300, df_type="pandas")
        )
        # pandas wraps it, or not: that differs between its versions.
        with pytest.raises((dbapi.ProgrammingError, pd.errors.DatabaseError), match='"nonsense" does not exist'):
            hook.get_df("SELECT nonsense", df_type="pandas")
    expected = pd.DataFrame(
        {
            "unit": ["V", "V", "A"],
            "name": ["s0", "s1", "s2"],
            "property_version": [1, 1, 1],
            "annotations": [{"number": str(number)} for number in range(3)],
        }
    )
    pd.testing.assert_frame_equal(frame, expected)
    assert list(empty.columns) == list(frame.columns)
    assert len(empty) == 0
    assert [len(chunk) for chunk in chunks] == [300, 300, 100]
    assert pd.concat(chunks)["n"].tolist() == list(range(1, 701))


def test_polars(hook: SmallHook, streams: Any) -> None:
    collection, _ = streams
    sql = f"SELECT unit, property_version, name FROM streams WHERE collection = '{collection}' ORDER BY name"
    frame = hook.get_df(sql, df_type="polars")
    assert frame.columns == ["unit", "property_version", "name"]
    assert frame.rows() == [("V", 1, "s0"), ("V", 1, "s1"), ("A", 1, "s2")]
    assert hook.get_df(f"SELECT q.* FROM ({sql}) AS q WHERE false", df_type="polars").columns == frame.columns


# ---------------------------------------------------------------- operators and sensor


def test_execute_query_operator(hook: SmallHook, streams: Any) -> None:
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
def test_column_check_operator(hook: SmallHook, streams: Any, most: int, passes: bool) -> None:
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
def test_table_check_operator(hook: SmallHook, streams: Any, count: int, passes: bool) -> None:
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
def test_check_operator(hook: SmallHook, streams: Any, name: str, passes: bool) -> None:
    sql = "SELECT count(*), bool_and(unit = 'V') FROM streams WHERE collection = %s AND name = %s"
    operator = SQLCheckOperator(task_id="t", conn_id="btrdb_default", sql=sql, parameters=[streams[0], name])
    assert checked(operator) is passes


@pytest.mark.parametrize(("value", "passes"), [(3, True), (2.8, True), (2, False)])
def test_value_check_operator(hook: SmallHook, streams: Any, value: float, passes: bool) -> None:
    sql = f"SELECT count(*) FROM streams WHERE collection = '{streams[0]}'"
    operator = SQLValueCheckOperator(task_id="t", conn_id="btrdb_default", sql=sql, pass_value=value, tolerance=0.1)
    assert checked(operator) is passes


@pytest.mark.parametrize(("low", "passes"), [(1, True), ("SELECT count(*) FROM streams", True), (4, False)])
def test_threshold_check_operator(hook: SmallHook, streams: Any, low: Any, passes: bool) -> None:
    operator = SQLThresholdCheckOperator(
        task_id="t",
        conn_id="btrdb_default",
        sql=f"SELECT count(*) FROM streams WHERE collection = '{streams[0]}'",
        min_threshold="SELECT 3" if isinstance(low, str) else low,
        max_threshold=low if isinstance(low, str) else 5,
    )
    assert checked(operator) is passes


@pytest.mark.parametrize(("name", "found"), [("s1", True), ("s9", False)])
def test_sensor(hook: SmallHook, streams: Any, name: str, found: bool) -> None:
    sql = "SELECT count(*) FROM streams WHERE collection = %s AND name = %s"
    sensor = SqlSensor(task_id="t", conn_id="btrdb_default", sql=sql, parameters=[streams[0], name])
    assert bool(sensor.poke({})) is found
    empty = SqlSensor(task_id="t", conn_id="btrdb_default", sql="SELECT 1 WHERE false")
    assert not empty.poke({})
