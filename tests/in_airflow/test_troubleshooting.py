"""docs/troubleshooting.md, row by row: each error is made to happen, says what the page says, is retried as it says.

The way to the server is in test_troubleshooting_way.py.
"""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook, end_calls
from airflow_provider_btrdb.operators.audit import BTrDBAuditOperator, BTrDBMetadataCheckOperator
from airflow_provider_btrdb.operators.points import BTrDBInsertOperator, DeleteRangeOperator
from airflow_provider_btrdb.operators.query import BTrDBQueryOperator
from airflow_provider_btrdb.operators.streams import CreateStreamOperator, ObliterateStreamOperator
from airflow_provider_btrdb.protocol import Code
from airflow_provider_btrdb.sensors.streams import StreamExistsSensor, StreamFreshnessSensor
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.faults import Answer, CutAfter, Delay, LoseReply
from airflow_provider_btrdb.triggers.streams import StreamExistsTrigger

SECOND_NS = 1_000_000_000
UNIT = {"unit": {"one_of": ["volts"]}}


class World:
    """What the cases work with: a server, a collection of their own, and the connection `btrdb_default`."""

    def __init__(self, server: Any, db: BTrDB, collection: str, folder: Path, patch: Any, connect: Any) -> None:
        self.server, self.db, self.collection, self.folder, self.patch = server, db, collection, folder, patch
        self.connect = connect
        connect()

    def create(self, **row: Any) -> Any:
        return CreateStreamOperator(task_id="t", streams={"collection": self.collection, "name": "s", **row}).execute(
            {}
        )

    def stream(self, **row: Any) -> Any:
        self.create(**row)
        return self.db.streams(f"{self.collection}/{row.get('name', 's')}")[0]

    def insert(self, text: str = "time,v\n1,2\n", **changes: Any) -> Any:
        file = self.folder / "points.csv"
        file.write_text(text)
        columns = {"v": f"{self.collection}/s"}
        given = {"files": str(file), "columns": columns, "time_columns": "time", "time_format": "ns", **changes}
        return BTrDBInsertOperator(task_id="t", **given).execute({})


@pytest.fixture
def world(
    server: Any, db: BTrDB, collection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, troubled: Any
) -> World:
    return World(server, db, collection, tmp_path, monkeypatch, troubled.connect)


def query(sql: str = "SELECT 1 AS one", **options: Any) -> Any:
    return BTrDBQueryOperator(task_id="t", sql=sql, **options).execute({})


# ---------------------------------------------------------------- calls


def unreachable(world: World) -> Any:
    world.connect(port=1)
    return query()


def unreachable_with_tls(world: World) -> Any:
    world.connect(port=1, tls="on")
    return query()


def too_slow(world: World) -> Any:
    world.connect(request_timeout=0.2)
    with world.server.faults.inject("Info", Delay(3600)):
        BTrDBHook().info()


def wrong_key(world: World) -> Any:
    world.connect(password="other")
    return query()


def not_permitted(world: World) -> Any:
    with devserver(keys={"keys": {"reader": {"key": "reader-key", "read": ["open/"]}}}) as server:
        world.connect(server.endpoint, password="reader-key")
        return BTrDBHook().create(uuid4(), "open/1")


def too_large(world: World) -> Any:
    world.connect(max_message_mb=0.01)
    return query("SELECT repeat('x', 100000) AS x")


def without_sql(world: World) -> Any:
    with devserver(sql=False) as server:
        world.connect(server.endpoint)
        return query()


def cut(world: World) -> Any:
    with world.server.faults.inject("SQLQuery", CutAfter(1)):
        return query("SELECT i FROM generate_series(1, 5000) AS i")


def closed(world: World) -> Any:
    world.connect(max_in_flight=7)  # a client that no other test has
    BTrDBHook().get_client().close()
    try:
        BTrDBHook().info()
    finally:
        end_calls()


FORKED = """
import os, pickle, sys
from airflow_provider_btrdb.client import BTrDB, ConnectionConfig
db = BTrDB(ConnectionConfig(endpoint="127.0.0.1:1", retry_total=0.0))
if os.fork() == 0:
    try:
        db.info()
    except Exception as error:
        sys.stdout.buffer.write(pickle.dumps(error))
        sys.stdout.flush()
    os._exit(0)
os.wait()
"""


def forked(world: World) -> Any:
    run = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, check=True, timeout=120)
    raise pickle.loads(run.stdout)


# ---------------------------------------------------------------- streams


def two_of_one_name(world: World) -> Any:
    for unit in ("V", "A"):
        world.db.create(uuid4(), world.collection, {"name": "s", "unit": unit})
    return BTrDBHook().streams(f"{world.collection}/s")


def uuid_of_another(world: World) -> Any:
    world.create(uuid=str(world.stream().uuid), name="other")


def name_of_another(world: World) -> Any:
    world.stream()
    world.create(uuid=str(uuid4()))


def recycled(world: World) -> Any:
    stream = world.stream(uuid=str(uuid4()))
    stream.obliterate()
    world.create(uuid=str(stream.uuid), name="other")


def exists_already(world: World) -> Any:
    world.stream()
    row = {"collection": world.collection, "name": "s"}
    CreateStreamOperator(task_id="t", streams=[row], if_exists="fail").execute({})


def changed_meanwhile(world: World) -> Any:
    world.stream()
    mine, theirs = (BTrDBHook().streams(f"{world.collection}/s")[0] for _ in range(2))
    theirs.update(tags={"unit": "A"})
    with BTrDBHook.airflow_errors():
        mine.update(tags={"unit": "V"})


def half_changed(world: World) -> Any:
    stream = world.stream()
    too_big = Answer(Code.ANNOTATIONS_TOO_BIG, "annotations are too big")
    with world.server.faults.inject("SetStreamAnnotations", too_big), BTrDBHook.airflow_errors():
        stream.update(tags={"unit": "A"}, annotations={"a": "b"})


# ---------------------------------------------------------------- points, queries, checks, sensors


def lost_reply(world: World) -> Any:
    world.stream()
    with world.server.faults.inject("Insert", LoseReply()):
        return world.insert(write_mode="never")


def without_pyarrow(world: World) -> Any:
    world.patch.setitem(sys.modules, "pyarrow", None)
    return query(output_path=str(world.folder / "rows.parquet"))


def broken_rule(world: World) -> Any:
    world.stream(unit="volst")
    return BTrDBMetadataCheckOperator(task_id="t", collection=world.collection, tags=UNIT).execute({})


def late(world: World) -> Any:
    """What the trigger tells the sensor."""
    condition = {"collection": world.collection, "tags": None, "annotations": None, "min_count": 1}
    trigger = StreamExistsTrigger(
        btrdb_conn_id="btrdb_default",
        poll_interval=0.1,
        end_time=time.time() - 1,
        streams=[],
        require_visible_prefix=None,
        **condition,
    )

    async def event() -> Any:
        return (await anext(trigger.run())).payload

    return StreamExistsSensor(task_id="t", stream="a/b").execute_complete({}, asyncio.run(event()))


def from_the_future(world: World) -> Any:
    world.stream().insert([(time.time_ns() + 3600 * SECOND_NS, 1.0)])
    return StreamFreshnessSensor(task_id="t", stream=f"{world.collection}/s", younger_than=60).execute({})


def nothing_visible(world: World) -> Any:
    sensor = StreamExistsSensor(task_id="t", collection="no/", require_visible_prefix="no/such/")
    return sensor.execute({})


def too_few(world: World) -> Any:
    return BTrDBMetadataCheckOperator(task_id="t", collection=world.collection, tags=UNIT, min_streams=5).execute({})


def audit(world: World, *checks: Any) -> Any:
    world.create()
    suite = {"select": {"prefix": world.collection}, "checks": list(checks)}
    return BTrDBAuditOperator(task_id="t", suite=suite, output_path=str(world.folder / "runs")).execute({})


CRON = "a DAG scheduled by a bare cron text has no data interval in Airflow 3: …"
CASES: dict[str, Callable[[World], Any]] = {
    "cannot reach BTrDB at … without TLS (does it listen there, and does it speak TLS?): … (call …, at …)": unreachable,
    "cannot reach BTrDB at … with TLS (does it listen there, does it speak TLS, is its certificate trusted by …?): … "
    "(call …, at …)": unreachable_with_tls,
    "BTrDB at … did not answer in time (call …, at …)": too_slow,
    "the API key was refused: invalid api key (call …, at …)": wrong_key,
    'user does not have permission "…" on "…" (call …, at …)': not_permitted,
    "a message is over a limit (here max_message_bytes, … MiB): … (call …, at …)": too_large,
    "the server does not offer this call: … (call SQLQuery, at …)": without_sql,
    "SQLQuery broke off after rows had been handed out: … (call SQLQuery, at …)": cut,
    "this BTrDB connection is closed (at …)": closed,
    "this BTrDB connection was opened before the process forked: open another one in the child (at …)": forked,
    "stream does not exist (code 404, call StreamInfo, stream …, at …)": lambda _: BTrDBHook().streams(uuid4()),
    "no stream is called …, or this key may not see it (at …)": lambda world: DeleteRangeOperator(
        task_id="t", streams=f"{world.collection}/absent", start=0, end=1
    ).execute({}),
    "… streams are called …: name one by uuid, such as … (at …)": two_of_one_name,
    "'…' is neither a uuid nor collection/name": lambda _: BTrDBHook().streams(str(uuid4())[1:]),
    "row …: uuid '…' is not a uuid": lambda world: world.create(uuid="12345"),
    "row …: unknown column '…' (did you mean '…'?); known are …": lambda world: world.create(units="V"),
    "row …: … is missing": lambda world: world.create(name=""),
    "row …: annotation '…' is …; annotations are text, so write …": lambda world: world.create(annotations={"kv": 500}),
    "… of … streams failed: …: … cannot have uuid …: another stream holds it (…) (…)…": uuid_of_another,
    "… of … streams failed: …: … cannot be created with uuid …: another stream has that collection and these tags (…) "
    "(…)…": name_of_another,
    "… of … streams failed: …: … (code 429, call Create, …)…": recycled,
    "… of … streams exist already: …": exists_already,
    "… (code 423, call SetStreamTags, stream …, at …)": changed_meanwhile,
    "tags and collection are changed, annotations are not: … (…)": half_changed,
    "obliterating streams cannot be undone: set confirm=True if it is meant": lambda _: ObliterateStreamOperator(
        task_id="t", streams="a/b"
    ).execute({}),
    "… cannot be read: No such file or directory": lambda world: world.insert(files="/no/such.csv"),
    "… has no column '…'; it has …": lambda world: world.insert("t,v\n1,2\n"),
    "…, line …: … is '…', which is not a number": lambda world: world.insert("time,v\n1,M\n"),
    "…, line …: … is '…'; BTrDB stores finite numbers only": lambda world: world.insert("time,v\n1,nan\n"),
    f"the interval has no …: {CRON}": lambda world: world.insert(start="", end=1),
    f"the interval is empty, start and end are …: {CRON}": lambda world: world.insert(start=1, end=1),
    "the interval is reversed: … is after …": lambda world: world.insert(start=2, end=1),
    'write_mode="replace_range" needs start and end: which interval?': lambda world: world.insert(
        write_mode="replace_range"
    ),
    'write_mode="never" with retries=…: a second try would store points twice; set retries=0': lambda world: (
        world.insert(write_mode="never", retries=1)
    ),
    "… of … points are certainly stored, then: … (call Insert, stream …, at …)": lost_reply,
    "… (code 441, call SQLQuery, at …)": lambda _: query("SELECT nothing"),
    "the query returns more than max_xcom_rows=… rows: …": lambda _: query(
        "SELECT i FROM generate_series(1, 5) AS i", max_xcom_rows=4
    ),
    "… is not installed: pip install 'airflow-provider-btrdb[…]'": without_pyarrow,
    "… streams below '…', at least … wanted: the others are absent, or invisible to this key": too_few,
    "… findings in … streams below '…' (…), such as …": broken_rule,
    "the audit … found …: …; the run is in …": lambda world: audit(world, {"required": "unit"}),
    "… in the suite:…": lambda world: audit(world, {"require": "unit"}),
    "emit_asset=True needs an AssetAlias among the outlets of the task, to emit through": lambda world: world.insert(
        emit_asset=True
    ),
    "what was waited for did not come in time": late,
    "no stream below '…' is visible to this key: the prefix is misspelt, has no streams, or the key may not read it": (
        nothing_visible
    ),
    "the newest point of stream … is at …, … s in the future: its age says nothing": from_the_future,
}


@pytest.mark.parametrize("text", CASES)
def test_the_error_is_as_the_page_says(text: str, world: World, troubled: Any) -> None:
    with pytest.raises(Exception) as caught:
        CASES[text](world)
    troubled.check(text, caught.value)


def test_the_page_has_these_errors_and_no_others(troubled: Any) -> None:
    assert list(CASES) == troubled.texts("Calls", "Streams", "Points", "Queries and checks", "Sensors")
