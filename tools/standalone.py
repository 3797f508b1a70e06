"""An `airflow standalone` on free ports of this machine, for tests and for pictures, and nothing left of it afterwards.

SQLite, the LocalExecutor, no login. Linux only: it finds the processes of Airflow in /proc.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from airflow_provider_btrdb.testing._ports import held_port

BIN = Path(sys.executable).parent
T = TypeVar("T")


class Standalone:
    """A running Airflow. Use `standalone()` to get one."""

    def __init__(self, home: Path, dags: Path, settings: Mapping[str, str]) -> None:
        self._ports = ExitStack()
        api, worker_logs, trigger_logs = (self._ports.enter_context(held_port()) for _ in range(3))
        self.url = f"http://127.0.0.1:{api}"
        self.log = home / "standalone.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self._environment = {
            **kept,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # Airflow starts its parts by their name
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(api),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__PARALLELISM": "8",
            # Its parts write to one file and wait for each other; the scheduler ends when it has waited in vain.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=300",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            **settings,
        }
        self._sessions: list[subprocess.Popen[bytes]] = []
        self._token = ""

    def start(self, *part: str) -> None:
        """Start `airflow standalone`, or the part of it that is named, in a session of its own."""
        command = [BIN / "airflow", *(part or ["standalone"])]
        with self.log.open("a") as log:
            process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._sessions.append(process)

    def run(self, *command: str) -> None:
        """One command of Airflow from its beginning to its end. Raises CalledProcessError."""
        subprocess.run([BIN / "airflow", *command], env=self._environment, check=True, capture_output=True)

    def wait_until_healthy(self) -> None:
        """Until every part says so."""

        def healthy() -> bool:
            self._token = self._call("GET", "/auth/token")["access_token"]
            health = self.api("GET", "/api/v2/monitor/health")
            return all(health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor", "triggerer"))

        self.wait_for("Airflow to be healthy", healthy)

    def stop_part(self, name: str) -> None:
        """End the part with all its processes, as a crash of its machine would."""
        doomed: set[int] = set()
        while found := {pid for pid, parent in self.processes().items() if name in command_of(pid) or parent in doomed}:
            if found <= doomed:
                break
            for pid in found - doomed:
                send(pid, signal.SIGSTOP)  # so that it starts no others meanwhile
            doomed |= found
        assert doomed, f"there is no {name}"
        for pid in doomed:
            send(pid, signal.SIGKILL)
        self.wait_for(f"the {name} to be gone", lambda: not doomed & set(self.processes()))

    def stop(self) -> None:
        """End all processes, and give the ports back. Airflow's first one alone would leave the others behind."""
        for number, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 60)):
            told: set[int] = set()
            limit = time.monotonic() + seconds
            while (living := set(self.processes())) and time.monotonic() < limit:
                for pid in living - told:  # more may have come since the last look
                    send(pid, number)
                told |= living
                time.sleep(0.1)
        for process in self._sessions:
            process.wait()
        self._ports.close()

    def processes(self) -> dict[int, int]:
        """All processes of this Airflow, with their parents."""
        sessions = {process.pid for process in self._sessions}
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, parent, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            except OSError:  # it ended meanwhile
                continue
            if int(session) in sessions and state != "Z":
                found[int(stat.parent.name)] = int(parent)
        return found

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """The reply of Airflow's API. Raises urllib.error.HTTPError."""
        return self._call(method, path, body)

    def start_run(self, dag: str) -> tuple[str, str]:
        """Start a run of the DAG: its id, and its path in the API."""
        runs, name = f"/api/v2/dags/{dag}/dagRuns", f"test__{uuid4()}"

        def started() -> bool:
            try:
                self.api("POST", runs, {"logical_date": None, "dag_run_id": name})
            except urllib.error.HTTPError as error:
                if error.code != 409:  # a reply that did not come in time, and the run is there
                    raise
            return True

        self.wait_for(f"a run of {dag}", started)
        return name, f"{runs}/{name}"

    def wait_until_known(self, dag: str, run: str, task: str) -> None:
        """Until the scheduler has seen the task pause. Airflow fails one that goes on before that."""
        seen = f"TaskInstance Finished: dag_id={dag}, task_id={task}, run_id={run},"
        self.wait_for("the scheduler to know", lambda: seen in self.log.read_text(errors="replace"))

    def wait_for(self, what: str, condition: Callable[[], T], limit: float = 300) -> T:
        """The first result of the condition that is true. An API that fails, or does not answer, is asked again."""
        end_of_patience = time.monotonic() + limit
        while time.monotonic() < end_of_patience:
            try:
                if result := condition():
                    return result
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError):
                pass  # not up, or does not know of it yet, or ended in the middle of a reply
            assert self.processes(), f"{what}: Airflow ended\n{self._end_of_log()}"
            time.sleep(0.5)
        raise AssertionError(f"{what}: waited {limit:.0f} s\n{self._end_of_log()}")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=150) as reply:
            return json.load(reply)

    def _end_of_log(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])


@contextmanager
def standalone(home: Path, dags: Path, settings: Mapping[str, str]) -> Iterator[Standalone]:
    """Airflow with these DAGs and `AIRFLOW...` variables, its files in `home`; healthy when the block begins."""
    airflow = Standalone(home, dags, settings)
    airflow.start()
    try:
        airflow.wait_until_healthy()
        yield airflow
    finally:
        airflow.stop()


@contextmanager
def api_server(home: Path, settings: Mapping[str, str]) -> Iterator[Standalone]:
    """The API server alone, with a database of its own and no DAGs; it answers when the block begins."""
    airflow = Standalone(home, home / "dags", settings)
    airflow.run("db", "migrate")
    airflow.start("api-server")
    try:
        airflow.wait_for("the API server", lambda: airflow.api("GET", "/api/v2/version"))
        yield airflow
    finally:
        airflow.stop()


def command_of(pid: int) -> str:
    """The process's command line; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def send(pid: int, number: signal.Signals) -> None:
    """Send the signal, unless the process has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
