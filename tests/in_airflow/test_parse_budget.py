"""Parsing a DAG file must stay light: modules are counted, since seconds depend on the machine."""

from __future__ import annotations

import json
import subprocess
import sys

import airflow
import pytest

HEAVY = {"grpc", "google.protobuf", "numpy", "pandas", "polars", "pyarrow", "psycopg"}

SCRIPT = """
import json, sys
try:
    import airflow.sdk
except ImportError:  # Airflow 2: what its operators, sensors and hooks stand on
    import airflow.hooks.base, airflow.models.dag, airflow.sensors.base
    if any("hooks" in name for name in {modules!r}):
        import airflow.providers.common.sql.hooks.sql  # brings Flask there, which is not ours to count
before = set(sys.modules)
for name in {modules!r}:
    __import__(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def added(*modules: str) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(modules=modules)], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout.splitlines()[-1])


def foreign(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith("airflow_provider_btrdb")]


def heavy(names: list[str]) -> set[str]:
    return {name for name in HEAVY if any(module == name or module.startswith(name + ".") for module in names)}


PLAIN = (
    "airflow_provider_btrdb.operators.connection",
    "airflow_provider_btrdb.operators.streams",
    "airflow_provider_btrdb.operators.points",
    "airflow_provider_btrdb.operators.provision",
    "airflow_provider_btrdb.operators.query",
    "airflow_provider_btrdb.operators.audit",
    "airflow_provider_btrdb.sensors.streams",
    "airflow_provider_btrdb.triggers.streams",
    "airflow_provider_btrdb.triggers.events",
    "airflow_provider_btrdb.assets.streams",
)


light_sql = pytest.mark.skipif(
    airflow.__version__.startswith(("3.0.", "3.1.")), reason="needs Airflow 3.2: a DbApiHook that imports little"
)


@pytest.mark.parametrize(
    ("modules", "limit"),
    [
        (PLAIN, 20),
        ((*PLAIN, "airflow_provider_btrdb.notifications.audit"), 30),
        pytest.param((*PLAIN, "airflow_provider_btrdb.hooks.btrdb"), 70, marks=light_sql),
    ],
)
def test_importing_for_a_dag_stays_within_the_budget(modules: tuple[str, ...], limit: int) -> None:
    names = added(*modules)
    assert set(modules) <= set(names)
    assert heavy(names) == set()
    assert len(foreign(names)) <= limit, foreign(names)


def test_the_package_and_its_provider_info_import_nothing() -> None:
    script = (
        "import sys; before = set(sys.modules); import airflow_provider_btrdb.get_provider_info; "
        "print(sorted(set(sys.modules) - before))"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", "import sys; sys.path[:0] = " + repr(sys.path) + "; " + script],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "['airflow_provider_btrdb', 'airflow_provider_btrdb.get_provider_info']"
