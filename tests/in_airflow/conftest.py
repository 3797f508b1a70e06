"""Real Airflow, a real development server, and a connection between them."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import airflow
import pytest
from filelock import FileLock

from airflow_provider_btrdb._airflow import AirflowFailException, BTrDBTransientException, worth_a_retry
from airflow_provider_btrdb.client import BTrDB, BTrDBError, connect
from airflow_provider_btrdb.testing import devserver

API_KEY = "sentinel-key-that-must-never-be-seen"


@pytest.fixture(scope="session")
def airflow_db(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """AIRFLOW_HOME with a migrated SQLite database; migrated once per run and copied for each worker."""
    home = Path(os.environ["AIRFLOW_HOME"])
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    template = shared / "airflow-template"
    with FileLock(shared / "airflow-template.lock"):
        if not template.exists():
            command = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
            subprocess.run(command, env={**os.environ, "AIRFLOW_HOME": str(template)}, check=True, capture_output=True)
    shutil.copy(template / "airflow.db", home / "airflow.db")
    return home


@pytest.fixture(scope="session")
def server() -> Iterator[Any]:
    with devserver(api_key=API_KEY) as running:
        yield running


@pytest.fixture(scope="session")
def db(server: Any) -> Iterator[BTrDB]:
    """A plain client, to arrange and to look."""
    with connect(server.endpoint, API_KEY) as connection:
        yield connection


@pytest.fixture
def collection() -> str:
    """A collection of the test's own."""
    return f"airflow-test/{uuid4()}"


def operators_in_this_thread() -> None:
    """Airflow 2 makes what it keeps per thread about running operators in the first thread only."""
    if airflow.__version__.startswith("2."):
        from airflow.models.baseoperator import ExecutorSafeguard

        ExecutorSafeguard._sentinel.callers = {}


@pytest.fixture
def pool() -> Iterator[Callable[[int], ThreadPoolExecutor]]:
    """Makes pools of threads in which operators can be executed."""
    with ExitStack() as stack:
        yield lambda threads: stack.enter_context(ThreadPoolExecutor(threads, initializer=operators_in_this_thread))


def connection_json(endpoint: str, **fields: Any) -> str:
    """The text of an AIRFLOW_CONN_ variable."""
    host, port = endpoint.rsplit(":", 1)
    return json.dumps({"conn_type": "btrdb", "host": host, "port": int(port), "password": API_KEY, **fields})


@pytest.fixture
def connection(server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The default connection, defined as users define it, in the environment."""
    monkeypatch.setenv("AIRFLOW_CONN_BTRDB_DEFAULT", connection_json(server.endpoint))
    monkeypatch.setenv("AIRFLOW_CONN_IMPATIENT", connection_json(server.endpoint, extra={"retry_total": 0}))
    slow = {"retry_total": 0, "max_in_flight": 1}
    monkeypatch.setenv("AIRFLOW_CONN_ONE_BY_ONE", connection_json(server.endpoint, extra=slow))
    return "btrdb_default"


class Instance:
    """Stands in for a task instance and keeps its XCom; that Airflow's does is seen in test_audit_example.py."""

    dag_id, task_id, run_id, map_index = "dag", "audit", "manual", -1

    def __init__(self) -> None:
        self.xcom: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcom[key] = json.loads(json.dumps(value))

    def xcom_pull(self, *, task_ids: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcom.get("return_value")

    def run(self, task: Any) -> dict[str, Any]:
        """Execute the task; the context that its callbacks get."""
        context: dict[str, Any] = {"dag": None, "task": task, "ti": self}
        try:
            self.xcom_push("return_value", task.execute(context))
        except (AirflowFailException, BTrDBTransientException) as error:
            context["exception"] = error
        return context


@pytest.fixture
def new_instance() -> type[Instance]:
    """Makes stand-ins for task instances of audits."""
    return Instance


@pytest.fixture(scope="session")
def quickstart_data() -> Any:
    """The module beside the example DAGs that knows their data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "example_dags")
        return importlib.import_module("quickstart_data")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody else can listen on meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks of a connection have the time that a stalled machine takes, and a name server that is away."""
    from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

    monkeypatch.setattr(BTrDBHook.diagnose, "__defaults__", (100.0,))


class Troubles:
    """docs/troubleshooting.md, and the connection `btrdb_default` in all the ways in which it can be wrong."""

    PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"

    def __init__(self, server: Any, patch: pytest.MonkeyPatch) -> None:
        self._server, self._patch = server, patch
        self._rows = {
            section.splitlines()[0]: dict(re.findall(r"^\| `(.+?)` \|.*\| (yes|no) \|$", section, re.MULTILINE))
            for section in self.PAGE.read_text().split("\n## ")[1:]
        }

    def connect(self, endpoint: str | None = None, **fields: Any) -> None:
        """Calls are tried once only. What is no field of a connection is one of its extras."""
        whole = {name: fields.pop(name) for name in ("host", "port", "password", "conn_type") if name in fields}
        extra = {"retry_total": 0, **fields}
        text = connection_json(endpoint or self._server.endpoint, extra=extra, **whole)
        self._patch.setenv("AIRFLOW_CONN_BTRDB_DEFAULT", text)

    def texts(self, *sections: str) -> list[str]:
        """The errors of these sections, as the page has them."""
        return [text for section in sections for text in self._rows[section]]

    def check(self, text: str, error: BaseException) -> None:
        """The error says this text, `…` being anything, and is retried where the page says so."""
        retried = {text: retried for rows in self._rows.values() for text, retried in rows.items()}[text]
        pattern = re.sub("…", ".+", re.escape(text).removesuffix("…"))
        assert re.fullmatch(pattern + ".*" * text.endswith("…"), str(error), re.DOTALL), str(error)
        transient = (
            worth_a_retry(error) if isinstance(error, BTrDBError) else isinstance(error, BTrDBTransientException)
        )
        assert (retried == "yes") == transient, type(error)


@pytest.fixture
def troubled(server: Any, monkeypatch: pytest.MonkeyPatch) -> Troubles:
    return Troubles(server, monkeypatch)
