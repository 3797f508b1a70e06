"""What docs/audit.md says of rules, selections and files, on servers with SQL and without."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from airflow_provider_btrdb.audit import RunResult, again, findings, groups, load_last, parse_suite, running
from airflow_provider_btrdb.audit.points import MOST_WINDOWS
from airflow_provider_btrdb.cli import audit as command
from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.report import audit_index
from airflow_provider_btrdb.testing import RunningServer

PAGE = (Path(__file__).parents[3] / "docs" / "audit.md").read_text()
S = 1_000_000_000
NOW = 1_700_000_000 * S
READS = {
    "Info", "SQLQuery", "LookupStreams", "GetMetadataUsage", "StreamInfo", "Nearest", "AlignedWindows",
}  # fmt: skip


@pytest.fixture
def failing(db: BTrDB, place: str, one_check: Any) -> Any:
    """`failing(check)`: what fails, by name; of collections and keys their message. Without SQL the same."""

    def names(check: Any, **options: Any) -> list[str]:
        results = [one_check(db, place, check, use_sql=use_sql, **options) for use_sql in (True, False)]
        assert results[0].sample == results[1].sample
        return sorted(failure.name or failure.message for failure in results[0].sample)

    return names


# ---------------------------------------------------------------- what it does not do


def test_nothing_is_changed_and_no_raw_point_is_read(
    db: BTrDB, server: RunningServer, place: str, make_stream: Any, make_audit: Any
) -> None:
    stream = make_stream(db, place, "a", [(NOW - S, 1.0)], site="x")
    before = stream.version(), stream.refresh()
    (suite,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    checks = yaml.safe_load(suite)["checks"]
    server.calls.clear()
    make_audit(db, place, *checks)
    assert server.calls.counts().keys() <= READS
    assert (stream.version(), stream.refresh()) == before


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    for sentence in (
        f"statistics of at most {MOST_WINDOWS + 1:,} windows",
        f"up to {findings.MOST_STORED:,} for each check, and {findings.MOST_OF_RUN:,} of all checks",
        f"explain the first {groups.MOST_GROUPS:,} failures",
        f"for more than {again.MOST_ASKED:,} of them",
        f"the newest {audit_index.MOST_RUNS} runs",
        f"{running.KEPT_AT_ONCE} checks of `unique`, `consistent` and `refers_to`",
        f"up to {running.COUNTED_AT_ONCE} selections",
        f"how many failures the result shows, {parse_suite('checks: [{fresh: 1h}]').checks[0].sample} by default",
    ):
        assert sentence in PAGE


# ---------------------------------------------------------------- the suite


def test_yaml_and_json_mean_the_same() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    assert parse_suite(text) == parse_suite(json.dumps(yaml.safe_load(text)), "json")


def test_defaults_are_for_checks_that_do_not_say_their_own() -> None:
    text = "defaults: {owner: us, severity: warn, sample: 7}\nchecks:\n- required: unit\n"
    said, own = parse_suite(f"{text}- unique: name\n  owner: you\n  severity: error\n  sample: 9\n").checks
    assert (said.owner, said.severity, said.sample) == ("us", "warn", 7)
    assert (own.owner, own.severity, own.sample) == ("you", "error", 9)


@pytest.mark.parametrize(("allowed", "outcome"), [(None, "error"), (1, "error"), (2, "pass"), ("50%", "pass")])
def test_how_much_less_may_be_seen(
    db: BTrDB, place: str, tmp_path: Path, make_stream: Any, make_audit: Any, allowed: Any, outcome: str
) -> None:
    streams = [make_stream(db, place, name) for name in "abcd"]
    audit = partial(make_audit, db, place, {"required": "unit"}, folder=tmp_path)
    audit()
    for stream in streams[:2]:
        stream.obliterate()
    top = {} if allowed is None else {"allow_drop": allowed}
    assert audit(last=load_last(tmp_path, "s"), top=top).coverage.outcome == outcome


def test_a_check_is_known_by_its_name_in_the_next_run(
    db: BTrDB, place: str, tmp_path: Path, make_stream: Any, make_audit: Any
) -> None:
    make_stream(db, place, "a", unit="")
    compared = []
    for name in ("one", "one", "another"):
        check = {"required": "unit", "name": name}
        last = load_last(tmp_path, "s")
        compared.append(make_audit(db, place, check, last=last, folder=tmp_path).checks[0].comparison)
    assert [None if one is None else one.still for one in compared] == [None, 1, None]


# ---------------------------------------------------------------- which streams


def test_what_a_stream_has(db: BTrDB, place: str, make_stream: Any, failing: Any) -> None:
    make_stream(db, place, "text", unit="", site="x")
    make_stream(db, place, "empty", site="")
    make_stream(db, place, "null", site=None)
    make_stream(db, place, "absent")
    assert failing({"required": "unit"}) == ["text"]
    assert failing({"required": "annotations.site"}) == ["absent", "empty", "null"]
    assert failing({"allowed": {"annotations.site": ["y"]}}) == ["empty", "text"]
    assert failing({"matches": {"annotations.site": "y"}}) == ["empty", "text"]
    assert failing({"allowed": {"unit": ["A"]}}) == ["absent", "empty", "null"]
    assert failing({"refers_to": "annotations.site"}) == ["empty", "text"]


@pytest.mark.parametrize(
    ("select", "taken"),
    [
        ({"prefix": "a"}, "a ab ab/c a/b"),
        ({"prefix": "a_"}, ""),
        ({"prefix": "a%"}, ""),
        ({"prefix": "A"}, ""),
        ({"glob": "a"}, "a"),
        ({"glob": "a."}, ""),
        ({"glob": "*"}, "a ab"),
        ({"glob": "**"}, "a ab ab/c a/b"),
        ({"glob": "a?"}, "ab"),
        ({"glob": "a?b"}, ""),
        ({"glob": "*/?"}, "ab/c a/b"),
        ({"where": {"unit": "V"}}, "a"),
        ({"where": {"unit": ["V", "A"]}}, "a ab"),
        ({"where": {"unit": {"matches": "^[VA]"}}}, "a ab"),
        ({"where": {"unit": True}}, "a ab ab/c"),
        ({"where": {"unit": False}}, "a/b"),
        ({"where": {"unit": None}}, "a/b"),
        ({"where": {"unit": {"not": "V"}}}, "ab ab/c a/b"),
        ({"where": {"unit": ["V", "A"], "annotations.site": True}}, "a"),
        ({"where": {"annotations.site": False}}, "ab ab/c a/b"),
        ({"prefix": "ab", "where": {"unit": "A"}}, "ab"),
    ],
    ids=str,
)
def test_which_streams_a_selection_takes(
    db: BTrDB, place: str, make_stream: Any, failing: Any, select: dict[str, Any], taken: str
) -> None:
    for collection, unit, notes in (
        ("a", "V", {"site": "x"}), ("ab", "A", {"site": ""}), ("ab/c", "kW", {"site": None}), ("a/b", "", {}),
    ):  # fmt: skip
        make_stream(db, place, collection, unit=unit, collection=collection, **notes)
    placed = {key: f"{place}{text}" if key in ("prefix", "glob") else text for key, text in select.items()}
    # Everything that is looked at fails.
    check = {"allowed": {"collection": ["none"]}, "select": placed}
    assert failing(check) == sorted(taken.split())
    if "where" in select and len(select) == 1:
        assert failing({"allowed": {"collection": ["none"]}, "where": select["where"]}) == sorted(taken.split())


# ---------------------------------------------------------------- rules


def test_rules_of_several_streams(db: BTrDB, place: str, make_stream: Any, failing: Any) -> None:
    for name, unit, collection, notes in (
        ("twice", "V", "a", {"p": "1"}), ("twice", "A", "a", {"p": "1"}), ("twice", "", "a", {"p": "1"}),
        ("once", "V", "b", {"p": "2"}), ("once", "A", "c", {}),
    ):  # fmt: skip
        make_stream(db, place, name, unit=unit, collection=collection, **notes)
    assert failing({"unique": ["collection", "name"]}) == ["twice"]
    assert failing({"unique": ["collection", "name", "unit"]}) == []
    assert failing({"unique": "annotations.p"}) == ["3 streams have annotations.p '1'"]
    (said,) = failing({"consistent": {"field": "unit", "by": "annotations.p"}})
    assert said.startswith("unit differs where annotations.p '1': ")
    assert failing({"count_between": {"least": 1, "most": 2}}) == ["has 3 streams where 1 to 2 are wanted"]
    assert failing({"count_between": {"least": 1}, "where": {"unit": "V"}}) == [
        "has 0 streams where at least 1 are wanted"
    ]


def test_searching_is_that_of_python(db: BTrDB, place: str, make_stream: Any, failing: Any) -> None:
    for name in ("L1", "xL1", "L", "l1"):
        make_stream(db, place, name)
    assert failing({"matches": {"name": "L1"}}) == ["L", "l1"]
    assert failing({"matches": {"name": r"(?i)^l\d"}}) == ["L", "xL1"]


def test_a_key_is_rare_below_the_percentage(db: BTrDB, place: str, make_stream: Any, failing: Any) -> None:
    for number in range(10):
        make_stream(db, place, f"n{number}", **({"odd": "x"} if number == 0 else {}))
    assert failing({"rare_keys": "10%"}) == []
    assert failing({"rare_keys": "10.1%"}) == ["the annotation 'odd' is in 1 of 10 streams"]


def test_a_minute_of_tolerance(db: BTrDB, place: str, make_stream: Any, failing: Any) -> None:
    make_stream(db, place, "soon", [(NOW + 60 * S, 1.0)])
    make_stream(db, place, "later", [(NOW + 60 * S + 1, 1.0)])
    assert failing({"not_in_future": True}) == ["later"]


def test_five_gaps_are_listed(db: BTrDB, place: str, make_stream: Any, one_check: Any) -> None:
    points = [(at, 1.0) for at in range(NOW - 7200 * S, NOW, S) if at // S % 900 > 300]
    make_stream(db, place, "gaps", points)
    check = one_check(db, place, {"complete": {"rate": 1, "last": "2h", "error_below": 99}})
    (failure,) = check.sample
    assert failure.message.count(" missing)") == 5
    assert re.search(r", and \d more$", failure.message)


# ---------------------------------------------------------------- what comes out


def test_the_lines_of_the_page_look_like_those_of_a_run(
    db: BTrDB, place: str, tmp_path: Path, make_stream: Any, make_audit: Any
) -> None:
    from airflow_provider_btrdb.audit import run_text

    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.S)
    make_stream(db, place, "a", unit="Volts")
    checks: list[Any] = [{"allowed": {"unit": ["volts", "amps", "deg", "Hz"]}}, {"unique": ["collection", "name"]}]
    top = {"name": "grid", "defaults": {"owner": "grid operations"}}
    for _ in range(2):
        result = make_audit(db, place, *checks, folder=tmp_path, last=load_last(tmp_path, "grid"), top=top)
    told = run_text(result).replace(f"{place}a/a", "grid/bus007/L1MAG")

    def shape(text: str) -> str:
        return re.sub(r"\d+|\([0-9a-f].{7,}\)|\(0f6d\.\.\.\)", "N", text.strip())

    assert shape(told) == shape(shown)


def test_what_is_skipped_is_no_failure_and_json_is_what_is_stored(
    run_command: Any, keyed_db: BTrDB, place: str, make_stream: Any
) -> None:
    make_stream(keyed_db, place, "a")
    Path("suite.yaml").write_text(f"select: {{prefix: {place}}}\nchecks:\n- sql: SELECT 1\n")
    arguments = ("suite.yaml", "--no-sql", "--json", "--store", "runs")
    status, out, _ = run_command(command.main, "run", *arguments)
    result = RunResult.model_validate_json(out)
    assert (status, result.checks[0].outcome, result.outcome) == (0, "skipped", "pass")
    (stored,) = Path("runs").glob("*/run.json")
    assert stored.read_text() == out


def test_a_broken_connection_stores_nothing(run_command: Any) -> None:
    Path("suite.yaml").write_text("checks:\n- required: unit\n")
    arguments = ("suite.yaml", "--store", "runs", "--endpoint", "127.0.0.1:1")
    assert run_command(command.main, "run", *arguments)[0] == 1
    assert not Path("runs").exists()


# ---------------------------------------------------------------- how it asks


def test_reading_is_all_the_permission_it_needs(
    db: BTrDB, server: RunningServer, make_stream: Any, make_audit: Any
) -> None:
    place = f"audit/seen/{uuid4()}/"
    make_stream(db, place, "a", [(NOW - S, 1.0)])
    with connect(server.endpoint, "half-key") as half:
        result = make_audit(half, place, {"required": "unit"}, {"fresh": "1h"}, {"rare_keys": "1%"})
    assert [check.outcome for check in result.checks[:2]] == ["pass", "pass"]
    assert (result.coverage.streams, result.sql) == (1, False)
