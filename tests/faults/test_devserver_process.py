"""The command as people run it: what it says, how it ends, and what survives kill -9."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import grpc
import pytest

from airflow_provider_btrdb.cli.devserver import main
from airflow_provider_btrdb.devserver.errors import DevServerError
from airflow_provider_btrdb.protocol import METHODS
from airflow_provider_btrdb.testing import devserver, devserver_process
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

COMMAND = [sys.executable, "-m", "airflow_provider_btrdb.cli.devserver"]


def run(*arguments, **environment):
    clean = {key: value for key, value in os.environ.items() if key != "BTRDB_DEVSERVER_API_KEY"}
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        env=clean | environment,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def postmasters(data: Path):
    """Processes of PostgreSQL that run on a data directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(data / "postgres").encode() in words:
                found.append(int(entry.name))
    return found


def contents(folder: Path):
    """Every file below a folder with what it holds; the lock of a data directory holds nothing."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def quiet_logger():
    """The command configures logging; in this process that must not last."""
    root, ours = logging.getLogger(), logging.getLogger("airflow_provider_btrdb")
    before = list(root.handlers), ours.level
    yield
    root.handlers[:] = before[0]
    ours.setLevel(before[1])


# ---------- what it refuses


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        ([], {}, "where to keep the data"),
        (["--data", "{tmp}/d", "--dsn", "x"], {}, "exclude each other"),
        (["--data", "{tmp}/d", "--listen", "nonsense"], {}, "is not HOST:PORT"),
        (["--data", "{tmp}/d", "--listen", "127.0.0.1:70000"], {}, "is not HOST:PORT"),
        (["--data", "{tmp}/d", "--listen", "0.0.0.0:0"], {}, "needs keys and TLS"),
        (["--data", "{tmp}/d", "--listen", "0.0.0.0:0"], {"BTRDB_DEVSERVER_API_KEY": "k"}, "needs keys and TLS"),
        (["--data", "{tmp}/d", "--listen", "[::]:0"], {}, "needs keys and TLS"),
        (["--data", "{tmp}/d", "--listen", "example.com:0"], {}, "needs keys and TLS"),
        (["--data", "{tmp}/d", "--listen", "0.0.0.0:0", "--api-key", "k"], {}, "can read a command line"),
        (["--data", "{tmp}/d", "--api-key", "k"], {"BTRDB_DEVSERVER_API_KEY": "k"}, "leave out --api-key"),
        (["--data", "{tmp}/d", "--api-key", ""], {}, "printable ASCII"),
        (["--data", "{tmp}/d", "--keys", "{tmp}/none.toml"], {}, "cannot read keys file"),
        (["--data", "{tmp}/d", "--tls-cert", "{tmp}/c.pem"], {}, "go together"),
        (["--data", "{tmp}/d", "--tls-cert", "{tmp}/c", "--tls-key", "{tmp}/k"], {}, "cannot read"),
        (["--data", "{tmp}/file"], {}, "cannot use data directory"),
        (["--data", "{tmp}/full"], {}, "holds other files"),
        (["--data", "{tmp}/old"], {}, "has format 99"),
        (["--data", "{tmp}/pg9"], {}, "written by PostgreSQL 9"),
        (["--dsn", "host=/nonexistent"], {}, "cannot connect to PostgreSQL"),
        (["--data", "{tmp}/d"], {"PG_BIN": "/nonexistent"}, "PG_BIN is /nonexistent"),
        (["dump", "--data", "{tmp}/d", "--file", "{tmp}/f"], {}, "is no data directory"),
        (["load", "--data", "{tmp}/d", "--file", "{tmp}/none"], {}, "cannot read"),
        (["load", "--data", "{tmp}/old", "--file", "{tmp}/none"], {}, "holds data already"),
    ],
)
def test_an_expected_fault_is_one_sentence_and_status_1(
    tmp_path, capsys, monkeypatch, quiet_logger, arguments, environment, sentence
):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    for name, text in (("old", "btrdb-devserver 99\npostgresql 18\n"), ("pg9", "btrdb-devserver 1\npostgresql 9\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "FORMAT").write_text(text)
    monkeypatch.delenv("BTRDB_DEVSERVER_API_KEY", raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    before = contents(tmp_path)
    assert main([argument.format(tmp=tmp_path) for argument in arguments]) == 1
    assert contents(tmp_path) == before, "what is refused is not changed"
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.startswith("btrdb-devserver: ")
    assert err.count("\n") == 1


def test_a_fault_ends_the_process_without_a_traceback(tmp_path):
    assert run("--nonsense")[0] == 2
    status, out, err = run("--data", tmp_path, "--listen", "0.0.0.0:0")
    assert (status, out) == (1, "")
    assert err == "btrdb-devserver: 0.0.0.0 can be reached from other machines: that needs keys and TLS\n"


def test_a_missing_extra_is_named(tmp_path):
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError('No module named psycopg', name='psycopg')")
    status, _, err = run("--data", tmp_path / "d", PYTHONPATH=str(tmp_path))
    assert status == 1
    assert err == "btrdb-devserver: psycopg is not installed; pip install 'airflow-provider-btrdb[devserver]'\n"


def test_airflow_is_never_imported():
    code = (
        "import sys; import airflow_provider_btrdb.cli.devserver, airflow_provider_btrdb.testing.fixtures;"
        "import airflow_provider_btrdb.devserver.server, airflow_provider_btrdb.devserver.transfer;"
        "print([name for name in sys.modules if name.split('.')[0] == 'airflow'"
        " or name.startswith('airflow_provider_btrdb.client')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_locked_data_directory_and_a_taken_port(tmp_path):
    with devserver(data=tmp_path / "data") as server:
        status, _, err = run("--data", tmp_path / "data", "--listen", "127.0.0.1:0")
        assert status == 1
        assert "is locked" in err
        status, _, err = run("--data", tmp_path / "other", "--listen", server.endpoint)
        assert status == 1
        assert f"cannot listen on {server.endpoint}" in err
        assert postmasters(tmp_path / "other") == []
        with WireClient(server.endpoint) as wire:
            assert wire.call("Info").major_version == 5


# ---------- how it ends


def test_sigterm_drains_and_ends_with_status_0(tmp_path):
    data = tmp_path / "deep" / ("x" * 100) / "data"
    with devserver_process(data=data) as process:
        with WireClient(process.endpoint) as wire:
            raw = uuid.uuid4().bytes
            wire.call("Create", pb.CreateParams(uuid=raw, collection="drain"))
            values = [pb.RawPoint(time=n, value=1.0) for n in range(90_000)]
            wire.call("Insert", pb.InsertParams(uuid=raw, values=values))
            call = wire.start("RawValues", pb.RawValuesParams(uuid=raw, start=0, end=90_000))
            first = next(call)
            over = threading.Event()

            def updates():
                yield pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[raw])
                over.wait()

            following = wire.start("Subscribe", updates())
            following.initial_metadata()
            statuses = []
            ending = threading.Thread(target=lambda: statuses.append(process.terminate()))
            ending.start()
            with pytest.raises(grpc.RpcError) as caught:
                list(following)
            over.set()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            rest = sum(len(page.values) for page in call)
            ending.join()
        assert len(first.values) + rest == 90_000, "a read in flight comes to its end"
        assert statuses == [0]
        assert process.errors == ""
        assert postmasters(data) == []
        process.start()
        with WireClient(process.endpoint) as wire:
            assert wire.call("StreamInfo", pb.StreamInfoParams(uuid=raw)).version_major == 11
        assert process.terminate() == 0


def test_when_postgresql_dies_the_command_says_so(tmp_path):
    with devserver_process(data=tmp_path / "data") as process, WireClient(process.endpoint) as wire:
        wire.call("Info")
        ask = wire.channel.unary_unary(METHODS["StreamInfo"].path)
        # Its first process; a child has the same command line for a moment.
        postmaster = int((tmp_path / "data" / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        calls = []
        while process.running():
            if len(calls) < 2_000:
                calls.append(ask.future(pb.StreamInfoParams(uuid=bytes(16)).SerializeToString(), timeout=100))
            time.sleep(0.002)
        assert process.wait() == 1
        # Its processes may answer for a moment; after that nobody waits for a connection that cannot come.
        ends = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert {call.code() for call in calls} <= {*ends, grpc.StatusCode.UNKNOWN}
        assert "PostgreSQL ended by itself" in process.errors
        assert "still in flight" not in process.errors


def test_nothing_is_left_of_a_killed_server(tmp_path):
    with devserver_process(data=tmp_path / "data") as process:
        assert postmasters(tmp_path / "data")
        process.kill()
        wait_until(lambda: not postmasters(tmp_path / "data"))


# ---------- its data


def test_dump_and_load(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    raws = [uuid.uuid4().bytes for _ in range(2)]
    annotation = pb.KeyOptValue(key="k", val=pb.OptValue(value='v"ä'))

    def everything(wire):
        found = [wire.call("StreamInfo", pb.StreamInfoParams(uuid=raws[0]))]
        for version in (11, 12, 0):
            found += wire.call("RawValues", pb.RawValuesParams(uuid=raws[0], start=0, end=99, version_major=version))
        return found + wire.call("Changes", pb.ChangesParams(uuid=raws[0]))

    with devserver(data=old) as server, WireClient(server.endpoint) as wire:
        for raw in raws:
            wire.call("Create", pb.CreateParams(uuid=raw, collection=raw.hex(), annotations=[annotation]))
        wire.call("Insert", pb.InsertParams(uuid=raws[0], values=[pb.RawPoint(time=n, value=n) for n in range(9)]))
        wire.call("Delete", pb.DeleteParams(uuid=raws[0], start=2, end=4))
        wire.call("Obliterate", pb.ObliterateParams(uuid=raws[1]))
        before = everything(wire)
        assert run("dump", "--data", old, "--file", tmp_path / "dump")[0] == 1, "a running server's data is locked"
    assert run("dump", "--data", old, "--file", tmp_path / "dump") == (0, "", "")
    assert (tmp_path / "dump").stat().st_mode & 0o777 == 0o600
    assert run("load", "--data", new, "--file", tmp_path / "dump") == (0, "", "")
    status, _, err = run("load", "--data", tmp_path / "bad", "--file", __file__)
    assert (status, err.count("\n")) == (1, 1)
    with devserver(data=new) as server, WireClient(server.endpoint) as wire:
        assert everything(wire) == before
        assert wire.call("Create", pb.CreateParams(uuid=raws[1], collection="x")).stat.code == 429
        assert wire.call("Create", pb.CreateParams(uuid=uuid.uuid4().bytes, collection="x")) == pb.CreateResponse()
        insert = pb.InsertParams(uuid=raws[0], values=[pb.RawPoint(time=50, value=1)])
        assert wire.call("Insert", insert).version_major == 13
        assert len(wire.call("SQLQuery", pb.SQLQueryParams(query="select uuid from streams"))[0].rows) == 2


def test_a_database_of_somebody_else(tmp_path):
    """--dsn: the same server on a PostgreSQL that it did not start; one server at a time."""
    with devserver(data=tmp_path / "data") as host:
        host.sql_as_owner("select 1")
        dsn = host.dsn.replace("dbname=btrdb", "dbname=postgres")
        host.sql_as_owner("create role plain login password 'x'")
        plain = dsn.replace("user=btrdb_owner", "user=plain")
        plain = " ".join("password=x" if part.startswith("password=") else part for part in plain.split())
        with pytest.raises(DevServerError, match="must be a superuser"), devserver(dsn=plain):
            pass
        with devserver(dsn=dsn) as guest, WireClient(guest.endpoint) as wire:
            raw = uuid.uuid4().bytes
            assert wire.call("Create", pb.CreateParams(uuid=raw, collection="dsn")) == pb.CreateResponse()
            assert len(wire.call("SQLQuery", pb.SQLQueryParams(query="select * from streams"))[0].rows) == 1
            status, _, err = run("--dsn", dsn, "--listen", "127.0.0.1:0")
            assert status == 1
            assert "another btrdb-devserver serves this database" in err
        with devserver(dsn=dsn) as guest, WireClient(guest.endpoint) as wire:
            assert wire.call("StreamInfo", pb.StreamInfoParams(uuid=raw)).version_major == 10
        with WireClient(host.endpoint) as wire:
            assert wire.call("LookupStreams", pb.LookupStreamsParams(is_collection_prefix=True)) == [
                METHODS["LookupStreams"].response()
            ]
