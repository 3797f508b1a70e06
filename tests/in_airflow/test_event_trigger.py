"""The trigger of asset watchers, with a store that outlives it and without one."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.testing.faults import Refuse
from airflow_provider_btrdb.triggers.events import BTrDBStreamEventTrigger

pytestmark = pytest.mark.usefixtures("connection")


class Store:
    """What Airflow 3.3 hands to the trigger: JSON that stays. `assets` is how many assets the trigger serves."""

    def __init__(self, assets: int = 1) -> None:
        self.values: dict[str, str] = {}
        self.assets = assets

    async def aget(self, key: str, default: Any = None) -> Any:
        if self.assets != 1:
            raise ValueError(f"Task has {self.assets} concrete inlets and outlets")
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


def watch(stream: Any, store: Store | None = None, **arguments: Any) -> AsyncIterator[TriggerEvent]:
    """As the triggerer makes it: serialized, imported, constructed, given its store."""
    path, kwargs = BTrDBStreamEventTrigger(**{"stream": str(stream), "poll_interval": 0.1, **arguments}).serialize()
    module, name = path.rsplit(".", 1)
    trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(kwargs)))
    assert isinstance(trigger, BaseTrigger)
    assert trigger.serialize() == (path, kwargs)
    trigger.asset_state_store = store
    return aiter(trigger.run())


async def payload(events: AsyncIterator[TriggerEvent]) -> Any:
    async with asyncio.timeout(100):
        return json.loads(json.dumps((await anext(events)).payload))


@pytest.fixture
def stream(db: BTrDB, collection: str) -> Any:
    return db.create(uuid4(), collection, {"name": "x"})


async def looked(server: Any, times: int) -> None:
    """Until the watcher, and nobody else, has looked so often again."""
    before = server.calls.count("StreamInfo")
    async with asyncio.timeout(100):
        while server.calls.count("StreamInfo") < before + times:
            await asyncio.sleep(0.02)


def test_every_new_version_is_an_event_and_the_first_look_is_none(server: Any, stream: Any) -> None:
    async def main() -> list[Any]:
        events = watch(stream.uuid)
        first = asyncio.create_task(payload(events))
        await looked(server, 3)
        assert not first.done()
        await asyncio.to_thread(stream.insert, [(1, 1.0)])
        seen = [await first]
        second = asyncio.create_task(payload(events))
        await asyncio.to_thread(stream.delete, 0, 5)
        seen.append(await second)
        await events.aclose()
        return seen

    uuid = str(stream.uuid)
    assert asyncio.run(main()) == [
        {"uuid": uuid, "from_version": 10, "version": 11},
        {"uuid": uuid, "from_version": 11, "version": 12},
    ]


def test_a_change_made_while_everything_was_down_is_reported_after_the_start(server: Any, stream: Any) -> None:
    store = Store()

    async def first_life() -> None:
        waiting = asyncio.create_task(payload(watch(stream.uuid, store)))
        await looked(server, 2)
        waiting.cancel()

    async def second_life() -> tuple[Any, Any]:
        events = watch(stream.uuid, store)
        missed = await payload(events)
        following = asyncio.create_task(payload(events))
        await looked(server, 2)
        assert not following.done()
        await asyncio.to_thread(stream.insert, [(9, 1.0)])
        return missed, await following

    asyncio.run(first_life())
    for number in range(3):
        stream.insert([(number, 1.0)])
    missed, following = asyncio.run(second_life())
    assert missed == {"uuid": str(stream.uuid), "from_version": 10, "version": 13}
    assert following == {"uuid": str(stream.uuid), "from_version": 13, "version": 14}


def test_an_event_that_nobody_took_comes_again(stream: Any) -> None:
    """The version is remembered once Airflow has come back for more, which is after it took the event."""
    store = Store()

    async def life() -> Any:
        events = watch(stream.uuid, store, from_version=10)
        taken = await payload(events)
        await events.aclose()
        return taken

    stream.insert([(1, 1.0)])
    assert asyncio.run(life()) == asyncio.run(life()) == {"uuid": str(stream.uuid), "from_version": 10, "version": 11}


def test_from_version_reports_what_was_there_before(stream: Any, collection: str) -> None:
    stream.insert([(1, 1.0)])
    event = asyncio.run(payload(watch(f"{collection}/x", from_version=10)))
    assert event == {"uuid": str(stream.uuid), "from_version": 10, "version": 11}


def test_several_assets_are_served_from_memory(server: Any, stream: Any) -> None:
    async def main() -> Any:
        event = asyncio.create_task(payload(watch(stream.uuid, Store(assets=2))))
        await looked(server, 2)
        await asyncio.to_thread(stream.insert, [(1, 1.0)])
        return await event

    assert asyncio.run(main())["version"] == 11


def test_nothing_ends_the_watching(server: Any, db: BTrDB, collection: str) -> None:
    async def main() -> Any:
        event = asyncio.create_task(payload(watch(f"{collection}/late", btrdb_conn_id="impatient", from_version=10)))
        before = server.calls.count("LookupStreams")
        while server.calls.count("LookupStreams") < before + 2:  # absent
            await asyncio.sleep(0.02)
        stream = await asyncio.to_thread(db.create, uuid4(), collection, {"name": "late"})
        with server.faults.inject("StreamInfo", Refuse(), first=1, last=3):
            await looked(server, 4)
        assert not event.done()
        await asyncio.to_thread(stream.insert, [(1, 1.0)])
        return await event

    assert asyncio.run(main())["version"] == 11


def test_watchers_of_one_interval_share_their_looks(server: Any, db: BTrDB, collection: str) -> None:
    names = [f"{number}" for number in range(20)]
    results = db.create_many([{"collection": collection, "name": name} for name in names])

    async def main() -> tuple[int, int]:
        events = [watch(result.uuid, poll_interval=1) for result in results for _ in range(10)]
        started, before = time.monotonic(), server.calls.count("StreamInfo")
        tasks = [asyncio.create_task(payload(one)) for one in events]
        await looked(server, 40)
        await asyncio.sleep(2)
        calls = server.calls.count("StreamInfo") - before
        rounds = 1 + int(time.monotonic() - started)
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return calls, rounds

    calls, rounds = asyncio.run(main())
    assert calls <= 20 * rounds  # without sharing, 200 a round
