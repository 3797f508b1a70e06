"""Plans: what the comparison finds, row by row, and in which order it is done."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import pytest

from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.identity import derived_uuid
from airflow_provider_btrdb.provision import (
    Plan,
    shard_of,
)
from airflow_provider_btrdb.provision.ordering import ordered

UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")


# ---------------------------------------------------------------- what differs


@pytest.mark.parametrize(
    ("wanted", "there", "differences"),
    [
        ({}, {"unit": "V", "annotations": {"k": "x"}}, []),
        ({"unit": "V"}, {"unit": "V"}, []),
        ({"unit": "A"}, {"unit": "V"}, [("unit", "set", "V", "A")]),
        ({"unit": ""}, {"unit": "V"}, [("unit", "set", "V", "")]),
        ({"unit": "A", "ignore_changes": ["unit"]}, {"unit": "V"}, []),
        ({"ingress": "i", "distiller": "d"}, {}, [("ingress", "set", "", "i"), ("distiller", "set", "", "d")]),
        ({"annotations": {"k": "x"}}, {"annotations": {"k": "x", "other": "y"}}, []),
        ({"annotations": {"k": "x"}}, {}, [("annotations.k", "add", None, "x")]),
        ({"annotations": {"k": None}}, {}, [("annotations.k", "add", None, None)]),
        ({"annotations": {"k": ""}}, {"annotations": {"k": None}}, [("annotations.k", "set", None, "")]),
        ({"annotations": {"k": "x"}}, {"annotations": {"k": "y"}}, [("annotations.k", "set", "y", "x")]),
        ({"annotations": {"k": "x"}, "ignore_changes": ["annotations.k"]}, {"annotations": {"k": "y"}}, []),
        ({"owns": ["k"]}, {"annotations": {"k": "y", "l": "z"}}, [("annotations.k", "remove", "y", None)]),
        (
            {"owns": "*", "ignore_changes": ["annotations.l"]},
            {"annotations": {"k": None, "l": "z"}},
            [("annotations.k", "remove", None, None)],
        ),
    ],
)
def test_differences(
    wanted: dict[str, Any], there: dict[str, Any], differences: list[Any], stored: Any, planned: Any, row: Any
) -> None:
    plan = planned([row(**wanted)], stored(**there))
    assert [tuple(one) for change in plan.changes for one in change.differences] == differences
    assert plan.unchanged == (0 if differences else 1)
    assert [(change.kind, change.property_version) for change in plan.changes] == [("update", 3)] * bool(differences)


def test_a_new_stream_has_everything_that_the_row_says(planned: Any, row: Any, only: Any) -> None:
    wanted = row(unit="V", annotations={"k": None, "b": "x"}, ignore_changes=["unit"], generation=1)
    change = only(planned([wanted]))
    assert (change.kind, change.uuid, change.property_version) == ("create", derived_uuid("c", "n", generation=1), 0)
    assert [tuple(one) for one in change.differences] == [
        ("unit", "add", None, "V"),
        ("annotations.b", "add", None, "x"),
        ("annotations.k", "add", None, None),
    ]


def test_a_stream_is_adopted_by_its_name_whatever_its_uuid(stored: Any, planned: Any, row: Any, only: Any) -> None:
    assert planned([row()], stored(uuid=uuid4())).verdict == "empty"
    change = only(planned([row(unit="V")], stored(uuid=UUID_)))
    assert (change.kind, change.uuid) == ("update", UUID_)


def test_two_streams_of_one_name_are_never_picked_from(stored: Any, planned: Any, row: Any, only: Any) -> None:
    other = uuid4()
    change = only(planned([row()], stored(uuid=UUID_), stored(uuid=other, unit="V")))
    assert (change.kind, set(change.rivals)) == ("ambiguous", {UUID_, other})
    plan = planned([row(uuid=UUID_, unit="A"), row()], stored(uuid=UUID_), stored(uuid=other, unit="V"))
    assert [(one.kind, one.uuid) for one in plan.changes] == [("update", UUID_)]
    assert plan.unchanged == 1


def test_a_named_uuid_is_created_as_asked_and_moved_to_its_name(stored: Any, planned: Any, row: Any, only: Any) -> None:
    change = next(one for one in planned([row(uuid=UUID_), row(unit="V")]).changes if not one.explicit)
    assert (change.kind, change.uuid, change.rivals) == ("create", derived_uuid("c", "n"), (UUID_,))
    change = only(planned([row(uuid=UUID_)], stored(unit="V"), prefixes=("c",)))
    assert (change.kind, change.uuid, change.explicit) == ("create", UUID_, True)
    change = only(planned([row(uuid=UUID_, unit="V")], stored("old", "x", UUID_)))
    assert (change.kind, change.path) == ("move", "c/n")
    assert {one.field: (one.old, one.new) for one in change.differences} == {
        "collection": ("old", "c"), "name": ("x", "n"), "unit": ("", "V"),
    }  # fmt: skip


def test_moved_from_keeps_the_uuid(stored: Any, planned: Any, row: Any, only: Any) -> None:
    wanted = row(moved_from="old/x")
    change = only(planned([wanted], stored("old", "x", UUID_)))
    assert (change.kind, change.uuid) == ("move", UUID_)
    assert planned([wanted], stored(uuid=UUID_)).verdict == "empty"  # it has moved already
    assert only(planned([wanted])).kind == "create"
    assert only(planned([wanted], stored("old", "x"), stored("old", "x", UUID_))).kind == "ambiguous"


def test_a_derived_uuid_that_another_place_holds_is_told(stored: Any, planned: Any, row: Any, only: Any) -> None:
    change = only(planned([row()], stored("other", "m", derived_uuid("c", "n")), prefixes=("",)))
    assert change.kind == "taken"
    assert "belongs to other/m" in change.detail


def test_unmanaged_streams_go_only_with_prune_and_below_the_prefixes(stored: Any, planned: Any) -> None:
    there = [stored("grid/a", "n"), stored("grid/a", "x"), stored("grid/kept", "y"), stored("far", "z")]
    rows = [
        {"collection": "grid/a", "name": "n"},
        {"collection": "grid/kept", "name": "k", "prevent_destroy": True},
        {"collection": "far", "name": "w"},
    ]
    plan = planned(rows, *there, prefixes=("grid/",))
    assert (plan.unmanaged, [one[:2] for one in plan.unmanaged_first]) == (
        3,
        [("far", "z"), ("grid/a", "x"), ("grid/kept", "y")],
    )
    assert plan.verdict == "changes"
    pruned = planned(rows, *there, prefixes=("grid/",), prune=True)
    doomed = [change for change in pruned.changes if change.kind == "destroy"]
    assert [(change.path, change.property_version) for change in doomed] == [("grid/a/x", 3)]
    assert (pruned.verdict, pruned.unmanaged) == ("destructive", 2)
    with pytest.raises(InputError, match="prune needs prefixes"):
        planned(rows, *there, prune=True)


def test_a_stream_that_a_row_may_have_made_is_not_pruned(stored: Any, planned: Any, row: Any) -> None:
    """Somebody renamed it. Its uuid could never come back, so the advice to take it back would be void."""
    rows = [row(), {"collection": "c2", "name": "m"}, row(name="newer", generation=1)]
    there = [
        stored(name="renamed", uuid=derived_uuid("c", "n")),
        stored(name="old", uuid=derived_uuid("c", "newer")),
        stored("c2", "m"),
    ]
    plan = planned(rows, *there, prefixes=("c",), prune=True)
    assert [(change.kind, change.name) for change in plan.changes] == [
        ("taken", "n"), ("create", "newer"), ("destroy", "old"),
    ]  # fmt: skip
    assert [one.name for one in plan.unmanaged_first] == ["renamed"]
    parts = [planned(rows, *there, prefixes=("c",), prune=True, shard=(k, 3)) for k in range(3)]
    assert [part.counts["destroy"] for part in parts].count(0) == 2


def test_shards_share_the_work_and_know_of_each_other(stored: Any, planned: Any) -> None:
    """A stream that one shard moves is no stranger to the shard where it was."""
    rows = [{"collection": f"c{n}", "name": "n", "moved_from": f"c-old{n}/n"} for n in range(20)]
    there = [stored(f"c-old{n}", "n") for n in range(20)] + [stored(f"c-old{n}", "x") for n in range(20)]
    whole = planned(rows, *there, prefixes=("c",), prune=True)
    parts = [planned(rows, *there, prefixes=("c",), prune=True, shard=(k, 5)) for k in range(5)]
    assert sorted(change.path for part in parts for change in part.changes) == [one.path for one in whole.changes]
    assert {change.kind for change in whole.changes} == {"move", "destroy"}
    assert all(shard_of(change.collection, 5) == k for k, part in enumerate(parts) for change in part.changes)
    with pytest.raises(InputError, match="counted from 0 to 4"):
        planned(rows, shard=(5, 5))
    assert [shard_of(text, 64) for text in ("", "a", "\u00e9", "ieee118/bus1")] == [20, 10, 19, 32]


def test_prune_needs_prefixes_of_its_own_and_leaves_what_has_no_name(stored: Any, planned: Any, row: Any) -> None:
    for prefixes in ((), ("",), ("c", "")):
        with pytest.raises(InputError, match=r"prune (needs|with the empty) prefix"):
            planned([row()], stored(), prefixes=prefixes, prune=True)
    plan = planned([row()], stored(), stored(name="", uuid=UUID_), prefixes=("c",), prune=True)
    assert (plan.verdict, plan.unmanaged_first) == ("empty", (("c", "", UUID_),))


def test_streams_at_both_ends_of_a_move_are_ambiguous(stored: Any, planned: Any, row: Any, only: Any) -> None:
    old = stored(name="old", uuid=UUID_)
    change = only(planned([row(moved_from="c/old")], stored(), old, prefixes=("c",), prune=True))
    assert (change.kind, set(change.rivals)) == ("ambiguous", {UUID_, derived_uuid("c", "n")})
    assert "moved from" in change.detail


def test_streams_elsewhere_are_known_by_their_uuids_and_by_nothing_else(stored: Any, planned: Any, row: Any) -> None:
    far = [stored("far", "f", UUID_), stored("far", "g", derived_uuid("c", "n")), stored("far", "h", UUID(int=7))]
    elsewhere = {stream.uuid: stream for stream in far}
    plan = planned([row(name="m", uuid=UUID_), row()], elsewhere=elsewhere, prefixes=("far", "c"))
    assert [(change.kind, change.name) for change in plan.changes] == [("move", "m"), ("taken", "n")]
    assert plan.unmanaged == 0
    # It came to its place after the listing.
    late = stored(unit="V")
    plan = planned([row(unit="A")], elsewhere={late.uuid: late})
    assert [(change.kind, change.differences[0].old) for change in plan.changes] == [("update", "V")]


def test_a_stream_that_is_to_leave_is_no_reason_against_a_new_one(stored: Any, planned: Any, row: Any) -> None:
    plan = planned([row(name="m", uuid=UUID_), row()], stored(uuid=UUID_))
    assert [(change.kind, change.name, change.rivals) for change in plan.changes] == [
        ("move", "m", ()), ("create", "n", (UUID_,)),
    ]  # fmt: skip


def test_an_update_waits_for_a_stream_that_is_destroyed(stored: Any, planned: Any, row: Any) -> None:
    rows = [row(uuid=UUID_, unit="V"), row(uuid=UUID(int=8), annotations={"k": "x"})]
    there = [stored(uuid=UUID_, unit="A"), stored(uuid=UUID(int=7), unit="V"), stored(uuid=UUID(int=8), unit="kV")]
    order, blockers = ordered(planned(rows, *there, prefixes=("c",), prune=True).changes)
    assert [(change.kind, change.uuid.int) for change in order[-2:]] == [("destroy", 7), ("update", UUID_.int)]
    assert [[other.uuid.int for other in blockers.get(id(change), ())] for change in order] == [[], [], [7]]


def test_what_would_meet_a_stream_with_its_tags_is_told_by_the_plan(stored: Any, planned: Any, row: Any) -> None:
    """No server takes the same collection and tags twice, so one of the two would fail when the plan is applied."""
    other = UUID(int=7)

    def kinds(plan: Plan) -> list[tuple[str, UUID, UUID | None]]:
        """With the stream that it would meet."""
        met = [
            re.fullmatch("stream (.*) is or would be there with the same tags, .*", one.detail) for one in plan.changes
        ]
        return [(one.kind, one.uuid, UUID(at[1]) if at else None) for one, at in zip(plan.changes, met, strict=True)]

    twice = [row(uuid=UUID_, unit="V"), row(uuid=other, unit="V")]
    assert kinds(planned(twice)) == [("taken", other, UUID_), ("taken", UUID_, other)]
    assert planned([twice[0], row(uuid=other, unit="A")]).counts["create"] == 2
    assert planned([twice[0], row(uuid=other, unit="V", ingress="i")]).counts["create"] == 2
    stranger = stored(uuid=other, unit="V")
    assert kinds(planned(twice[:1], stranger)) == [("taken", UUID_, other)]
    assert planned(twice[:1], stranger, prefixes=("c",), prune=True).counts | {"destroy": 1, "create": 1} == (
        planned(twice[:1], stranger, prefixes=("c",), prune=True).counts
    )
    # A row that leaves its tag alone keeps the one that is there; one that leaves the tags alone meets nobody.
    assert kinds(planned([twice[0], row(uuid=other)], stranger)) == [("taken", UUID_, other)]
    both = [stored(uuid=UUID_, unit="A"), stranger]
    assert kinds(planned([twice[0], row(uuid=other, annotations={"k": "x"})], *both)) == [
        ("update", other, None), ("taken", UUID_, other),
    ]  # fmt: skip
    there = [stranger, stored(uuid=UUID_, unit="A")]
    assert kinds(planned([twice[0], row(name="m", moved_from="c/n")], *there, stored(uuid=UUID(int=8), unit="kV"))) == [
        ("ambiguous", derived_uuid("c", "m"), None), ("taken", UUID_, other),
    ]  # fmt: skip
    moved = stored("old", "x", UUID_, unit="V")
    assert kinds(planned([row(uuid=UUID_)], moved, stranger)) == [("taken", UUID_, other)]


def test_who_waits_for_a_stream_that_cannot_leave_cannot_come(stored: Any, planned: Any, row: Any) -> None:
    rows = [row(name="b", uuid=UUID_), row(name="a"), row(name="z")]
    plan = planned(rows, stored(name="a", uuid=UUID_), stored(name="b", uuid=UUID(int=7)))
    assert [(change.kind, change.name) for change in plan.changes] == [
        ("taken", "a"), ("taken", "b"), ("create", "z"),
    ]  # fmt: skip
    assert plan.changes[0].detail == "another stream has to leave this place first, and cannot"


def test_a_stream_that_another_shard_moves_away_is_in_nobodys_way(stored: Any, planned: Any, row: Any) -> None:
    place = next(f"d{n}" for n in range(99) if shard_of(f"d{n}", 2) != shard_of("c", 2))
    rows = [row(uuid=UUID(int=7)), row(collection=place, uuid=UUID_)]
    parts = [planned(rows, stored(uuid=UUID_), shard=(k, 2)) for k in range(2)]
    assert sorted(change.kind for part in parts for change in part.changes) == ["create", "move"]
    rows = [row(uuid=UUID(int=7)), row(collection=place, moved_from="c/n")]
    parts = [planned(rows, stored(uuid=UUID_), shard=(k, 2)) for k in range(2)]
    assert sorted(change.kind for part in parts for change in part.changes) == ["create", "move"]


@pytest.fixture
def chain(stored: Any, planned: Any, row: Any) -> Any:
    """`chain(5)`: streams that each take the name of the next one."""

    def made(length: int) -> Plan:
        rows = [row(name=f"n{k + 1}", uuid=UUID(int=k + 1)) for k in range(length)]
        plan: Plan = planned(rows, *(stored(name=f"n{k}", uuid=UUID(int=k + 1)) for k in range(length)))
        return plan

    return made


def test_who_takes_a_place_comes_after_who_leaves_it(
    stored: Any, planned: Any, row: Any, only: Any, chain: Any
) -> None:
    changes = chain(5).changes
    order, blockers = ordered([*changes, only(planned([row(name="n0")]))])
    assert [change.name for change in order] == ["n5", "n4", "n3", "n2", "n1", "n0"]
    assert [[other.name for other in blockers.get(id(change), ())] for change in order] == [
        [], ["n5"], ["n4"], ["n3"], ["n2"], ["n1"],
    ]  # fmt: skip
    plan = planned([row(uuid=UUID_)], stored(), stored(name="m"), prefixes=("c",), prune=True)
    assert [(change.kind, change.name) for change in ordered(plan.changes)[0]] == [
        ("destroy", "m"), ("destroy", "n"), ("create", "n"),
    ]  # fmt: skip


def test_a_new_stream_waits_for_the_tags_that_it_gets_and_for_no_others(stored: Any, planned: Any, row: Any) -> None:
    seven, eight, nine = (UUID(int=number) for number in (7, 8, 9))
    rows = [row(unit="V"), row(unit="A", uuid=UUID_), row(unit="kV", uuid=seven), row(unit="V", name="m")]
    rows += [row(annotations={"k": "x"}, uuid=eight), row(unit="mV", uuid=nine)]
    there = [stored(unit="V", uuid=UUID_), stored(unit="mV", uuid=seven), stored(unit="W", uuid=eight)]
    plan = planned(rows, *there, stored(name="o", unit="V", uuid=nine))
    kinds = {change.uuid: change.kind for change in plan.changes}
    assert kinds == {
        UUID_: "update", seven: "update", eight: "update", nine: "move",
        derived_uuid("c", "n"): "create", derived_uuid("c", "m"): "create",
    }  # fmt: skip
    order, blockers = ordered(plan.changes)
    waiting = {one.uuid: [other.uuid for other in blockers[id(one)]] for one in order if id(one) in blockers}
    assert waiting == {derived_uuid("c", "n"): [UUID_], nine: [seven]}
    assert len(order) == 6


def test_what_goes_round_in_a_circle_is_told_and_with_it_what_waits_for_it(stored: Any, planned: Any, row: Any) -> None:
    one, two, three = (UUID(int=n) for n in (1, 2, 3))
    rows = [row(name="b", uuid=one), row(name="a", uuid=two), row(name="c")]
    there = [stored(name="a", uuid=one), stored(name="b", uuid=two)]
    plan = planned(rows, *there)
    assert [(change.kind, change.name) for change in plan.changes] == [
        ("taken", "a"), ("taken", "b"), ("create", "c"),
    ]  # fmt: skip
    assert "in a circle" in plan.changes[0].detail
    plan = planned([*rows[:2], row(name="b", uuid=three)], *there)
    assert [(change.kind, change.uuid) for change in plan.changes] == [("taken", two), ("taken", one), ("taken", three)]
