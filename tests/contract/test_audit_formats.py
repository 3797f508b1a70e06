"""Runs that keep their failures as JSON lines or Parquet: compared with each other, and without pyarrow."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.audit import RunResult
from airflow_provider_btrdb.cli import audit as command
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.testing import RunningServer

FORMATS = ("jsonl", "parquet")


@pytest.fixture
def run(run_command: Any) -> Any:
    """`run("suite.yaml", ...)`: exit status, output, errors."""
    return partial(run_command, command.main, "run")


@pytest.fixture
def place(keyed_db: BTrDB, run_command: Any) -> str:
    """A collection with the streams a and b, which lack a unit, and a suite that says so in the folder of the test."""
    place = f"formats/{uuid4()}"
    for name in "ab":
        keyed_db.create(uuid4(), place, {"name": name})
    Path("suite.yaml").write_text(f"select: {{prefix: {place}}}\nchecks:\n- required: unit\n")
    return place


@pytest.mark.parametrize("second", FORMATS)
@pytest.mark.parametrize("first", FORMATS)
def test_a_run_is_compared_with_one_of_another_format(
    run: Any, keyed_db: BTrDB, place: str, first: str, second: str
) -> None:
    run("suite.yaml", "--store", "kept", "--failures", first)
    keyed_db.streams(f"{place}/a")[0].update(tags={"unit": "V"})
    keyed_db.create(uuid4(), place, {"name": "c"})
    status, out, _ = run("suite.yaml", "--store", "kept", "--failures", second, "--json")
    comparison = RunResult.model_validate_json(out).checks[0].comparison
    assert (status, comparison is not None) == (command.FAILED, True)
    assert (comparison.new, comparison.fixed, comparison.still) == (1, 1, 1)
    assert [failure.name for failure in comparison.new_sample + comparison.fixed_sample] == ["c", "a"]
    kept = [path.name for path in sorted(Path("kept").glob("*/failures.*"))]
    assert kept == [f"failures.{first}", f"failures.{second}"]


def test_json_lines_are_what_nobody_has_to_ask_for(run: Any, place: str) -> None:
    run("suite.yaml", "--store", "kept")
    assert [path.name for path in Path("kept").glob("*/failures.*")] == ["failures.jsonl"]


def test_another_word_is_refused_before_any_call(run: Any, keyed_server: RunningServer, place: str) -> None:
    keyed_server.calls.clear()
    status, out, err = run("suite.yaml", "--store", "kept", "--failures", "csv")
    assert (status, out) == (command.FAULT, "")
    assert err == "btrdb-audit: failures are kept as jsonl or parquet, not as 'csv'\n"
    assert keyed_server.calls.records() == []


WITHOUT = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from airflow_provider_btrdb.cli.audit import main
sys.exit(main(sys.argv[1:]))
"""
MISSING = "pyarrow is not installed: pip install 'airflow-provider-btrdb[arrow]'\n"


@pytest.fixture
def run_without(keyed_server: RunningServer, place: str) -> Any:
    """As `run`, in a process that has no pyarrow; the calls that were made come last."""

    def run(*arguments: str) -> tuple[int, str, str, list[Any]]:
        keyed_server.calls.clear()
        given = [
            "run",
            "suite.yaml",
            "--store",
            "kept",
            "--endpoint",
            keyed_server.endpoint,
            "--api-key-env",
            "THE_KEY",
        ]
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT, *given, *arguments],
            env={**os.environ, "THE_KEY": "the-key"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr, keyed_server.calls.records()

    return run


def test_without_pyarrow_parquet_is_one_sentence_before_any_call(run_without: Any) -> None:
    assert run_without("--failures", "parquet") == (command.FAULT, "", f"btrdb-audit: {MISSING}", [])
    assert not Path("kept").exists()


def test_without_pyarrow_a_last_run_in_parquet_is_named_before_any_call(run: Any, run_without: Any) -> None:
    run("suite.yaml", "--store", "kept", "--failures", "parquet")
    (last,) = Path("kept").glob("*/failures.parquet")
    assert run_without() == (command.FAULT, "", f"btrdb-audit: {last} cannot be read: {MISSING}", [])


def test_without_pyarrow_json_lines_are_compared(run_without: Any) -> None:
    for said in (
        "required unit: 2 of 2 streams fail\n",
        "required unit: 2 of 2 streams fail (0 new, 2 still, 0 fixed)",
    ):
        status, out, err, calls = run_without()
        assert (status, err, bool(calls)) == (command.FAILED, "", True)
        assert said in out
