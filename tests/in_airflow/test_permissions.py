"""docs/permissions.md, line by line: a key with what the page lists can do it, and one that lacks any of it cannot."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from airflow_provider_btrdb._airflow import AirflowException, AirflowFailException, worth_a_retry
from airflow_provider_btrdb.client import BTrDB, BTrDBError, connect, dbapi
from airflow_provider_btrdb.get_provider_info import get_provider_info
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook
from airflow_provider_btrdb.operators.audit import BTrDBAuditOperator, BTrDBMetadataCheckOperator
from airflow_provider_btrdb.operators.connection import BTrDBConnectionCheckOperator
from airflow_provider_btrdb.operators.points import BTrDBInsertOperator, DeleteRangeOperator
from airflow_provider_btrdb.operators.provision import (
    BTrDBApplyOperator,
    BTrDBPlanOperator,
    ProvisionStreamsOperator,
)
from airflow_provider_btrdb.operators.query import BTrDBQueryOperator
from airflow_provider_btrdb.operators.streams import (
    CreateStreamOperator,
    ObliterateStreamOperator,
    UpdateStreamOperator,
)
from airflow_provider_btrdb.sensors.streams import StreamExistsSensor, StreamFreshnessSensor, StreamVersionSensor
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.triggers.events import BTrDBStreamEventTrigger

PAGE = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text()
LINES = {
    what: (re.findall(r"`(\w+)`", needs.split(";")[0]), "on every collection" in needs, re.split("[,;:]", without)[0])
    for what, needs, without in re.findall(r"^\| (.*?`.*?) \| (.*?) \| ?(.*?) ?\|$", PAGE, re.MULTILINE)
}
"""What -> the permissions that it needs, whether they must cover everything, and what happens without."""
ADMIN = {"key": "admin-key", **{permission: [""] for permission in ("read", "insert", "delete", "obliterate")}}
START_NS, END_NS = 0, 100


class World:
    """A stream `s` with a point at 1 ns, in a collection of its own; the connection's key may do what `allow` says."""

    def __init__(self, server: Any, folder: Path) -> None:
        self._server = server
        self.collection = f"permissions/{uuid4()}"
        self.file = folder / "points.csv"
        self.file.write_text("time,v\n2,2\n")
        with connect(server.endpoint, "admin-key") as admin:
            self.uuid = admin.create(uuid4(), self.collection, {"name": "s", "unit": "V"}, {"site": "north"}).uuid
            admin.stream_from_uuid(self.uuid).insert([(1, 1.0)])
        self.name = f"{self.collection}/s"

    def allow(self, permissions: list[str], everywhere: bool) -> None:
        granted = {permission: ["" if everywhere else self.collection] for permission in permissions}
        self._server.change_keys(keys={"keys": {"admin": ADMIN, "user": {"key": "user-key", **granted}}})

    def looks(self) -> int:
        """How often somebody wanted to know the version of a stream."""
        return int(self._server.calls.count("StreamInfo"))

    @property
    def db(self) -> BTrDB:
        return BTrDBHook().get_client()

    @property
    def stream(self) -> Any:
        """A handle that has asked for nothing."""
        return self.db.stream_from_uuid(self.uuid)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Any]:
    with devserver(keys={"keys": {"admin": ADMIN}}) as running:
        yield running


@pytest.fixture
def world(guarded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    uri = f"btrdb://:user-key@{guarded.endpoint}/?retry_total=0"
    monkeypatch.setenv("AIRFLOW_CONN_BTRDB_DEFAULT", uri)
    return World(guarded, tmp_path)


# ---------------------------------------------------------------- what is done


def task(make: Any, **arguments: Any) -> Any:
    return make(task_id="t", **arguments).execute({})


def insert(world: World, **more: Any) -> Any:
    columns = {"v": world.name}
    return task(
        BTrDBInsertOperator,
        files=str(world.file),
        columns=columns,
        time_columns="time",
        time_format="ns",
        **more,
    )


def ready(make: Any, **arguments: Any) -> Any:
    """What a sensor found; None means that it goes on waiting."""
    return make(task_id="t", **arguments).poke({}).xcom_value


def event(world: World) -> Any:
    """The first event; None if the trigger looks again, so that its first look made none."""
    trigger = BTrDBStreamEventTrigger(stream=str(world.uuid), poll_interval=0.1, from_version=10)

    async def first() -> Any:
        before = world.looks()
        waiting = asyncio.ensure_future(anext(trigger.run()))
        async with asyncio.timeout(100):
            while not waiting.done() and world.looks() < before + 2:
                await asyncio.sleep(0.02)
        if waiting.done():
            return waiting.result().payload
        waiting.cancel()
        return None

    return asyncio.run(first())


def airflows_own(world: World) -> Any:
    return task(SQLExecuteQueryOperator, conn_id="btrdb_default", sql="SELECT 1 AS one")


def move(world: World) -> Any:
    update = {"stream": str(world.uuid), "tags": {"unit": "A"}, "collection": f"{world.collection}/new"}
    return task(UpdateStreamOperator, updates=update)


def old_and_new(world: World) -> list[dict[str, str]]:
    return [{"collection": world.collection, "name": name, "unit": "V"} for name in ("s", "new")]


def planned(world: World) -> Any:
    return task(BTrDBPlanOperator, spec=old_and_new(world)[:1], output_path=str(world.file.parent))


def applied(world: World) -> Any:
    """The stream that is there changes, and another one is made."""
    wanted = [{**row, "unit": "A"} for row in old_and_new(world)]
    plan = task(BTrDBPlanOperator, spec=wanted, output_path=str(world.file.parent))
    return task(BTrDBApplyOperator, plan=plan)


def provisioned(world: World, **more: Any) -> Any:
    wanted = old_and_new(world)[1:]
    output = str(world.file.parent)
    return task(ProvisionStreamsOperator, spec=wanted, output_path=output, prefixes=world.collection, **more)


def audited(world: World) -> Any:
    suite = {"select": {"prefix": world.collection}, "checks": [{"required": "unit"}, {"not_empty": True}]}
    return task(BTrDBAuditOperator, suite=suite, output_path=str(world.file.parent / "runs"))


def made(world: World) -> Any:
    results = BTrDBHook().create_many(old_and_new(world))
    for result in results:
        if result.error is not None:
            raise result.error
    return results


Call = Callable[[World], Any]
SELECT = "SELECT 1 AS one"
CASES: dict[str, list[Call]] = {
    "`CreateStreamOperator`": [lambda world: task(CreateStreamOperator, streams=old_and_new(world))],
    "`UpdateStreamOperator`": [move],
    "`ObliterateStreamOperator`": [lambda world: task(ObliterateStreamOperator, streams=world.name, confirm=True)],
    "`BTrDBPlanOperator`": [lambda world: planned(world)["counts"]["unchanged"]],
    "`BTrDBApplyOperator`": [applied],
    "`ProvisionStreamsOperator`": [provisioned],
    "`ProvisionStreamsOperator(prune=True)`": [lambda world: provisioned(world, prune=True)],
    "`BTrDBInsertOperator`": [insert],
    '`BTrDBInsertOperator(write_mode="replace_range")`': [
        lambda world: insert(world, write_mode="replace_range", start=START_NS, end=END_NS)
    ],
    "`DeleteRangeOperator`": [lambda world: task(DeleteRangeOperator, streams=world.name, start=START_NS, end=END_NS)],
    "`BTrDBQueryOperator`": [lambda _: task(BTrDBQueryOperator, sql=SELECT)],
    "`BTrDBMetadataCheckOperator`": [
        lambda world: task(BTrDBMetadataCheckOperator, collection=world.collection, tags={"unit": {"present": True}})
    ],
    "`BTrDBAuditOperator`": [audited],
    "`BTrDBConnectionCheckOperator`": [lambda _: task(BTrDBConnectionCheckOperator)],
    "Airflow's SQL operators, `SqlSensor`, `@task.sql`": [airflows_own],
    "`StreamExistsSensor`": [
        lambda world: ready(StreamExistsSensor, stream=world.name),
        lambda world: ready(StreamExistsSensor, collection=world.collection),
    ],
    "`StreamExistsSensor(require_visible_prefix=...)`": [
        lambda world: ready(StreamExistsSensor, stream=world.name, require_visible_prefix=world.collection)
    ],
    "`StreamVersionSensor`": [lambda world: ready(StreamVersionSensor, stream=str(world.uuid), version=10)],
    "`StreamFreshnessSensor`": [lambda world: ready(StreamFreshnessSensor, stream=world.name, younger_than=1e10)],
    "`BTrDBStreamEventTrigger`": [event],
    "`info`": [lambda _: BTrDBHook().info()],
    "`query`, `get_records`, `get_df`": [
        lambda _: BTrDBHook().query(SELECT),
        lambda _: BTrDBHook().get_records(SELECT),
        lambda _: len(BTrDBHook().get_df(SELECT)),
    ],
    "`list_collections`": [lambda world: BTrDBHook().list_collections(world.collection)],
    "`collection_metadata`": [lambda world: BTrDBHook().collection_metadata(world.collection)[1]],
    "`create`": [lambda world: BTrDBHook().create(uuid4(), world.collection, {"name": "new"})],
    "`create_many`": [made],
    "`stream_from_uuid`": [lambda world: BTrDBHook().stream_from_uuid(world.uuid)],
    "`streams`": [
        lambda world: BTrDBHook().streams(world.name),
        lambda world: BTrDBHook().streams(world.uuid),
    ],
    "`streams_in_collection`": [lambda world: BTrDBHook().streams_in_collection(world.collection)],
    "`lookup_iter`, `count_streams`, `missing` of names": [
        lambda world: list(world.db.lookup_iter(world.collection)),
        lambda world: world.db.count_streams(world.collection),
        lambda world: not world.db.missing(world.name),
    ],
    "`Stream.exists`, `missing` of uuids": [
        lambda world: world.stream.exists(),
        lambda world: not world.db.missing(world.uuid),
    ],
    "`Stream.version`, `refresh`": [
        lambda world: world.stream.version(),
        lambda world: world.stream.refresh() or True,
    ],
    "`Stream.values`, `count`, `windows`, `nearest`, `changes`": [
        lambda world: len(world.stream.values()),
        lambda world: world.stream.count(),
        lambda world: len(world.stream.windows(START_NS, END_NS, 10)),
        lambda world: world.stream.nearest(START_NS),
        lambda world: world.stream.changes(10),
    ],
    "`Stream.insert`": [lambda world: world.stream.insert([(3, 3.0)])],
    "`Stream.update`": [lambda world: world.stream.update(tags={"unit": "A"})],
    "`Stream.delete`": [lambda world: world.stream.delete(START_NS, END_NS)],
    "`Stream.obliterate`": [lambda world: world.stream.obliterate() or True],
}
REFUSALS = re.findall("`([^`]+)`", PAGE.split("**refused**")[1].split("**fails**")[0])


def refused(call: Call, world: World, *, retried: bool) -> str:
    """What a refusal says."""
    with pytest.raises((AirflowException, BTrDBError, dbapi.Error)) as caught:
        call(world)
    error: Any = caught.value
    if isinstance(error, dbapi.Error):
        error = error.__cause__
    transient = worth_a_retry(error) if isinstance(error, BTrDBError) else not isinstance(error, AirflowFailException)
    assert transient is retried, error
    return str(error)


def test_the_page_has_these_lines() -> None:
    assert list(CASES) == list(LINES)
    assert len(REFUSALS) == 7
    info: Any = get_provider_info()
    for module in [name for kind in ("operators", "sensors") for name in info[kind][0]["python-modules"]]:
        for name, defined in vars(importlib.import_module(module)).items():
            if name.endswith(("Operator", "Sensor")) and defined.__module__ == module:
                assert f"`{name}`" in LINES


@pytest.mark.parametrize("what", CASES)
def test_the_permissions_listed_are_enough(what: str, world: World) -> None:
    needs, everywhere, _ = LINES[what]
    world.allow(needs, everywhere)
    for call in CASES[what]:
        assert call(world)


@pytest.mark.parametrize(
    ("what", "lacking"), [(what, permission) for what, (needs, *_) in LINES.items() for permission in needs]
)
def test_each_of_them_is_needed(what: str, lacking: str, world: World) -> None:
    needs, everywhere, without = LINES[what]
    world.allow([permission for permission in needs if permission != lacking], everywhere)
    for call in CASES[what]:
        if without in ("refused", "fails"):
            text = refused(call, world, retried=without == "fails")
            assert any(re.search(re.sub("…", ".*", re.escape(refusal)), text) for refusal in REFUSALS), text
        else:
            assert without in ("sees nothing", "waits")
            assert not call(world)
