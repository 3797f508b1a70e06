"""Every command, block of code, table and link of README.md, run or looked up."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import pytest

from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig
from airflow_provider_btrdb.get_provider_info import CONNECTION_FORM
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook
from airflow_provider_btrdb.testing import devserver_process

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def section(title: str) -> str:
    return README.split(f"## {title}\n")[1].split("\n## ")[0]


def airflow_of_its_own(home: Path, **more: str) -> dict[str, str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **more}


def run(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(
    airflow.__version__.startswith("3.0."), reason="needs dag.test() to log the end of a task: not in Airflow 3.0"
)
def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    (block,) = [block for block in blocks("console") if commands(block) == ["make demo"]]
    command = [sys.executable, str(ROOT / "tools" / "demo.py"), "--state", str(tmp_path)]
    printed = run(command, dict(os.environ)).replace(str(tmp_path), ".demo").splitlines()
    shown = block.splitlines()[1:]
    # Tasks that do not depend on each other may end in another order.
    assert sorted(printed) == sorted(shown)
    assert [line for line in printed if "ended" not in line] == [line for line in shown if "ended" not in line]


def test_the_dag_of_the_readme_runs(tmp_path: Path, airflow_db: Path, server: Any, db: BTrDB, connection: str) -> None:
    (code,) = [block for block in blocks("python") if "DAG(" in block]
    try:
        import airflow.sdk  # noqa: F401
    except ImportError:
        code = code.replace("from airflow.sdk import", "from airflow import")
    (tmp_path / "provision.py").write_text(code)
    environment = airflow_of_its_own(airflow_db, AIRFLOW__CORE__DAGS_FOLDER=str(tmp_path))
    run([str(BIN / "airflow"), "dags", "test", "provision"], environment)
    assert [stream.unit for stream in db.streams_in_collection("grid/substation1")] == ["volts"] * 3


def test_the_client_example_of_the_readme_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (code,) = [block for block in blocks("python") if "connect(" in block]
    assert "btrdb-devserver --data ./btrdb-data --listen localhost:4410 --api-key KEY" in README
    with devserver_process(data=tmp_path / "data", api_key="KEY") as server:
        for _ in range(2):
            exec(code.replace("localhost:4410", server.endpoint), {})
    expected = "59.995\n[{'name': 'frequency', 'annotations': {'room': '12'}}]\n"
    assert capfd.readouterr().out == expected * 2


def test_the_connections_of_the_readme_mean_the_same(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = [block for block in blocks("console") if "AIRFLOW_CONN" in block]
    add, *exports = commands(block)
    environment = airflow_of_its_own(airflow_db)
    run([str(BIN / "airflow"), *shlex.split(add)[1:]], environment)
    got = run([str(BIN / "airflow"), "connections", "get", "btrdb_default", "-o", "json"], environment)
    assert '"conn_type": "btrdb"' in got
    assert '"host": "btrdb.example.com"' in got
    assert len(exports) == 2
    for line in exports:
        name, value = shlex.split(line)[1].split("=", 1)
        monkeypatch.setenv(name, value)
        assert BTrDBHook().get_client().config == ConnectionConfig(
            endpoint="btrdb.example.com:4411", api_key="KEY", tls=TlsConfig()
        )


def test_the_table_of_extras_is_the_form() -> None:
    rows = [line.split("|") for line in section("Connections").splitlines() if line.startswith("| `")]
    shown = {name: row[3].strip(" `") for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    fields = CONNECTION_FORM["conn-fields"]
    assert list(shown) == list(fields)
    for name, field in fields.items():
        default = field["schema"].get("default")
        if default is not None:
            assert shown[name] == str(default).lower(), name


def test_every_link_leads_somewhere_and_every_example_is_there() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    files = [link.partition("#")[0] for link in links if "://" not in link]
    assert [file for file in files if not (ROOT / file).exists()] == []
    dag = (ROOT / "example_dags" / "btrdb_quickstart.py").read_text()
    examples = re.findall(r"\[`(\w+)`\]\(example_dags/btrdb_quickstart.py\)", README)
    assert len(examples) == 4
    for name in examples:
        assert f'task_id="{name}"' in dag or f"def {name}(" in dag
