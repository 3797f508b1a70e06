"""BTrDBAuditOperator: where a suite comes from, what a run leaves, and which failures are for good."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_btrdb._airflow import AirflowFailException, BTrDBTransientException
from airflow_provider_btrdb.audit import load, runs
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.operators.audit import BTrDBAuditOperator
from airflow_provider_btrdb.testing.faults import Refuse

pytestmark = pytest.mark.usefixtures("connection")


@pytest.fixture
def audit(tmp_path: Path) -> Any:
    """Runs an audit task, with its runs in `tmp_path/runs`."""

    def run(suite: Any, context: Any = None, **arguments: Any) -> Any:
        operator = BTrDBAuditOperator(task_id="audit", suite=suite, output_path=f"{tmp_path}/runs/", **arguments)
        return operator.execute({} if context is None else context)

    return run


@pytest.fixture
def streams(db: BTrDB, collection: str) -> str:
    for name, unit in (("a", "V"), ("b", "V"), ("c", "")):
        db.create(uuid4(), f"{collection}/x", {"name": name, "unit": unit}, {"bus": "1"})
    return f"{collection}/"


def suite(prefix: str, *checks: Any, **more: Any) -> dict[str, Any]:
    return {"name": "s", "select": {"prefix": prefix}, "checks": list(checks), **more}


BUS = {"required": "annotations.bus"}
UNIT = {"required": "unit"}
UNIT_WARNS = {"required": "unit", "severity": "warn"}


def all_runs(tmp_path: Path) -> list[Any]:
    return [load(place) for place in sorted(runs(tmp_path / "runs"))]


# ---------------------------------------------------------------- what comes out


def test_what_passes_is_stored_and_told_in_short(streams: str, audit: Any, tmp_path: Path) -> None:
    context: dict[str, Any] = {}
    result = audit(suite(streams, BUS), context)
    (run,) = all_runs(tmp_path)
    assert result == {
        "path": f"{tmp_path}/runs/{run.run_id}",
        "run_id": run.run_id,
        "outcome": "pass",
        "counts": {"error": 0, "fail": 0, "warn": 0, "skipped": 0, "pass": 1},
        "new": None,
        "fixed": None,
        "still": None,
    }
    assert context["stream_label"] == "s"
    assert len(json.dumps(result)) < 1000
    assert audit(suite(streams, BUS))["new"] == 0


def test_the_button_leads_to_the_page_of_the_run(
    streams: str, audit: Any, new_instance: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(**arguments: Any) -> Any:
        ti = new_instance()
        with pytest.raises(AirflowFailException):
            audit(suite(streams, UNIT), {"ti": ti}, **arguments)
        assert (tmp_path / "runs" / ti.xcom["return_value"]["run_id"] / "report.html").is_file()
        return ti.xcom.get("audit_page"), ti.xcom["return_value"]["run_id"]

    assert page()[0] is None
    url, run_id = page(browse_url="HTTPS://files.example.com/audits/")
    assert url == f"HTTPS://files.example.com/audits/{run_id}/report.html"
    monkeypatch.setenv("AIRFLOW__BTRDB__AUDIT_PATH", f"{tmp_path}/runs/")
    assert page()[0] is None, "nobody wants pages in Airflow"
    monkeypatch.setenv("AIRFLOW__BTRDB__AUDIT_PAGE", "True")
    url, run_id = page()
    shown = hasattr(AirflowPlugin, "external_views")
    assert url == (f"/btrdb/audits/{run_id}/report.html" if shown else None)
    monkeypatch.setenv("AIRFLOW__BTRDB__AUDIT_PATH", f"{tmp_path}/elsewhere")
    assert page()[0] is None
    index = (tmp_path / "runs" / "index.html").read_text()
    assert index.count("/report.html") == len(all_runs(tmp_path)) == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"browse_url": "javascript:alert(1)//"}, r"browse_url is 'javascript:.*' and must begin with https://"),
        ({"browse_url": " https://a"}, "browse_url is ' https://a' and must begin"),
        ({"output_path": ""}, "output_path is '': name the folder of the runs"),
        ({"output_path": None}, "output_path is None: name the folder of the runs"),
    ],
)
def test_places_that_are_none_fail_for_good_before_anything_is_asked(
    arguments: dict[str, Any], words: str, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.calls.clear()
    places = {"output_path": f"{tmp_path}/runs", **arguments}
    with pytest.raises(AirflowFailException, match=words):
        BTrDBAuditOperator(task_id="audit", suite=suite("a/", BUS), **places).execute({})
    assert server.calls.counts() == {}
    assert list(tmp_path.iterdir()) == []


def test_what_warns_is_in_the_log_only(streams: str, audit: Any, caplog: Any, capfd: Any) -> None:
    """Airflow 3 prints what tasks log, and Airflow 2 leaves it to Python's logging."""
    result = audit(suite(streams, UNIT_WARNS))
    assert (result["outcome"], result["counts"]["warn"]) == ("warn", 1)
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    said = "\n".join(warned) + capfd.readouterr().out.partition("[warning  ] PASS    coverage")[2]
    assert "WARN    required unit: 1 of 3 streams fail" in said
    assert f"{streams}x/c: lacks unit" in said
    assert result["path"] in said


def test_all_checks_run_and_are_stored_before_the_task_fails_for_good(
    streams: str, audit: Any, db: BTrDB, tmp_path: Path
) -> None:
    checks = suite(streams, UNIT, BUS, {"unique": ["collection", "name"]})
    with pytest.raises(AirflowFailException, match=r"1 failed checks: required unit: 1 of 3 .*the run is in /"):
        audit(checks)
    (first,) = all_runs(tmp_path)
    assert [check.outcome for check in first.checks] == ["fail", "pass", "pass"]
    db.create(uuid4(), f"{streams}x", {"name": "d"}, {"bus": "1"})
    with pytest.raises(AirflowFailException, match="2 of 4"):
        audit(checks)
    *_, second = all_runs(tmp_path)
    assert second.last_run_id == first.run_id
    comparison = second.checks[0].comparison
    assert (comparison.new, comparison.fixed, comparison.still) == (1, 0, 1)


def test_failures_are_kept_as_wanted_and_compared(streams: str, audit: Any, tmp_path: Path) -> None:
    for more in ({"failures_format": "parquet"}, {}, {"failures_format": "parquet"}):
        result = audit(suite(streams, UNIT_WARNS), **more)
    assert (result["new"], result["fixed"], result["still"]) == (0, 0, 1)
    kept = [path.name for path in sorted((tmp_path / "runs").glob("*/failures.*"))]
    assert kept == ["failures.parquet", "failures.jsonl", "failures.parquet"]


def test_failures_that_cannot_be_kept_fail_the_task_before_anything_is_asked(
    streams: str, audit: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.calls.clear()
    with pytest.raises(AirflowFailException, match="failures are kept as jsonl or parquet, not as 'csv'"):
        audit(suite(streams, UNIT), failures_format="csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(AirflowFailException, match=r"pyarrow is not installed: .*\[arrow\]"):
        audit(suite(streams, UNIT), failures_format="parquet")
    assert server.calls.records() == []


def test_a_check_that_cannot_run_fails_the_task_after_the_others(streams: str, audit: Any, tmp_path: Path) -> None:
    refused = {"sql": "SELECT nothing FROM streams"}
    with pytest.raises(AirflowFailException, match=r"1 checks that could not run.*the server refuses the query"):
        audit(suite(streams, refused, BUS))
    (run,) = all_runs(tmp_path)
    assert [check.outcome for check in run.checks] == ["error", "pass"]


def test_a_connection_that_breaks_is_retried_and_stores_nothing(
    streams: str, audit: Any, server: Any, tmp_path: Path
) -> None:
    away = Refuse(grpc.StatusCode.UNAVAILABLE)
    with server.faults.inject("LookupStreams", away), pytest.raises(BTrDBTransientException):
        audit(suite(streams, BUS), use_sql=False, btrdb_conn_id="impatient")
    assert all_runs(tmp_path) == []


def test_a_drop_fails_until_it_is_accepted(streams: str, audit: Any, db: BTrDB) -> None:
    one = suite(streams, BUS)
    audit(one)
    db.streams(f"{streams}x/b")[0].obliterate()
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="2 streams are seen, 3 were before"):
            audit(one)
    assert audit(one, accept_drop="True")["outcome"] == "pass"
    assert audit(one, accept_drop="False")["outcome"] == "pass"
    with pytest.raises(AirflowFailException, match="accept_drop is 'perhaps' and must be True or False"):
        audit(one, accept_drop="perhaps")


def test_sql_is_asked_unless_told_otherwise(streams: str, audit: Any, server: Any, tmp_path: Path) -> None:
    server.calls.clear()
    audit(suite(streams, BUS), use_sql=False)
    assert server.calls.count("SQLQuery") == 0
    audit(suite(streams, BUS))
    assert server.calls.count("SQLQuery") > 0
    assert [run.checks[0].how for run in all_runs(tmp_path)] == ["listing", "sql"]


def test_the_first_shard_checks_metadata(db: BTrDB, collection: str, audit: Any, tmp_path: Path) -> None:
    for number in range(8):
        stream = db.create(uuid4(), f"{collection}/{number}", {"name": "s"})
        stream.insert([(1, 1.0)])
    whole = suite(f"{collection}/", {"not_empty": True}, {"unique": ["collection", "name"]})
    labels = []
    for part in ("0", 1):
        context: dict[str, Any] = {}
        audit(whole, context, shard=part, shards="2")
        labels.append(context["stream_label"])
    assert labels == ["shard 0 of 2", "shard 1 of 2"]
    first, second = sorted(all_runs(tmp_path), key=lambda run: run.shard)
    assert [(run.checks[1].outcome) for run in (first, second)] == ["pass", "skipped"]
    assert first.checks[0].checked + second.checks[0].checked == 8
    audit(whole, shard=0, shards=2)
    (again,) = [run for run in all_runs(tmp_path) if run.run_id not in (first.run_id, second.run_id)]
    assert again.last_run_id == first.run_id, "what another shard found is no comparison"
    with pytest.raises(AirflowFailException, match="shard is 2 of shards 2"):
        audit(whole, shard=2, shards=2)


# ---------------------------------------------------------------- where a suite comes from

TEXT = "name: s\nselect: {{prefix: {prefix}}}\nchecks:\n- required: annotations.bus\n"


def test_a_suite_is_a_file_a_mapping_or_a_text(streams: str, audit: Any, tmp_path: Path) -> None:
    text = TEXT.format(prefix=streams)
    as_yaml, as_json = tmp_path / "nightly.yaml", tmp_path / "NIGHTLY.JSON"
    as_yaml.write_text(text)
    as_json.write_text(json.dumps(suite(streams, BUS)))
    given = [str(as_yaml), f"file://{as_yaml}", str(as_json), text, "\n" + as_json.read_text(), suite(streams, BUS)]
    for one in given:
        assert audit(one)["counts"]["pass"] == 1
    assert [run.source for run in all_runs(tmp_path)] == [*given[:3], "suite", "suite", "suite"]
    assert {run.coverage.streams for run in all_runs(tmp_path)} == {3}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("/no/such.yaml", "there is no suite at /no/such.yaml"),
        ("suite.txt", r"suite is 'suite.txt' and must end in .yaml or .json"),
        (None, "suite is None: give a path, a mapping, or the text of a suite"),
        ({"name": "s"}, "checks: is missing"),
        ({}, "checks: is missing"),
        ({"checks": [{"required": {1, 2}}]}, "the suite is no data that JSON can hold"),
        ({"checks": [{"require": "unit"}, {"unique": "nam"}]}, r"(?s)2 faults.*line 1, .*require.*line 2, unique"),
        ("checks:\n- require: unit\n", "suite, line 2, require: there is no such check; did you mean 'required'"),
    ],
)
def test_a_faulty_suite_fails_for_good_before_anything_is_asked(
    given: Any, words: str, audit: Any, server: Any, tmp_path: Path
) -> None:
    server.calls.clear()
    with pytest.raises(AirflowFailException, match=words):
        audit(given)
    assert server.calls.counts() == {}
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_no_text_fails_for_good(audit: Any, tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(AirflowFailException, match="is not UTF-8 text"):
        audit(str(file))


def test_a_last_run_that_cannot_be_read_fails_for_good(streams: str, audit: Any, tmp_path: Path) -> None:
    path = audit(suite(streams, BUS))["path"]
    (Path(path) / "run.json").write_text('{"format": 9}')
    with pytest.raises(AirflowFailException, match="is no run of this version"):
        audit(suite(streams, BUS))
