"""What docs/howto says of BTrDBAuditOperator and BTrDBAuditNotifier, beyond what the tests of the two look at."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb._airflow import AirflowFailException
from airflow_provider_btrdb.audit import AuditMessage, findings, load, news, runs
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.notifications.audit import BTrDBAuditNotifier
from airflow_provider_btrdb.operators.audit import BTrDBAuditOperator

pytestmark = pytest.mark.usefixtures("connection")

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
OPERATOR = (HOWTO / "BTrDBAuditOperator.md").read_text()
NOTIFIER = (HOWTO / "BTrDBAuditNotifier.md").read_text()
EXAMPLE = (Path(__file__).parents[2] / "example_dags" / "btrdb_audit.py").read_text()


@pytest.fixture
def prefix(db: BTrDB, collection: str) -> str:
    """Of two streams in as many collections; one lacks a unit."""
    db.create(uuid4(), f"{collection}/a", {"name": "s", "unit": "V"})
    db.create(uuid4(), f"{collection}/b", {"name": "s"})
    return f"{collection}/"


@pytest.fixture
def task(prefix: str, tmp_path: Path) -> Any:
    """`task({"required": "unit"}, ...)`: an audit that keeps its runs in `tmp_path/runs`."""

    def made(*checks: Any, suite: Any = None, **arguments: Any) -> BTrDBAuditOperator:
        given = suite or {"name": "s", "select": {"prefix": prefix}, "checks": list(checks)}
        return BTrDBAuditOperator(task_id="audit", suite=given, output_path=str(tmp_path / "runs"), **arguments)

    return made


@pytest.fixture
def ran(new_instance: Any) -> Any:
    """The context of the callbacks after a run."""
    return lambda task: new_instance().run(task)


# ---------------------------------------------------------------- both pages


@pytest.mark.parametrize("page", [OPERATOR, NOTIFIER], ids=["operator", "notifier"])
def test_the_code_of_a_page_is_that_of_the_example(page: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    for part in re.split(r"\n{2,}", code.strip("\n")):
        assert part in EXAMPLE


# ---------------------------------------------------------------- the operator


def test_what_stands_in_xcom_after_a_failure(task: Any, ran: Any) -> None:
    shown = json.loads("{" + re.findall(r"`\{(.*?)\}`\. The last three", OPERATOR, re.S)[0] + "}")
    contexts = [ran(task({"required": "unit"}, {"unique": "uuid"})) for _ in range(2)]
    assert [type(context["exception"]) for context in contexts] == [AirflowFailException] * 2
    first, second = (context["ti"].xcom["return_value"] for context in contexts)
    assert list(first) == list(shown)
    assert {key: type(value) for key, value in second.items()} == {key: type(value) for key, value in shown.items()}
    assert list(first["counts"]) == list(shown["counts"])
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z", shown["run_id"])
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z", first["run_id"])
    assert first["path"].endswith(f"/{first['run_id']}")
    assert shown["path"].endswith(f"/{shown['run_id']}")
    assert [(one["new"], one["fixed"], one["still"]) for one in (first, second)] == [(None, None, None), (0, 0, 1)]


def test_a_suite_in_the_dag_is_rendered_and_a_file_is_not(task: Any, prefix: str, tmp_path: Path) -> None:
    text = "name: '{{ who }}'\nselect: {prefix: PREFIX}\nchecks:\n- required: name\n".replace("PREFIX", prefix)
    file = tmp_path / "suite.yaml"
    file.write_text(text)
    given = {"name": "{{ who }}", "select": {"prefix": prefix}, "checks": [{"required": "name"}]}
    for suite in (given, str(file)):
        made = task(suite=suite)
        made.render_template_fields({"who": "us"})
        made.execute({})
    assert sorted(load(place).suite for place in runs(tmp_path / "runs")) == ["us", "{{ who }}"]


def test_a_drop_can_be_accepted_by_who_triggers_a_run(task: Any) -> None:
    made = task({"required": "unit"}, accept_drop="{{ params.accept_drop }}", shard="{{ part }}", shards=2)
    made.render_template_fields({"params": {"accept_drop": True}, "part": 1})
    assert (made.accept_drop, made.shard) == ("True", "1")


def test_mapped_tasks_divide_the_points(task: Any, ran: Any, tmp_path: Path) -> None:
    """`expand(shard=list(range(8)))` with `shards=8`."""
    for part in range(8):
        context = ran(task({"not_empty": True}, {"required": "unit"}, shard=part, shards=8))
        assert context["stream_label"] == f"shard {part} of 8"
    results = [load(place) for place in runs(tmp_path / "runs")]
    assert sum(result.checks[0].failed for result in results) == 2
    made = [result.shard for result in results if result.checks[1].outcome != "skipped"]
    assert made == [(0, 8)]


# ---------------------------------------------------------------- the notifier


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert news.SHOWN == 5
    assert "Five new failures of each check are named" in NOTIFIER
    assert f"more failures than a run stores ({findings.MOST_STORED:,})" in NOTIFIER


def test_checks_that_only_warn_are_not_told(task: Any, ran: Any) -> None:
    told: list[AuditMessage] = []
    BTrDBAuditNotifier(to=told.append).notify(ran(task({"required": "unit", "severity": "warn"})))
    assert told == []


def test_lines_stand_below_their_owner(task: Any, ran: Any) -> None:
    told: list[AuditMessage] = []
    checks = [{"required": "unit", "owner": "us"}, {"required": "ingress"}]
    BTrDBAuditNotifier(to=told.append).notify(ran(task(*checks)))
    (message,) = told
    assert set(message.by_owner) == {"us", ""}
    assert ("required unit" in message.by_owner["us"], "required unit" in message.by_owner[""]) == (True, False)
    assert all(lines in message.text for lines in message.by_owner.values())


def test_coverage_is_told_to_everybody(task: Any, ran: Any, prefix: str) -> None:
    suite = {
        "name": "s", "select": {"prefix": prefix}, "expect_at_least": 3,
        "defaults": {"owner": "us"}, "checks": [{"required": "name"}],
    }  # fmt: skip
    told: list[AuditMessage] = []
    BTrDBAuditNotifier(to=told.append).notify(ran(task(suite=suite)))
    assert "2 streams are seen, at least 3 are expected" in told[0].by_owner[""]


def test_it_needs_no_permission_at_btrdb(task: Any, ran: Any, server: Any) -> None:
    context = ran(task({"required": "unit"}))
    server.calls.clear()
    told: list[AuditMessage] = []
    BTrDBAuditNotifier(to=told.append).notify(context)
    assert (len(told), server.calls.records()) == (1, [])
