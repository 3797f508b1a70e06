"""docs/tutorial.md, command by command, with the output that it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import airflow
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
BIN = Path(sys.executable).parent
CONSOLE = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
INSTALL, SERVE, *USE = CONSOLE


def commands(block: str) -> list[tuple[str, str]]:
    """Each command with the output shown; a command may have several lines, while a quote is open."""
    found = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        count = next(n for n in range(1, len(lines) + 1) if _is_whole("\n".join(lines[:n])))
        found.append(("\n".join(lines[:count]), "".join(line + "\n" for line in lines[count:])))
    return found


def _is_whole(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def printed_by(command: str) -> str:
    return next(output for block in USE for shown, output in commands(block) if shown == command)


class Terminal:
    """Commands one after the other in one folder; what is exported or activated stays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told = ""
        """All that the last command wrote."""
        self._before: list[str] = []
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "BTRDB_"))}
        self.environment = {**clean, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}

    def script(self, command: str) -> list[str]:
        return ["bash", "-c", "\n".join(["set -euo pipefail", *self._before, command])]

    def run(self, command: str) -> str:
        if command.startswith(("export ", ". ")):
            self._before.append(command)
            return ""
        done = subprocess.run(
            self.script(command), cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        self.told = done.stdout + done.stderr
        assert done.returncode == 0, f"{command}\n{self.told}"
        return done.stdout

    @contextmanager
    def serving(self, command: str) -> Iterator[str]:
        """The line that the server writes; it is ended afterwards."""
        process = subprocess.Popen(
            self.script(f"exec {command}"), cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            yield process.stdout.readline()
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


def install(terminal: Terminal) -> None:
    """From this checkout instead of the index, with the locked versions; uv only makes it faster."""
    venv, activate, pip = (command for command, _ in commands(INSTALL))
    assert venv.startswith("python3.11 -m venv ")
    terminal.run(f"{shlex.quote(sys.executable)} {venv.removeprefix('python3.11')}")
    terminal.run(activate)
    assert pip == "pip install 'airflow-provider-btrdb[devserver]'"
    wanted = shlex.quote(f"airflow-provider-btrdb[devserver] @ file://{ROOT}")
    lock = shlex.quote(str(ROOT / "requirements-dev.txt"))
    terminal.run(f"{shlex.quote(str(BIN / 'uv'))} pip install --constraint {lock} {wanted}")


@pytest.mark.parametrize("installed", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["here", "from nothing"])
def test_every_command_does_what_the_page_shows(tmp_path: Path, installed: bool) -> None:
    terminal = Terminal(tmp_path)
    if installed:
        install(terminal)
    ((serve, ready),) = commands(SERVE)
    with terminal.serving(serve.replace(":4410", ":0")) as line:
        port = line.rpartition(":")[2].strip()
        assert line == ready.replace("4410", port)
        (dag,) = re.findall(r"^Save this as `(.+?)`:\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        for command, output in [pair for block in USE for pair in commands(block)]:
            if command == "airflow dags test first_dag" and not (tmp_path / dag[0]).exists():
                code = dag[1]
                if int(airflow.__version__.split(".")[0]) < 3:
                    code = code.replace("from airflow.sdk import", "from airflow.decorators import")
                (tmp_path / dag[0]).write_text(code)
            printed = terminal.run(command.replace("4410", port))
            if output:
                assert printed == output.replace("4410", port)
                looked = command
            if command.startswith("airflow dags test"):
                assert "successful" in terminal.told
        # After the second run, too.
        assert terminal.run(looked.replace("4410", port)) == printed_by(looked).replace("4410", port)
