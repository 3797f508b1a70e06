"""One PostgreSQL cluster as a child process that never outlives us.

Starting and stopping are blocking calls; they must come from a thread that lives as long as the server, because Linux
sends the death signal when the *thread* that started the child ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from airflow_provider_btrdb.devserver.binaries import SPAWN, Programs
from airflow_provider_btrdb.devserver.datadir import DataDir
from airflow_provider_btrdb.devserver.errors import DevServerError

SUPERUSER = "btrdb_owner"
DATABASE = "btrdb"
MAX_CONNECTIONS = 40
SOCKETS = "btrdb-sockets-"
START_SECONDS = 180.0
STOP_SECONDS = 20.0
MAX_LOG_BYTES = 10 << 20

SETTINGS = {
    "listen_addresses": "",
    "max_connections": str(MAX_CONNECTIONS),
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "synchronous_commit": "on",
    "jit": "off",
    # One role answers every SQLQuery: nobody may read the statements of others in pg_stat_activity.
    "track_activities": "off",
    # Statements carry people's data; the log is for faults of the database itself.
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "cluster_name": "btrdb-devserver",
}


class Postgres:
    """A running cluster. `start()` first, `stop()` last."""

    def __init__(self, directory: DataDir, programs: Programs, *, durable: bool) -> None:
        self._directory = directory
        self._programs = programs
        self._durable = durable
        self._sockets: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """Where the superuser connects."""
        return psycopg.conninfo.make_conninfo(
            host=str(self._sockets), user=SUPERUSER, password=self._directory.secret(), dbname=DATABASE
        )

    @property
    def pid(self) -> int | None:
        """Process id of the running postmaster."""
        return self._process.pid if self._process else None

    def running(self) -> bool:
        """Whether the postmaster lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Initialise if needed, start, and wait until it accepts connections."""
        if self._directory.check(self._programs.major):
            self._reap()
            self._sync_if_needed()
        else:
            self._initialise()
        if not self._durable:
            self._directory.unsynced.touch()
        # A socket path may have 107 bytes at most, and a data directory may lie deep.
        self._sockets = Path(tempfile.mkdtemp(prefix=SOCKETS, dir="/tmp"))
        self._directory.sockets.write_text(str(self._sockets))
        self._programs.give(self._sockets)
        try:
            self._launch()
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def _initialise(self) -> None:
        secret = self._directory.write_secret()
        fresh = self._directory.path / "postgres.new"
        fresh.mkdir(mode=0o700)
        self._programs.give(fresh)
        locale = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
            if self._programs.major >= 17
            else ["--no-locale"]
        )
        if self._programs.uid is not None:
            self._directory.path.chmod(0o711)
        with tempfile.NamedTemporaryFile("w", prefix="btrdb-secret-") as password:
            password.write(secret)
            password.flush()
            self._programs.give(Path(password.name))
            self._run(
                "initdb",
                f"--pgdata={fresh}",
                f"--username={SUPERUSER}",
                f"--pwfile={password.name}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-instructions",
                *locale,
                *([] if self._durable else ["--no-sync"]),
            )
        fresh.rename(self._directory.cluster)
        self._directory.write_format(self._programs.major)

    def _sync_if_needed(self) -> None:
        if self._durable and self._directory.unsynced.exists():
            self._run("initdb", "--sync-only", f"--pgdata={self._directory.cluster}")
            self._directory.unsynced.unlink()

    def _run(self, program: str, *arguments: str) -> None:
        command = self._programs.command(program, *arguments)
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            raise DevServerError(f"{program} failed: {lines[-1]}")

    def _launch(self) -> None:
        settings = SETTINGS | {
            "unix_socket_directories": str(self._sockets),
            "fsync": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
        }
        if self._programs.major >= 18:
            settings["io_method"] = "sync"
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        command = self._programs.command("postgres", "-D", str(self._directory.cluster), *options)
        if self._directory.log.exists() and self._directory.log.stat().st_size > MAX_LOG_BYTES:
            self._directory.log.rename(self._directory.log.with_suffix(".log.old"))
        with self._directory.log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal is for us, and we end PostgreSQL last.
            self._process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        if sys.platform != "linux":
            self._watchdog = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", str(SPAWN), "watch", str(self._process.pid)],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )

    def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self._process.poll() is not None:
                raise DevServerError(f"PostgreSQL did not start: {self._last_words()}")
            try:
                connection = psycopg.connect(self.dsn, dbname="postgres", connect_timeout=5, autocommit=True)
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise DevServerError(f"PostgreSQL did not become ready: {error}") from None
                time.sleep(0.01)
                continue
            with connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                    connection.execute(f"CREATE DATABASE {DATABASE}".encode())
            return

    def _last_words(self) -> str:
        lines = self._directory.log.read_text(errors="replace").strip().splitlines()
        fatal = [line for line in lines if "FATAL" in line]
        return (fatal or lines or [f"see {self._directory.log}"])[-1]

    def _reap(self) -> None:
        """End a postmaster of this directory that outlived its server; the lock says that nobody else owns it."""
        with contextlib.suppress(OSError):
            left = Path(self._directory.sockets.read_text())
            if left.name.startswith(SOCKETS):
                shutil.rmtree(left, ignore_errors=True)
        try:
            pid = int((self._directory.cluster / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        # A busy disk makes the first way slow. On the second one PostgreSQL itself gives its processes five seconds.
        for number, seconds in ((signal.SIGINT, 10.0), (signal.SIGQUIT, 60.0)):
            deadline = time.monotonic() + seconds
            while self._is_our_postmaster(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)

    def _is_our_postmaster(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return str(self._directory.cluster).encode() in words

    def stop(self) -> None:
        """A fast shutdown: connections are cut, everything committed is kept."""
        if self._process is not None:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if self._process.poll() is not None:
                    break
                self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_SECONDS)
            self._process = None
        if self._watchdog is not None:
            assert self._watchdog.stdin is not None
            self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog = None
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None
