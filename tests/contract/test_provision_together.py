"""Plans on a server of several: appliers that share the work, shards, keys that hide streams; and a law."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import NAMESPACE_DNS, uuid4, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.client import BTrDB, ConnectionConfig, connect
from airflow_provider_btrdb.client.errors import (
    AmbiguousStreamError,
    InputError,
    PermissionDeniedError,
)
from airflow_provider_btrdb.client.identity import derived_uuid
from airflow_provider_btrdb.provision import (
    Plan,
    apply_plan,
    load_plan,
    make_plan,
    plan_bytes,
    planning,
    spec_from_rows,
)
from airflow_provider_btrdb.provision.plans import PROBLEMS
from airflow_provider_btrdb.testing import RunningServer, devserver

KEYS = {
    "keys": {
        "all": {"key": "all-key", "read": [""], "insert": [""], "obliterate": [""]},
        "two": {"key": "two-key", "read": ["a/", "b/"], "insert": ["a/", "b/"]},
        "blind": {"key": "blind-key", "read": ["a/"], "insert": [""]},
    }
}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with devserver(keys=KEYS) as running:
        yield running


@pytest.fixture(scope="module")
def owner(server: RunningServer) -> Iterator[BTrDB]:
    with connect(server.endpoint, "all-key") as db:
        yield db


# ---------------------------------------------------------------- several at once


def test_two_appliers_of_overlapping_plans(server: RunningServer, owner: BTrDB) -> None:
    """No duplicate, no lost update, and each change is owned by exactly one of them."""
    place = f"race/{uuid4()}"
    for n in range(40, 60):
        owner.create(derived_uuid(f"{place}/x", f"s{n}"), f"{place}/x", {"name": f"s{n}"})
    for n in range(10):
        owner.create(derived_uuid(f"{place}/old", f"s{n}"), f"{place}/old", {"name": f"s{n}"})

    def rows(numbers: range) -> list[dict[str, Any]]:
        return [
            {"collection": f"{place}/x", "name": f"s{n}", "unit": "V", "annotations": {"n": str(n)}}
            | ({"moved_from": f"{place}/old/s{n}"} if n < 10 else {})
            for n in numbers
        ]

    specs = [spec_from_rows(rows(numbers), prefixes=[place]) for numbers in (range(60), range(0, 80))]
    plans = [owner.run(make_plan(spec)) for spec in specs]
    barrier = threading.Barrier(2)

    def work(plan: Plan) -> Any:
        with BTrDB(ConnectionConfig(endpoint=server.endpoint, api_key="all-key", max_in_flight=8)) as db:
            db.check()
            barrier.wait()
            return db.run(apply_plan(load_plan(plan_bytes(plan))))

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(work, plans)
    assert (one.error(), two.error()) == (None, None)
    owners = Counter(
        result.name for applied in (one, two) for result in applied.results if result.outcome in ("created", "updated")
    )
    assert owners == Counter({f"s{n}": 1 for n in range(80)})
    stored = owner.streams_in_collection(place)
    assert len(stored) == 80
    assert {(stream.name, stream.property_version) for stream in stored} == {
        (f"s{n}", 3 if n < 10 or 40 <= n < 60 else 1) for n in range(80)
    }
    assert all(stream.annotations == {"n": stream.name[1:]} for stream in stored)


def test_shards_share_a_catalogue(server: RunningServer, owner: BTrDB) -> None:
    """Each worker sees its part, and all of them together every stream once."""
    place = f"shards/{uuid4()}"
    rows = [{"collection": f"{place}/c{n % 100}", "name": f"s{n}"} for n in range(300)]
    spec = spec_from_rows(rows, prefixes=[place])
    with BTrDB(ConnectionConfig(endpoint=server.endpoint, api_key="all-key", max_in_flight=4)) as db:

        def work(number: int) -> Any:
            return db.run(apply_plan(db.run(make_plan(spec, shard=(number, 64)))))

        with ThreadPoolExecutor(4) as pool:
            applied = list(pool.map(work, range(64)))
    made = [result.uuid for one in applied for result in one.results]
    assert Counter(result.outcome for one in applied for result in one.results) == Counter(created=300)
    assert len(set(made)) == 300
    assert {stream.uuid for stream in owner.streams_in_collection(place)} == set(made)
    whole = owner.run(make_plan(spec, prune=True))
    assert (whole.verdict, whole.unchanged) == ("empty", 300)


# ---------------------------------------------------------------- what a key may not see


def test_a_key_with_two_of_five_prefixes(server: RunningServer, owner: BTrDB) -> None:
    """Nothing false is planned, created or reported missing."""
    place = str(uuid4())
    rows = [{"collection": f"{prefix}/{place}", "name": f"s{n}", "unit": "V"} for prefix in "abcde" for n in range(4)]
    owner.run(apply_plan(owner.run(make_plan(spec_from_rows(rows[:-4])))))  # nothing stands below e/ yet
    spec = spec_from_rows([{**row, "unit": "A"} for row in rows])
    with connect(server.endpoint, "two-key") as db:
        plan = db.run(make_plan(spec))
        kinds = Counter((change.collection[0], change.kind) for change in plan.changes)
        assert kinds == Counter({
            ("a", "update"): 4, ("b", "update"): 4, ("c", "hidden"): 4, ("d", "hidden"): 4, ("e", "create"): 4,
        })  # fmt: skip
        applied = db.run(apply_plan(plan))
    assert Counter((one.collection[0], one.outcome) for one in applied.results) == Counter({
        ("a", "updated"): 4, ("b", "updated"): 4, ("c", "failed"): 4, ("d", "failed"): 4, ("e", "failed"): 4,
    })  # fmt: skip
    assert {type(one.error) for one in applied.bad} == {PermissionDeniedError}
    assert len(plan.problems) == 8
    assert owner.count_streams(*(f"{prefix}/{place}" for prefix in "abcde")) == 16


def test_a_stream_that_the_plan_could_not_know_of_is_not_made_twice(server: RunningServer, owner: BTrDB) -> None:
    """A key that may insert and not read: the plan asks for uuids, and a stream of that name may have another."""
    place = f"c/{uuid4()}"
    adopted = owner.create(uuid4(), place, {"name": "s2"})
    spec = spec_from_rows([{"collection": place, "name": f"s{n}"} for n in range(4)])
    with connect(server.endpoint, "blind-key") as db:
        plan = db.run(make_plan(spec))
        assert {change.kind for change in plan.changes} == {"create"}
        late = owner.create(derived_uuid(place, "s1"), place, {"name": "s1"})
        applied = db.run(apply_plan(plan))
        assert {one.name: one.outcome for one in applied.results} == dict.fromkeys(("s0", "s1", "s2", "s3"), "failed")
        unreadable = "it was applied, and this key may not read it: give the key `read` on the collection"
        assert [one.detail for one in applied.bad] == [
            unreadable,
            f"{place}/s1 exists, and this key may not see it: its uuid is {late.uuid}",
            f"{place}/s2 cannot be created: another stream has its collection and tags (one that this key may not see)",
            unreadable,
        ]
        assert {type(one.error) for one in applied.bad} >= {PermissionDeniedError}
        again = db.run(make_plan(spec))
        assert {change.kind for change in again.changes} == {"hidden"}
    assert owner.count_streams(place) == 4
    assert adopted.exists()


def test_of_very_many_new_streams_a_sample_is_asked_for_and_all_when_it_finds_one(
    server: RunningServer, owner: BTrDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MOST_ASKED", 8)
    place = str(uuid4())
    hidden = [{"collection": f"c/{place}/{n:02}", "name": "s"} for n in range(12)]
    fresh = [{"collection": f"e/{place}/{n}", "name": f"s{m}"} for n in range(4) for m in range(3)]
    named = [{"collection": f"a/{place}", "name": f"s{n}", "uuid": uuid4()} for n in range(3)]
    owner.run(apply_plan(owner.run(make_plan(spec_from_rows(hidden)))))
    with connect(server.endpoint, "two-key") as db:
        for rows, asked, counts in (
            (fresh, 1 + 2 * 4, {"create": 12}),
            ([*fresh, *named], 1 + 3 + 2 * 4, {"create": 15}),
            ([*hidden, *fresh], 1 + 12 + 12, {"create": 12, "hidden": 12}),
        ):
            server.calls.clear()
            plan = db.run(make_plan(spec_from_rows(rows)))
            assert plan.counts | counts == plan.counts
            assert server.calls.count("StreamInfo") == asked


def test_a_hidden_stream_of_a_collection_that_is_seen_hides_nothing_else(server: RunningServer, owner: BTrDB) -> None:
    place = f"{uuid4()}"
    owner.create(derived_uuid(f"a/{place}", "s1"), f"c/{place}", {"name": "moved off"})
    owner.create(uuid4(), f"a/{place}", {"name": "s0"})
    with connect(server.endpoint, "two-key") as db:
        plan = db.run(make_plan(spec_from_rows([{"collection": f"a/{place}", "name": f"s{n}"} for n in range(3)])))
    assert [(change.name, change.kind) for change in plan.changes] == [("s1", "hidden"), ("s2", "create")]
    assert str(derived_uuid(f"a/{place}", "s1")) in plan.changes[0].detail


# ---------------------------------------------------------------- a law

NAMES = st.sampled_from(["n", "m", "o"])
PLACES = st.sampled_from(["x", "y"])
VALUES = st.sampled_from(["", "1", "2"])
NOTES = st.dictionaries(st.sampled_from(["k", "l"]), st.one_of(st.none(), VALUES), max_size=2)
THERE = st.tuples(PLACES, NAMES, VALUES, NOTES, st.booleans())
ROW = st.fixed_dictionaries(
    {"collection": PLACES, "name": NAMES},
    optional={
        "unit": VALUES,
        "annotations": NOTES,
        "owns": st.just("*"),
        "moved_from": st.tuples(PLACES, NAMES),
        "uuid": st.integers(0, 7),
    },
)


def catalogue(db: BTrDB, place: str, streams: list[Any]) -> None:
    for number, (part, name, unit, notes, derived) in enumerate({one[:3]: one for one in streams}.values()):
        collection = f"{place}/{part}"
        taken = db.streams_in_collection(collection, is_collection_prefix=False, tags={"name": name})
        uuid = derived_uuid(collection, name) if derived and not taken else uuid5(NAMESPACE_DNS, f"{place} {number}")
        db.create(uuid, collection, {"name": name, "unit": unit}, notes)


def a_spec(place: str, rows: list[dict[str, Any]]) -> Any:
    kept: list[dict[str, Any]] = []
    for row in rows:
        wanted = {**row, "collection": f"{place}/{row['collection']}"}
        if "moved_from" in row:
            wanted["moved_from"] = [f"{place}/{row['moved_from'][0]}", row["moved_from"][1]]
        if "uuid" in row:
            wanted["uuid"] = uuid5(NAMESPACE_DNS, f"{place} {row['uuid']}")
        try:
            spec_from_rows([*kept, wanted])
        except InputError:
            continue
        kept.append(wanted)
    return spec_from_rows(kept, prefixes=[place])


@given(st.lists(THERE, max_size=5), st.lists(ROW, max_size=5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_after_a_plan_was_applied_there_is_nothing_to_do(owner: BTrDB, there: Any, rows: Any, prune: bool) -> None:
    place = f"law/{uuid4()}"
    catalogue(owner, place, there)
    spec = a_spec(place, rows)
    plan = owner.run(make_plan(spec, prune=prune))
    applied = owner.run(apply_plan(plan, prune=prune))
    left = owner.run(make_plan(spec, prune=prune))
    # Streams that are named by uuid may be in each other's way, which nobody knows before the server says so.
    blocked = [one for one in applied.bad if one.kind not in PROBLEMS]
    assert all(isinstance(one.error, AmbiguousStreamError) for one in blocked)
    assert not blocked or any(row.uuid is not None for row in spec.streams)
    assert {one.uuid for one in left.changes} <= {one.uuid for one in applied.bad}
    if not blocked:
        assert left.changes == plan.problems
        assert left.unchanged == len(spec.streams) - len(plan.problems)


def test_a_specification_without_streams(owner: BTrDB) -> None:
    plan = owner.run(make_plan(spec_from_rows([])))
    assert (plan.verdict, owner.run(apply_plan(plan)).results) == ("empty", ())
