"""The real command as a process of its own, to kill, end and start again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from airflow_provider_btrdb.testing._ports import held_port

READY = "btrdb-devserver ready on "


class ServerProcess:
    """A `btrdb-devserver` process. Use `devserver_process()` to get one."""

    def __init__(
        self, data: Path, port: int, arguments: Sequence[str], environment: dict[str, str], api_key: str | None
    ) -> None:
        self._arguments = [
            sys.executable,
            "-m",
            "airflow_provider_btrdb.cli.devserver",
            "--data",
            str(data),
            *arguments,
        ]
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._errors: list[str] = []
        self._reader: threading.Thread | None = None
        self.data = data
        self.api_key = api_key
        self.endpoint = f"127.0.0.1:{port}"
        """`host:port`; a restarted process listens on the same port."""

    @property
    def pid(self) -> int:
        """Process id of the command."""
        assert self._process is not None
        return self._process.pid

    @property
    def errors(self) -> str:
        """What it wrote to stderr so far."""
        return "".join(self._errors)

    def start(self) -> None:
        """Start it and wait for its ready line; RuntimeError with its words if it ends instead."""
        command = [*self._arguments, "--listen", self.endpoint]
        self._errors = []
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self._environment
        )
        self._reader = threading.Thread(target=self._read_errors, args=(self._process,), daemon=True)
        self._reader.start()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith(READY):
            status = self._process.wait()
            self._close()
            raise RuntimeError(f"btrdb-devserver ended with {status}: {self.errors.strip()}")
        self.endpoint = line.removeprefix(READY).strip()

    def _read_errors(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self._errors.extend(process.stderr)

    def _close(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        if self._reader is not None:
            self._reader.join()
        self._process.stdout.close()
        self._process.stderr.close()

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        status = self._process.wait()
        self._close()
        return status

    def kill(self) -> None:
        """SIGKILL: nothing is written, nothing is closed."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM: calls in flight come to their end. Returns the exit status."""
        return self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start again on the same data and port, after `kill()` or `terminate()`; a running one is ended first."""
        if self._process is not None and self._process.poll() is None:
            self.terminate()
        self.start()

    def wait(self) -> int:
        """Wait until it ends by itself."""
        assert self._process is not None
        status = self._process.wait()
        self._close()
        return status

    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None


@contextlib.contextmanager
def devserver_process(
    *,
    data: Path | str | None = None,
    api_key: str | None = None,
    tls: tuple[Path | str, Path | str] | None = None,
    durability: Literal["full", "process"] = "process",
    arguments: Sequence[str] = (),
) -> Iterator[ServerProcess]:
    """The command on a free port for the length of a `with` block; `data` None is a temporary directory.

    The key travels in the environment, never on the command line. `arguments` are further options of the command.
    """
    environment = dict(os.environ)
    environment.pop("BTRDB_DEVSERVER_API_KEY", None)
    if api_key is not None:
        environment["BTRDB_DEVSERVER_API_KEY"] = api_key
    options = ["--durability", durability, *arguments]
    if tls is not None:
        options += ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])]
    with contextlib.ExitStack() as stack:
        if data is None:
            data = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="btrdb-devserver-", ignore_cleanup_errors=True)
            )
        # Others must not get it between the end of the process and its next start.
        port = stack.enter_context(held_port())
        process = ServerProcess(Path(data), port, options, environment, api_key)
        process.start()
        try:
            yield process
        finally:
            if process.running():
                process.terminate()
