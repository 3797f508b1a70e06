"""Operators and the sensor, run with a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_btrdb._airflow import AirflowFailException, BTrDBTransientException
from airflow_provider_btrdb.client import BTrDB, derived_uuid
from airflow_provider_btrdb.operators.points import BTrDBInsertOperator
from airflow_provider_btrdb.operators.query import BTrDBQueryOperator
from airflow_provider_btrdb.operators.streams import CreateStreamOperator
from airflow_provider_btrdb.testing.faults import Answer, LoseReply, Refuse

pytestmark = pytest.mark.usefixtures("connection")

# ---------------------------------------------------------------- CreateStreamOperator


def test_create_makes_what_is_missing_and_can_be_repeated(db: BTrDB, collection: str) -> None:
    rows = [{"collection": collection, "name": f"s{number}", "unit": "V"} for number in range(200)]
    result = CreateStreamOperator(task_id="t", streams=rows).execute({})
    assert result == {"streams": 200, "created": 200, "existed": 0, "updated": 0}
    again = CreateStreamOperator(task_id="t", streams=[*rows, {"collection": collection, "name": "new"}]).execute({})
    assert again == {"streams": 201, "created": 1, "existed": 200, "updated": 0}
    assert {stream.uuid for stream in db.streams_in_collection(collection)} == {
        derived_uuid(collection, name) for name in [*(row["name"] for row in rows), "new"]
    }


def test_create_takes_one_row(collection: str) -> None:
    row = {"collection": collection, "name": "x"}
    assert CreateStreamOperator(task_id="t", streams=row).execute({})["created"] == 1


def test_create_fails_for_good_naming_rows_after_doing_the_others(db: BTrDB, collection: str) -> None:
    rows = [{"collection": collection, "name": "good"}, {"collection": collection, "name": "n" * 256}]
    with pytest.raises(AirflowFailException, match="1 of 2 streams failed") as caught:
        CreateStreamOperator(task_id="t", streams=rows).execute({})
    assert "nnn" in str(caught.value)
    assert db.count_streams(collection) == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": "x", "unti": "V"}, "row 1: unknown column 'unti' .did you mean 'unit'"),
        ({"name": ""}, "row 1: name is missing"),
        ({"name": "x", "uuid": "abc"}, "row 1: uuid 'abc' is not a uuid"),
        ({"name": "x", "annotations": {"limit": 5}}, "annotation 'limit' is 5; annotations are text, so write '5'"),
        ("x", "row 1 is a str"),
    ],
)
def test_a_bad_row_changes_nothing(db: BTrDB, collection: str, row: Any, words: str) -> None:
    rows = [
        {"collection": collection, **row} if isinstance(row, dict) else row,
        {"collection": collection, "name": "y"},
    ]
    with pytest.raises(AirflowFailException, match=words):
        CreateStreamOperator(task_id="t", streams=rows).execute({})
    assert db.count_streams(collection) == 0


def test_create_is_worth_a_retry_when_the_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"conn_type": "btrdb", "host": "127.0.0.1", "port": 1, "extra": {"retry_total": 0}})
    monkeypatch.setenv("AIRFLOW_CONN_BTRDB_DEFAULT", text)
    with pytest.raises(BTrDBTransientException, match=r"127\.0\.0\.1:1"):
        CreateStreamOperator(task_id="t", streams={"collection": "c", "name": "n"}).execute({})


def test_failures_of_both_kinds_together_are_for_good(server: Any, db: BTrDB, collection: str) -> None:
    """A retry would mend one row and not the other, so somebody has to look."""
    rows = [{"collection": collection, "name": "n" * 256}, {"collection": collection, "name": "good"}]
    with (
        server.faults.inject("Create", Answer(419, "degraded"), first=1, last=1000),
        pytest.raises(BTrDBTransientException, match="degraded"),
    ):
        CreateStreamOperator(task_id="t", streams=rows[1:], btrdb_conn_id="impatient").execute({})
    with (
        server.faults.inject("Create", Answer(419, "degraded"), first=2, last=1000),
        pytest.raises(AirflowFailException, match="2 of 2 streams failed"),
    ):
        CreateStreamOperator(task_id="t", streams=rows, btrdb_conn_id="one_by_one").execute({})


@pytest.mark.parametrize("streams", [None, 5, "text"])
def test_something_that_is_no_list_of_rows_fails_for_good(streams: Any) -> None:
    with pytest.raises(AirflowFailException, match="must be a row or a list of rows"):
        CreateStreamOperator(task_id="t", streams=streams).execute({})


# ---------------------------------------------------------------- BTrDBQueryOperator


def test_query_returns_rows_as_dictionaries(db: BTrDB, collection: str) -> None:
    db.create(uuid4(), collection, {"name": "x", "unit": "V"}, {"k": None})
    operator = BTrDBQueryOperator(
        task_id="t", sql="SELECT name, annotations FROM streams WHERE collection = $1", parameters=[collection]
    )
    assert operator.execute({}) == [{"name": "x", "annotations": {"k": None}}]


def test_query_guards_xcom() -> None:
    operator = BTrDBQueryOperator(task_id="t", sql="SELECT generate_series(1, 6) AS n", max_xcom_rows=5)
    with pytest.raises(AirflowFailException, match="max_xcom_rows=5"):
        operator.execute({})
    operator.max_xcom_rows = 6
    assert len(operator.execute({})) == 6


def test_query_reads_sql_files(tmp_path: Path) -> None:
    (tmp_path / "query.sql").write_text("SELECT {{ 40 + 2 }} AS n")
    with DAG("d", template_searchpath=str(tmp_path)):
        operator = BTrDBQueryOperator(task_id="t", sql="query.sql")
    operator.resolve_template_files()
    operator.render_template_fields({})
    assert operator.sql == "SELECT 42 AS n"


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT nothing FROM nowhere", "DELETE FROM streams"])
def test_bad_sql_fails_for_good(sql: str) -> None:
    with pytest.raises(AirflowFailException, match="code 441"):
        BTrDBQueryOperator(task_id="t", sql=sql).execute({})


# ---------------------------------------------------------------- BTrDBInsertOperator


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("site\nDate,Time,a,b\n01/31/2020,24:00,1.5,-9900\n01/31/2020,01:00,0,2\n")
    return path


def insert(table: Path, collection: str, **arguments: Any) -> BTrDBInsertOperator:
    given = {
        "columns": {"a": f"{collection}/a", "b": f"{collection}/b"},
        "time_columns": ["Date", "Time"],
        "time_format": "%m/%d/%Y %H:%M",
        "utc_offset_hours": -9,
        "missing": ["-9900"],
        "skip_lines": 1,
        **arguments,
    }
    return BTrDBInsertOperator(task_id="t", files=str(table), **given)


@pytest.fixture
def streams(db: BTrDB, collection: str) -> Any:
    db.create_many([{"collection": collection, "name": name} for name in "ab"])
    return db.streams(f"{collection}/a", f"{collection}/b")


def test_insert_loads_columns_and_a_repeat_changes_nothing(streams: Any, table: Path, collection: str) -> None:
    expected = {"files": 1, "streams": 2, "points": 3, "inserted": 3, "missing": 1, "outside": 0}
    assert insert(table, collection).execute({}) == expected
    hour = 3_600_000_000_000
    midnight = 1_580_515_200_000_000_000 + 9 * hour  # 2020-02-01T00:00 at UTC-9
    a, b = streams.values()
    assert list(a) == [(midnight - 23 * hour, 0.0), (midnight, 1.5)]
    assert list(b) == [(midnight - 23 * hour, 2.0)]
    versions = streams.versions()
    assert insert(table, collection).execute({}) == {**expected, "inserted": 0}
    assert streams.versions() == versions


def test_insert_mends_a_changed_point(streams: Any, table: Path, collection: str) -> None:
    insert(table, collection).execute({})
    table.write_text(table.read_text().replace("1.5", "1.75"))
    assert insert(table, collection).execute({})["inserted"] == 2
    assert list(streams.values()[0])[1][1] == 1.75


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        (("-9900", "n/a"), {}, "line 3: b is 'n/a', which is not a number"),
        (("01/31/2020,01:00", "31/01/2020,01:00"), {}, r"table.csv, line 4: .*31/01/2020"),
        (("Date,Time,a,b", "Date,Time,a,c"), {}, r"table.csv has no column 'b'; it has Date, Time, a, c"),
        ((",0,2", ",nan,2"), {}, "line 4: a is 'nan'; BTrDB stores finite numbers only"),
        (("01/31/2020,01", "01/31/2120,01"), {}, "line 4: the time '01/31/2120 01:00' is outside"),
        (None, {"columns": {"a": "nobody/x"}}, "no stream is called nobody/x"),
        (None, {"columns": {"a": "abc"}}, "'abc' is neither a uuid nor collection/name"),
        (None, {"columns": {}}, "must map column names to streams"),
        (None, {"columns": ["a"]}, "must map column names to streams"),
        (None, {"utc_offset_hours": "nine"}, "utc_offset_hours is 'nine'"),
        (None, {"delimiter": ";;"}, "delimiter is ';;'"),
        (None, {"write_mode": "sometimes"}, "write_mode is 'sometimes'; it is replace, replace_range, retain, equal"),
    ],
)
def test_a_bad_table_changes_nothing(
    streams: Any, table: Path, collection: str, change: Any, arguments: dict[str, Any], words: str
) -> None:
    if change:
        table.write_text(table.read_text().replace(*change))
    with pytest.raises(AirflowFailException, match=words):
        insert(table, collection, **arguments).execute({})
    assert streams.versions() == [10, 10]


def test_two_columns_may_not_share_a_stream(streams: Any, table: Path, collection: str) -> None:
    columns = {"a": f"{collection}/a", "b": str(streams[0].uuid)}
    with pytest.raises(AirflowFailException, match=r"columns 'a' and 'b' both go to stream"):
        insert(table, collection, columns=columns, missing=["-9900", "n/a"]).execute({})
    with pytest.raises(AirflowFailException, match="files is empty"):
        BTrDBInsertOperator(task_id="t", files=[], columns=columns, time_columns="Time").execute({})
    assert streams.versions() == [10, 10]


def test_foreign_points_in_between_do_not_matter(streams: Any, table: Path, collection: str) -> None:
    insert(table, collection).execute({})
    a = streams[0].values()
    streams[0].insert([(int(a.times[0]) + 1, 7.0)])
    versions = streams.versions()
    assert insert(table, collection).execute({})["inserted"] == 0
    assert streams.versions() == versions


def test_a_lost_reply_of_never_is_never_retried(server: Any, streams: Any, table: Path, collection: str) -> None:
    with (
        server.faults.inject("Insert", LoseReply()) as fault,
        pytest.raises(AirflowFailException, match="0 of 2 points are certainly stored"),
    ):
        insert(table, collection, write_mode="never").execute({})
    assert fault.fired == 1
    assert streams.counts() == [2, 0]


def test_a_passing_failure_of_replace_is_worth_a_retry(
    server: Any, streams: Any, tmp_path: Path, collection: str
) -> None:
    path = tmp_path / "large.csv"
    path.write_text("t,a\n" + "".join(f"{number},{number}\n" for number in range(120_000)))
    operator = BTrDBInsertOperator(
        task_id="t", files=str(path), columns={"a": f"{collection}/a"}, time_columns="t", time_format="ns",
        btrdb_conn_id="impatient",
    )  # fmt: skip
    with server.faults.inject("Insert", Refuse(), first=2) as fault, pytest.raises(BTrDBTransientException):
        operator.execute({})
    assert fault.fired == 1
    assert operator.execute({})["points"] == 120_000
    assert streams.counts() == [120_000, 0]


def test_an_unreadable_file_is_named(streams: Any, tmp_path: Path, collection: str) -> None:
    with pytest.raises(AirflowFailException, match=r"absent\.csv cannot be read: No such file or directory"):
        insert(tmp_path / "absent.csv", collection).execute({})
