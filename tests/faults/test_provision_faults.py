"""Applying a plan when replies are lost, calls fail and others change the same streams: the same end, nothing twice."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any
from uuid import uuid4

import grpc
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.client import BTrDB, ConnectionConfig
from airflow_provider_btrdb.client.errors import BTrDBError, PermissionDeniedError, ServerUnavailableError
from airflow_provider_btrdb.client.identity import derived_uuid
from airflow_provider_btrdb.protocol import Code
from airflow_provider_btrdb.provision import Plan, SpecError, apply_plan, make_plan, spec_from_rows
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Answer, CutAfter, Delay, Fault, LoseReply, Refuse

pytestmark = pytest.mark.anyio

DENIED = Refuse(grpc.StatusCode.PERMISSION_DENIED)
WRITES = ("Create", "SetStreamTags", "SetStreamAnnotations", "Obliterate")


async def ready(db: Any, done: Any, place: str) -> Plan:
    """A plan with one change of each kind, its calls not in the log."""
    for name, collection in (("update", place), ("move", f"{place}/old"), ("destroy", place)):
        await done(db.create(derived_uuid(collection, name), collection, {"name": name, "unit": "V"}, {"k": "x"}))
    rows: list[dict[str, Any]] = [
        {"collection": place, "name": name, "unit": "A", "annotations": {"k": "y", "new": None}}
        for name in ("create", "update")
    ]
    rows.append({**rows[1], "name": "moved", "moved_from": [f"{place}/old", "move"]})
    plan: Plan = await done(db.run(make_plan(spec_from_rows(rows, prefixes=[place]), prune=True)))
    assert [change.kind for change in plan.changes] == ["create", "destroy", "move", "update"]
    return plan


async def outcomes(db: Any, done: Any, plan: Plan, **options: Any) -> dict[str, str]:
    applied = await done(db.run(apply_plan(plan, prune=True, **options)))
    return {result.name: result.outcome for result in applied.results}


async def state(db: Any, done: Any, place: str) -> dict[str, Any]:
    streams = await done(db.streams_in_collection(place))
    return {one.name: (one.uuid, one.collection, one.unit, one.annotations, one.property_version) for one in streams}


ALL_DONE = {"create": "created", "destroy": "destroyed", "moved": "updated", "update": "updated"}


@pytest.mark.parametrize("method", [None, *WRITES])
async def test_a_change_whose_reply_is_lost_is_made_once(
    db: Any, done: Any, btrdb: RunningServer, collection: str, method: str | None
) -> None:
    plan = await ready(db, done, collection)
    faults = [btrdb.faults.add(Fault(method, LoseReply(), first=n)) for n in (1, 3)] if method else []
    try:
        assert await outcomes(db, done, plan) == ALL_DONE
    finally:
        for fault in faults:
            btrdb.faults.remove(fault)
    assert all(fault.fired for fault in faults[:1])
    expected = {"k": "y", "new": None}
    assert await state(db, done, collection) == {
        "create": (derived_uuid(collection, "create"), collection, "A", expected, 1),
        "update": (derived_uuid(collection, "update"), collection, "A", expected, 3),
        "moved": (derived_uuid(f"{collection}/old", "move"), collection, "A", expected, 3),
    }


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("lost", [True, False])
async def test_a_server_that_looks_at_tags_before_uuids_tells_of_the_stream_itself(
    db: Any, done: Any, btrdb: RunningServer, collection: str, named: bool, lost: bool
) -> None:
    row = {"collection": collection, "name": "s", "unit": "V"} | ({"uuid": uuid4()} if named else {})
    plan = await done(db.run(make_plan(spec_from_rows([row]))))
    if not lost:
        assert await outcomes(db, done, plan) == {"s": "created"}
    tags_first = Answer(Code.AMBIGUOUS_STREAM, "identical tags")
    with (
        btrdb.faults.inject("Create", LoseReply() if lost else tags_first),
        btrdb.faults.inject("Create", tags_first, first=2, last=9),
    ):
        assert await outcomes(db, done, plan) == {"s": "created" if lost else "unchanged"}
    (stream,) = await done(db.streams_in_collection(collection))
    assert stream.uuid == plan.changes[0].uuid


async def test_a_new_stream_waits_until_the_tags_are_free_that_it_gets(
    db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    theirs = await done(db.create(uuid4(), collection, {"name": "s", "unit": "V"}))
    rows = [
        {"collection": collection, "name": "s", "unit": "V"},
        {"collection": collection, "name": "s", "unit": "A", "uuid": theirs.uuid},
    ]
    plan = await done(db.run(make_plan(spec_from_rows(rows))))
    with btrdb.faults.inject("SetStreamTags", Delay(0.5)):
        applied = await done(db.run(apply_plan(plan)))
    assert sorted(one.outcome for one in applied.results) == ["created", "updated"]


async def test_half_of_an_update_is_finished_by_the_next_run(
    db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    plan = await ready(db, done, collection)
    with btrdb.faults.inject("SetStreamAnnotations", DENIED, last=99):
        applied = await done(db.run(apply_plan(plan, prune=True)))
    assert {one.name: one.outcome for one in applied.results} == ALL_DONE | {"moved": "failed", "update": "failed"}
    assert {one.detail.partition(": ")[0] for one in applied.bad} == {
        "its tags are changed, its annotations perhaps not"
    }
    halves = await state(db, done, collection)
    assert [(halves[name][2], halves[name][3], halves[name][4]) for name in ("moved", "update")] == [
        ("A", {"k": "x"}, 2)
    ] * 2
    second = await outcomes(db, done, plan)
    assert second == {"create": "unchanged", "destroy": "unchanged", "moved": "updated", "update": "updated"}
    assert {one[4] for name, one in (await state(db, done, collection)).items() if name != "create"} == {3}
    assert set((await outcomes(db, done, plan)).values()) == {"unchanged"}


async def test_half_of_an_update_that_somebody_went_on_from_is_stale(
    db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    plan = await ready(db, done, collection)
    with btrdb.faults.inject("SetStreamAnnotations", DENIED, last=99):
        await outcomes(db, done, plan)
    for stream in await done(db.streams_in_collection(collection)):
        if stream.name == "update":
            await done(stream.update(annotations={"theirs": "1"}))
    assert (await outcomes(db, done, plan)) == {
        "create": "unchanged", "destroy": "unchanged", "moved": "updated", "update": "stale",
    }  # fmt: skip
    assert (await state(db, done, collection))["update"][3] == {"k": "x", "theirs": "1"}


async def test_failures_say_whether_another_run_has_a_chance(
    connected: Any, db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    plan = await ready(db, done, collection)
    impatient = await connected(btrdb.endpoint, retry_total=0.0)
    with btrdb.faults.inject("Create", Answer(Code.RESOURCE_DEPLETED, "busy")):
        applied = await done(impatient.run(apply_plan(plan, prune=True)))
    error = applied.error()
    assert error is not None
    assert (error.retryable, "1 of 4 changes were not made" in str(error)) == (True, True)
    assert Counter(result.outcome for result in applied.results) == Counter(destroyed=1, updated=2, failed=1)
    with btrdb.faults.inject("Create", DENIED):
        applied = await done(impatient.run(apply_plan(plan, prune=True)))
    error = applied.error()
    assert error is not None
    assert not error.retryable
    assert [type(one.error) for one in applied.bad] == [PermissionDeniedError]


async def test_who_waits_for_a_change_that_failed_may_be_tried_again_when_it_may(
    connected: Any, db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    stream = await done(db.create(uuid4(), collection, {"name": "a"}))
    rows = [{"collection": collection, "name": "b", "uuid": stream.uuid}, {"collection": collection, "name": "a"}]
    plan = await done(db.run(make_plan(spec_from_rows(rows))))
    impatient = await connected(btrdb.endpoint, retry_total=0.0)
    for answer, retryable in ((Answer(Code.RESOURCE_DEPLETED, "busy"), True), (DENIED, False)):
        with btrdb.faults.inject("SetStreamTags", answer, last=99):
            applied = await done(impatient.run(apply_plan(plan, verify=False)))
        assert [one.outcome for one in applied.results] == ["failed", "failed"]
        assert applied.results[0].detail.startswith("not begun, for another stream did not leave its place: ")
        assert applied.error().retryable is retryable
    assert await done(db.count_streams(collection)) == 1
    assert await outcomes(db, done, plan) == {"a": "created", "b": "updated"}


async def test_what_reading_again_does_not_confirm_is_stale(
    db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    """Somebody changes a stream back before the verification."""
    plan = await ready(db, done, collection)

    def meddle(finished: int, total: int) -> None:
        if finished == total:
            with BTrDB(ConnectionConfig(endpoint=btrdb.endpoint)) as other:
                (stream,) = other.streams(f"{collection}/update")
                stream.update(tags={"unit": "theirs"})

    applied = await done(db.run(apply_plan(plan, prune=True, progress=meddle)))
    assert applied.verified
    assert [(one.name, one.outcome) for one in applied.bad] == [("update", "stale")]
    assert "reading it again shows another state" in str(applied.error())


async def test_results_are_kept_when_reading_again_fails(
    connected: Any, db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    plan = await ready(db, done, collection)
    impatient = await connected(btrdb.endpoint, retry_total=0.0)
    with btrdb.faults.inject(
        "LookupStreams", Refuse(), first=2, last=99
    ):  # the first one looks for what has come since
        applied = await done(impatient.run(apply_plan(plan, prune=True)))
    assert ({result.name: result.outcome for result in applied.results}, applied.verified) == (ALL_DONE, False)
    assert isinstance(applied.verify_error, ServerUnavailableError)
    error = applied.error()
    assert error is not None
    assert error.retryable


async def test_a_listing_that_is_cut_makes_no_plan_with_holes(
    db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    rows = [{"collection": collection, "name": f"s{n}"} for n in range(20)]  # five pages of the server
    spec = spec_from_rows(rows, prefixes=[collection])
    await done(db.run(apply_plan(await done(db.run(make_plan(spec))))))
    with btrdb.faults.inject("LookupStreams", CutAfter(2)) as cut:
        plan = await done(db.run(make_plan(spec, prune=True)))
    assert (cut.fired, plan.verdict, plan.unchanged) == (1, "empty", 20)


async def test_a_server_that_refuses_to_speak_of_any_uuid_hides_nothing(
    db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    spec = spec_from_rows([{"collection": collection, "name": f"s{n}"} for n in range(3)])
    with btrdb.faults.inject("StreamInfo", DENIED, last=99) as refused:
        plan = await done(db.run(make_plan(spec)))
    assert (refused.fired, plan.counts["create"], plan.problems) == (4, 3, ())


async def test_calls_in_flight_stay_under_the_cap(
    connected: Any, done: Any, btrdb: RunningServer, ends: Any, collection: str
) -> None:
    db = await connected(btrdb.endpoint, max_in_flight=5)
    rows = [{"collection": f"{collection}/{n % 40}", "name": f"s{n}", "annotations": {"n": str(n)}} for n in range(200)]
    ends.begin()
    plan = await done(db.run(make_plan(spec_from_rows(rows))))
    planning = btrdb.calls.counts()
    await done(db.run(apply_plan(plan)))
    assert 2 <= ends.most <= 5
    assert planning == Counter(LookupStreams=40, StreamInfo=1 + 200)
    assert btrdb.calls.counts() - planning == Counter(LookupStreams=80, Create=200)
    assert btrdb.calls.without_deadline() == []


# ---------------------------------------------------------------- a law

FAULTS = st.lists(
    st.tuples(
        st.sampled_from([*WRITES, "StreamInfo", "LookupStreams"]),
        st.sampled_from([LoseReply(), Refuse(), DENIED, Answer(Code.RESOURCE_DEPLETED), Answer(Code.WRONG_ENDPOINT)]),
        st.integers(1, 6),
        st.integers(0, 3),
    ),
    max_size=4,
)


@given(FAULTS, st.booleans())
@settings(max_examples=40, deadline=None)
def test_with_faults_and_again_is_the_same_as_once(faulty: RunningServer, faults: Any, patient: bool) -> None:
    """Whatever fails in the first run: the second ends where one without faults ends, and nothing was made twice."""
    with BTrDB(ConnectionConfig(endpoint=faulty.endpoint, retry_total=20.0 if patient else 0.0)) as db:
        place = f"faults/{uuid4()}"
        for n in range(6):
            db.create(derived_uuid(place, f"s{n}"), place, {"name": f"s{n}", "unit": "V"}, {"k": "x"})
        rows = [
            {"collection": place, "name": f"s{n}", "unit": "A", "annotations": {"k": "y"}} for n in (1, 2, 3, 7, 8, 9)
        ]
        spec = spec_from_rows(rows, prefixes=[place])
        plan = db.run(make_plan(spec, prune=True))
        added = [faulty.faults.add(Fault(method, action, first=n, last=n + more)) for method, action, n, more in faults]
        try:
            db.run(apply_plan(plan, prune=True))
        except BTrDBError:
            pass  # the listing before the first change failed
        finally:
            for fault in added:
                faulty.faults.remove(fault)
        again = db.run(apply_plan(plan, prune=True))
        assert again.error() is None
        assert {
            one.name: (one.uuid, one.unit, one.annotations, one.property_version) for one in db.lookup_iter(place)
        } == {f"s{n}": (derived_uuid(place, f"s{n}"), "A", {"k": "y"}, 3 if n < 6 else 1) for n in (1, 2, 3, 7, 8, 9)}


PLACES = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]))
NAMED = st.one_of(st.none(), st.integers(0, 3))


@given(
    st.lists(st.tuples(PLACES, NAMED, st.sampled_from(["", "V"])), max_size=5),
    st.lists(st.tuples(PLACES, NAMED, st.sampled_from([None, "A", "B"]), st.one_of(st.none(), PLACES)), max_size=5),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_a_plan_without_problems_comes_true_and_stays_true(
    faulty: RunningServer, there: Any, rows: Any, prune: bool
) -> None:
    """With namesakes, moves and uuids that are named; units that come are none of those that go."""
    with BTrDB(ConnectionConfig(endpoint=faulty.endpoint)) as db:
        base, uuids = f"faults/{uuid4()}", [uuid4() for _ in range(4)]
        for (collection, name), named, unit in there:
            with contextlib.suppress(BTrDBError):  # it would meet another one
                uuid = uuid4() if named is None else uuids[named]
                db.create(uuid, f"{base}/{collection}", {"name": name, "unit": unit})
        written: list[dict[str, Any]] = []
        for (collection, name), named, unit, origin in rows:
            row = {"collection": f"{base}/{collection}", "name": name, "unit": unit, "annotations": {"k": name}}
            if named is not None:
                row["uuid"] = uuids[named]
            elif origin is not None:
                row["moved_from"] = (f"{base}/{origin[0]}", origin[1])
            with contextlib.suppress(SpecError):
                spec_from_rows([*written, row])
                written.append(row)
        spec = spec_from_rows(written, prefixes=[base])
        plan = db.run(make_plan(spec, prune=prune))
        assume(not plan.problems)
        assert db.run(apply_plan(plan, prune=prune)).error() is None
        assert {one.outcome for one in db.run(apply_plan(plan, prune=prune)).results} <= {"unchanged"}
        assert db.run(make_plan(spec, prune=prune)).verdict == "empty"
