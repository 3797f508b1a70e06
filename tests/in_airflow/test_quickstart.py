"""`make demo`, as a person runs it: from nothing, again, with other input, and after the server was killed half-way."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb.client import connect
from airflow_provider_btrdb.testing import devserver_process

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "example_dags"
KEY = "sentinel-key-of-the-demo"
STREAMS, POINTS = 1557, 189_733


@contextmanager
def started(state: Path, dags: Path = DAGS) -> Iterator[subprocess.Popen[str]]:
    """A demo under way; told to end, with its children, if the test ends first."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tools" / "demo.py"), "--state", str(state), "--dags", str(dags)],
        env={**os.environ, "BTRDB_DEVSERVER_API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def ended(process: subprocess.Popen[str], status: int) -> str:
    output, _ = process.communicate(timeout=280)
    assert process.returncode == status, output
    assert "Traceback" not in output
    return output


def demo(state: Path, dags: Path = DAGS) -> str:
    with started(state, dags) as process:
        return ended(process, 0)


def numbers(output: str) -> dict[str, int]:
    """The figures of the summary, by the words that follow them."""
    found = re.findall(r"([\d,]+) (created|already there|loaded|findings)", output)
    keys = ["created", "streams there", "loaded", "points there", "findings"]
    assert [word for _, word in found] == ["created", "already there", "loaded", "already there", "findings"], output
    return {key: int(number.replace(",", "")) for key, (number, _) in zip(keys, found, strict=True)}


def contents(state: Path) -> dict[str, Any]:
    """Everything the server holds, read by yet another process's client: metadata, versions, points."""
    with devserver_process(data=state / "server", api_key=KEY) as server, connect(server.endpoint, KEY) as db:
        return {
            f"{stream.uuid}": (
                f"{stream.collection}/{stream.name}",
                stream.tags,
                stream.annotations,
                stream.property_version,
                stream.version(),
                [(points.times.tobytes(), points.values.tobytes()) for points in stream.values_iter()],
            )
            for stream in db.lookup_iter()
        }


def kill_devserver(demo_pid: int) -> None:
    """Unless it is gone already."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for pid in Path(f"/proc/{demo_pid}/task/{demo_pid}/children").read_text().split():
            if b"btrdb-devserver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGKILL)


def wait_for(what: str, log: Path, process: subprocess.Popen[str]) -> None:
    while not (log.exists() and what in log.read_text(errors="replace")):
        assert process.poll() is None, f"the demo ended before {what!r} was in its log"
        time.sleep(0.1)


def killed_half_way(state: Path) -> bool:
    """Whether the server was; a machine that stalls may let the demo come further first."""
    with started(state) as process:
        wait_for("task_id=load_weather", state / "airflow.log", process)
        kill_devserver(process.pid)
        output, _ = process.communicate(timeout=280)
    print(output)
    half_way = "the development server ended in the middle; run the demo again to go on" in output
    assert (process.returncode, "Traceback" in output) == (1, False) or not half_way, output
    return half_way


@pytest.mark.timeout(1500)  # three runs of the demo, or more
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to find the server of the demo")
def test_killed_half_way_then_run_again_and_again(tmp_path: Path) -> None:
    state = next((state for state in map(tmp_path.joinpath, "abc") if killed_half_way(state)), None)
    assert state is not None, "the demo says something else, or was over whenever its server was to be killed"
    first = numbers(demo(state))
    assert (first["created"] + first["streams there"], first["streams there"]) == (STREAMS, STREAMS)
    assert first["loaded"] + first["points there"] == POINTS
    assert first["findings"] == 13
    held = contents(state)
    assert len(held) == STREAMS

    second = numbers(demo(state))
    assert second == {
        "created": 0, "streams there": STREAMS, "loaded": 0, "points there": POINTS, "findings": 13,
    }  # fmt: skip
    assert contents(state) == held


def test_other_input_gives_other_numbers_and_the_key_is_nowhere(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    shutil.copytree(DAGS, dags)
    buses = dags / "data" / "ieee118" / "buses.csv"
    buses.write_text("".join(line for line in buses.read_text().splitlines(True) if not line.startswith("8,")))
    faults = dags / "data" / "ieee118" / "faults.csv"
    faults.write_text(faults.read_text().rstrip("\n") + "\nmisspelt_unit,101,FREQ,Hertz,\n")

    output = demo(tmp_path / "state", dags)
    assert numbers(output) == {
        "created": STREAMS - 13, "streams there": 0, "loaded": POINTS, "points there": 0, "findings": 14,
    }  # fmt: skip
    assert "grid/ieee118/bus101/FREQ: unit 'Hertz' is not in the list" in output
    assert re.search(r"Hertz +1\b", output)
    expected = json.loads((dags / "data" / "expected.json").read_text())["streams"]
    assert sum(stream["count"] for stream in expected.values()) == POINTS

    assert KEY not in output
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file() and "server" not in path.parts[:-1]]
    assert {"airflow.db", "airflow.log", "server.log"} <= {path.name for path in kept}
    assert [path for path in kept if KEY.encode() in path.read_bytes()] == []


def test_an_unreadable_state_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "server").write_text("not a folder")
    with started(tmp_path) as process:
        assert "error: " in ended(process, 1)
