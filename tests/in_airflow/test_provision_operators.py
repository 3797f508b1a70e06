"""Plans in files, their application, and what stands between the two."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import yaml

from airflow_provider_btrdb._airflow import AirflowFailException, BTrDBTransientException
from airflow_provider_btrdb.client import BTrDB, connect, derived_uuid
from airflow_provider_btrdb.operators.provision import (
    BTrDBApplyOperator,
    BTrDBPlanOperator,
    ProvisionStreamsOperator,
)
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.faults import Answer, Refuse

try:
    from airflow.sdk.definitions.template import literal  # airflow.sdk has it from 3.1 on
except ImportError:  # Airflow 2
    from airflow.utils.template import literal

API_KEY = "sentinel-key-that-must-never-be-seen"
NOTHING = dict.fromkeys(("create", "update", "move", "destroy", "hidden", "ambiguous", "taken", "unchanged"), 0)
NOTHING["unmanaged"] = 0
UNTOUCHED = dict.fromkeys(("created", "updated", "destroyed", "unchanged", "stale", "failed"), 0)

pytestmark = pytest.mark.usefixtures("connection")


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Any]:
    """Runs a plan task, with files in `tmp_path`."""

    def run(spec: Any, **arguments: Any) -> Any:
        operator = BTrDBPlanOperator(task_id="plan", spec=spec, output_path=str(tmp_path), **arguments)
        return operator.execute({})

    return run


@pytest.fixture
def provision(tmp_path: Path) -> Callable[..., Any]:
    """Runs a task that plans and applies."""

    def run(spec: Any, context: Any = None, **arguments: Any) -> Any:
        operator = ProvisionStreamsOperator(task_id="both", spec=spec, output_path=str(tmp_path), **arguments)
        return operator.execute({} if context is None else context)

    return run


def apply(given: Any, **arguments: Any) -> Any:
    return BTrDBApplyOperator(task_id="apply", plan=given, **arguments).execute({})


def rows(collection: str, *names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"collection": collection, "name": name, "unit": "V", **more} for name in names]


def results(path: str) -> list[tuple[str, str]]:
    """Name and outcome of each change, as the file has them."""
    found = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [(row["name"], row["outcome"]) for row in found]


# ---------------------------------------------------------------- plan, then apply


def test_a_plan_is_two_files_and_a_small_xcom_and_changes_nothing(
    db: BTrDB, collection: str, plan: Any, tmp_path: Path
) -> None:
    result = plan(rows(collection, *(f"s{number}" for number in range(500))))
    assert result == {
        "path": f"{tmp_path}/plan.plan.json",
        "sha256": result["sha256"],
        "page": f"{tmp_path}/plan.plan.html",
        "verdict": "changes",
        "counts": {**NOTHING, "create": 500},
        "summary": "Plan: 500 to create, 0 unchanged.",
    }
    assert len(json.dumps(result)) < 1000
    assert len(json.loads(Path(result["path"]).read_text())["changes"]) == 500
    page = Path(result["page"]).read_text()
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert result["sha256"] in page
    assert {path.name for path in tmp_path.iterdir()} == {"plan.plan.json", "plan.plan.html"}
    assert db.count_streams(collection) == 0


def test_apply_makes_the_plan_come_true_and_the_next_plan_is_empty(
    db: BTrDB, collection: str, plan: Any, tmp_path: Path
) -> None:
    old = db.create(uuid4(), collection, {"name": "b", "unit": "A"}, {"site": "north", "kept": "1"})
    wanted = rows(collection, "a", "b", annotations={"site": "south"})
    result = apply(plan(wanted))
    assert result == {
        "path": f"{tmp_path}/plan.results.jsonl",
        "sha256": result["sha256"],
        "counts": {**UNTOUCHED, "created": 1, "updated": 1},
        "verified": True,
    }
    assert results(result["path"]) == [("a", "created"), ("b", "updated")]
    old.refresh()
    assert (old.unit, old.annotations) == ("V", {"site": "south", "kept": "1"})
    (made,) = db.streams(f"{collection}/a")
    assert made.uuid == derived_uuid(collection, "a")
    again = plan(wanted)
    assert (again["verdict"], again["counts"]) == ("empty", {**NOTHING, "unchanged": 2})
    assert apply(again)["counts"] == UNTOUCHED


def test_another_hash_than_the_approved_one_is_refused(db: BTrDB, collection: str, plan: Any) -> None:
    approved = plan(rows(collection, "a"))
    path = Path(approved["path"])
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"z"'))
    with pytest.raises(AirflowFailException, match=f"not the plan that was approved: .* not {approved['sha256']}"):
        apply(approved)
    assert db.count_streams(collection) == 0


def test_the_hash_that_is_given_counts_before_the_one_in_xcom(db: BTrDB, collection: str, plan: Any) -> None:
    approved = plan(rows(collection, "a"))["sha256"]
    later = plan(rows(collection, "a", "b"))
    with pytest.raises(AirflowFailException, match="not the plan that was approved"):
        apply(later, sha256=approved)
    assert db.count_streams(collection) == 0
    assert apply(later["path"], sha256=later["sha256"].upper())["counts"]["created"] == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("/plans/p.json", "sha256 is missing: it says which plan at /plans/p.json was approved"),
        ({"sha256": "0"}, "give what a plan task left in XCom, or a path"),
        (None, "give what a plan task left in XCom, or a path"),
        ({"path": "/no/such/plan.json", "sha256": "0"}, "there is no plan at /no/such/plan.json"),
    ],
)
def test_what_is_no_plan(given: Any, says: str) -> None:
    with pytest.raises(AirflowFailException, match=says):
        apply(given)


def test_what_somebody_changed_meanwhile_is_stale_and_the_rest_is_done(db: BTrDB, collection: str, plan: Any) -> None:
    stream = db.create(uuid4(), collection, {"name": "b", "unit": "A"})
    made = plan(rows(collection, "a", "b"))
    stream.update(tags={"unit": "Hz"})
    with pytest.raises(AirflowFailException, match=r"1 of 2 changes were not made: .*/b is stale .*results\.jsonl"):
        apply(made)
    assert results(made["path"].replace("plan.json", "results.jsonl")) == [("a", "created"), ("b", "stale")]
    stream.refresh()
    assert stream.unit == "Hz"


# ---------------------------------------------------------------- destroying


def test_nothing_is_destroyed_unless_both_say_so_and_within_the_limit(
    db: BTrDB, collection: str, plan: Any, provision: Any
) -> None:
    for name in ("old1", "old2"):
        db.create(uuid4(), collection, {"name": name})
    wanted = rows(collection, "a")
    kept = provision(wanted, prefixes=collection)
    assert (kept["plan"]["verdict"], kept["plan"]["counts"]["unmanaged"]) == ("changes", 2)
    doomed = plan(wanted, prefixes=[collection], prune=True)
    assert (doomed["verdict"], doomed["counts"]["destroy"]) == ("destructive", 2)
    with pytest.raises(AirflowFailException, match="the plan destroys 2 streams: that needs prune"):
        apply(doomed)
    with pytest.raises(AirflowFailException, match="destroys 2 streams, and max_destroy allows 1"):
        apply(doomed, prune=True, max_destroy=1)
    with pytest.raises(AirflowFailException, match="destroys 2 streams, and max_destroy allows 1"):
        provision(wanted, prefixes=[collection], prune=True, max_destroy=1)
    assert db.count_streams(collection) == 3
    assert apply(doomed, prune=True, max_destroy=2)["counts"]["destroyed"] == 2
    assert [stream.name for stream in db.streams_in_collection(collection)] == ["a"]


# ---------------------------------------------------------------- both in one


def test_plan_only_tells_what_drifted_and_leaves_it(db: BTrDB, collection: str, provision: Any) -> None:
    wanted = rows(collection, "a", "b")
    assert provision(wanted)["applied"]["counts"]["created"] == 2
    db.streams(f"{collection}/a")[0].update(tags={"unit": "A"})
    report = provision(wanted, plan_only=True)
    assert report["applied"] is None
    assert report["plan"]["counts"] == {**NOTHING, "update": 1, "unchanged": 1}
    assert db.streams(f"{collection}/a")[0].unit == "A"


def test_a_retry_does_only_what_is_left(server: Any, db: BTrDB, collection: str, plan: Any, tmp_path: Path) -> None:
    made = plan(rows(collection, *(f"s{number}" for number in range(10))))
    lost = Refuse(grpc.StatusCode.UNAVAILABLE)
    with server.faults.inject("Create", lost, first=7, last=100), pytest.raises(BTrDBTransientException) as caught:
        apply(made, btrdb_conn_id="one_by_one")
    assert "4 of 10 changes were not made" in str(caught.value)
    assert db.count_streams(collection) == 6
    server.calls.clear()
    result = apply(made, btrdb_conn_id="one_by_one")
    assert server.calls.count("Create") == 4
    assert result["counts"] == {**UNTOUCHED, "created": 4, "unchanged": 6}
    assert {stream.property_version for stream in db.streams_in_collection(collection)} == {1}
    assert db.count_streams(collection) == 10


def test_one_failure_that_stays_makes_the_task_fail_for_good(
    server: Any, db: BTrDB, collection: str, provision: Any
) -> None:
    wanted = rows(collection, "a", "b", "c")
    refuse = Refuse(grpc.StatusCode.UNAVAILABLE)
    with (
        server.faults.inject("Create", refuse, first=1),
        server.faults.inject("Create", Answer(403, "no"), first=2),
        pytest.raises(AirflowFailException, match="2 of 3 changes were not made"),
    ):
        provision(wanted, btrdb_conn_id="one_by_one")
    assert db.count_streams(collection) == 1


def test_a_failed_verification_fails_the_task(server: Any, collection: str, plan: Any) -> None:
    made = plan(rows(collection, "a"))
    refuse = Refuse(grpc.StatusCode.UNAVAILABLE)
    with (
        server.faults.inject("LookupStreams", refuse, first=2, last=9),
        pytest.raises(BTrDBTransientException, match="everything was applied, but reading it again failed"),
    ):
        apply(made, btrdb_conn_id="impatient")
    assert apply(made, verify=False)["verified"] is False


def test_without_an_alias_to_emit_through_nothing_is_made(db: BTrDB, collection: str, provision: Any) -> None:
    with pytest.raises(AirflowFailException, match="needs an AssetAlias among the outlets"):
        provision(rows(collection, "a"), emit_asset=True)
    assert db.count_streams(collection) == 0


def test_a_stale_stream_is_worth_a_retry_where_that_makes_a_new_plan(
    server: Any, db: BTrDB, collection: str, provision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = db.create(uuid4(), collection, {"name": "a", "unit": "A"})
    applied = ProvisionStreamsOperator._applied

    def after_somebody_else(*arguments: Any, **options: Any) -> Any:
        stream.update(annotations={"theirs": "1"})
        return applied(*arguments, **options)

    monkeypatch.setattr(ProvisionStreamsOperator, "_applied", after_somebody_else)
    with pytest.raises(BTrDBTransientException, match="/a is stale"):
        provision(rows(collection, "a"))
    monkeypatch.setattr(ProvisionStreamsOperator, "_applied", applied)
    assert provision(rows(collection, "a"))["applied"]["counts"] == {**UNTOUCHED, "updated": 1}


# ---------------------------------------------------------------- specifications


def test_templates_of_a_file_are_rendered_after_it_was_read_and_by_its_own_names(
    db: BTrDB, collection: str, tmp_path: Path
) -> None:
    file = tmp_path / "streams.yaml"
    entry = {
        "for_each": {"bus": "01..03"},
        "collection": "{{ base }}/bus{{ bus }}",
        "name": "x",
        "annotations": {"site": "{{ site }}"},
    }
    file.write_text(yaml.safe_dump({"streams": [entry]}))
    operator = BTrDBPlanOperator(
        task_id="plan",
        spec=f"{tmp_path}/{{{{ 'streams' }}}}.yaml",
        output_path=str(tmp_path / "out"),
        spec_params={"base": collection, "site": "{{ run_id }}: [1, 'x']\nunit: V"},
    )
    operator.render_template_fields({"run_id": "r"})
    apply(operator.execute({}))
    streams = list(db.lookup_iter(collection))
    assert sorted(stream.collection for stream in streams) == [f"{collection}/bus0{n}" for n in (1, 2, 3)]
    assert {stream.annotations["site"] for stream in streams} == {"r: [1, 'x']\nunit: V"}
    assert {stream.unit for stream in streams} == {""}


def test_a_mapping_is_a_file_that_was_read_and_rows_are_never_rendered(
    db: BTrDB, collection: str, provision: Any
) -> None:
    provision({"streams": [{"for_each": {"n": "1..2"}, "collection": collection, "name": "s{{ n }}"}]})
    provision(rows(collection, "{{ n }}"))
    provision(rows(collection, "one")[0])
    assert sorted(stream.name for stream in db.streams_in_collection(collection)) == ["one", "s1", "s2", "{{ n }}"]


def test_literal_keeps_the_templates_of_a_mapping_from_airflow(collection: str, tmp_path: Path) -> None:
    entry = {"for_each": {"n": "1..2"}, "collection": collection, "name": "s{{ n }}"}
    operator = BTrDBPlanOperator(task_id="plan", spec=literal({"streams": [entry]}), output_path=str(tmp_path))
    operator.render_template_fields({"n": "wrong"})
    assert operator.execute({})["counts"]["create"] == 2


def test_defaults_and_a_namespace_for_a_table(db: BTrDB, collection: str, tmp_path: Path, provision: Any) -> None:
    file = tmp_path / "streams.csv"
    file.write_text(f"collection,name,annotations.site\n{collection},a,north\n{collection},b,\n")
    namespace = uuid4()
    provision(str(file), defaults={"unit": "V", "annotations": {"site": "south"}}, namespace=str(namespace))
    a, b = sorted(db.streams_in_collection(collection), key=lambda stream: stream.name)
    assert (a.unit, a.annotations, b.annotations) == ("V", {"site": "north"}, {"site": "south"})
    assert a.uuid == derived_uuid(collection, "a", namespace=namespace)


@pytest.mark.parametrize(
    ("spec", "arguments", "says"),
    [
        ("/no/such.yaml", {}, "there is no specification at /no/such.yaml"),
        ("streams.txt", {}, r"must end in .yaml, .json or .csv"),
        (7, {}, "spec is 7 and must be a row or a list of rows"),
        ({"streams": [{"collection": "c", "name": "a"}, {"collection": "c", "nam": 1}]}, {}, r"spec, streams, line 2"),
        ({"streams": [{"collection": "c", "name": b"a"}]}, {}, "no data that JSON can hold"),
        ([{"collection": "c", "name": "a", "annotations": {"k": 5}}], {}, 'spec, row 1, annotations.k: .*write "5"'),
        ([], {"prune": True}, "prune needs prefixes"),
        ([], {"namespace": "n"}, "namespace is 'n', which is no uuid"),
        ([], {"browse_url": "JavaScript:alert(1)"}, "browse_url is 'JavaScript:.*' and must begin with https://"),
        ([], {"shard": 1}, "shard is 1 of shards None"),
        ([], {"shard": "2", "shards": "2"}, "give both as whole numbers, shard counted from 0"),
    ],
)
def test_wrong_input_fails_for_good_and_asks_the_server_nothing(
    server: Any, plan: Any, spec: Any, arguments: Any, says: str
) -> None:
    server.calls.clear()
    with pytest.raises(AirflowFailException, match=says):
        plan(spec, **arguments)
    assert server.calls.counts() == {}


def test_all_faults_of_a_file_are_told_at_once(collection: str, tmp_path: Path, plan: Any) -> None:
    file = tmp_path / "streams.yaml"
    file.write_text("streams:\n- {collection: c, name: a, untt: V}\n- {collection: c}\n- {collection: c, name: 5}\n")
    with pytest.raises(AirflowFailException, match="3 faults") as caught:
        plan(str(file))
    for line in (2, 3, 4):
        assert f"{file}, line {line}, " in str(caught.value)


# ---------------------------------------------------------------- keys


def test_a_key_that_sees_two_of_five_prefixes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collection: str, plan: Any
) -> None:
    """Nothing false is planned or created, and nothing hidden is called missing or unmanaged."""
    places = [f"{collection}/{letter}/" for letter in "abcde"]
    everything = {permission: [""] for permission in ("read", "insert", "delete", "obliterate")}
    some = {"read": places[:2], "insert": places[:2], "obliterate": places[:2]}
    keys = {"keys": {"admin": {"key": "admin-key", **everything}, "user": {"key": "user-key", **some}}}
    wanted = [row for place in places for row in rows(f"{place}x", "p", "q", "r", "new")]
    with devserver(keys=keys) as guarded, connect(guarded.endpoint, "admin-key") as admin:
        admin.create_many([row for row in wanted if row["name"] != "new"])
        monkeypatch.setenv("AIRFLOW_CONN_BTRDB_DEFAULT", f"btrdb://:user-key@{guarded.endpoint}/")
        made = plan(wanted, prefixes=places, prune=True)
        assert made["counts"] == {**NOTHING, "create": 2, "unchanged": 6, "hidden": 12}
        with pytest.raises(AirflowFailException, match="12 of 14 changes were not made"):
            apply(made, prune=True)
        there = list(admin.lookup_iter(collection))
        assert len(there) == 17
        assert {stream.collection[-3] for stream in there if stream.name == "new"} == {"a", "b"}
        assert {stream.property_version for stream in there} == {1}


def test_the_key_is_nowhere(collection: str, provision: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = provision(rows(collection, "a"))
    logged, errors = capfd.readouterr()
    assert "Applied: 1 created, verified." in logged + errors
    written = [path.read_text() for path in tmp_path.iterdir()]
    assert len(written) == 3
    assert API_KEY not in "".join([json.dumps(result), logged, errors, *written])


def test_each_collection_is_in_exactly_one_shard(collection: str, plan: Any) -> None:
    wanted = [row for number in range(20) for row in rows(f"{collection}/{number}", "a", "b")]
    planned = []
    for shard in range(4):
        changes = json.loads(Path(plan(wanted, shard=shard, shards="4")["path"]).read_text())["changes"]
        planned.append({change["collection"] for change in changes})
        assert len(changes) == 2 * len(planned[-1]) < 40
    assert sorted(name for part in planned for name in part) == sorted(f"{collection}/{n}" for n in range(20))


def test_mapped_instances_have_a_label_and_files_of_their_own(collection: str, provision: Any, tmp_path: Path) -> None:
    class Instance:
        dag_id, run_id, task_id = "d", "manual__2026-11-25T04:28:36+00:00", "group.t"
        map_index = 3

    context: dict[str, Any] = {"ti": Instance()}
    result = provision(rows(collection, "a"), context, shard=1, shards=2)
    assert context["stream_label"] == "shard 1 of 2"
    assert result["plan"]["path"] == f"{tmp_path}/d/manual__2026-11-25T04_28_36_00_00/group.t-3.plan.json"
    context.clear()
    provision(rows(collection, "a"), context)
    assert context["stream_label"] == "spec"
