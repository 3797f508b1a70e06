"""`make demo`: the example DAG in real Airflow against a development server, and what the server holds afterwards.

This process starts and stops the others and reads; it never writes to BTrDB. Server data stays in --state, so a
second run finds everything there.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_btrdb.client import BTrDB, BTrDBError, connect

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
READY = "btrdb-devserver ready on "
UNITS_SQL = "SELECT unit, COUNT(*) AS streams FROM streams WHERE collection LIKE $1 GROUP BY unit ORDER BY unit"


TASK_ENDED = re.compile(r"end task task_id=(?P<task>\S+) map_index=(?P<part>\S+)")


Process = subprocess.Popen[str]


class DemoError(Exception):
    """Something that the person at the keyboard can do something about."""


@dataclass(frozen=True)
class Catalogue:
    """What the server holds below the two prefixes of the example."""

    streams: int
    points: int
    units: list[dict[str, Any]]
    findings: list[str]


def main() -> int:
    """Run the demo; 0 if the DAG succeeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=ROOT / ".demo", help="where the server's data stays")
    parser.add_argument("--dags", type=Path, default=ROOT / "example_dags", help="folder with btrdb_quickstart.py")
    options = parser.parse_args()
    # An interrupt must not leave a server behind, however it comes.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        options.state.mkdir(parents=True, exist_ok=True)
        run(options.state.resolve(), options.dags.resolve())
    except (DemoError, OSError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except BTrDBError as error:
        print(f"\nerror: {error}\nthe server's log is {options.state / 'server.log'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


def run(state: Path, dags: Path) -> None:
    """Server, reading, Airflow, reading, summary."""
    api_key = os.environ.get("BTRDB_DEVSERVER_API_KEY") or secrets.token_urlsafe(24)
    step(1, "start the development server")
    with development_server(state, api_key) as (server, endpoint), connect(endpoint, api_key) as db:
        before = read(db, dags)
        home = state / "airflow"
        shutil.rmtree(home, ignore_errors=True)
        environment = airflow_environment(home, dags, endpoint, api_key)
        log = state / "airflow.log"
        step(2, "make an Airflow database (airflow db migrate)")
        airflow([str(BIN / "airflow"), "db", "migrate"], environment, log, server, append=False)
        step(3, f"run the DAG btrdb_quickstart in Airflow; its log is {shown(log)}")
        airflow([sys.executable, str(dags / "btrdb_quickstart.py")], environment, log, server, append=True)
        step(4, "read back what the server holds now")
        after = read(db, dags)
    report(before, after)


def step(number: int, what: str) -> None:
    """Say what is being done."""
    print(f"[{number}/4] {what}", flush=True)


def shown(path: Path) -> Path:
    """The path as somebody in the project's folder would write it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


# ---------------------------------------------------------------- processes


@contextmanager
def development_server(state: Path, api_key: str) -> Iterator[tuple[Process, str]]:
    """A server on a free port of this machine, and its endpoint. It ends with the block."""
    log = (state / "server.log").open("w")
    command = [str(BIN / "btrdb-devserver"), "--data", str(state / "server"), "--listen", "127.0.0.1:0"]
    server = subprocess.Popen(
        command, env={**os.environ, "BTRDB_DEVSERVER_API_KEY": api_key}, stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline().strip()
        if not line.startswith(READY):
            server.wait()
            raise DemoError((state / "server.log").read_text().strip() or "the development server did not start")
        yield server, line.removeprefix(READY)
    finally:
        server.terminate()
        server.wait()
        log.close()


def airflow_environment(home: Path, dags: Path, endpoint: str, api_key: str) -> dict[str, str]:
    """An Airflow of its own in `home`, that knows the server as btrdb_default."""
    host, port = endpoint.rsplit(":", 1)
    connection = {"conn_type": "btrdb", "host": host, "port": int(port), "password": api_key}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **kept,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_BTRDB_DEFAULT": json.dumps(connection),
    }


def airflow(command: list[str], environment: Mapping[str, str], log: Path, server: Process, *, append: bool) -> None:
    """Run to the end with all output in the log, showing one line for every ended task. Stops if the server ends."""
    with log.open("a" if append else "w") as output:
        begin = output.tell()
        process = subprocess.Popen(command, env=dict(environment), stdout=output, stderr=subprocess.STDOUT)
    try:
        with log.open(errors="replace") as written:
            written.seek(begin)
            line = ""  # what was read last may be the first half of one
            while process.poll() is None:
                if server.poll() is not None:
                    raise DemoError("the development server ended in the middle; run the demo again to go on")
                line = show_progress(line + written.read())
                time.sleep(0.2)
            show_progress(line + written.read() + "\n")
    finally:
        # A task that is told to terminate fails and is retried; this Airflow is thrown away, so it just ends.
        process.kill()
        process.wait()
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise DemoError(f"{Path(command[-1]).name} failed. The end of {shown(log)}:\n{tail}")


def show_progress(text: str) -> str:
    """Ended tasks, out of Airflow's many lines. Returns the last line if it has no end yet."""
    *lines, rest = text.split("\n")
    for line in lines:
        ended = TASK_ENDED.search(line)
        if ended is not None:
            part = "" if ended["part"] == "-1" else f" [{ended['part']}]"
            print(f"      {ended['task']}{part} ended", flush=True)
    return rest


# ---------------------------------------------------------------- reading back


def read(db: BTrDB, dags: Path) -> Catalogue:
    """Count and audit by lookups alone; only the units come from SQL, as in the DAG."""
    sys.path.insert(0, str(dags))
    try:
        example = importlib.import_module("quickstart_data")
    finally:
        sys.path.remove(str(dags))
    units = set(example.allowed_units(dags / "data"))
    findings: list[str] = []
    names: Counter[str] = Counter()
    streams = points = 0
    for stream in db.lookup_iter("weather/tmy3/", "grid/ieee118/"):
        streams += 1
        path = f"{stream.collection}/{stream.name}"
        if stream.collection.startswith("weather/"):
            points += sum(len(page) for page in stream.values_iter())
            continue
        names[path] += 1
        annotations = stream.annotations
        findings += [
            f"{path}: annotation {key!r} is missing" for key in example.PHASOR_ANNOTATIONS if key not in annotations
        ]
        if stream.unit not in units:
            findings.append(f"{path}: unit {stream.unit!r} is not in the list")
    findings += [f"{path}: {count} streams have this name" for path, count in names.items() if count > 1]
    return Catalogue(streams, points, db.query(UNITS_SQL, ["grid/ieee118/%"]), sorted(findings))


def report(before: Catalogue, after: Catalogue) -> None:
    """The summary, in numbers that were read back."""
    print(f"\nstreams   {after.streams - before.streams:,} created, {before.streams:,} already there")
    print(f"points    {after.points - before.points:,} loaded, {before.points:,} already there")
    print(f"query     {UNITS_SQL}")
    for row in after.units:
        print(f"            {row['unit']:<10} {row['streams']:>6,}")
    print(f"audit     {len(after.findings)} findings")
    for finding in after.findings:
        print(f"            {finding}")


if __name__ == "__main__":
    sys.exit(main())
