"""The table of docs/benchmarks.md is made of the recorded samples, and the checker notices when it is not."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHECK = ROOT / "benchmarks" / "check.py"
DOCS = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "benchmarks" / "results" / "client.json"


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CHECK), *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text())
    return found


def checked(tmp_path: Path, results: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    changed = tmp_path / "results.json"
    changed.write_text(json.dumps(results))
    return check("--results", changed)


def test_the_documented_table_is_the_recorded_one() -> None:
    done = check()
    assert done.returncode == 0, done.stderr


def test_an_edited_number_is_noticed_and_mended(tmp_path: Path) -> None:
    copied = tmp_path / "benchmarks.md"
    text = DOCS.read_text()
    copied.write_text(text.replace("| met |", "| **missed** |", 1))
    assert copied.read_text() != text
    done = check("--docs", copied)
    assert done.returncode == 1
    assert "--write" in done.stderr
    assert check("--docs", copied, "--write").returncode == 0
    assert copied.read_text() == text


def test_a_document_without_a_place_for_the_table_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.md"
    empty.write_text("# nothing\n")
    for options in ([], ["--write"]):
        done = check("--docs", empty, *options)
        assert done.returncode == 1
        assert "no place for the table" in done.stderr
    assert empty.read_text() == "# nothing\n"


def test_other_samples_make_another_table(tmp_path: Path, results: dict[str, Any]) -> None:
    for sample in results["samples"]["recorded: ours sql 100000"]:
        sample["cpu"] /= 2
    done = checked(tmp_path, results)
    assert done.returncode == 1
    assert "does not hold" in done.stderr


def test_too_few_samples_make_no_table(tmp_path: Path, results: dict[str, Any]) -> None:
    results["samples"]["recorded: ours sql 100000"].pop()
    while len(results["samples"]["recorded: ours sql 100000"]) > 4:
        results["samples"]["recorded: ours sql 100000"].pop()
    done = checked(tmp_path, results)
    assert done.returncode == 1
    assert "recorded: ours sql 100000: 4 samples, 5 are needed" in done.stderr


def test_a_sample_that_was_not_compared_does_not_count(tmp_path: Path, results: dict[str, Any]) -> None:
    results["samples"]["recorded: peer sql 100000"][0]["compared"] = 99_999
    done = checked(tmp_path, results)
    assert done.returncode == 1
    assert "not everything was compared" in done.stderr


def test_a_miss_without_a_cause_is_refused(tmp_path: Path, results: dict[str, Any]) -> None:
    worse = copy.deepcopy(results)
    for sample in worse["samples"]["recorded: ours insert-tuples 1000000"]:
        sample["cpu"] *= 100
    done = checked(tmp_path, worse)
    assert done.returncode == 1
    assert "from tuples beside insert: misses its reach and CAUSES names no cause" in done.stderr
