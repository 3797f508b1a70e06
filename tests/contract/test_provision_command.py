"""`btrdb-provision` as people run it: exit statuses, files, sentences instead of tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from airflow_provider_btrdb.cli import provision as command
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.provision.entries import ENTRY_FIELDS, TOP_FIELDS
from airflow_provider_btrdb.testing import RunningServer

SPEC = """\
prefixes: ["{{ place }}"]
streams:
- {collection: "{{ place }}/bus{{ bus }}", name: FREQ, unit: "{{ unit }}", for_each: {bus: 1..3}}
"""


@pytest.fixture
def server(keyed_server: RunningServer) -> RunningServer:
    return keyed_server


@pytest.fixture
def db(keyed_db: BTrDB) -> BTrDB:
    return keyed_db


@pytest.fixture
def place() -> str:
    return f"command/{uuid4()}"


@pytest.fixture
def run(run_command: Any) -> Any:
    """`run("plan", "streams.yaml", ...)`: exit status, output, errors."""
    Path("streams.yaml").write_text(SPEC)
    return partial(run_command, command.main)


def params(place: str, unit: str = "Hz") -> list[str]:
    return ["--param", f"place={place}", "--param", f"unit={unit}"]


def test_from_a_file_to_streams_and_back(run: Any, db: BTrDB, place: str) -> None:
    status, out, _ = run("plan", "streams.yaml", *params(place), "--out", "plan.json", "--html", "plan.html")
    assert status == command.CHANGES
    assert f"+ {place}/bus1/FREQ (create, uuid " in out
    assert "Plan: 3 to create, 0 unchanged.\n" in out
    sha256 = out.split()[-1]
    assert sha256 in Path("plan.html").read_text()
    status, out, _ = run("apply", "plan.json", "--sha256", sha256, "--results", "results.jsonl")
    assert (status, out) == (0, "Applied: 3 created, verified.\n")
    rows = [json.loads(line) for line in Path("results.jsonl").read_text().splitlines()]
    assert [(row["collection"], row["outcome"]) for row in rows] == [(f"{place}/bus{n}", "created") for n in (1, 2, 3)]
    assert {UUID(row["uuid"]) for row in rows} == {stream.uuid for stream in db.streams_in_collection(place)}
    assert run("plan", "streams.yaml", *params(place))[0] == command.EMPTY
    assert run("import", place, "--out", "again.json")[0] == 0
    assert run("plan", "again.json")[:2] == (command.EMPTY, "Plan: nothing to do, 3 unchanged.\n")
    status, out, _ = run("import", place)
    Path("again.yaml").write_text(out)
    assert run("plan", "again.yaml")[0] == command.EMPTY


def test_what_scripts_read(run: Any, db: BTrDB, place: str) -> None:
    out = run("plan", "streams.yaml", *params(place), "--json")[1]
    assert [change["kind"] for change in json.loads(out)["changes"]] == ["create"] * 3
    Path("plan.json").write_text(out)
    assert json.loads(run("apply", "plan.json", "--json")[1])["counts"]["created"] == 3
    assert run("plan", "streams.yaml", *params(place, "mHz"))[0] == command.CHANGES
    assert run("plan", "streams.yaml", *params(place, "mHz"), "--most", "1")[1].count("(update") == 1
    parts = [run("plan", "streams.yaml", *params(place, "mHz"), "--shard", f"{k}/4", "--json")[1] for k in range(4)]
    assert sum(len(json.loads(part)["changes"]) for part in parts) == 3


def test_a_table(run: Any, db: BTrDB, place: str) -> None:
    namespace = uuid4()
    Path("streams.csv").write_text(f"collection,name\n{place}/a,s\n")
    options = ["--prefix", place, "--namespace", str(namespace), "--out", "plan.json"]
    assert run("plan", "streams.csv", *options)[0] == command.CHANGES
    assert run("apply", "plan.json")[0] == 0
    db.create(uuid4(), f"{place}/b", {"name": "stranger"})
    status, out, _ = run("plan", "streams.csv", *options, "--prune")
    assert (status, "- " in out) == (command.DESTRUCTIVE, True)
    status, _, err = run("apply", "plan.json")
    assert (status, err) == (1, "btrdb-provision: the plan destroys 1 streams: that needs prune\n")
    assert run("apply", "plan.json", "--prune", "--max-destroy", "0")[0] == 1
    assert run("apply", "plan.json", "--prune")[:2] == (0, "Applied: 1 destroyed, verified.\n")


def test_defaults_for_a_table(run: Any, db: BTrDB, place: str) -> None:
    stream = db.create(uuid4(), place, {"name": "s", "unit": "V"}, {"stray": "1"})
    Path("streams.csv").write_text(f"collection,name\n{place},s\n")
    Path("defaults.yaml").write_text("unit: A\nowns: [stray]\nannotations: {k: x}\n")
    assert run("plan", "streams.csv", "--defaults", "defaults.yaml", "--out", "plan.json")[0] == command.CHANGES
    assert run("apply", "plan.json")[0] == 0
    stream.refresh()
    assert (stream.unit, stream.annotations) == ("A", {"k": "x"})
    for text, said in (("[]", "must be YAML or JSON with a mapping: unit,"), ("unut: A", "did you mean 'unit'?")):
        Path("defaults.yaml").write_text(text)
        status, _, err = run("plan", "streams.csv", "--defaults", "defaults.yaml")
        assert (status, said in err) == (1, True)
    assert run("plan", "streams.csv", "--defaults", "streams.csv")[0] == 1


def test_a_problem_is_no_success(run: Any, db: BTrDB, place: str) -> None:
    for unit in ("V", "A"):
        db.create(uuid4(), f"{place}/bus1", {"name": "FREQ", "unit": unit})
    status, out, _ = run("plan", "streams.yaml", *params(place), "--out", "plan.json")
    assert (status, f"! {place}/bus1/FREQ (ambiguous: " in out) == (1, True)
    status, out, err = run("apply", "plan.json")
    assert status == 1
    assert out.startswith("Applied: 2 created, 1 failed, verified.\n! ")
    assert "1 of 3 changes were not made" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "none.yaml"], "none.yaml cannot be read: No such file or directory"),
        (["plan", "streams.toml"], "must end in .yaml, .json or .csv"),
        (["plan", "streams.yaml"], "streams.yaml, line 3, collection: "),
        (["plan", "streams.yaml", "--shard", "3/3"], "'3/3' is not K/N with K below N"),
        (["plan", "streams.yaml", "--param", "x"], "'x' is not NAME=TEXT"),
        (["plan", "streams.yaml", "--most", "-1"], "'-1' is no whole number, 0 or more"),
        (["apply", "plan.json", "--max-destroy", "many"], "'many' is no whole number, 0 or more"),
        (["plan", "streams.yaml", "--namespace", "x"], "invalid"),
        (["plan", "streams.csv", "--prune"], "prune needs prefixes"),
        (["plan", "streams.csv", "--out", "nowhere/plan.json"], "nowhere/plan.json: No such file or directory"),
        (["apply", "none.json"], "none.json: No such file or directory"),
        (["apply", "streams.yaml"], "this is no plan"),
        (["apply", "plan.json", "--sha256", "0"], "not the plan that was approved"),
        (["import"], "the following arguments are required: PREFIX"),
        (["import", "x", "--out", "x.csv"], "x.csv must end in .yaml or .json"),
        (["import", "x", "--out", "x"], "'x' must end in .yaml, .json or .csv"),
        (["import", "nothing-here/"], "there is no stream that this key may see below 'nothing-here/'"),
        (["import", "x", "--api-key-env", "NO_SUCH"], "the variable NO_SUCH is not set"),
        (["import", "x", "--endpoint", "nonsense"], "is not host:port"),
    ],
)
def test_expected_faults_are_one_sentence(run: Any, arguments: list[str], said: str) -> None:
    Path("streams.csv").write_text("collection,name\na,b\n")
    Path("plan.json").write_text('{"changes":[],"unchanged":0}')
    status, out, err = run(*arguments)
    assert (status, out) == (1, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("option", ["--out", "--html", "--results"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_done(
    run: Any, server: RunningServer, db: BTrDB, place: str, option: str
) -> None:
    assert run("plan", "streams.yaml", *params(place), "--out", "plan.json")[0] == command.CHANGES
    server.calls.clear()
    arguments = ["apply", "plan.json"] if option == "--results" else ["plan", "streams.yaml", *params(place)]
    status, out, err = run(*arguments, option, "nowhere/file")
    assert (status, out, err) == (1, "", "btrdb-provision: nowhere/file: No such file or directory\n")
    assert server.calls.records() == []
    # What stands there is kept until there is something to replace it with.
    Path("old").write_text("old")
    arguments[1] = "streams.toml"
    assert run(*arguments, option, "old")[0] == 1
    assert Path("old").read_text() == "old"
    assert db.count_streams(place) == 0


def test_streams_without_a_name_are_counted_and_the_ending_says_the_format(run: Any, db: BTrDB, place: str) -> None:
    db.create(uuid4(), place, {"unit": "V"})
    status, _, err = run("import", place)
    assert (status, err.splitlines()[0]) == (1, "btrdb-provision: 1 streams have no name and are left out")
    db.create(uuid4(), place, {"name": "s"})
    assert run("import", place, "--out", "s.JSON")[0] == 0
    assert [one["name"] for one in json.loads(Path("s.JSON").read_text())["streams"]] == ["s"]
    assert run("plan", "s.JSON", "--prune")[0] == command.EMPTY


def test_a_terminal_that_knows_one_script_only(server: RunningServer, db: BTrDB, place: str, tmp_path: Path) -> None:
    db.create(uuid4(), place, {"name": "Z\u00fcrich"})
    (tmp_path / "s.csv").write_text(f"collection,name,unit\n{place},Z\u00fcrich,\u03a9\n")
    environment = {**os.environ, "THE_KEY": "the-key", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    def output(*arguments: str) -> bytes:
        program = "import sys; from airflow_provider_btrdb.cli.provision import main; sys.exit(main(sys.argv[1:]))"
        given = [arguments[0], "--endpoint", server.endpoint, "--api-key-env", "THE_KEY", *arguments[1:]]
        done = subprocess.run(
            [sys.executable, "-c", program, *given], env=environment, capture_output=True, check=False, cwd=tmp_path
        )
        assert done.stderr == b""
        return done.stdout

    assert b"~ unit: '' -> '\\u03a9'" in output("plan", "s.csv")
    assert json.loads(output("plan", "s.csv", "--json"))["changes"][0]["name"] == "Z\u00fcrich"
    assert "Z\u00fcrich" in output("import", place).decode()


def test_every_fault_of_a_file_and_no_call(run: Any, server: RunningServer, place: str) -> None:
    Path("streams.yaml").write_text("streams:\n- {collection: a, nam: b}\n- {collection: a, name: c, unit: 5}\n")
    server.calls.clear()
    status, _, err = run("plan", "streams.yaml")
    assert (status, len(err.splitlines())) == (1, 4)
    assert server.calls.records() == []


def test_no_terminal_obeys_what_a_file_says(run: Any) -> None:
    Path("plan.json").write_text('{"changes":[],"unchanged":0,"\\u001b[2J":1}')
    for arguments in (("apply", "plan.json"), ("plan", "\x1b[2J.csv"), ("apply", "\x1b[2J")):
        status, out, err = run(*arguments)
        assert (status, out, "\\x1b[2J" in err, "\x1b" in err) == (1, "", True, False)


def test_the_command_loads_no_airflow(server: RunningServer, tmp_path: Path) -> None:
    """And shows a bar on no pipe."""
    spec = tmp_path / "s.csv"
    spec.write_text("collection,name\nalone/x,y\n")
    script = (
        "import sys; from airflow_provider_btrdb.cli.provision import main; code = main(sys.argv[1:]);"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'airflow', 'pandas', 'pyarrow', 'rich'}));"
        "sys.exit(code)"
    )
    arguments = ["plan", str(spec), "--endpoint", server.endpoint, "--api-key-env", "THE_KEY"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "THE_KEY": "the-key"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (command.CHANGES, "[]", "")


def test_the_file_of_the_page_means_what_the_page_says(run: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "provision.md").read_text()
    Path("streams.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    status, out, _ = run("plan", "streams.yaml")
    assert (status, out.splitlines()[-1]) == (command.CHANGES, "Plan: 826 to create, 0 unchanged.")
    for name in (*ENTRY_FIELDS, *TOP_FIELDS):
        assert f"`{name}`" in page, name
