"""`MessageQueueTrigger(scheme="btrdb")`: Airflow finds our provider, and the trigger is ours."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Any
from uuid import uuid4

import airflow
import pytest

from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.triggers.events import BTrDBStreamEventTrigger

pytestmark = pytest.mark.skipif(
    airflow.__version__.startswith("2.") or find_spec("airflow.providers.common.messaging") is None,
    reason="needs Airflow 3: message queues",
)


@pytest.fixture
def queue_trigger() -> Any:
    from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger

    return MessageQueueTrigger


@pytest.mark.usefixtures("connection")
def test_a_new_version_is_a_message(queue_trigger: Any, db: BTrDB, collection: str) -> None:
    stream = db.create(uuid4(), collection, {"name": "x"})
    stream.insert([(1, 1.0)])
    trigger = queue_trigger(scheme="btrdb", stream=f"{collection}/x", poll_interval=0.1, from_version=10)

    async def first() -> Any:
        events = trigger.run()
        async with asyncio.timeout(100):
            event = await anext(events)
        await events.aclose()
        return event.payload

    assert asyncio.run(first()) == {"uuid": str(stream.uuid), "from_version": 10, "version": 11}


def test_airflow_keeps_the_trigger_behind_it(queue_trigger: Any) -> None:
    arguments = {"stream": "a/b", "btrdb_conn_id": "other", "poll_interval": 5, "from_version": 11}
    assert queue_trigger(scheme="btrdb", **arguments).serialize() == BTrDBStreamEventTrigger(**arguments).serialize()


def test_other_schemes_are_not_ours(queue_trigger: Any) -> None:
    with pytest.raises(ValueError, match="not recognized by any of the registered providers"):
        queue_trigger(scheme="btrdbs", stream="a/b").serialize()
