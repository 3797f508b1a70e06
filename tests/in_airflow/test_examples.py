"""Every example DAG runs, and the how-to pages show nothing else."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import airflow
import pytest

from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.get_provider_info import get_provider_info

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "example_dags"
HOWTO = ROOT / "docs" / "howto"
PAGES = sorted(HOWTO.glob("*.md"))

asset_watchers = pytest.mark.skipif(airflow.__version__.startswith("2."), reason="needs Airflow 3: asset watchers")


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["btrdb_lifecycle", "btrdb_backfill", pytest.param("btrdb_watch", marks=asset_watchers)]
)
@pytest.mark.usefixtures("connection")
def test_the_example_runs_and_finds_what_it_expects(name: str, airflow_db: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "AIRFLOW_HOME": str(airflow_db),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
    }
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")], env=environment, check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.usefixtures("connection")
def test_a_week_twice_side_by_side_and_reversed_gives_equal_points(db: BTrDB, pool: Any) -> None:
    dag = load("btrdb_backfill").backfill  # once: the DAG that a file is making is global to a process

    def load_day(day: int) -> Any:
        start = datetime(1997, 1, 1, tzinfo=UTC) + timedelta(days=day)
        operator = dag.get_task("load_day").prepare_for_execution()  # a copy of its own, as a worker has it
        operator.render_template_fields({"data_interval_start": start, "data_interval_end": start + timedelta(days=1)})
        return operator.execute({})

    dag.get_task("create").execute({})
    (stream,) = db.streams("backfill/703165/DryBulb")
    stream.delete(0, 2**61)
    days = list(range(7))
    first = list(pool(7).map(load_day, days))
    assert [result["inserted"] for result in first] == [14, 24, 24, 24, 24, 24, 24]
    points = stream.values()
    assert len(points) == 158
    again = list(pool(7).map(load_day, reversed(days)))
    assert [result["inserted"] for result in again] == [0] * 7
    assert stream.values() == points
    stream.delete(0, 2**61)
    for day in reversed(days):
        load_day(day)
    assert stream.values() == points


# ---------------------------------------------------------------- the how-to pages


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_of_a_page_is_part_of_an_example_dag(page: Path) -> None:
    """Indentation aside, so that a page shows what has run."""
    sources = [flat(path.read_text()) for path in EXAMPLES.glob("*.py")]
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    if page.stem != "README":
        assert blocks
    for block in blocks:
        shown = flat(textwrap.dedent(block)).strip()
        assert any(shown in source for source in sources), block


def public_classes() -> set[str]:
    names: set[str] = set()
    info: dict[str, Any] = get_provider_info()
    for kind in ("operators", "sensors"):
        for module in info[kind][0]["python-modules"]:
            text = (ROOT / (module.replace(".", "/") + ".py")).read_text()
            names |= set(re.findall(r"^class (\w+(?:Operator|Sensor))\(", text, re.MULTILINE))
    return {*names, "BTrDBStreamEventTrigger", "BTrDBAuditNotifier"}


def test_every_class_has_a_page_of_its_own_and_the_index_names_them() -> None:
    titles = {page.read_text().splitlines()[0].removeprefix("# ") for page in PAGES if page.stem != "README"}
    assert titles == public_classes()
    index = (HOWTO / "README.md").read_text()
    for name in titles:
        assert f"[`{name}`]({name}.md)" in index
    assert {page.stem for page in PAGES} == titles | {"README"}


def test_the_readme_names_every_class_and_where_its_example_is() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in public_classes():
        (row,) = [line for line in readme.splitlines() if line.startswith("| ") and f"[`{name}`]" in line]
        example, path = re.findall(r"\[`(\w+)`\]\((example_dags/\w+\.py)\)", row)[-1]
        source = (ROOT / path).read_text()
        assert f'task_id="{example}"' in source or f"def {example}(" in source
        assert name in source
        assert (ROOT / re.findall(r"\]\((docs/howto/\w+\.md)\)", row)[0]).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
