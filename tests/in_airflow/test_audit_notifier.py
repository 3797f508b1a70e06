"""BTrDBAuditNotifier: who gets what, when it is told again, and what it leaves alone."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.common.compat.sdk import BaseNotifier

from airflow_provider_btrdb.audit import AuditMessage
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.notifications.audit import BTrDBAuditNotifier
from airflow_provider_btrdb.operators.audit import BTrDBAuditOperator
from airflow_provider_btrdb.operators.connection import BTrDBConnectionCheckOperator

pytestmark = pytest.mark.usefixtures("connection")


class Mail(BaseNotifier):
    """Another provider's notifier: it renders its templates, and sends."""

    template_fields = ("subject", "body")

    def __init__(self, sent: list[tuple[str, str]]) -> None:
        super().__init__()
        self.sent = sent
        self.subject, self.body = "{{ audit.subject }}", "<pre>{{ audit.text | e }}</pre>"

    def notify(self, context: Any) -> None:
        self.sent.append((self.subject, self.body))


class Nightly:
    """An audit that is made again and again, and the callback after it."""

    def __init__(self, prefix: str, folder: Path, new_instance: Any) -> None:
        self._prefix, self.folder, self._new_instance = prefix, folder, new_instance

    def run(self, notifier: BTrDBAuditNotifier, *, check: Any = None, **arguments: Any) -> None:
        suite = {"name": "s", "select": {"prefix": self._prefix}, "checks": [check or {"required": "unit"}]}
        arguments = {"suite": suite, "output_path": str(self.folder), **arguments}
        notifier.notify(self._new_instance().run(BTrDBAuditOperator(task_id="audit", **arguments)))


@pytest.fixture
def nightly(db: BTrDB, collection: str, tmp_path: Path, new_instance: Any) -> Nightly:
    db.create(uuid4(), collection, {"name": "a<b"})
    return Nightly(collection, tmp_path / "runs", new_instance)


def test_a_function_gets_each_change_once(nightly: Nightly, db: BTrDB, collection: str) -> None:
    told: list[AuditMessage] = []
    notifier = BTrDBAuditNotifier(to=told.append)
    nightly.run(notifier)
    nightly.run(notifier)
    assert [message.subject for message in told] == ["Audit s: fail (1 fail)."]
    assert told[0].path.startswith(f"{nightly.folder}/2")
    assert (Path(told[0].path) / "run.json").exists()
    assert f"{collection}/a<b: lacks unit" in told[0].by_owner[""]
    db.streams(f"{collection}/a<b")[0].update(tags={"unit": "V"})
    nightly.run(notifier)
    assert [message.subject for message in told[1:]] == ["Audit s: pass (1 pass)."]
    assert "(1 resolved)" in told[1].text


def test_runs_of_either_format_are_told(nightly: Nightly, db: BTrDB, collection: str) -> None:
    told: list[AuditMessage] = []
    notifier = BTrDBAuditNotifier(to=told.append)
    nightly.run(notifier)
    nightly.run(notifier, failures_format="parquet")
    assert len(told) == 1
    db.create(uuid4(), collection, {"name": "b"})
    nightly.run(notifier, failures_format="parquet")
    assert f"(1 new, 0 resolved)\n    {collection}/b: lacks unit" in told[1].text


def test_other_notifiers_render_the_message_each_time_anew(nightly: Nightly, db: BTrDB, collection: str) -> None:
    sent: list[tuple[str, str]] = []
    notifier = BTrDBAuditNotifier(to=[Mail(sent)])
    nightly.run(notifier)
    db.streams(f"{collection}/a<b")[0].update(tags={"unit": "V"})
    nightly.run(notifier)
    assert [subject for subject, _ in sent] == ["Audit s: fail (1 fail).", "Audit s: pass (1 pass)."]
    assert sent[0][1].startswith("<pre>Audit s: fail")
    assert f"{collection}/a&lt;b: lacks unit" in sent[0][1]


class Broken(BaseNotifier):
    def notify(self, context: Any) -> None:
        raise OSError("the chat is away")


@pytest.mark.parametrize("broken", [Broken(), lambda _: Broken().notify({})], ids=["notifier", "function"])
def test_what_does_not_reach_everybody_comes_again(nightly: Nightly, broken: Any) -> None:
    told: list[AuditMessage] = []
    with pytest.raises(OSError, match="the chat is away"):
        nightly.run(BTrDBAuditNotifier(to=[broken, told.append]))
    assert len(told) == 1
    nightly.run(BTrDBAuditNotifier(to=told.append))
    nightly.run(BTrDBAuditNotifier(to=told.append))
    assert [message.subject for message in told] == ["Audit s: fail (1 fail)."] * 2


def test_while_it_is_quiet_nothing_is_told(nightly: Nightly, db: BTrDB, collection: str) -> None:
    told: list[AuditMessage] = []
    nightly.run(BTrDBAuditNotifier(to=told.append, quiet=timedelta(hours=1)))
    db.create(uuid4(), collection, {"name": "c"})
    nightly.run(BTrDBAuditNotifier(to=told.append, quiet=timedelta(hours=1)))
    assert len(told) == 1
    nightly.run(BTrDBAuditNotifier(to=told.append))
    assert "(1 new, 0 resolved)" in told[1].text


def test_a_check_that_comes_back_is_told_again(nightly: Nightly) -> None:
    told: list[AuditMessage] = []
    notifier = BTrDBAuditNotifier(to=told.append)
    for check in ({"required": "unit"}, {"required": "name"}, {"required": "unit"}):
        nightly.run(notifier, check=check)
    assert [message.subject for message in told] == ["Audit s: fail (1 fail)."] * 2


def test_shards_are_told_apart(nightly: Nightly) -> None:
    told: list[AuditMessage] = []
    notifier = BTrDBAuditNotifier(to=told.append)
    for shard in (0, 1, 0, 1):
        nightly.run(notifier, check={"not_empty": True}, shard=shard, shards=2)
    assert len(told) == 1
    assert len(list(nightly.folder.glob("told-*.json"))) == 1
    nightly.run(notifier, check={"not_empty": True})
    assert len(told) == 2
    assert len(list(nightly.folder.glob("told-*.json"))) == 2


def test_values_of_points_stay_where_they_are(nightly: Nightly, db: BTrDB, collection: str) -> None:
    db.streams(f"{collection}/a<b")[0].insert([(time.time_ns() - 12 * 3600 * 10**9, 7654.25)])
    told: list[AuditMessage] = []
    rule = {"in_range": {"max": 60, "last": "1d"}}
    nightly.run(BTrDBAuditNotifier(to=told.append), check=rule)
    (run,) = nightly.folder.glob("2*/failures.jsonl")
    assert "7654.25" in run.read_text()
    assert told[0].by_owner[""].endswith(f"\n    {collection}/a<b")


def test_an_audit_without_a_result_is_told_every_time(nightly: Nightly) -> None:
    told: list[AuditMessage] = []
    for _ in range(2):
        nightly.run(BTrDBAuditNotifier(to=told.append), suite="/no/such.yaml")
    assert {message.subject for message in told} == {"Audit dag.audit: no result"}
    assert [message.text for message in told] == [
        "Audit dag.audit: no result in the run manual.\n\nthere is no suite at /no/such.yaml"
    ] * 2


def test_a_success_that_leaves_no_xcom_is_no_message(new_instance: Any) -> None:
    told: list[AuditMessage] = []
    task = BTrDBAuditOperator(task_id="audit", suite="s.yaml", output_path="/tmp", do_xcom_push=False)
    BTrDBAuditNotifier(to=told.append)({"dag": None, "task": task, "ti": new_instance()})
    assert told == []


def test_other_tasks_are_left_alone(new_instance: Any) -> None:
    told: list[AuditMessage] = []
    task = BTrDBConnectionCheckOperator(task_id="look")
    BTrDBAuditNotifier(to=told.append)({"dag": None, "task": task, "ti": new_instance()})
    assert told == []
