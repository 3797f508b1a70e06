"""Everything a data directory holds as one file, and back: for backups and for a new major version of PostgreSQL.

The file is PostgreSQL's own archive format, so that a dump of an old version loads into a newer one; the schema is then
brought up to date by the next start of the server.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psycopg

from airflow_provider_btrdb.devserver import binaries
from airflow_provider_btrdb.devserver.datadir import DataDir
from airflow_provider_btrdb.devserver.errors import DevServerError
from airflow_provider_btrdb.devserver.postgres import DATABASE, SUPERUSER, Postgres


def dump(data: Path, target: Path) -> None:
    """Write the file; it appears under its name only when it is complete."""
    if not (data / "FORMAT").exists():
        raise DevServerError(f"{data} is no data directory of btrdb-devserver")
    part = target.with_name(target.name + ".part")
    with _running(data) as (programs, postgres):
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                _run(programs, postgres, "pg_dump", ["--format=custom", "--no-owner", "--no-acl"], stdout=file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except OSError as error:
            raise DevServerError(f"cannot write {target}: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)


def load(data: Path, source: Path) -> None:
    """Fill a new data directory; one that holds anything is refused, and a failed load leaves no stream behind."""
    if (data / "FORMAT").exists():
        raise DevServerError(f"{data} holds data already: load into a new directory")
    try:
        file = source.open("rb")
    except OSError as error:
        raise DevServerError(f"cannot read {source}: {error.strerror}") from None
    with file, _running(data) as (programs, postgres):
        options = ["--no-owner", "--no-acl", "--exit-on-error", "--single-transaction", f"--dbname={DATABASE}"]
        _run(programs, postgres, "pg_restore", options, stdin=file)


@contextlib.contextmanager
def _running(data: Path) -> Iterator[tuple[binaries.Programs, Postgres]]:
    programs = binaries.find_programs()
    directory = DataDir(data)
    try:
        postgres = Postgres(directory, programs, durable=True)
        postgres.start()
        try:
            yield programs, postgres
        finally:
            postgres.stop()
    finally:
        directory.release()


def _run(
    programs: binaries.Programs,
    postgres: Postgres,
    program: str,
    options: list[str],
    *,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
) -> None:
    if not (programs.bin / program).exists():
        raise DevServerError(f"{programs.bin} has no {program}: install PostgreSQL's client programs")
    info = psycopg.conninfo.conninfo_to_dict(postgres.dsn)
    environment = os.environ | {
        "PGHOST": str(info["host"]),
        "PGUSER": SUPERUSER,
        "PGPASSWORD": str(info["password"]),
        "PGDATABASE": DATABASE,
    }
    done = subprocess.run(  # noqa: S603 - PostgreSQL's own programs
        programs.command(program, *options),
        stdin=stdin or subprocess.DEVNULL,
        stdout=stdout or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise DevServerError(f"{program} failed: {lines[-1]}")
