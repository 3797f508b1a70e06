"""Changing, clearing and removing streams when replies are lost: done once, or an error that says what is done."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.client import errors
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Answer, Fault, LoseReply, Refuse
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

pytestmark = pytest.mark.anyio

LOST = LoseReply()
TAGS: dict[str, Any] = {"tags": {"unit": "volts"}}
NOTES: dict[str, Any] = {"annotations": {"site": "north", "note": None}}


@pytest.fixture
def wire(btrdb: RunningServer) -> Iterator[WireClient]:
    with WireClient(btrdb.endpoint) as client:
        yield client


def descriptor(wire: WireClient, stream: Any) -> Any:
    return wire.call("StreamInfo", pb.StreamInfoParams(uuid=stream.uuid.bytes)).descriptor


def annotate(wire: WireClient, stream: Any, key: str) -> None:
    """What another client does meanwhile."""
    changes = [pb.KeyOptValue(key=key, val=pb.OptValue(value="theirs"))]
    wire.call("SetStreamAnnotations", pb.SetStreamAnnotationsParams(uuid=stream.uuid.bytes, changes=changes))


# ---------------------------------------------------------------- update


@pytest.mark.parametrize(
    ("change", "lost", "version"),
    [
        (TAGS, ["SetStreamTags"], 2),
        ({"collection": True}, ["SetStreamTags"], 2),
        ({"remove_tags": ["name"]}, ["SetStreamTags"], 2),
        (NOTES, ["SetStreamAnnotations"], 2),
        ({"remove_annotations": ["gone"]}, ["SetStreamAnnotations"], 2),
        (TAGS | NOTES, ["SetStreamTags"], 3),
        (TAGS | NOTES, ["SetStreamAnnotations"], 3),
        (TAGS | NOTES, ["SetStreamTags", "SetStreamAnnotations"], 3),
    ],
)
async def test_an_update_whose_reply_is_lost_is_done_once(
    done: Any,
    btrdb: RunningServer,
    wire: WireClient,
    stream: Any,
    change: dict[str, Any],
    lost: list[str],
    version: int,
) -> None:
    if "collection" in change:
        change = {"collection": stream.collection + "/moved"}
    faults = [btrdb.faults.add(Fault(method, LOST)) for method in lost]
    assert await done(stream.update(**change)) == version
    for fault in faults:
        btrdb.faults.remove(fault)
        assert (fault.fired, btrdb.calls.count(fault.method)) == (1, 2)
    assert btrdb.calls.count("SetStreamTags") + btrdb.calls.count("SetStreamAnnotations") == version - 1 + len(lost)
    found = descriptor(wire, stream)
    assert found.property_version == version == stream.property_version
    if "tags" in change:
        assert {tag.key: tag.val.value for tag in found.tags}["unit"] == "volts" == stream.unit
    if "annotations" in change:
        assert [(pair.key, pair.HasField("val")) for pair in found.annotations] == [("note", False), ("site", True)]
        assert stream.annotations == change["annotations"]


@pytest.mark.parametrize(("change", "method"), [(TAGS, "SetStreamTags"), (NOTES, "SetStreamAnnotations")])
async def test_an_update_refused_for_a_while_is_done_once(
    done: Any, btrdb: RunningServer, wire: WireClient, stream: Any, change: dict[str, Any], method: str
) -> None:
    with btrdb.faults.inject(method, Refuse(), last=2) as fault:
        assert await done(stream.update(**change)) == 2
    assert (fault.fired, btrdb.calls.count(method)) == (2, 3)
    assert descriptor(wire, stream).property_version == 2


@pytest.mark.parametrize(("change", "method"), [(TAGS, "SetStreamTags"), (NOTES, "SetStreamAnnotations")])
async def test_after_a_lost_reply_somebody_elses_change_is_a_mismatch(
    done: Any, btrdb: RunningServer, wire: WireClient, stream: Any, change: dict[str, Any], method: str
) -> None:
    annotate(wire, stream, "theirs")
    btrdb.calls.clear()
    with btrdb.faults.inject(method, Refuse()) as fault, pytest.raises(errors.PropertyVersionMismatch) as caught:
        await done(stream.update(**change))
    assert (fault.fired, btrdb.calls.count(method)) == (1, 2)
    assert caught.value.reply_lost
    found = descriptor(wire, stream)
    assert ([pair.key for pair in found.annotations], found.property_version) == (["theirs"], 2)


async def test_a_mismatch_without_a_lost_reply_is_an_error_at_once(
    done: Any, btrdb: RunningServer, wire: WireClient, stream: Any
) -> None:
    annotate(wire, stream, "theirs")
    btrdb.calls.clear()
    with pytest.raises(errors.PropertyVersionMismatch) as caught:
        await done(stream.update(**NOTES))
    assert not caught.value.reply_lost
    assert btrdb.calls.counts() == {"SetStreamAnnotations": 1}
    await done(stream.refresh())
    assert await done(stream.update(**NOTES)) == 3


@pytest.mark.parametrize("failure", [Answer(407, "no"), Answer(423, "somebody was faster")], ids=["refused", "raced"])
async def test_a_half_done_update_is_named(
    done: Any, btrdb: RunningServer, wire: WireClient, stream: Any, failure: Answer
) -> None:
    with (
        btrdb.faults.inject("SetStreamAnnotations", failure) as fault,
        pytest.raises(
            errors.PartialUpdateError, match="tags and collection are changed, annotations are not"
        ) as caught,
    ):
        await done(stream.update(**TAGS, **NOTES))
    assert (fault.fired, btrdb.calls.count("SetStreamTags"), btrdb.calls.count("SetStreamAnnotations")) == (1, 1, 1)
    error = caught.value
    assert (error.done, error.server_code, error.uuid) == (("tags",), failure.code, str(stream.uuid))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.done) == (type(error), str(error), error.done)
    found = descriptor(wire, stream)
    assert {tag.key: tag.val.value for tag in found.tags}["unit"] == "volts"
    assert (len(found.annotations), found.property_version) == (0, 2)


async def test_a_first_half_that_fails_leaves_the_second_undone(
    done: Any, btrdb: RunningServer, wire: WireClient, stream: Any
) -> None:
    with btrdb.faults.inject("SetStreamTags", Answer(409)) as fault, pytest.raises(errors.InvalidTagValueError):
        await done(stream.update(**TAGS, **NOTES))
    assert (fault.fired, btrdb.calls.counts()) == (1, {"SetStreamTags": 1})
    assert descriptor(wire, stream).property_version == 1


async def test_update_many_with_lost_replies(
    connected: Any, done: Any, btrdb: RunningServer, wire: WireClient, collection: str
) -> None:
    """One call at a time, so that it is known whose reply is lost: the first fails, the second and third are done."""
    db = await connected(btrdb.endpoint, max_in_flight=1)
    streams = [await done(db.create(uuid4(), collection, {"name": f"s{number}"})) for number in range(5)]
    btrdb.calls.clear()
    with (
        btrdb.faults.inject("SetStreamAnnotations", Answer(500)) as broken,
        btrdb.faults.inject("SetStreamAnnotations", LOST, first=2) as second,
        btrdb.faults.inject("SetStreamAnnotations", LOST, first=4) as third,
    ):
        results = await done(db.update_many((stream, NOTES) for stream in streams))
    assert (broken.fired, second.fired, third.fired, btrdb.calls.count("SetStreamAnnotations")) == (1, 1, 1, 7)
    assert [result.uuid for result in results] == [stream.uuid for stream in streams]
    assert [(result.outcome, result.version) for result in results] == [("failed", 0)] + [("ok", 2)] * 4
    assert [descriptor(wire, stream).property_version for stream in streams] == [1, 2, 2, 2, 2]


# ---------------------------------------------------------------- delete, flush, obliterate


async def test_a_delete_is_repeated(done: Any, btrdb: RunningServer, stream: Any) -> None:
    await done(stream.insert([(1, 1.0), (5, 5.0), (9, 9.0)]))
    with btrdb.faults.inject("Delete", LOST) as fault:
        assert await done(stream.delete(4, 9)) == 13
    assert (fault.fired, btrdb.calls.count("Delete")) == (1, 2)
    assert list(await done(stream.values())) == [(1, 1.0), (9, 9.0)]


async def test_a_delete_is_not_repeated_where_that_was_asked(done: Any, btrdb: RunningServer, stream: Any) -> None:
    await done(stream.insert([(1, 1.0), (5, 5.0)]))
    with btrdb.faults.inject("Delete", LOST) as fault, pytest.raises(errors.ServerUnavailableError) as caught:
        await done(stream.delete(4, 9, repeat=False))
    assert (fault.fired, btrdb.calls.count("Delete"), caught.value.reply_lost) == (1, 1, True)
    assert list(await done(stream.values())) == [(1, 1.0)]


async def test_a_flush_is_repeated(done: Any, btrdb: RunningServer, stream: Any) -> None:
    with btrdb.faults.inject("Flush", LOST, last=2) as fault:
        assert await done(stream.flush()) == 10
    assert (fault.fired, btrdb.calls.count("Flush")) == (2, 3)


async def test_an_obliterate_whose_reply_is_lost_is_done(done: Any, btrdb: RunningServer, stream: Any) -> None:
    with btrdb.faults.inject("Obliterate", LOST) as fault:
        await done(stream.obliterate())
    assert (fault.fired, btrdb.calls.count("Obliterate")) == (1, 2)
    assert await done(stream.exists()) is False


async def test_obliterating_nothing_is_an_error(db: Any, done: Any, btrdb: RunningServer) -> None:
    nothing = await done(db.stream_from_uuid(uuid4()))
    with pytest.raises(errors.StreamNotFoundError):
        await done(nothing.obliterate())
    assert btrdb.calls.counts() == {"Obliterate": 1}


async def test_after_half_an_update_the_rest_can_be_done_on_the_same_handle(
    done: Any, btrdb: RunningServer, wire: WireClient, stream: Any
) -> None:
    with btrdb.faults.inject("SetStreamAnnotations", Answer(500)) as fault, pytest.raises(errors.PartialUpdateError):
        await done(stream.update(**TAGS, **NOTES))
    assert (fault.fired, stream.property_version, stream.unit) == (1, 2, "volts")
    assert await done(stream.update(**NOTES)) == 3


async def test_a_mismatch_after_a_lost_reply_leaves_the_handle_as_it_was(
    done: Any, btrdb: RunningServer, wire: WireClient, stream: Any
) -> None:
    """Otherwise the next update would overwrite what nobody has looked at."""
    annotate(wire, stream, "theirs")
    with btrdb.faults.inject("SetStreamAnnotations", Refuse()) as fault, pytest.raises(errors.PropertyVersionMismatch):
        await done(stream.update(**NOTES))
    assert fault.fired == 1
    with pytest.raises(errors.PropertyVersionMismatch):
        await done(stream.update(**NOTES))


async def test_an_update_that_is_done_is_no_error_though_reading_back_fails(
    connected: Any, done: Any, btrdb: RunningServer, wire: WireClient, stream: Any
) -> None:
    db = await connected(btrdb.endpoint, retry_total=0)
    handle = await done(db.stream_from_uuid(stream.uuid))
    await done(handle.refresh())
    with btrdb.faults.inject("StreamInfo", Refuse()):
        assert await done(handle.update(**TAGS)) == 2
    assert descriptor(wire, stream).property_version == 2
