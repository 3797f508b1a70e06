"""The tables of benchmarks in docs/ are made of recorded samples, and the checker notices when they are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
DOCS = {
    "client": ROOT / "docs" / "benchmarks.md",
    "devserver": ROOT / "docs" / "benchmarks-devserver.md",
    "provision": ROOT / "docs" / "benchmarks-provision.md",
    "audit": ROOT / "docs" / "benchmarks-audit.md",
}


def check(of: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "check.py"), "--of", of, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def recorded(of: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((BENCHMARKS / "results" / f"{of}.json").read_text())
    return found


def complaint(of: str, results: dict[str, Any], folder: Path) -> str:
    """What the checker says of these results."""
    changed = folder / "results.json"
    changed.write_text(json.dumps(results))
    done = check(of, "--results", changed)
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("of", DOCS)
def test_the_documented_table_is_the_recorded_one(of: str) -> None:
    done = check(of)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("of", DOCS)
def test_an_edited_number_is_noticed_and_mended(tmp_path: Path, of: str) -> None:
    copied = tmp_path / "edited.md"
    text = DOCS[of].read_text()
    copied.write_text(text.replace("| met |", "| **missed** |", 1))
    assert copied.read_text() != text
    done = check(of, "--docs", copied)
    assert done.returncode == 1
    assert "--write" in done.stderr
    assert check(of, "--docs", copied, "--write").returncode == 0
    assert copied.read_text() == text


def test_a_document_without_a_place_for_the_table_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.md"
    empty.write_text("# nothing\n")
    for options in ([], ["--write"]):
        done = check("client", "--docs", empty, *options)
        assert done.returncode == 1
        assert "no place for the table" in done.stderr
    assert empty.read_text() == "# nothing\n"


@pytest.mark.parametrize(
    ("of", "case", "field", "factor", "says"),
    [
        ("client", "recorded: ours sql 100000", "cpu", 0.5, "does not hold"),
        ("client", "recorded: peer sql 100000", "compared", 0, "not everything was compared"),
        (
            "client", "recorded: ours insert-tuples 1000000", "cpu", 100,
            "from tuples beside insert: misses its reach and CAUSES names no cause",
        ),
        ("devserver", "create-64", "wall", 100, "create-64: misses its goal and CAUSES names no cause"),
        ("devserver", "start-cold", "wall", 100, "start-cold: misses its goal and CAUSES names no cause"),
        ("devserver", "memory", "mb", 100, "memory: misses its goal and CAUSES names no cause"),
        ("devserver", "create-1", "wall", 100, "does not hold"),
        ("devserver", "lookup", "compared", 0, "lookup: not everything was compared"),
        ("provision", "apply", "wall", 100, "made and verified (wall): misses its goal"),
        ("provision", "loop-create", "cpu", 0.01, "made and verified (cpu): misses its goal"),
        ("provision", "plan-create", "mb", 100, "specification included (mb): misses its goal"),
        ("provision", "read-csv", "wall", 2, "does not hold"),
        ("provision", "loop-unchanged", "compared", 0, "loop-unchanged: not everything was compared"),
        ("audit", "listing 1000000", "wall", 100, "without SQL (s): misses its goal"),
        ("audit", "listing 1000000", "mb", 100, "without SQL (MB): misses its goal"),
        ("audit", "listing 100000", "wall", 0.1, "without SQL (times): misses its goal"),
        ("audit", "fresh 100000", "at_once", 2, "under way at once (calls): misses its goal"),
        ("audit", "fresh 100000", "wall", 2, "does not hold"),
        ("audit", "sql 1000000", "compared", 0, "sql 1000000: not everything was compared"),
        ("audit", "fresh 3 100000", "compared", 0, "fresh 3 100000: not everything was compared"),
    ],
)  # fmt: skip
def test_other_samples_make_another_table(
    tmp_path: Path, of: str, case: str, field: str, factor: float, says: str
) -> None:
    results = recorded(of)
    for sample in results["samples"][case]:
        sample[field] *= factor
    assert says in complaint(of, results, tmp_path)


@pytest.mark.parametrize(
    ("of", "case", "needed"),
    [
        ("client", "recorded: ours sql 100000", 5),
        ("devserver", "memory", 5),
        ("provision", "apply", 5),
        ("audit", "fresh 100000", 5),
    ],
)
def test_too_few_samples_make_no_table(tmp_path: Path, of: str, case: str, needed: int) -> None:
    results = recorded(of)
    del results["samples"][case][needed - 1 :]
    assert f"{case}: {needed - 1} samples, {needed} are needed" in complaint(of, results, tmp_path)
