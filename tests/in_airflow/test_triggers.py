"""Thousands of triggers on one loop, one poll for all of them."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.client.questions import ALONE
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.faults import Delay, Refuse
from airflow_provider_btrdb.triggers.poller import poller_for
from airflow_provider_btrdb.triggers.streams import StreamExistsTrigger, StreamFreshnessTrigger, StreamVersionTrigger

MANY = 5_000
INTERVAL = 0.5
"""Seconds between the rounds, where a test does not say otherwise."""
NOTHING = {
    "streams": [], "collection": None, "tags": None, "annotations": None, "min_count": 1,
    "require_visible_prefix": None,
}  # fmt: skip


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server of the test's own, so that every call at it is the triggers'."""
    with devserver() as server:
        host, port = server.endpoint.split(":")
        for name, extra in (("BTRDB_DEFAULT", {}), ("IMPATIENT", {"retry_total": 0})):
            connection = {"conn_type": "btrdb", "host": host, "port": int(port), "extra": extra}
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
        yield server


@pytest.fixture
def own_db(own_server: Any) -> Iterator[BTrDB]:
    with connect(own_server.endpoint) as db:
        yield db


def trigger(cls: Any, **arguments: Any) -> Any:
    """As the triggerer makes it: serialized, imported, constructed, all through JSON."""
    given = {"btrdb_conn_id": "btrdb_default", "poll_interval": INTERVAL, "end_time": time.time() + 200, **arguments}
    if cls is StreamExistsTrigger:
        given = {**NOTHING, **given}
    path, kwargs = cls(**given).serialize()
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(**json.loads(json.dumps(kwargs)))


async def event(waiting: Any) -> Any:
    async with asyncio.timeout(200):
        return (await anext(aiter(waiting.run()))).payload


async def until(condition: Any) -> None:
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.02)


def rounds(started: float) -> int:
    """As many as there can have been since then; called after the calls were counted."""
    return 1 + int((time.monotonic() - started) / INTERVAL)


def test_thousands_that_wait_for_names_cost_one_call_per_interval(own_server: Any, own_db: BTrDB) -> None:
    rows = [{"collection": f"c/{number % 50}", "name": f"s{number}"} for number in range(MANY)]

    async def main() -> list[Any]:
        waiting = [trigger(StreamExistsTrigger, streams=[f"{row['collection']}/{row['name']}"]) for row in rows]
        started = time.monotonic()
        tasks = [asyncio.create_task(event(one)) for one in waiting]
        await until(lambda: own_server.calls.count("SQLQuery") >= 3)
        counts, most = own_server.calls.counts(), rounds(started)
        assert counts["SQLQuery"] <= most
        # While the others wait for a slow answer, those who joined first may be so few that each is looked up.
        assert counts["LookupStreams"] <= ALONE * most
        assert counts.keys() <= {"SQLQuery", "LookupStreams"}
        assert not any(task.done() for task in tasks)
        await asyncio.to_thread(own_db.create_many, rows)
        return await asyncio.gather(*tasks)

    own_server.calls.clear()
    assert asyncio.run(main()) == [{"status": "success", "found": 1}] * MANY


def test_all_kinds_of_existence_stay_within_ten_calls(own_server: Any, own_db: BTrDB) -> None:
    """In each interval, whatever a thousand triggers wait for. Rounds on a slow machine may lie over each other."""

    def kinds() -> Iterator[dict[str, Any]]:
        for number in range(250):
            yield {"streams": [f"c/{number}/absent"]}
            yield {"streams": [str(uuid4())]}
            yield {"collection": f"c/{number}", "min_count": 9, "tags": {"name": None}}
            yield {"collection": f"d/{number}", "annotations": {"k": "v"}, "require_visible_prefix": f"c/{number % 7}"}

    async def main() -> tuple[Any, int]:
        started = time.monotonic()
        tasks = [asyncio.create_task(event(trigger(StreamExistsTrigger, **kind))) for kind in kinds()]
        await until(lambda: own_server.calls.count("ListCollections") >= 4)
        counts, most = own_server.calls.counts(), rounds(started)
        for task in tasks:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return counts, most

    own_db.create_many([{"collection": f"c/{number}", "name": "x"} for number in range(7)])
    own_server.calls.clear()
    counts, most = asyncio.run(main())
    assert len(counts) > 1
    assert sum(counts.values()) <= 10 * most


def test_versions_and_freshness_cost_one_call_per_stream(own_server: Any, own_db: BTrDB) -> None:
    streams = [result.uuid for result in own_db.create_many([{"collection": "c", "name": f"{n}"} for n in range(100)])]

    async def main() -> list[Any]:
        versions = [trigger(StreamVersionTrigger, uuid=str(uuid), version=10) for uuid in streams * 25]
        fresh = [
            trigger(StreamFreshnessTrigger, uuid=str(uuid), younger_than=600, clock_skew=5) for uuid in streams * 25
        ]
        started = time.monotonic()
        tasks = [asyncio.create_task(event(one)) for one in [*versions, *fresh]]
        await until(lambda: own_server.calls.count("Nearest") >= 300)
        counts, most = own_server.calls.counts(), rounds(started)
        now = time.time_ns()
        points = [(uuid, [(now, 1.0)]) for uuid in streams]
        await asyncio.to_thread(own_db.insert_many, points)
        events = await asyncio.gather(*tasks)
        assert counts.keys() == {"StreamInfo", "Nearest"}
        # One call for each of the 100 streams per interval, not one for each of the 2,500 triggers.
        assert max(counts.values()) <= 100 * most
        return events

    own_server.calls.clear()
    events = asyncio.run(main())
    assert len(events) == MANY
    assert {payload["status"] for payload in events} == {"success"}
    assert {payload.get("version") for payload in events[: MANY // 2]} == {11}


def test_never_more_than_64_calls_in_flight(own_server: Any, own_db: BTrDB) -> None:
    streams = [result.uuid for result in own_db.create_many([{"collection": "c", "name": f"{n}"} for n in range(200)])]

    async def main() -> None:
        tasks = [
            asyncio.create_task(event(trigger(StreamVersionTrigger, uuid=str(uuid), version=10))) for uuid in streams
        ]
        await until(lambda: own_server.calls.count("StreamInfo") >= 64)
        await asyncio.sleep(0.5)
        assert own_server.calls.count("StreamInfo") == 64
        for task in tasks:
            task.cancel()

    own_server.calls.clear()
    with own_server.faults.inject("StreamInfo", Delay(3600), first=1, last=1000):
        asyncio.run(main())


def test_a_slow_answer_does_not_hold_up_the_others(own_server: Any, own_db: BTrDB) -> None:
    slow, quick = (own_db.create(uuid4(), "c", {"name": name}) for name in "xy")

    async def main() -> bool:
        waiting = asyncio.create_task(event(trigger(StreamVersionTrigger, uuid=str(slow.uuid), version=9)))
        await until(lambda: own_server.calls.count("StreamInfo") == 1)
        answered = await event(trigger(StreamVersionTrigger, uuid=str(quick.uuid), version=9))
        before = not waiting.done()
        assert answered["status"] == (await waiting)["status"] == "success"
        return before

    def quick_is_first(seconds: float) -> bool:
        own_server.calls.clear()
        with own_server.faults.inject("StreamInfo", Delay(seconds)):
            return asyncio.run(main())

    # A machine that stalls may be late for the first of them.
    assert any(quick_is_first(seconds) for seconds in (3, 12, 25))


def test_who_fails_does_not_disturb_the_others(own_server: Any, own_db: BTrDB) -> None:
    stream = own_db.create(uuid4(), "c", {"name": "x"})

    async def main() -> tuple[Any, Any]:
        absent = asyncio.create_task(event(trigger(StreamVersionTrigger, uuid=str(uuid4()), version=1)))
        present = asyncio.create_task(event(trigger(StreamVersionTrigger, uuid=str(stream.uuid), version=10)))
        failed = await absent
        assert not present.done()
        await asyncio.to_thread(stream.insert, [(1, 1.0)])
        return failed, await present

    failed, present = asyncio.run(main())
    assert failed["status"] == "error"
    assert "404" in failed["message"]
    assert present == {"status": "success", "uuid": str(stream.uuid), "from_version": 10, "version": 11}


def test_the_first_look_comes_after_an_interval_and_the_last_one_at_the_end(own_server: Any) -> None:
    """The sensor has just looked; and a timeout shorter than the interval does not mean that nobody looks again."""

    async def main(seconds: float) -> Any:
        long = asyncio.create_task(event(trigger(StreamExistsTrigger, streams=["a/b"], poll_interval=1000)))
        short = trigger(StreamExistsTrigger, streams=["a/c"], poll_interval=1000, end_time=time.time() + seconds)
        payload = await event(short)
        assert not long.done()
        long.cancel()
        return payload

    own_server.calls.clear()
    for seconds in (1, 5, 25):
        assert asyncio.run(main(seconds))["status"] == "timeout"
        if own_server.calls.counts():  # else the machine stalled, and the end was past before the trigger began
            break
    assert own_server.calls.counts() == {"LookupStreams": 1}


def test_a_timeout_that_is_past_needs_no_look(own_server: Any) -> None:
    payload = asyncio.run(event(trigger(StreamExistsTrigger, streams=["a/b"], end_time=time.time() - 1)))
    assert payload["status"] == "timeout"
    assert own_server.calls.counts() == {}


def test_a_cancelled_trigger_leaves_the_poll(own_server: Any) -> None:
    async def main() -> None:
        tasks = [
            asyncio.create_task(event(trigger(StreamExistsTrigger, streams=[f"a/{n}"], poll_interval=0.1)))
            for n in range(3)
        ]
        await until(lambda: own_server.calls.count("LookupStreams") >= 6)
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks[1:], return_exceptions=True)
        await asyncio.sleep(0.2)  # what was under way ends
        own_server.calls.clear()
        await until(lambda: own_server.calls.count("LookupStreams") >= 3)
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        looks = -1
        while looks != own_server.calls.count("LookupStreams"):  # what was under way arrives
            looks = own_server.calls.count("LookupStreams")
            await asyncio.sleep(0.5)

    asyncio.run(asyncio.wait_for(main(), 100))


def test_a_trigger_that_is_cancelled_while_its_answer_comes_ends(own_server: Any) -> None:
    async def main() -> bool:
        task = asyncio.create_task(event(trigger(StreamExistsTrigger, streams=["a/b"], poll_interval=50)))
        poller = poller_for("btrdb_default", 50)
        await until(lambda: poller._waiting)
        _, _, (questions, future) = poller._waiting[0]
        future.set_result(dict.fromkeys(questions, False))
        task.cancel()
        await asyncio.wait([task], timeout=100)
        return task.cancelled()

    assert asyncio.run(main())


def test_one_loop_has_one_channel(own_server: Any) -> None:
    async def main() -> int:
        from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

        clients = {id(await BTrDBHook().get_async_client()) for _ in range(10)}
        started = time.monotonic()
        tasks = [asyncio.create_task(event(trigger(StreamExistsTrigger, streams=["a/b"]))) for _ in range(100)]
        await until(lambda: own_server.calls.count("LookupStreams") >= 2)
        await asyncio.sleep(INTERVAL)
        calls, most = own_server.calls.count("LookupStreams"), rounds(started)
        assert calls <= most
        for task in tasks:
            task.cancel()
        return len(clients)

    assert asyncio.run(main()) == 1


def test_a_wrong_connection_is_an_event(monkeypatch: pytest.MonkeyPatch, own_server: Any) -> None:
    payload = asyncio.run(event(trigger(StreamExistsTrigger, streams=["a/b"], btrdb_conn_id="nobody_made_it")))
    assert payload["status"] == "error"
    assert "nobody_made_it" in payload["message"]
    text = json.dumps({"conn_type": "btrdb", "host": "127.0.0.1", "extra": {"tls": "maybe"}})
    monkeypatch.setenv("AIRFLOW_CONN_BTRDB_DEFAULT", text)
    payload = asyncio.run(event(trigger(StreamExistsTrigger, streams=["a/b"])))
    assert payload["status"] == "error"
    assert "tls is 'maybe'" in payload["message"]


def test_an_outage_is_waited_for_by_all(own_server: Any, own_db: BTrDB) -> None:
    own_db.create(uuid4(), "c", {"name": "x"})

    async def main() -> list[Any]:
        waiting = [trigger(StreamExistsTrigger, streams=["c/x"], btrdb_conn_id="impatient") for _ in range(50)]
        return await asyncio.gather(*(event(one) for one in waiting))

    with own_server.faults.inject("LookupStreams", Refuse(), first=1, last=2) as fault:
        assert asyncio.run(main()) == [{"status": "success", "found": 1}] * 50
    assert fault.fired == 2
