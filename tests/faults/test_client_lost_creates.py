"""Creating and updating when replies are lost and calls are refused: one stream, one change, and the truth about it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from airflow_provider_btrdb.client import StreamSpec, derived_uuid, errors
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Answer, Corrupt, LoseReply, Refuse
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

pytestmark = pytest.mark.anyio

LOST = LoseReply()
NOTES = {"site": "north", "note": None, "odd": 'ü "quoted"'}


def streams_in(btrdb: RunningServer, collection: str) -> list[tuple[Any, ...]]:
    with WireClient(btrdb.endpoint) as wire:
        pages = wire.call("LookupStreams", pb.LookupStreamsParams(collection=collection))
    return [(UUID(bytes=row.uuid), row.property_version) for page in pages for row in page.results]


def key_values(values: dict[str, str]) -> list[pb.KeyOptValue]:
    return [pb.KeyOptValue(key=key, val=pb.OptValue(value=value)) for key, value in values.items()]


# ---------------------------------------------------------------- create


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED], ids=lambda code: code.name
)
async def test_a_create_whose_reply_is_lost_makes_one_stream(
    db: Any, done: Any, btrdb: RunningServer, collection: str, code: grpc.StatusCode
) -> None:
    uuid = uuid4()
    with btrdb.faults.inject("Create", LoseReply(code)) as fault:
        stream = await done(db.create(uuid, collection, {"name": "x", "unit": "V"}, NOTES))
    assert (fault.fired, btrdb.calls.counts()) == (1, {"Create": 2, "StreamInfo": 1})
    assert streams_in(btrdb, collection) == [(uuid, 1)]
    assert (stream.uuid, stream.name, stream.unit, stream.annotations) == (uuid, "x", "V", NOTES)


async def test_replies_lost_several_times(db: Any, done: Any, btrdb: RunningServer, collection: str) -> None:
    """The first attempt makes the stream; the later ones are refused or lose the refusal."""
    uuid = uuid4()
    with btrdb.faults.inject("Create", LOST) as first, btrdb.faults.inject("Create", Refuse(), first=2, last=3) as more:
        await done(db.create(uuid, collection, {"name": "x"}))
    assert (first.fired, more.fired, btrdb.calls.count("Create")) == (1, 2, 4)
    assert streams_in(btrdb, collection) == [(uuid, 1)]


async def test_the_check_after_a_lost_reply_is_repeated_too(
    db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    with btrdb.faults.inject("Create", LOST) as lost, btrdb.faults.inject("StreamInfo", Refuse(), last=2) as refused:
        await done(db.create(uuid4(), collection, {"name": "x"}))
    assert (lost.fired, refused.fired, btrdb.calls.counts()) == (1, 2, {"Create": 2, "StreamInfo": 3})


@pytest.mark.parametrize(
    ("theirs", "error"),
    [
        ({"uuid": "same", "name": "theirs"}, errors.StreamExistsError),
        ({"uuid": "same", "annotations": {"site": "south"}}, errors.StreamExistsError),
        ({"uuid": "other"}, errors.AmbiguousStreamError),
    ],
    ids=["other name", "other annotations", "other uuid"],
)
async def test_after_a_lost_reply_somebody_elses_stream_is_a_conflict(
    db: Any, done: Any, btrdb: RunningServer, collection: str, theirs: dict[str, Any], error: type[Exception]
) -> None:
    """UNAVAILABLE does not tell whether the work was done: here it was not, and somebody else came first."""
    uuid = uuid4()
    with WireClient(btrdb.endpoint) as wire:
        wire.call(
            "Create",
            pb.CreateParams(
                uuid=uuid.bytes if theirs["uuid"] == "same" else uuid4().bytes,
                collection=collection,
                tags=key_values({"name": theirs.get("name", "x")}),
                annotations=key_values(theirs.get("annotations", {})),
            ),
        )
    btrdb.calls.clear()
    with btrdb.faults.inject("Create", Refuse()) as fault, pytest.raises(error) as caught:
        await done(db.create(uuid, collection, {"name": "x"}))
    assert (fault.fired, btrdb.calls.counts()) == (1, {"Create": 2, "StreamInfo": 1})
    assert caught.value.reply_lost
    assert len(streams_in(btrdb, collection)) == 1


@pytest.mark.parametrize("times", [1, 4])
async def test_a_create_refused_for_a_while_succeeds(
    db: Any, done: Any, btrdb: RunningServer, collection: str, times: int
) -> None:
    with btrdb.faults.inject("Create", Refuse(), last=times) as fault:
        stream = await done(db.create(uuid4(), collection, {"name": "x"}))
    assert (fault.fired, btrdb.calls.counts()) == (times, {"Create": times + 1})
    assert streams_in(btrdb, collection) == [(stream.uuid, 1)]


@pytest.mark.parametrize(("code", "error"), [(417, errors.StreamExistsError), (418, errors.AmbiguousStreamError)])
async def test_a_conflict_without_a_lost_reply_is_an_error_at_once(
    db: Any, done: Any, btrdb: RunningServer, collection: str, code: int, error: type[Exception]
) -> None:
    uuid = uuid4()
    await done(db.create(uuid, collection, {"name": "x"}))
    btrdb.calls.clear()
    with pytest.raises(error) as caught:
        await done(db.create(uuid if code == 417 else uuid4(), collection, {"name": "y" if code == 417 else "x"}))
    assert (caught.value.server_code, caught.value.reply_lost) == (code, False)
    assert btrdb.calls.counts() == {"Create": 1}


@pytest.mark.parametrize(
    ("code", "repeated"), [(405, True), (419, True), (430, True), (426, True), (407, False), (429, False), (500, False)]
)
async def test_which_numbers_are_worth_another_attempt(
    db: Any, done: Any, btrdb: RunningServer, collection: str, code: int, repeated: bool
) -> None:
    with btrdb.faults.inject("Create", Answer(code)) as fault:
        if repeated:
            await done(db.create(uuid4(), collection, {"name": "x"}))
        else:
            with pytest.raises(errors.BTrDBError) as caught:
                await done(db.create(uuid4(), collection, {"name": "x"}))
            assert caught.value.server_code == code
    assert (fault.fired, btrdb.calls.count("Create")) == (1, 1 + repeated)
    assert len(streams_in(btrdb, collection)) == repeated


# ---------------------------------------------------------------- create_many


@pytest.mark.parametrize("own_uuid", [False, True])
async def test_bulk_creates_whose_replies_are_lost_are_created(
    connected: Any, done: Any, btrdb: RunningServer, collection: str, own_uuid: bool
) -> None:
    """One call at a time, so that it is known whose reply is lost: the second's and the third's."""
    db = await connected(btrdb.endpoint, max_in_flight=1)
    specs = [
        StreamSpec(collection=collection, name=f"s{number}", annotations=NOTES, uuid=uuid4() if own_uuid else None)
        for number in range(6)
    ]
    btrdb.calls.clear()
    with (
        btrdb.faults.inject("Create", LOST, first=2) as second,
        btrdb.faults.inject("Create", LOST, first=4) as third,
    ):
        results = await done(db.create_many(specs))
    assert [result.outcome for result in results] == ["created"] * 6
    assert (second.fired, third.fired, btrdb.calls.count("Create"), btrdb.calls.count("StreamInfo")) == (1, 1, 8, 2)
    assert sorted(streams_in(btrdb, collection)) == sorted((result.uuid, 1) for result in results)


async def test_a_bulk_create_whose_reply_is_lost_adopts_nobody_elses_name(
    db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    """The uuid is taken by another stream: the row fails, the next one does not notice."""
    uuid = uuid4()
    await done(db.create(uuid, collection + "/theirs", {"name": "x"}))
    btrdb.calls.clear()
    with btrdb.faults.inject("Create", Refuse()) as fault:
        mine, fine = await done(
            db.create_many(
                [{"collection": collection, "name": "x", "uuid": uuid}, {"collection": collection, "name": "y"}]
            )
        )
    assert (mine.outcome, type(mine.error), fine.outcome) == ("failed", errors.StreamExistsError, "created")
    assert (fault.fired, btrdb.calls.count("Create")) == (1, 3)
    assert streams_in(btrdb, collection) == [(fine.uuid, 1)]


@pytest.mark.parametrize("derived", [True, False], ids=["same uuid", "other uuid"])
async def test_a_bulk_create_adopts_what_came_between_lookup_and_create(
    db: Any, done: Any, btrdb: RunningServer, collection: str, derived: bool
) -> None:
    """The lookup finds nothing (its page goes missing), and then the stream is there: existed, not created twice."""
    theirs = derived_uuid(collection, "x") if derived else uuid4()
    await done(db.create(theirs, collection, {"name": "x"}))
    btrdb.calls.clear()
    with btrdb.faults.inject("LookupStreams", Corrupt("nothing")) as fault:
        (result,) = await done(db.create_many([StreamSpec(collection=collection, name="x")]))
    assert (fault.fired, result.outcome, result.uuid) == (1, "existed", theirs)
    assert btrdb.calls.count("Create") == 1
    assert streams_in(btrdb, collection) == [(theirs, 1)]


async def test_one_failure_hides_no_other(db: Any, done: Any, btrdb: RunningServer, collection: str) -> None:
    specs = [{"collection": collection, "name": f"s{number}", "uuid": uuid4()} for number in range(8)]
    with btrdb.faults.inject("Create", Answer(500, "broken"), first=3, last=5) as fault:
        results = await done(db.create_many(specs))
    assert fault.fired == 3
    assert sorted(result.outcome for result in results) == ["created"] * 5 + ["failed"] * 3
    assert {result.error.server_code for result in results if result.error} == {500}
    assert len(streams_in(btrdb, collection)) == 5
    again = await done(db.create_many(specs))
    assert sorted(result.outcome for result in again) == ["created"] * 3 + ["existed"] * 5
    assert len(streams_in(btrdb, collection)) == 8
