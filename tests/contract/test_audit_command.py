"""`btrdb-audit` as people run it: exit statuses, files, sentences instead of tracebacks; and what its page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.audit import RunResult, parse_suite
from airflow_provider_btrdb.audit.rules import RULES
from airflow_provider_btrdb.audit.written import COMMON_FIELDS, SELECT_FIELDS, TOP_FIELDS
from airflow_provider_btrdb.cli import audit as command
from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.testing import RunningServer

DOCS = Path(__file__).parents[2] / "docs" / "audit.md"


@pytest.fixture
def server(keyed_server: RunningServer) -> RunningServer:
    return keyed_server


@pytest.fixture
def db(keyed_db: BTrDB) -> BTrDB:
    return keyed_db


@pytest.fixture
def place() -> str:
    return f"command/{uuid4()}/"


@pytest.fixture
def run(run_command: Any) -> Any:
    """`run("run", "suite.yaml", ...)`: exit status, output, errors."""
    return partial(run_command, command.main)


def write(place: str, checks: str, top: str = "") -> None:
    Path("suite.yaml").write_text(f"name: nightly\nselect: {{prefix: {place}}}\n{top}\nchecks:\n{checks}\n")


def test_the_exit_status_says_what_happened(run: Any, db: BTrDB, place: str) -> None:
    db.create(uuid4(), f"{place}a", {"name": "s", "unit": "V"})
    write(place, "- required: unit")
    status, out, err = run("run", "suite.yaml")
    assert (status, err) == (command.GOOD, "")
    assert out == (
        "PASS    coverage: 1 streams in 1 collections are seen\n"
        "PASS    required unit: all 1 streams pass\n"
        "Audit nightly: pass (1 pass).\n"
    )
    write(place, "- required: ingress\n  severity: warn")
    assert run("run", "suite.yaml")[0] == command.GOOD
    write(place, "- required: ingress\n  owner: them")
    status, out, _ = run("run", "suite.yaml")
    assert status == command.FAILED
    assert "FAIL    required ingress [them]: 1 of 1 streams fail\n" in out
    assert f"    {place}a/s: lacks ingress (" in out
    write(place, "- required: ingress\n- sql: SELECT nothing FROM streams")
    assert run("run", "suite.yaml")[0] == command.FAULT
    write(place, "- required: unit", "expect_at_least: 2")
    status, out, _ = run("run", "suite.yaml")
    assert (status, out.splitlines()[0]) == (
        command.FAULT,
        "ERROR   coverage: 1 streams are seen, at least 2 are expected",
    )


def test_runs_are_kept_and_compared(run: Any, db: BTrDB, place: str) -> None:
    first = db.create(uuid4(), f"{place}a", {"name": "s"})
    write(place, "- required: unit")
    out = run("run", "suite.yaml", "--store", "kept")[1]
    assert re.search(r"^stored in kept/\d{8}T\d{6}\.\d{6}Z$", out, re.M)
    first.update(tags={"unit": "V"})
    db.create(uuid4(), f"{place}a", {"name": "t"})
    out = run("run", "suite.yaml", "--store", "kept")[1]
    assert "required unit: 1 of 2 streams fail (1 new, 0 still, 1 fixed)" in out
    first.obliterate()
    assert run("run", "suite.yaml", "--store", "kept")[0] == command.FAULT
    assert run("run", "suite.yaml", "--store", "kept", "--accept-drop")[0] == command.FAILED
    status, out, _ = run("run", "suite.yaml", "--store", "kept", "--json")
    result = RunResult.model_validate_json(out)
    assert (status, result.outcome, result.coverage.outcome) == (command.FAILED, "fail", "pass")
    kept = sorted(path.name for path in Path("kept").iterdir())
    assert (len(kept), kept[-1]) == (6, "index.html")


def test_pages_are_written(run: Any, db: BTrDB, place: str) -> None:
    db.create(uuid4(), f"{place}a", {"name": "<b>s"})
    write(place, "- required: unit")
    assert run("run", "suite.yaml", "--html", "page.html") == (command.FAILED, *run("run", "suite.yaml")[1:])
    page = Path("page.html").read_text()
    assert "<h1><bdi>Audit nightly</bdi>" in page
    assert (page.count("&lt;b&gt;s"), "<b>" in page, "index.html" in page) == (1, False, False)
    for _ in range(2):
        assert run("run", "suite.yaml", "--store", "kept", "--html", "page.html")[0] == command.FAILED
    index = Path("kept/index.html").read_text()
    links = re.findall(r'href="([^"]+)"', index)
    assert links == [f"{path.parent.name}/report.html" for path in sorted(Path("kept").glob("*/report.html"))[::-1]]
    kept = Path("kept", links[0]).read_text()
    assert len(links) == 2
    assert 'href="../index.html"' in kept
    assert kept.replace('<div><dt>All runs</dt><dd><a href="../index.html">overview</a></dd></div>\n', "") == (
        Path("page.html").read_text()
    )


def test_a_page_that_cannot_be_written_is_told_before_any_call(run: Any, server: RunningServer, place: str) -> None:
    write(place, "- required: unit")
    server.calls.clear()
    status, _, err = run("run", "suite.yaml", "--html", "nowhere/page.html")
    assert (status, err) == (command.FAULT, "btrdb-audit: nowhere/page.html: No such file or directory\n")
    assert server.calls.records() == []


def test_no_sql_and_few_failures(run: Any, db: BTrDB, server: RunningServer, place: str) -> None:
    for name in "abcd":
        db.create(uuid4(), f"{place}a", {"name": name})
    write(place, "- required: unit")
    server.calls.clear()
    status, out, _ = run("run", "suite.yaml", "--no-sql", "--most", "1")
    assert "SQLQuery" not in server.calls.counts()
    assert (status, out.count("lacks unit"), "    ... and 3 more\n" in out) == (command.FAILED, 1, True)
    assert "shard 0" in run("run", "suite.yaml", "--shard", "1/2")[1]


def test_a_proposed_suite_passes_today(run: Any, db: BTrDB, place: str) -> None:
    for bus in "ab":
        for number, unit in enumerate(("volts", "amps") * 10):
            notes = {"site": "north", 'it\'s "so": #1': "a'b", "serial": f"{bus}{number}"}
            db.create(uuid4(), f"{place}{bus}", {"name": f"s{number}", "unit": unit}, notes)
    status, out, _ = run("init", place, "--out", "suite.yaml")
    assert (status, out) == (command.GOOD, "a suite is in suite.yaml\n")
    suite = parse_suite(Path("suite.yaml").read_text())
    assert {check.kind for check in suite.checks} == {"unique", "required", "allowed", "count_between", "rare_keys"}
    allowed = {field for check in suite.checks if check.kind == "allowed" for field in check.rule.fields}
    assert allowed == {"unit", "annotations.site", 'annotations.it\'s "so": #1'}
    assert run("run", "suite.yaml")[0] == command.GOOD
    status, _, err = run("init", place, "--out", "suite.yaml")
    assert (status, err) == (command.FAULT, "btrdb-audit: suite.yaml: File exists\n")
    assert run("init", place, "--out", "suite.yaml", "--force")[0] == command.GOOD
    assert run("init", place)[1] == Path("suite.yaml").read_text()
    db.create(uuid4(), f"{place}a", {"name": "s0", "unit": "volst"})
    assert run("run", "suite.yaml")[0] == command.FAILED


def test_a_suite_of_nothing_can_be_read(run: Any, place: str) -> None:
    parse_suite(run("init", place)[1])


def test_names_of_others_are_no_commands_to_a_terminal(run: Any, db: BTrDB, place: str) -> None:
    db.create(uuid4(), f"{place}\x1b[2Ja", {"name": "\x1b]0;x\x07", "unit": ""})
    write(place, '- required: unit\n  name: "\\e[1m"\n  owner: "\\e[2m"\n- unique: name\n- count_between: {most: 0}')
    status, out, _ = run("run", "suite.yaml")
    assert (status, "\x1b" in out, out.count("\\x1b")) == (command.FAILED, False, 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "none.yaml"], "none.yaml cannot be read: No such file or directory"),
        (["run", "suite.toml"], "must end in .yaml or .json"),
        (["run", "bad.yaml"], "bad.yaml, line 2, requird: there is no such check; did you mean 'required'?"),
        (["run", "good.yaml", "--shard", "3/3"], "'3/3' is not K/N with K below N"),
        (["run", "good.yaml", "--store", "good.yaml"], "good.yaml"),
        (["run", "good.yaml", "--endpoint", "127.0.0.1:1"], "127.0.0.1:1"),
        (["run", "good.yaml", "--api-key-env", "NO_SUCH"], "the variable NO_SUCH is not set"),
        (["run"], "the following arguments are required: SUITE"),
        (["init", "x", "--out", "nowhere/suite.yaml"], "nowhere/suite.yaml: No such file or directory"),
    ],
)
def test_expected_faults_are_one_sentence(run: Any, arguments: list[str], said: str) -> None:
    Path("good.yaml").write_text("checks:\n- required: unit\n")
    Path("bad.yaml").write_text("checks:\n- requird: unit\n")
    status, out, err = run(*arguments)
    assert (status, out) == (command.FAULT, "")
    assert said in err
    assert "Traceback" not in err


def test_faults_of_a_suite_are_told_before_any_call(run: Any, server: RunningServer) -> None:
    Path("bad.yaml").write_text("checks:\n- requird: unit\n- sql: DROP TABLE streams\n- matches: {name: '('}\n")
    server.calls.clear()
    status, _, err = run("run", "bad.yaml")
    assert (status, len(err.splitlines())) == (command.FAULT, 4)
    assert server.calls.records() == []


def test_the_command_loads_no_airflow(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("select: {prefix: alone/}\nchecks:\n- required: unit\n")
    with connect(server.endpoint, "the-key") as db:
        db.create(uuid4(), "alone/x", {"name": "y", "unit": "V"})
    script = (
        "import sys; from airflow_provider_btrdb.cli.audit import main; code = main(sys.argv[1:]);"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'airflow', 'pandas', 'pyarrow', 'rich'}));"
        "sys.exit(code)"
    )
    arguments = ["run", str(tmp_path / "s.yaml"), "--endpoint", server.endpoint, "--api-key-env", "THE_KEY"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "THE_KEY": "the-key"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (command.GOOD, "[]", "")


# ---------------------------------------------------------------- the page


def test_the_suite_of_the_page_is_one(run: Any, db: BTrDB) -> None:
    page = DOCS.read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.S)
    suites = [parse_suite(text) for text in blocks]
    assert {check.kind for suite in suites for check in suite.checks} == set(RULES)
    for name in (*RULES, *COMMON_FIELDS, *SELECT_FIELDS, *TOP_FIELDS):
        assert f"`{name}`" in page, name
    db.create(uuid4(), "grid/bus001", {"name": "L1MAG", "unit": "volts"})
    Path("suite.yaml").write_text(blocks[0])
    status, out, _ = run("run", "suite.yaml", "--store", "runs")
    assert (status, json.loads(next(Path("runs").glob("*/run.json")).read_text())["suite"]) == (1, "grid")
    assert out.startswith("ERROR   coverage: 1 streams are seen, at least 1534 are expected")


def test_the_python_of_the_page_runs(
    server: RunningServer, db: BTrDB, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    db.create(uuid4(), f"{place}a", {"name": "s", "unit": "V"})
    write(place, "- required: unit")
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    code = code.replace('connect("localhost:4410")', f'connect("{server.endpoint}", "the-key")')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Audit nightly: pass (1 pass).\n")
    kept = [path.relative_to(tmp_path / "runs") for path in (tmp_path / "runs").rglob("*.*") if path.is_file()]
    assert sorted(path.name for path in kept) == [
        "collections.jsonl", "failures.jsonl", "index.html", "report.html", "run.json",
    ]  # fmt: skip
    page = DOCS.read_text()
    assert all(f"`{path.name}`" in page for path in kept)


def test_a_terminal_that_knows_one_script_only(server: RunningServer, db: BTrDB, place: str, tmp_path: Path) -> None:
    db.create(uuid4(), f"{place}a", {"name": "Z\u00fcrich"})
    (tmp_path / "suite.yaml").write_text(f"select: {{prefix: {place}}}\nchecks:\n- required: unit\n")
    program = "import sys; from airflow_provider_btrdb.cli.audit import main; sys.exit(main(sys.argv[1:]))"
    given = ["run", "suite.yaml", "--endpoint", server.endpoint, "--api-key-env", "THE_KEY"]
    environment = {**os.environ, "THE_KEY": "the-key", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    def output(*more: str) -> bytes:
        command_line = [sys.executable, "-c", program, *given, *more]
        done = subprocess.run(command_line, env=environment, capture_output=True, check=False, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (command.FAILED, b"")
        return done.stdout

    assert b"a/Z\\xfcrich: lacks unit" in output()
    assert RunResult.model_validate_json(output("--json")).checks[0].sample[0].name == "Z\u00fcrich"
