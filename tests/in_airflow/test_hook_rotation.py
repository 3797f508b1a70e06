"""API keys that change while tasks and triggers use them."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest

from airflow_provider_btrdb._airflow import AirflowFailException
from airflow_provider_btrdb.client import BTrDB, connect, errors
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook
from airflow_provider_btrdb.testing import RunningServer, devserver
from airflow_provider_btrdb.testing.faults import Delay
from airflow_provider_btrdb.triggers.poller import poller_for
from airflow_provider_btrdb.triggers.streams import StreamExistsTrigger

WAITING = 100
INTERVAL = 0.3
"""Seconds between the questions of the triggers."""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A server whose keys change; not the one that other tests share."""
    with devserver() as running:
        yield running


_tests = itertools.count()


def say(server: RunningServer, key: str, conn_id: str = "btrdb_default") -> None:
    """What the Airflow connection says from now on."""
    extra = {"request_timeout": os.environ["BTRDB_TEST_TIMEOUT"]}
    host, port = server.endpoint.rsplit(":", 1)
    fields = {"conn_type": "btrdb", "host": host, "port": int(port), "password": key, "extra": extra}
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)


@pytest.fixture(autouse=True)
def connection(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # A setting of the test's own, so that its hooks do not share a connection with those of other tests.
    monkeypatch.setenv("BTRDB_TEST_TIMEOUT", str(30 + next(_tests)))
    server.change_keys(api_key="key-1")
    for conn_id in ("btrdb_default", "other"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", "")
        say(server, "key-1", conn_id)


def channels(but: Sequence[Any] = ()) -> list[Any]:
    """Channels of gRPC in this process that nobody has dropped, of either mode, without some."""
    gc.collect()
    # By type(): some lazy objects of Airflow answer isinstance() by importing things.
    found = [thing for thing in gc.get_objects() if issubclass(type(thing), grpc.Channel | grpc.aio.Channel)]
    return [channel for channel in found if not any(channel is other for other in but)]


# ---------------------------------------------------------------- the hook


def test_a_changed_key_goes_on_where_the_old_one_stopped(server: RunningServer) -> None:
    hook = BTrDBHook()
    db = hook.get_client()
    assert hook.list_collections("no such prefix") == []
    before = channels()
    server.change_keys(api_key="key-2")
    say(server, "key-2")
    assert hook.list_collections("no such prefix") == []
    assert hook.get_records("SELECT 1") == [(1,)]
    assert [result.outcome for result in hook.create_many([{"collection": "changed", "name": "x"}])] == ["created"]
    assert BTrDBHook().get_client() is db
    assert db.config.api_key == "key-2"
    assert len(channels(but=before)) == 1  # bulk calls have a channel of their own


def test_an_unchanged_key_fails_for_good_after_one_look(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = BTrDBHook()
    hook.info()
    server.change_keys(api_key="key-2")
    server.calls.clear()
    with pytest.raises(AirflowFailException, match="the API key was refused: invalid api key"):
        hook.info()
    assert server.calls.count("Info") == 1
    monkeypatch.delenv("AIRFLOW_CONN_BTRDB_DEFAULT")  # not to be read is no change either
    with pytest.raises(AirflowFailException, match="the API key was refused: invalid api key"):
        hook.info()
    say(server, "key-2")
    assert hook.info()["majorVersion"] == 5


def test_a_hook_made_after_the_change_uses_the_same_channel(server: RunningServer) -> None:
    db = BTrDBHook().get_client()
    db.info()
    before = channels()
    server.change_keys(api_key="key-2")
    say(server, "key-2")
    server.calls.clear()
    assert BTrDBHook().get_client() is db
    db.info()
    assert server.calls.count("Info") == 1  # the new key at once
    assert channels(but=before) == []


def test_a_key_that_is_changed_back(server: RunningServer) -> None:
    hook = BTrDBHook()
    for key in ("key-1", "key-2", "key-1", "key-2"):
        server.change_keys(api_key=key)
        say(server, key)
        assert BTrDBHook().info()["majorVersion"] == 5
        assert hook.info()["majorVersion"] == 5
        assert BTrDBHook().get_client() is hook.get_client()


def test_a_new_key_is_not_sent_to_the_old_server(server: RunningServer) -> None:
    hook = BTrDBHook()
    hook.info()
    with devserver(api_key="key-2") as elsewhere:
        server.change_keys(api_key="key-2")
        say(elsewhere, "key-2")
        with pytest.raises(AirflowFailException, match="the API key was refused"):
            hook.info()
        assert BTrDBHook().get_client() is not hook.get_client()
        assert BTrDBHook().info()["majorVersion"] == 5


def test_of_two_airflow_connections_that_share_only_the_changed_one_goes_on(server: RunningServer) -> None:
    mine, other = BTrDBHook(), BTrDBHook("other")
    assert mine.get_client() is other.get_client()
    server.change_keys(api_key="key-2")
    say(server, "key-2")
    assert mine.info()["majorVersion"] == 5
    with pytest.raises(AirflowFailException, match="the API key was refused"):
        BTrDBHook("other").info()
    say(server, "key-2", "other")
    assert BTrDBHook("other").info()["majorVersion"] == 5


# ---------------------------------------------------------------- triggers


async def first_event(trigger: StreamExistsTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        return dict(event.payload)
    raise AssertionError("the trigger ended without an event")


def waiting_for(stream: str, seconds: float = 120) -> StreamExistsTrigger:
    return StreamExistsTrigger(
        streams=[stream],
        collection=None,
        tags=None,
        annotations=None,
        min_count=1,
        btrdb_conn_id="btrdb_default",
        poll_interval=INTERVAL,
        require_visible_prefix=None,
        end_time=time.time() + seconds,
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.02)


def arranged(server: RunningServer, key: str) -> BTrDB:
    return connect(server.endpoint, key)


def test_keys_change_under_a_hundred_waiting_triggers(server: RunningServer) -> None:
    """Twice, with calls in flight each time; then the streams appear, and every trigger fires."""
    names = [str(uuid4()) for _ in range(WAITING)]
    before = channels()
    server.calls.clear()

    async def scenario() -> tuple[list[dict[str, Any]], int]:
        waiting = [asyncio.create_task(first_event(waiting_for(f"rotation/{name}"))) for name in names]
        poller, shared = poller_for("btrdb_default", INTERVAL), await BTrDBHook().get_async_client()
        with server.faults.inject("SQLQuery", Delay(0.05), last=10**6):
            await until(lambda: server.calls.count("SQLQuery"))
            for number in (2, 3):
                await until(lambda: poller._rounds)
                # Nothing else runs on this loop between the two, so that no trigger sees one without the other.
                server.change_keys(api_key=f"key-{number}")
                say(server, f"key-{number}")
                await until(lambda key=f"key-{number}": shared.config.api_key == key)
                # A call goes on with one newer key, not with two, so those that had the old one must be over.
                await asyncio.gather(*poller._rounds)
            more = len(channels(but=before))
        with arranged(server, "key-3") as db:
            await asyncio.to_thread(db.create_many, [{"collection": "rotation", "name": name} for name in names])
        return await asyncio.gather(*waiting), more

    events, more = asyncio.run(scenario())
    assert events == [{"status": "success", "found": 1}] * WAITING
    assert more == 1

    async def later() -> int:
        await BTrDBHook().get_async_client()
        return len(channels(but=before))

    assert asyncio.run(later()) == 1  # what the closed loop left behind is gone


def test_an_unchanged_key_ends_a_trigger_with_the_reason(server: RunningServer) -> None:
    server.change_keys(api_key="key-2")
    event = asyncio.run(first_event(waiting_for("rotation/x")))
    assert event["status"] == "error"
    assert "the API key was refused" in event["message"]


def test_many_refusals_at_once_read_the_airflow_connection_once(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    async def scenario() -> None:
        db = await BTrDBHook().get_async_client()
        await db.info()
        server.change_keys(api_key="key-2")
        say(server, "key-2")
        monkeypatch.setattr("airflow_provider_btrdb.hooks.btrdb.get_async_connection", counting(read))
        await asyncio.gather(*(db.list_collections() for _ in range(50)))

    asyncio.run(scenario())
    assert read == ["btrdb_default"]


def counting(read: list[str]) -> Any:
    from airflow.providers.common.compat.connection import get_async_connection

    async def counted(conn_id: str) -> Any:
        read.append(conn_id)
        return await get_async_connection(conn_id)

    return counted


def test_a_key_that_is_wrong_again_fails(server: RunningServer) -> None:
    async def scenario() -> None:
        db = await BTrDBHook().get_async_client()
        await db.info()
        server.change_keys(api_key="key-3")
        say(server, "key-2")
        server.calls.clear()
        with pytest.raises(errors.AuthenticationError):
            await db.info()

    asyncio.run(scenario())
    assert server.calls.count("Info") == 2
