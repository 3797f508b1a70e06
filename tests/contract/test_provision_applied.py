"""Plans on a server: applied once nothing is left, several appliers share the work, and keys hide streams."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.client.errors import (
    AmbiguousStreamError,
    InputError,
    StreamExistsError,
)
from airflow_provider_btrdb.client.identity import derived_uuid
from airflow_provider_btrdb.provision import (
    apply_plan,
    import_spec,
    load_plan,
    make_plan,
    parse_spec,
    plan_bytes,
    print_spec,
    spec_from_rows,
)

pytestmark = pytest.mark.anyio


def spec_of(collection: str, *rows: dict[str, Any], **options: Any) -> Any:
    return spec_from_rows([{"collection": f"{collection}/x", **row} for row in rows], prefixes=[collection], **options)


def outcomes(applied: Any) -> Counter[str]:
    return Counter(result.outcome for result in applied.results)


# ---------------------------------------------------------------- in both modes


async def test_plan_and_apply_until_nothing_is_left(db: Any, done: Any, collection: str) -> None:
    wanted = [{"name": f"s{n}", "unit": "V", "annotations": {"n": str(n), "null": None}} for n in range(40)]
    spec = spec_of(collection, *wanted)
    plan = await done(db.run(make_plan(spec)))
    assert plan.counts | {"create": 40, "unmanaged": 0} == plan.counts
    told: list[tuple[int, int]] = []
    applied = await done(db.run(apply_plan(plan, progress=lambda finished, total: told.append((finished, total)))))
    assert (outcomes(applied), applied.verified, applied.error()) == (Counter(created=40), True, None)
    assert told == [(step, 40) for step in range(1, 41)]
    assert (await done(db.run(make_plan(spec)))).verdict == "empty"
    again = await done(db.run(apply_plan(plan)))
    assert outcomes(again) == Counter(unchanged=40)
    stored = await done(db.streams_in_collection(collection))
    assert {stream.property_version for stream in stored} == {1}
    assert {stream.uuid for stream in stored} == {derived_uuid(f"{collection}/x", f"s{n}") for n in range(40)}


async def test_drift_is_seen_and_mended_in_two_calls(db: Any, done: Any, collection: str) -> None:
    spec = spec_of(collection, {"name": "s", "unit": "V", "annotations": {"k": "x"}, "owns": ["stray"]})
    await done(db.run(apply_plan(await done(db.run(make_plan(spec))))))
    stream = (await done(db.streams_in_collection(collection)))[0]
    theirs = {"k": "y", "stray": "1", "kept": "2"}
    await done(stream.update(tags={"unit": "A"}, annotations=theirs, collection=f"{collection}/x"))
    plan = await done(db.run(make_plan(spec)))
    assert [(one.kind, one.property_version) for one in plan.changes] == [("update", 3)]
    assert outcomes(await done(db.run(apply_plan(plan)))) == Counter(updated=1)
    await done(stream.refresh())
    assert (stream.unit, stream.annotations) == ("V", {"k": "x", "kept": "2"})
    assert stream.property_version == 5


async def test_a_stale_plan_is_refused_stream_by_stream(db: Any, done: Any, collection: str) -> None:
    first = spec_of(collection, *({"name": f"s{n}", "unit": "V"} for n in range(3)))
    await done(db.run(apply_plan(await done(db.run(make_plan(first))))))
    second = spec_of(collection, *({"name": f"s{n}", "unit": "A"} for n in range(3)), {"name": "new", "unit": "A"})
    plan = await done(db.run(make_plan(second)))
    streams = {stream.name: stream for stream in await done(db.streams_in_collection(collection))}
    await done(streams["s0"].update(annotations={"theirs": "1"}))
    await done(streams["s1"].update(tags={"unit": "A"}))
    await done(db.create(uuid4(), f"{collection}/x", {"name": "new", "unit": "other"}))
    applied = await done(db.run(apply_plan(plan)))
    assert {result.name: result.outcome for result in applied.results} == {
        "s0": "stale", "s1": "unchanged", "s2": "updated", "new": "stale",
    }  # fmt: skip
    assert "make a new plan" in str(applied.error())
    assert not applied.error().retryable
    assert await done(db.count_streams(collection)) == 4


async def test_streams_move_and_keep_their_points(db: Any, done: Any, collection: str) -> None:
    stream = await done(db.create(uuid4(), f"{collection}/old", {"name": "a", "unit": "V"}, {"k": "x"}))
    await done(stream.insert([(1, 1.0)]))
    spec = spec_of(collection, {"name": "b", "moved_from": f"{collection}/old/a", "annotations": {"k": "y"}})
    plan = await done(db.run(make_plan(spec)))
    assert [change.kind for change in plan.changes] == ["move"]
    assert outcomes(await done(db.run(apply_plan(plan)))) == Counter(updated=1)
    (moved,) = await done(db.streams(f"{collection}/x/b"))
    assert (moved.uuid, moved.unit, moved.annotations) == (stream.uuid, "V", {"k": "y"})
    assert await done(moved.count()) == 1
    assert (await done(db.run(make_plan(spec)))).verdict == "empty"


async def test_destroying_needs_leave(db: Any, done: Any, collection: str) -> None:
    for name in ("a", "b", "c"):
        await done(db.create(uuid4(), collection, {"name": name}))
    spec = spec_from_rows([{"collection": collection, "name": "a"}], prefixes=[collection])
    plan = await done(db.run(make_plan(spec, prune=True)))
    assert plan.verdict == "destructive"
    for options, said in (({}, "needs prune"), ({"prune": True, "max_destroy": 1}, "max_destroy allows 1")):
        with pytest.raises(InputError, match=said):
            apply_plan(plan, **options)
    streams = {stream.name: stream for stream in await done(db.streams_in_collection(collection))}
    await done(streams["b"].update(annotations={"needed": "after all"}))
    applied = await done(db.run(apply_plan(plan, prune=True)))
    assert {result.name: result.outcome for result in applied.results} == {"b": "stale", "c": "destroyed"}
    assert await done(db.count_streams(collection)) == 2
    again = await done(db.run(apply_plan(plan, prune=True)))
    assert {result.name: result.outcome for result in again.results} == {"b": "stale", "c": "unchanged"}


async def test_an_obliterated_uuid_asks_for_a_generation(db: Any, done: Any, collection: str) -> None:
    spec = spec_of(collection, {"name": "s"})
    await done(db.run(apply_plan(await done(db.run(make_plan(spec))))))
    (stream,) = await done(db.streams_in_collection(collection))
    await done(stream.obliterate())
    applied = await done(db.run(apply_plan(await done(db.run(make_plan(spec))))))
    assert "raise the generation" in applied.results[0].detail
    newer = spec_of(collection, {"name": "s", "generation": 1})
    applied = await done(db.run(apply_plan(await done(db.run(make_plan(newer))))))
    assert outcomes(applied) == Counter(created=1)
    (stream,) = await done(db.streams_in_collection(collection))
    assert stream.uuid == derived_uuid(f"{collection}/x", "s", generation=1)


async def test_problems_fail_and_the_rest_is_done(db: Any, done: Any, collection: str) -> None:
    for unit in ("V", "A"):
        await done(db.create(uuid4(), f"{collection}/x", {"name": "twice", "unit": unit}))
    spec = spec_of(collection, {"name": "twice"}, {"name": "fine"}, {"name": "held", "uuid": str(uuid4())})
    plan = await done(db.run(make_plan(spec)))
    (held,) = [change.uuid for change in plan.changes if change.name == "held"]
    elsewhere = await done(db.create(held, f"elsewhere/{uuid4()}", {"name": "z"}))
    applied = await done(db.run(apply_plan(plan)))
    assert {result.name: (result.outcome, type(result.error)) for result in applied.results} == {
        "fine": ("created", type(None)),
        "held": ("failed", StreamExistsError),
        "twice": ("failed", AmbiguousStreamError),
    }
    assert f"{elsewhere.collection}/z has it" in str(applied.error())
    await done(elsewhere.obliterate())


async def test_what_is_imported_changes_nothing(db: Any, done: Any, collection: str) -> None:
    await done(db.create(uuid4(), collection, {"name": "a", "unit": "{{ V }}"}, {"k": None, "l": "1"}))
    await done(db.create(uuid4(), collection, {"name": "a", "unit": "A"}))
    await done(db.create(derived_uuid(collection, "b"), collection, {"name": "b"}))
    spec = parse_spec(print_spec(await done(db.run(import_spec([collection])))), "yaml")
    assert [stream.uuid is None for stream in spec.streams] == [False, False, True]
    plan = await done(db.run(make_plan(spec, prune=True)))
    assert (plan.verdict, plan.unchanged) == ("empty", 3)


async def test_a_stream_that_another_row_means_stands_in_nobodys_way(db: Any, done: Any, collection: str) -> None:
    theirs = await done(db.create(uuid4(), f"{collection}/x", {"name": "s", "unit": "V"}))
    spec = spec_of(collection, {"name": "s", "uuid": str(theirs.uuid)}, {"name": "s", "unit": "A"})
    plan = await done(db.run(make_plan(spec)))
    assert [(change.kind, change.rivals) for change in plan.changes] == [("create", (theirs.uuid,))]
    assert outcomes(await done(db.run(apply_plan(plan)))) == Counter(created=1)
    assert outcomes(await done(db.run(apply_plan(plan)))) == Counter(unchanged=1)
    assert (await done(db.run(make_plan(spec)))).verdict == "empty"


async def test_a_named_uuid_is_created_beside_a_stream_of_its_name_that_has_come_since(
    db: Any, done: Any, collection: str
) -> None:
    """As after an apply that was cut between the two."""
    place, named = f"{collection}/x", uuid4()
    spec = spec_of(collection, {"name": "s", "unit": "V"}, {"name": "s", "uuid": str(named)})
    plan = await done(db.run(make_plan(spec)))
    assert plan.counts | {"create": 2} == plan.counts
    await done(db.create(derived_uuid(place, "s"), place, {"name": "s", "unit": "V"}))
    applied = await done(db.run(apply_plan(plan)))
    assert {one.uuid: one.outcome for one in applied.results} == {
        named: "created", derived_uuid(place, "s"): "unchanged",
    }  # fmt: skip
    assert outcomes(await done(db.run(apply_plan(plan)))) == Counter(unchanged=2)
    assert (await done(db.run(make_plan(spec)))).verdict == "empty"


async def test_a_problem_and_a_change_of_one_uuid_have_results_of_their_own(
    db: Any, done: Any, collection: str
) -> None:
    """The stream at `b` has the uuid that `a` would get."""
    place = f"{collection}/x"
    await done(db.create(derived_uuid(place, "a"), place, {"name": "b"}))
    plan = await done(db.run(make_plan(spec_of(collection, {"name": "a"}, {"name": "b", "unit": "V"}))))
    applied = await done(db.run(apply_plan(plan)))
    assert {one.name: (one.kind, one.outcome) for one in applied.results} == {
        "a": ("taken", "failed"), "b": ("update", "updated"),
    }  # fmt: skip


# ---------------------------------------------------------------- streams in each other's way


async def test_a_stream_comes_from_anywhere_by_its_uuid_in_every_shard(db: Any, done: Any, collection: str) -> None:
    far = await done(db.create(uuid4(), f"far/{uuid4()}", {"name": "z"}))
    await done(db.create(derived_uuid(f"{collection}/x", "n"), f"{collection}/other", {"name": "q"}))
    spec = spec_of(collection, {"name": "held", "uuid": str(far.uuid)}, {"name": "n"})
    whole = await done(db.run(make_plan(spec)))
    assert [(change.kind, change.name) for change in whole.changes] == [("move", "held"), ("taken", "n")]
    parts = [await done(db.run(make_plan(spec, shard=(k, 4)))) for k in range(4)]
    assert [change for part in parts for change in part.changes] == list(whole.changes)
    applied = await done(db.run(apply_plan(whole)))
    assert {one.name: one.outcome for one in applied.results} == {"held": "updated", "n": "failed"}
    assert (await done(db.run(make_plan(spec)))).counts["taken"] == 1
    await done(far.obliterate())


async def test_a_stream_from_elsewhere_keeps_its_tags_beside_a_namesake(db: Any, done: Any, collection: str) -> None:
    """Created there it would meet the other one."""
    far = await done(db.create(uuid4(), f"far/{uuid4()}", {"name": "z", "unit": "V"}))
    await done(db.create(uuid4(), f"{collection}/x", {"name": "s"}))
    spec = spec_of(collection, {"name": "s", "uuid": str(far.uuid)})
    plan = await done(db.run(make_plan(spec)))
    assert [(change.kind, change.uuid) for change in plan.changes] == [("move", far.uuid)]
    assert outcomes(await done(db.run(apply_plan(plan)))) == Counter(updated=1)
    other = spec_of(collection, {"name": "s", "uuid": str(uuid4())})
    plan = await done(db.run(make_plan(other)))
    assert [(change.kind, "with the same tags" in change.detail) for change in plan.changes] == [("taken", True)]


async def test_a_chain_of_renames_and_a_new_stream_at_its_end(db: Any, done: Any, collection: str) -> None:
    made = [await done(db.create(uuid4(), f"{collection}/x", {"name": f"n{k}"})) for k in range(12)]
    rows = [{"name": f"n{k + 1}", "uuid": str(one.uuid)} for k, one in enumerate(made)]
    spec = spec_of(collection, *rows, {"name": "n0"})
    plan = await done(db.run(make_plan(spec)))
    assert plan.counts | {"move": 12, "create": 1} == plan.counts
    applied = await done(db.run(apply_plan(plan)))
    assert (applied.error(), outcomes(applied)) == (None, Counter(updated=12, created=1))
    assert (await done(db.run(make_plan(spec)))).verdict == "empty"
    assert outcomes(await done(db.run(apply_plan(plan)))) == Counter(unchanged=13)


async def test_a_place_is_left_before_it_is_taken(db: Any, done: Any, collection: str) -> None:
    theirs = await done(db.create(uuid4(), f"{collection}/x", {"name": "s"}))
    new = uuid4()
    spec = spec_of(collection, {"name": "s", "uuid": str(new)})
    plan = await done(db.run(make_plan(spec, prune=True)))
    assert [(change.kind, change.uuid) for change in plan.changes] == sorted(
        [("destroy", theirs.uuid), ("create", new)], key=lambda pair: pair[1].int
    )
    applied = await done(db.run(apply_plan(plan, prune=True)))
    assert (applied.error(), outcomes(applied)) == (None, Counter(destroyed=1, created=1))
    assert (await done(db.run(make_plan(spec, prune=True)))).verdict == "empty"


async def test_who_waits_for_a_change_that_is_overtaken_is_stale_too(db: Any, done: Any, collection: str) -> None:
    theirs = await done(db.create(uuid4(), f"{collection}/x", {"name": "s"}))
    spec = spec_of(collection, {"name": "t", "uuid": str(theirs.uuid)}, {"name": "s"})
    plan = await done(db.run(make_plan(spec)))
    await done(theirs.update(annotations={"theirs": "1"}))
    applied = await done(db.run(apply_plan(plan, verify=False)))
    assert {one.name: one.outcome for one in applied.results} == {"s": "stale", "t": "stale"}
    assert "did not leave its place" in applied.results[0].detail
    assert await done(db.count_streams(collection)) == 1


async def test_what_others_may_change_does_not_make_a_create_stale(db: Any, done: Any, collection: str) -> None:
    spec = spec_of(collection, {"name": "s", "unit": "V", "ingress": "", "ignore_changes": ["unit"]})
    plan = load_plan(plan_bytes(await done(db.run(make_plan(spec)))))
    assert outcomes(await done(db.run(apply_plan(plan)))) == Counter(created=1)
    (stream,) = await done(db.streams_in_collection(collection))
    await done(stream.update(tags={"unit": "kV"}))
    assert outcomes(await done(db.run(apply_plan(plan)))) == Counter(unchanged=1)
    await done(stream.update(tags={"ingress": "theirs"}))
    assert outcomes(await done(db.run(apply_plan(plan)))) == Counter(stale=1)
