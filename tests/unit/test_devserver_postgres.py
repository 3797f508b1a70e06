"""The cluster below the server: its directory, its schema, and the ways to run it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from airflow_provider_btrdb.devserver import binaries, schema
from airflow_provider_btrdb.devserver.datadir import DataDir
from airflow_provider_btrdb.devserver.errors import DevServerError
from airflow_provider_btrdb.devserver.postgres import Postgres


@pytest.fixture(scope="module")
def programs():
    return binaries.find_programs()


@pytest.fixture
def started(programs):
    """Start clusters that are stopped at the end."""
    running = []

    def start(path, durable=False, programs=programs):
        directory = DataDir(path)
        postgres = Postgres(directory, programs, durable=durable)
        running.append((postgres, directory))
        postgres.start()
        return postgres

    def stop():
        while running:
            postgres, directory = running.pop()
            postgres.stop()
            directory.release()

    start.stop = stop
    yield start
    stop()


def fetch(postgres, statement):
    with psycopg.connect(postgres.dsn) as connection:
        return connection.execute(statement).fetchall()


def test_steps_are_applied_once_and_in_order(tmp_path, started):
    postgres = started(tmp_path / "data")
    first = schema.STEPS
    second = (*first, "CREATE TABLE btrdb.later (n int); INSERT INTO btrdb.later VALUES (1);")
    schema.prepare(postgres.dsn, first)
    with psycopg.connect(postgres.dsn) as connection:
        connection.execute("INSERT INTO btrdb.tombstone VALUES (gen_random_uuid())")
    for _ in range(2):
        schema.prepare(postgres.dsn, second)
        assert fetch(postgres, "SELECT n FROM btrdb.later") == [(1,)]
        assert fetch(postgres, "SELECT count(*) FROM btrdb.tombstone") == [(1,)]
    with pytest.raises(DevServerError, match="schema 2, this version knows 1"):
        schema.prepare(postgres.dsn, first)
    broken = (*second, "CREATE TABLE btrdb.half (n int); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        schema.prepare(postgres.dsn, broken)
    assert fetch(postgres, "SELECT max(step), to_regclass('btrdb.half') FROM btrdb.schema_step") == [(2, None)]


def test_durability_is_a_setting_of_each_start(tmp_path, started):
    path = tmp_path / "data"
    wanted = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
    assert fetch(started(path, durable=True), wanted) == [("on", "on")]
    assert not (path / "unsynced").exists()
    started.stop()
    assert fetch(started(path, durable=False), wanted) == [("off", "on")]
    assert (path / "unsynced").exists()
    started.stop()
    assert fetch(started(path, durable=True), wanted) == [("on", "on")]
    assert not (path / "unsynced").exists(), "what was not on the disk has been brought there"


def test_the_cluster_is_closed_to_others(tmp_path, started):
    path = tmp_path / "data"
    postgres = started(path)
    settings = "SELECT current_setting('listen_addresses'), current_setting('password_encryption')"
    assert fetch(postgres, settings) == [("", "scram-sha-256")]
    info = psycopg.conninfo.conninfo_to_dict(postgres.dsn)
    assert os.stat(info["host"]).st_mode & 0o777 == 0o700
    assert (path / "secret").stat().st_mode & 0o777 == 0o600
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.dsn, password="wrong")
    started.stop()
    assert not os.path.exists(info["host"])


def test_an_initialisation_that_was_killed_is_begun_again(tmp_path, started):
    path = tmp_path / "data"
    (path / "postgres.new").mkdir(parents=True)
    (path / "postgres.new" / "PG_VERSION").touch()
    (path / "secret").write_text("old")
    postgres = started(path)
    assert fetch(postgres, "SELECT 1") == [(1,)]
    assert (path / "secret").read_text() != "old"


def test_a_postmaster_that_was_left_behind_is_ended(tmp_path, started, programs):
    path = tmp_path / "data"
    postgres = started(path)
    left = postgres.pid
    socket_directory = psycopg.conninfo.conninfo_to_dict(postgres.dsn)["host"]
    # As if the server had been killed where no death signal exists: the lock is free, PostgreSQL runs.
    directory = DataDir(tmp_path / "other")
    second = Postgres(directory, programs, durable=False)
    second._directory = object.__new__(DataDir)
    second._directory.path = path
    try:
        second.start()
        assert second.pid != left
        assert fetch(second, "SELECT 1") == [(1,)]
        assert not os.path.exists(socket_directory)
    finally:
        second.stop()
        directory.release()


def test_a_directory_has_one_owner(tmp_path):
    first = DataDir(tmp_path)
    with pytest.raises(DevServerError, match="is locked"):
        DataDir(tmp_path)
    first.release()
    DataDir(tmp_path).release()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_root_may_become_nobody_where_namespaces_are_forbidden(started, programs, monkeypatch, request):
    monkeypatch.setattr(binaries.shutil, "which", lambda name: None)
    found = binaries._runnable(programs.bin)
    assert (found.prefix, found.uid) == ((), binaries.NOBODY)
    # Nobody must be able to reach the directory: pytest closes its own ones to others whenever a session begins.
    folder = Path(tempfile.mkdtemp(prefix="btrdb-nobody-"))
    request.addfinalizer(lambda: shutil.rmtree(folder, ignore_errors=True))
    folder.chmod(0o711)
    postgres = started(folder / "data", programs=found)
    assert fetch(postgres, "SELECT 1") == [(1,)]
    assert os.stat(f"/proc/{postgres.pid}").st_uid == binaries.NOBODY
    copy = binaries._copied(programs.bin)
    for program in ("postgres", "initdb"):
        assert binaries._works(dataclasses.replace(found, bin=copy).command(program, "--version"))
    assert binaries._copied(programs.bin) == copy


def test_the_watchdog_ends_a_process_when_its_input_ends():
    script = "import signal as s, time; s.signal(s.SIGINT, s.SIG_DFL); print('here', flush=True); time.sleep(300)"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as victim:
        assert victim.stdout.readline() == b"here\n"
        with subprocess.Popen(
            [sys.executable, "-I", "-S", str(binaries.SPAWN), "watch", str(victim.pid)], stdin=subprocess.PIPE
        ) as watchdog:
            time.sleep(0.2)
            assert victim.poll() is None
            watchdog.stdin.close()
        assert victim.wait(120) == -signal.SIGINT
