"""The table of docs/benchmarks-devserver.md is made of the recorded samples, and the checker notices when it is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHECK = ROOT / "benchmarks" / "check.py"
RESULTS = ROOT / "benchmarks" / "results" / "devserver.json"
DOCS = ROOT / "docs" / "benchmarks-devserver.md"


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHECK), "--of", "devserver", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text())
    return found


def checked(tmp_path: Path, results: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    changed = tmp_path / "results.json"
    changed.write_text(json.dumps(results))
    return check("--results", changed)


def test_the_documented_server_table_is_the_recorded_one() -> None:
    done = check()
    assert done.returncode == 0, done.stderr


def test_an_edited_server_number_is_noticed_and_mended(tmp_path: Path) -> None:
    copied = tmp_path / "edited.md"
    text = DOCS.read_text()
    copied.write_text(text.replace("| met |", "| **missed** |", 1))
    assert copied.read_text() != text
    assert check("--docs", copied).returncode == 1
    assert check("--docs", copied, "--write").returncode == 0
    assert copied.read_text() == text


@pytest.mark.parametrize(
    ("case", "field", "factor", "says"),
    [
        ("create-64", "wall", 100, "create-64: misses its goal and CAUSES names no cause"),
        ("start-cold", "wall", 100, "start-cold: misses its goal and CAUSES names no cause"),
        ("memory", "mb", 100, "memory: misses its goal and CAUSES names no cause"),
        ("create-1", "wall", 100, "does not hold"),
        ("lookup", "compared", 0, "lookup: not everything was compared"),
    ],
)
def test_other_server_samples_make_another_table(
    tmp_path: Path, results: dict[str, Any], case: str, field: str, factor: int, says: str
) -> None:
    for sample in results["samples"][case]:
        sample[field] *= factor
    done = checked(tmp_path, results)
    assert done.returncode == 1
    assert says in done.stderr


def test_too_few_server_samples_make_no_table(tmp_path: Path, results: dict[str, Any]) -> None:
    results["samples"]["memory"] = results["samples"]["memory"][:4]
    assert "memory: 4 samples, 5 are needed" in checked(tmp_path, results).stderr
