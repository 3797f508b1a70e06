"""How a plan is kept and shown, and what a stream says of a change."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID

import pytest

from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.identity import derived_uuid
from airflow_provider_btrdb.provision import (
    load_plan,
    plan_bytes,
    plan_text,
    sha256_of,
)
from airflow_provider_btrdb.provision.standing import standing, update_of

UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")


# ---------------------------------------------------------------- the file and the lines


@pytest.fixture
def changed(stored: Any, planned: Any, row: Any) -> Any:
    """The plan of an update, a create, an ambiguous row, a move and a destroy."""
    return planned(
        [
            row(unit="A", annotations={"k": "\u00fc", "z": None}, owns=["gone"]),
            row(name="m", annotations={"k": "line\nbreak"}),
            row(name="a"),
            row(name="p", moved_from="c/q"),
        ],
        stored(unit="V", annotations={"k": "u", "gone": "1"}),
        stored(name="a", uuid=UUID_),
        stored(name="a", uuid=UUID(int=7)),
        stored(name="q", uuid=UUID(int=8)),
        stored(name="stranger", uuid=UUID(int=9)),
        prefixes=("c",),
        prune=True,
    )


def test_a_plan_is_kept_as_it_was(stored: Any, planned: Any, row: Any, changed: Any) -> None:
    plan = changed
    data = plan_bytes(plan)
    assert load_plan(data) == plan
    assert load_plan(data, sha256_of(data).upper()) == plan
    assert len(data.decode().splitlines()) == len(plan.changes) + 2
    empty = planned([row()], stored())
    assert load_plan(plan_bytes(empty)) == empty


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "this is no plan"),
        (b"{}", "changes: Field required"),
        (b'{"format":2,"changes":[],"unchanged":0}', "format: Input should be 1"),
        (b'{"changes":[],"unchanged":0,"extra":1}', "extra: Unexpected"),
        (b'{"changes":[{"kind":"do"}],"unchanged":0}', "changes.0.kind"),
        (
            b'{"changes":[{"kind":"update","collection":"c","name":"n","uuid":"0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a",'
            b'"differences":[["units","set","V","A"]]}],"unchanged":0}',
            "c/n: a stream has no field 'units'",
        ),
        (
            b'{"changes":[{"kind":"update","collection":"c\\u001b[2J","name":"n",'
            b'"uuid":"0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a"}],"unchanged":0}',
            r"c\x1b[2J/n: 0 is no property version",
        ),
        (b'{"changes":[],"unchanged":0,"\\u001b[2J":1}', r"\x1b[2J: Unexpected"),
    ],
)
def test_what_is_no_plan_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        load_plan(data)


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        ("update", {"property_version": 0}, "c/n: 0 is no property version"),
        ("update", {"property_version": 1 << 64}, "is no property version"),
        ("destroy", {"property_version": -1}, "c/n: -1 is no property version"),
        ("update", {"differences": []}, "c/n: nothing to update"),
        ("move", {"differences": []}, "c/n: nothing to move"),
        ("create", {"property_version": 3}, "a stream that is to be created has no property version"),
    ],
)
def test_a_plan_that_would_do_something_else_than_it_says_is_refused(
    kind: str,
    fields: dict[str, Any],
    said: str,
    stored: Any,
    planned: Any,
    row: Any,
) -> None:
    data = json.loads(plan_bytes(planned([row(unit="A")], stored(unit="V"))))
    data["changes"][0] |= {"kind": kind, **fields}
    with pytest.raises(InputError, match=said):
        load_plan(json.dumps(data).encode())
    data["changes"] = []
    load_plan(json.dumps(data).encode())
    with pytest.raises(InputError, match="shards are counted from 0"):
        load_plan(json.dumps(data | {"shard": [5, 2]}).encode())


def test_another_plan_than_the_approved_one_is_refused(changed: Any) -> None:
    data = plan_bytes(changed)
    with pytest.raises(InputError, match="not the plan that was approved"):
        load_plan(data.replace(b'"A"', b'"B"'), sha256_of(data))


def test_the_lines_of_a_plan(stored: Any, planned: Any, row: Any, changed: Any) -> None:
    ours, moved, new = (derived_uuid("c", "n"), UUID(int=8), derived_uuid("c", "m"))
    assert plan_text(changed).splitlines() == [
        "! c/a (ambiguous: 2 streams have the name: say which one is meant by its uuid)",
        f"+ c/m (create, uuid {new})",
        "    + annotations.k: 'line\\nbreak'",
        f"~ c/n (update, uuid {ours}, property version 3)",
        "    ~ unit: 'V' -> 'A'",
        "    ~ annotations.k: 'u' -> '\u00fc'",
        "    + annotations.z: null",
        "    - annotations.gone: '1'",
        f"~ c/p (move, uuid {moved}, property version 3)",
        "    ~ name: 'q' -> 'p'",
        f"- c/stranger (destroy, uuid {UUID(int=9)}, property version 3)",
        "Plan: 1 to create, 1 to update, 1 to move, 1 to destroy, 1 ambiguous, 0 unchanged.",
    ]
    assert plan_text(changed, most=1).splitlines()[1:] == [
        "  ... and 4 more changes",
        plan_text(changed).splitlines()[-1],
    ]
    assert plan_text(planned([row()], stored(), stored(name="x"))) == "Plan: nothing to do, 1 unchanged, 1 unmanaged."
    assert "c\\nd\\x1b[2J/n" in plan_text(planned([row(collection="c\nd\x1b[2J")]))
    assert plan_text(planned([row(name="n ")])).startswith("+ 'c/n ' (create, ")
    # Of a long value the part that changes.
    wanted = row(annotations={"k": "x" * 1000 + "a" + "y" * 999, "new": "z" * 201, "short": ""})
    there = stored(annotations={"k": "x" * 1000 + "b" + "y" * 999, "short": "x" * 1000})
    same, rest = "x" * 20, "y" * 179
    assert plan_text(planned([wanted], there)).splitlines()[1:-1] == [
        f"    ~ annotations.k: ...'{same}b{rest}'... (2000 characters) -> ...'{same}a{rest}'... (2000 characters)",
        f"    + annotations.new: '{'z' * 200}'... (201 characters)",
        f"    ~ annotations.short: '{'x' * 200}'... (1000 characters) -> ''",
    ]
    assert plan_text(planned([row(collection="c ")])).startswith("+ 'c /n' (create, ")


# ---------------------------------------------------------------- what a stream says of a change


def test_how_a_refused_update_stands(stored: Any, planned: Any, row: Any, only: Any) -> None:
    change = only(
        planned(
            [row(unit="A", annotations={"k": "x", "n": "1"}, owns=["old"])], stored(annotations={"k": "y", "old": "z"})
        )
    )
    before, after = {"k": "y", "old": "z"}, {"k": "x", "n": "1"}
    assert standing(change, stored(unit="A", annotations=after | {"theirs": "t"}, version=9)) == "done"
    assert standing(change, stored(unit="A", annotations=before, version=4)) == "half"
    assert standing(change, stored(unit="A", annotations=before | {"theirs": "t"}, version=4)) == "half"
    for other in (
        stored(unit="A", annotations=before, version=5),
        stored(unit="V", annotations=before, version=4),
        stored(unit="A", annotations=before | {"k": "theirs"}, version=4),
        stored(unit="A", annotations=before | {"n": "theirs"}, version=4),
        stored(unit="A", annotations={"k": "y"}, version=4),
        stored(name="m", unit="A", annotations=after, version=9),
    ):
        assert standing(change, other) == "stale", other


def test_the_calls_of_a_change(stored: Any, planned: Any, row: Any, only: Any) -> None:
    moved = only(
        planned([row(moved_from="old/x", annotations={"k": None})], stored("old", "x", annotations={"k": "1"}))
    )
    update = update_of(moved)
    assert (update.collection, update.tags, update.annotations) == ("c", {"name": "n"}, {"k": None})
    owned = update_of(only(planned([row(owns="*")], stored(annotations={"k": "1"}))))
    assert (owned.changes_tags, owned.remove_annotations) == (False, ("k",))
