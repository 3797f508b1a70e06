"""A client after close and after a fork."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_provider_btrdb.client import BTrDB, ConnectionConfig, errors

CONFIG = ConnectionConfig(endpoint="127.0.0.1:1", retry_total=0.0)
ROW = {"collection": "a", "name": "b", "uuid": "0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a"}

AFTER_FORK = """
import os, signal
from airflow_provider_btrdb.client import BTrDB, ConnectionConfig, errors

row = {row!r}
db = BTrDB(ConnectionConfig(endpoint="127.0.0.1:1", retry_total=0.0))
{before}
child = os.fork()
if child == 0:
    signal.alarm(100)  # a child that hangs ends by itself
    for call in (db.info, lambda: db.create_many([row])):
        try:
            call()
        except errors.ClientUnusableError as error:
            print(error.message, flush=True)
    db.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
db.close()
os._exit(os.waitstatus_to_exitcode(status) != 0)
"""


def test_a_closed_client_says_so() -> None:
    db = BTrDB(CONFIG)
    db.create_many([])
    db.close()
    db.close()
    for call in (
        db.info,
        lambda: db.query("x"),
        lambda: db.create_many([ROW]),
        lambda: db.stream_from_uuid(ROW["uuid"]).values(),
    ):
        with pytest.raises(errors.ClientUnusableError, match="this BTrDB connection is closed"):
            call()


def test_leaving_the_context_closes() -> None:
    with BTrDB(CONFIG) as db:
        pass
    with pytest.raises(errors.ClientUnusableError):
        db.info()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("before", ["", "db.create_many([row])"], ids=["unused", "used"])
def test_a_forked_client_says_so_and_never_hangs(before: str) -> None:
    script = AFTER_FORK.format(row=ROW, before=before)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("this BTrDB connection was opened before the process forked: open another one") == 2
