"""What the server logs: JSON lines that tell facts and no contents, and nothing about callers who just went away."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
import uuid
from collections import Counter

import grpc
import pytest

from airflow_provider_btrdb.testing import devserver_process
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

DEBUG = ["--log-level", "debug"]


def test_logs_are_json_lines_without_secrets(tmp_path):
    with (
        devserver_process(data=tmp_path / "data", api_key="sesame-key", arguments=DEBUG) as process,
        WireClient(process.endpoint, api_key="sesame-key") as wire,
        WireClient(process.endpoint, api_key="guessed-key") as stranger,
    ):
        wire.call("Create", pb.CreateParams(uuid=uuid.uuid4().bytes, collection="private-collection"))
        wire.call("SQLQuery", pb.SQLQueryParams(query="select 'private-query' where false"))
        (bad,) = wire.call("SQLQuery", pb.SQLQueryParams(query="select $1::int", params=["private-value"]))
        assert "private-value" in bad.stat.msg, "the caller may hear of it"
        with pytest.raises(grpc.RpcError):
            stranger.call("Info")
        process.terminate()
        errors = process.errors
    assert '"method": "Create", "outcome": "OK"' in errors
    assert '"method": "Info", "outcome": "UNAUTHENTICATED"' in errors
    assert all(line.startswith("{") for line in errors.splitlines())
    for secret in (
        *("sesame-key", "guessed-key", "private-collection", "private-query", "private-value"),
        (tmp_path / "data" / "secret").read_text(),
    ):
        assert secret not in errors
        assert secret not in (tmp_path / "data" / "postgres.log").read_text()


def test_an_exception_is_told_without_its_own_words():
    """In a process of its own: what is set up here is the logging of a whole process."""
    code = """if True:
        import logging
        from airflow_provider_btrdb.cli.devserver import _log_to_stderr
        _log_to_stderr("info")
        try:
            {}["private-collection"]
        except KeyError as error:
            logging.getLogger("airflow_provider_btrdb.devserver").error("Create failed", exc_info=error)
        logging.getLogger("psycopg.pool").warning("somebody else's line")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    failed, other = map(json.loads, done.stderr.splitlines())
    assert (failed["level"], failed["message"]) == ("error", "Create failed")
    assert failed["exception"].splitlines()[-1] == "KeyError"
    assert 'File "<string>", line 6' in failed["exception"]
    assert "private" not in done.stderr.replace(failed["exception"], "")
    assert "'private-collection'" not in failed["exception"]
    assert (other["logger"], other["message"]) == ("psycopg.pool", "somebody else's line")


SMALL_WINDOW = [("grpc.http2.bdp_probe", 0)]
"""The client's window stays at 64 kB: however fast the machine, nobody sends megabytes to one who does not read."""


def test_callers_who_go_away_are_no_fault_of_the_server(tmp_path):
    """Reads cancelled, timed out and cut off in every moment: nothing is logged above debug, and nothing is kept."""
    with (
        devserver_process(data=tmp_path / "data", arguments=DEBUG) as process,
        WireClient(process.endpoint, options=SMALL_WINDOW) as wire,
    ):
        raw = uuid.uuid4().bytes
        wire.call("Create", pb.CreateParams(uuid=raw, collection="gone"))
        for first in range(0, 400_000, 100_000):
            values = [pb.RawPoint(time=first + n, value=random.random()) for n in range(100_000)]
            wire.call("Insert", pb.InsertParams(uuid=raw, values=values))
        everything = {"uuid": raw, "start": 0, "end": 10**6}
        csv = pb.StreamCSVConfig(uuid=raw)
        reads = [
            ("RawValues", pb.RawValuesParams(**everything)),
            ("ArrowRawValues", pb.ArrowRawValuesParams(**everything)),
            ("AlignedWindows", pb.AlignedWindowsParams(**everything, point_width=0)),
            ("GenerateCSV", pb.GenerateCSVParams(start_time=0, end_time=10**6, query_type=2, streams=[csv])),
            ("SQLQuery", pb.SQLQueryParams(query="select g, repeat('x', 100) from generate_series(1, 100000) g")),
        ]
        for turn in range(20):
            for method, request in reads:
                call = wire.start(method, request)
                for _ in range(turn % 4):
                    next(call)
                time.sleep(0.001 * (turn // 4))
                call.cancel()
            with WireClient(process.endpoint, options=SMALL_WINDOW) as other:
                next(other.start("RawValues", reads[0][1]))
            with WireClient(process.endpoint, timeout=0.02) as hasty, contextlib.suppress(grpc.RpcError):
                list(hasty.start("RawValues", reads[0][1]))
        assert sum(len(page.values) for page in wire.call(*reads[0])) == 400_000
        assert sum(len(page.rows) for page in wire.call(*reads[-1])) == 100_000
        process.terminate()
    lines = [json.loads(line) for line in process.errors.splitlines()]
    assert [line for line in lines if line["level"] != "debug"] == []
    outcomes = Counter((line["method"], line["outcome"]) for line in lines)
    assert {outcome for method, outcome in outcomes if method != "SQLQuery"} == {"OK", "CANCELLED"}, outcomes
    # Calls that were left before their first page may not have arrived, and who is hasty may have read all.
    for method, _ in reads:
        assert outcomes[method, "CANCELLED"] >= (35 if method == "RawValues" else 15), outcomes
