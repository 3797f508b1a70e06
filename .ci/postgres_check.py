"""Drives btrdb-devserver on the PostgreSQL at hand. Takes the folder that its programs must come from."""

import sys
import uuid
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from airflow_provider_btrdb.devserver.binaries import find_programs
from airflow_provider_btrdb.testing import devserver_process
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

programs = find_programs()
assert sys.argv[1] in programs.bin.parts, f"the programs of {programs.bin} would be used"
stream = uuid.uuid4()
annotations = [pb.KeyOptValue(key="phase", val=pb.OptValue(value="B\\'\"é"))]
points = [pb.RawPoint(time=n, value=n / 8) for n in range(30_000)]
with devserver_process(durability="full") as server:
    with WireClient(server.endpoint) as wire:
        create = pb.CreateParams(uuid=stream.bytes, collection="smoke/É", annotations=annotations)
        assert wire.call("Create", create) == pb.CreateResponse()
        assert wire.call("Insert", pb.InsertParams(uuid=stream.bytes, values=points)).version_major == 11
        assert wire.call("Delete", pb.DeleteParams(uuid=stream.bytes, start=10, end=20)).version_major == 12
    server.kill()
    server.restart()
    with WireClient(server.endpoint) as wire:
        query = "select uuid, annotations -> 'phase' as phase from streams where collection ilike $1"
        folded = "é" if programs.major >= 17 else "É"  # older ones know no locale that every system has
        (answer,) = wire.call("SQLQuery", pb.SQLQueryParams(query=query, params=[f"SMOKE/{folded}"]))
        assert list(answer.rows) == [f'{{"uuid":"{stream}","phase":"B\\\\\'\\"é"}}'.encode()], answer.rows
        (refused,) = wire.call("SQLQuery", pb.SQLQueryParams(query="select pg_sleep(1)"))
        assert refused.stat.code == 441, refused
        for version, expected in ((11, points), (12, points[:10] + points[20:])):
            pages = wire.call("RawValues", pb.RawValuesParams(uuid=stream.bytes, end=10**9, version_major=version))
            assert [point for page in pages for point in page.values] == expected
        request = pb.AlignedWindowsParams(uuid=stream.bytes, end=1 << 15, point_width=14)
        (page,) = wire.call("AlignedWindows", request)
        assert [window.count for window in page.values] == [16_374, 13_616]
    assert server.terminate() == 0, server.errors
print(f"PostgreSQL {programs.major} of {sys.argv[1]}: the server keeps, finds and folds; psycopg {psycopg.__version__}")
