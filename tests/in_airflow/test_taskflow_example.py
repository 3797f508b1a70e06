"""example_dags/btrdb_taskflow.py runs, twice, and docs/taskflow.md shows its very text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb.client import BTrDB

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "example_dags" / "btrdb_taskflow.py"


def test_the_page_shows_what_runs() -> None:
    parts = re.findall(r"# \[START \w+\]\n(.*?)\n *# \[END", EXAMPLE.read_text(), re.DOTALL)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "taskflow.md").read_text(), re.DOTALL)
    assert len(parts) == 4
    shown = [lines(block) for block in blocks]
    for part in parts:
        assert lines(textwrap.dedent(part)) in shown


def lines(code: str) -> list[str]:
    """Without empty ones: the formatter puts more of them at the top of a file than inside a function."""
    return [line for line in code.splitlines() if line]


@pytest.mark.timeout(600)  # two runs of a whole DAG, in a process each
def test_the_example_ends_in_the_same_state_twice(
    tmp_path: Path, airflow_db: Path, server: Any, db: BTrDB, connection: str
) -> None:
    (tmp_path / EXAMPLE.name).write_text(EXAMPLE.read_text())
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(airflow_db),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
    }
    found = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, str(tmp_path / EXAMPLE.name)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
            check=False,
        )
        assert run.returncode == 0, run.stdout[-4000:]
        streams = db.streams_in_collection("example/taskflow")
        found.append({stream.uuid: stream.values().values.tolist() for stream in streams})
    assert len(found[0]) == 40
    assert found[0] == found[1]
