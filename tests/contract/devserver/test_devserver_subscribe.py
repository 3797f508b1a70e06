"""Subscribe: what the development server puts on the wire, message by message."""

from __future__ import annotations

import threading
import uuid

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_btrdb.devserver.merge import Points
from airflow_provider_btrdb.devserver.subscriptions import Hub
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


class Follower:
    """A Subscribe call with a queue of updates."""

    def __init__(self, wire):
        self._updates: list[pb.SubscriptionUpdate | None] = []
        self._more = threading.Condition()
        self.answers = wire.start("Subscribe", self._requests())

    def _requests(self):
        while True:
            with self._more:
                self._more.wait_for(lambda: self._updates)
                update = self._updates.pop(0)
            if update is None:
                return
            yield update

    def send(self, update):
        with self._more:
            self._updates.append(update)
            self._more.notify()

    def close(self):
        self.send(None)
        self.answers.cancel()


@pytest.fixture
def follower(wire):
    follower = Follower(wire)
    yield follower
    follower.close()


def test_subscribe(wire, collection, follower):
    a, b = (wire.create(collection, name=name) for name in "ab")
    follower.send(pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[a]))
    follower.answers.initial_metadata()
    wire.insert(b, (1, 1.0))
    wire.insert(a, (5, 5.0), (3, 3.0), (5, 5.0), policy=pb.EQUAL)
    answer = next(follower.answers)
    assert (answer.uuid, answer.HasField("stat")) == (a, False)
    table = pa.ipc.open_stream(answer.arrow_bytes).read_all()
    assert table.column(0).cast(pa.int64()).to_pylist() == [5, 3, 5], "as received, unsorted"
    assert table.column(1).to_pylist() == [5.0, 3.0, 5.0]
    for number in range(100):
        wire.insert(a, (number, 0.0))
    got = [pa.ipc.open_stream(next(follower.answers).arrow_bytes).read_all() for _ in range(100)]
    assert [table.column(0).cast(pa.int64()).to_pylist() for table in got] == [[n] for n in range(100)]
    wire.call("Obliterate", pb.ObliterateParams(uuid=a))
    assert next(follower.answers).stat.code == 404
    with pytest.raises(StopIteration):
        next(follower.answers)


def test_an_insert_that_commits_while_a_call_is_let_in(wire, collection, follower, monkeypatch):
    raw = wire.create(collection, name="s")
    follow = Hub.follow

    def follow_just_before_a_commit(hub, subscriber, uuids):
        follow(hub, subscriber, uuids)
        hub.inserted(uuid.UUID(bytes=raw), Points(np.array([5]), np.array([5.0])))

    monkeypatch.setattr(Hub, "follow", follow_just_before_a_commit)
    follower.send(pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[raw]))
    table = pa.ipc.open_stream(next(follower.answers).arrow_bytes).read_all()
    assert table.column(0).cast(pa.int64()).to_pylist() == [5]
    wire.insert(raw, (6, 6.0))
    table = pa.ipc.open_stream(next(follower.answers).arrow_bytes).read_all()
    assert table.column(0).cast(pa.int64()).to_pylist() == [6]


def test_subscribe_to_nothing_that_exists(wire, follower):
    follower.send(pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[uuid.uuid4().bytes]))
    (answer,) = list(follower.answers)
    assert answer.stat.code == 404
