"""Stream specifications, identifiers, lookups, and what the catalogue says of a specification."""

from __future__ import annotations

import sys
from typing import Any
from uuid import UUID, uuid4

import pytest

from airflow_provider_btrdb.client import lookups
from airflow_provider_btrdb.client.codec import to_key_values
from airflow_provider_btrdb.client.creates import decide
from airflow_provider_btrdb.client.errors import AmbiguousStreamError, InputError, MissingExtraError
from airflow_provider_btrdb.client.identity import DEFAULT_NAMESPACE, derived_uuid
from airflow_provider_btrdb.client.models import MergePolicy, Points, StreamSpec, checked_annotations
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

UUID_TEXT = "0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a"


# ---------------------------------------------------------------- specifications


def test_a_row_becomes_a_specification() -> None:
    row = {
        "collection": "a/b",
        "name": "c",
        "unit": "V",
        "annotations": {"k": None, "l": "1"},
        "uuid": UUID_TEXT.upper(),
    }
    spec = StreamSpec.of(row)
    assert spec == StreamSpec(
        collection="a/b", name="c", unit="V", annotations={"k": None, "l": "1"}, uuid=UUID(UUID_TEXT)
    )
    assert spec.path == "a/b/c"
    assert spec.tags == {"name": "c", "unit": "V", "ingress": "", "distiller": ""}
    assert StreamSpec.of(spec) is spec


@pytest.mark.parametrize("uuid", [None, ""])
@pytest.mark.parametrize("annotations", [None, "", {}])
def test_empty_cells_are_left_out(uuid: Any, annotations: Any) -> None:
    spec = StreamSpec.of({"collection": "a", "name": "b", "uuid": uuid, "annotations": annotations})
    assert (spec.uuid, spec.annotations) == (None, {})


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"name": "b"}, "row 7: collection is missing"),
        ({"collection": "a"}, "row 7: name is missing"),
        ({"collection": "", "name": "b"}, "row 7: collection is missing"),
        ({"collection": "a", "name": None}, "row 7: name is missing"),
        ({"collection": 5, "name": "b"}, "row 7: collection is 5 and must be text"),
        ({"collection": "a", "name": 5}, "row 7: name is 5 and must be text"),
        ({"collection": "a", "name": "b", "unit": None}, "row 7: unit is None and must be text"),
        ({"collection": "a", "name": "b", "distiller": 1.5}, "row 7: distiller is 1.5 and must be text"),
        ({"collection": "a", "name": "b", "uuid": "x"}, "row 7: uuid 'x' is not a uuid"),
        ({"collection": "a", "name": "b", "annotations": "x"}, "row 7: annotations are a str, not a mapping"),
        ({"collection": "a", "name": "b", "annotations": {"k": 5}}, "row 7: annotation 'k' is 5; .* write '5'"),
        (
            {"collection": "a", "name": "b", "annotations": {"k": True}},
            "row 7: annotation 'k' is True; .* write 'True'",
        ),
        ({"collection": "a", "name": "b", "annotations": {5: "k"}}, "row 7: annotation key 5 must be text"),
        ({"collection": "a", "name": "b", "units": "V"}, r"row 7: unknown column 'units' \(did you mean 'unit'\?\)"),
        ({"collection": "a", "name": "b", "anotations": {}}, r"unknown column .*did you mean 'annotations'"),
        ({"collection": "a", "name": "b", "zzz": 1}, "unknown column 'zzz'; known are collection, name, unit, ingress"),
        ({"collection": "a", "name": "b", 5: 1}, "unknown column 5"),
        ("a/b", "row 7 is a str, not a row of columns"),
        (None, "row 7 is a NoneType, not a row of columns"),
    ],
)
def test_a_malformed_row_is_named(row: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        StreamSpec.of(row, "row 7")


@pytest.mark.parametrize(
    "fields",
    [{"collection": ""}, {"collection": 5}, {"name": ""}, {"name": 5}, {"unit": None}, {"annotations": {"k": 5}}],
)
def test_a_specification_made_by_hand_is_checked_before_anything_is_sent(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        lookups.checked_specs([StreamSpec(**{"collection": "a", "name": "b", **fields})], DEFAULT_NAMESPACE)


def test_checked_annotations_are_a_copy() -> None:
    given: dict[str, Any] = {"k": "v", "n": None}
    checked = checked_annotations(given)
    assert checked == given
    assert checked is not given


@pytest.mark.parametrize(
    ("value", "policy"), [("replace", 3), ("REPLACE", 3), ("Never", 0), (MergePolicy.EQUAL, 1), ("retain", 2)]
)
def test_merge_policies(value: Any, policy: int) -> None:
    assert MergePolicy.parse(value) is MergePolicy(policy)


@pytest.mark.parametrize("value", ["newest", "", 3, None, True])
def test_an_unknown_merge_policy(value: Any) -> None:
    with pytest.raises(InputError, match="is unknown; known are never, equal, retain, replace"):
        MergePolicy.parse(value)


@pytest.mark.parametrize(("method", "extra"), [("to_arrow", "arrow"), ("to_pandas", "pandas"), ("to_polars", "polars")])
def test_a_missing_library_is_named_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, method: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow" if extra == "arrow" else extra, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'airflow-provider-btrdb\[{extra}\]'"):
        getattr(Points.of([]), method)()


# ---------------------------------------------------------------- many specifications


def test_checked_specs_have_the_uuid_they_would_be_created_with() -> None:
    rows = [{"collection": "a", "name": "b"}, {"collection": "a", "name": "b", "uuid": UUID_TEXT}]
    space = uuid4()
    (first, first_uuid), (second, second_uuid) = lookups.checked_specs(rows, space)
    assert (first.name, first_uuid) == ("b", derived_uuid("a", "b", namespace=space))
    assert (second.uuid, second_uuid) == (UUID(UUID_TEXT), UUID(UUID_TEXT))


@pytest.mark.parametrize(
    "twice",
    [
        [{"collection": "a", "name": "b"}, {"collection": "a", "name": "b", "unit": "V"}],
        [{"collection": "a", "name": "b", "uuid": UUID_TEXT}, {"collection": "x", "name": "y", "uuid": UUID_TEXT}],
        [{"collection": "a", "name": "b"}, {"collection": "x", "name": "y", "uuid": derived_uuid("a", "b")}],
    ],
)
def test_two_rows_may_not_mean_one_stream(twice: list[dict[str, Any]]) -> None:
    rows = [{"collection": "z", "name": "z"}, *twice]
    with pytest.raises(InputError, match="rows 2 and 3 mean one stream"):
        lookups.checked_specs(rows, DEFAULT_NAMESPACE)


def test_the_malformed_row_of_many_is_named() -> None:
    with pytest.raises(InputError, match="row 2: name is missing"):
        lookups.checked_specs(iter([{"collection": "a", "name": "b"}, {"collection": "a"}]), DEFAULT_NAMESPACE)


# ---------------------------------------------------------------- identifiers


def test_identifiers_are_flattened_one_level() -> None:
    uuid = uuid4()
    assert lookups.flattened(["a/b", uuid, ["c/d", uuid], ("e/f",), iter(["g/h"])]) == [
        "a/b",
        uuid,
        "c/d",
        uuid,
        "e/f",
        "g/h",
    ]
    with pytest.raises(InputError, match="5 is neither a uuid nor collection/name"):
        lookups.flattened([5])


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (UUID(UUID_TEXT), (UUID(UUID_TEXT), "", "")),
        (UUID_TEXT, (UUID(UUID_TEXT), "", "")),
        (UUID_TEXT.upper(), (UUID(UUID_TEXT), "", "")),
        ("a/b", (None, "a", "b")),
        ("a/b/c d", (None, "a/b", "c d")),
        (f"{UUID_TEXT}/name", (None, UUID_TEXT, "name")),
        (f"a/{UUID_TEXT}", (None, "a", UUID_TEXT)),
        ("a//b", (None, "a/", "b")),
    ],
)
def test_identifiers(identifier: Any, expected: Any) -> None:
    assert lookups.parse_identifier(identifier) == expected


@pytest.mark.parametrize("identifier", ["", "a", "/", "a/", "/b", UUID_TEXT[1:], 5, None, b"a/b"])
def test_what_is_no_identifier(identifier: Any) -> None:
    with pytest.raises(InputError):
        lookups.parse_identifier(identifier)


# ---------------------------------------------------------------- lookups


def _asked(*collections: str, prefix: bool = True, **filters: Any) -> list[tuple[str, bool]]:
    requests = lookups.lookup_requests(collections, prefix, filters.get("tags"), filters.get("annotations"))
    return [(request.collection, request.is_collection_prefix) for request in requests]


def test_without_collections_the_whole_catalogue_is_asked_for() -> None:
    assert _asked() == _asked(prefix=False) == [("", True)]


def test_collections_are_asked_for_once() -> None:
    assert _asked("b", "a", "b", prefix=False) == [("b", False), ("a", False)]


def test_a_prefix_of_another_covers_it() -> None:
    assert _asked("grid/a", "grid", "gri", "x") == [("gri", True), ("x", True)]
    assert _asked("grid/a", "grid", prefix=False) == [("grid/a", False), ("grid", False)]
    assert _asked("a", "", "b") == [("", True)]
    assert _asked("a", "a") == [("a", True)]


def test_filters_go_into_every_request() -> None:
    requests = list(lookups.lookup_requests(["a", "b"], False, {"unit": None, "name": ""}, {"k": "v"}))
    for request in requests:
        assert [(pair.key, pair.HasField("val")) for pair in request.tags] == [("unit", False), ("name", True)]
        assert [(pair.key, pair.val.value) for pair in request.annotations] == [("k", "v")]
    assert len(requests) == 2


def test_a_collection_is_text() -> None:
    with pytest.raises(InputError, match=r"collection \['a'\] must be text"):
        list(lookups.lookup_requests([["a"]], True, None, None))  # type: ignore[list-item]


def _descriptor(collection: str = "a", *, uuid: UUID | None = None, annotations: Any = None, **tags: str) -> Any:
    return pb.StreamDescriptor(
        uuid=(uuid or uuid4()).bytes,
        collection=collection,
        tags=to_key_values(tags),
        annotations=to_key_values(annotations or {}),
        property_version=3,
    )


def test_the_stream_that_was_asked_for() -> None:
    wanted = _descriptor(name="n", annotations={"k": None})
    full = _descriptor(name="n", unit="", ingress="", distiller="", annotations={"k": None})
    assert lookups.same_stream(full, wanted)
    assert lookups.same_stream(wanted, full)
    for other in (
        _descriptor("b", name="n", annotations={"k": None}),
        _descriptor(name="m", annotations={"k": None}),
        _descriptor(name="n", unit="V", annotations={"k": None}),
        _descriptor(name="n", annotations={"k": ""}),
        _descriptor(name="n", annotations={}),
        _descriptor(name="n", annotations={"k": None, "l": "1"}),
    ):
        assert not lookups.same_stream(other, wanted)


@pytest.mark.parametrize(("count", "text"), [(0, ""), (1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2, ...")])
def test_the_first_few_for_an_error_message(count: int, text: str) -> None:
    assert lookups.shown(range(count)) == text


# ---------------------------------------------------------------- what the catalogue says

SPEC = StreamSpec(collection="a", name="n")


def test_one_stream_of_that_name_is_adopted_whatever_its_uuid() -> None:
    found = _descriptor(name="n")
    result = decide(SPEC, [found], set())
    assert result is not None
    assert (result.spec, result.outcome, result.uuid, result.error) == (SPEC, "existed", UUID(bytes=found.uuid), None)


def test_none_of_that_name_is_created() -> None:
    assert decide(SPEC, [], set()) is None


def test_two_of_that_name_are_ambiguous() -> None:
    found = [_descriptor(name="n"), _descriptor(name="n")]
    with pytest.raises(AmbiguousStreamError, match="2 streams are called a/n") as caught:
        decide(SPEC, found, set())
    for descriptor in found:
        assert str(UUID(bytes=descriptor.uuid)) in str(caught.value)


def test_a_stream_that_another_row_names_is_not_adopted() -> None:
    mine, theirs = _descriptor(name="n"), _descriptor(name="n")
    result = decide(SPEC, [mine, theirs], {theirs.uuid})
    assert result is not None
    assert result.uuid == UUID(bytes=mine.uuid)
    assert decide(SPEC, [theirs], {theirs.uuid}) is None


def test_a_row_with_a_uuid_is_created_as_asked() -> None:
    spec = StreamSpec(collection="a", name="n", uuid=uuid4())
    assert decide(spec, [_descriptor(name="n"), _descriptor(name="n")], set()) is None
